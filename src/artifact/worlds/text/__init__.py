"""The tiny text world: three tasks whose answers are texts and whose truth is computable all the same.

`translation`, `summary` and `instruction` hold a task each: a grammar, and what a text of it says. `problems` draws
problems of all three, `meaning` says what a response means and whether it is right, `pairs` holds pairs of known
relation, `splits` cuts the space of questions into disjoint parts, `tokenizer` builds the word-level tokenizer, and
`corpus`, `training` and `recipe` make the models.
Nothing here is a claim of the papers: this world makes what their abstracts name visible on two CPU cores.
"""
