"""SURE-Math: seeds, evolution, filters, labels, decontamination, split, publishing (UOPD, Section 4.1).

`build` runs the pipeline, `publish` writes the folder that others download, `load` reads and checks it, `weights` is
the file that training reads.
"""
