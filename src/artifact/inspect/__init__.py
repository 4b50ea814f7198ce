"""Looking at rollouts: from a run to its responses, from a response to its tokens, in Jupyter or as pages of HTML.

    from artifact import inspect
    found = inspect.rollouts(run).filter(verdict="wrong", family="mod", entropy=(0.5, None))
    found[0]                                   # prompt, answer, verdict, tokens, the teacher's classes, its pairs

Every view has `_repr_html_`, `.to_html(path)` and `.to_frame()`; what it shows is escaped, needs no script and no
network, and follows the reader's light or dark. Left out: figures and tables of many runs (`report/`).
"""

from artifact.inspect.clusters import cluster
from artifact.inspect.collection import rollouts, show
from artifact.inspect.live import poke
from artifact.inspect.pairs import pairs
from artifact.inspect.training import before_after, through_training

__all__ = ["before_after", "cluster", "pairs", "poke", "rollouts", "show", "through_training"]
