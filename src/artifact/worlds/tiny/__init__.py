"""The embedded tier's world: procedural problems, a tokenizer, disjoint splits, and the recipe that trains its models.

`problems` draws problems, `splits` cuts the space of questions into disjoint parts, `tokenizer` builds the word-level
tokenizer, `corpus` turns problems into training documents, `training` is the loop, `recipe` makes the three models.
Nothing here is a claim of the papers: this world only makes their mechanisms visible on two CPU cores in minutes.
"""
