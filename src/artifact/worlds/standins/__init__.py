"""Stand-ins for the models and datasets of the hub, made on the spot: their names and forms, at toy sizes.

Every word of a stand-in follows from the word before (`language.py`), so its weights are written down rather than
trained (`networks.py`): it answers problems, right and wrong, and writes new ones. What they say means nothing.
"""
