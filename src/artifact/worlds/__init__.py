"""Procedural worlds whose truth is computable: problems, solutions and the recipe of the embedded models."""
