"""What student, teacher and loss said of single tokens, as pieces of pages: `data/tokens/<key>.js`.

A pack maps the place of a response in `data/rollouts/<key>.js` to its piece of HTML, as `artifact.inspect` makes it
(`Shown.evidence`): its tokens in every role that was recorded, the teacher's classes, its pairs. A page that shows the
response puts it below (`static/tokens.js`). Packed is the first seed of the methods that the papers compare;
`artifact.inspect` shows any other. Left out: the view itself (`inspect/tokens.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from artifact.inspect.collection import rollouts
from artifact.inspect.opened import opened
from artifact.site.pages import Pages
from artifact.site.sources import Source

SHOWN = frozenset({"opd", "uopd-soft", "core", "grpo"})
"""The cells whose tokens the site shows."""

IN_LIGHT = 2
"""Of how many rollouts of a prompt and step the light form keeps the tokens."""

Drawn = tuple[int, str, int]
"""Which rollout of training a response is: (step, problem id, sample)."""


class Recorded(NamedTuple):
    """A response with tokens: its place in the pack of its run, and which it is."""

    place: int
    step: int
    problem: str
    sample: int


def write_tokens(
    pages: Pages, seed: int, light: bool, source: Source, places: Mapping[Drawn, int]
) -> tuple[Recorded, ...]:
    """Pack the recorded tokens of a run of `seed`; returns whose they are, nothing where none are to be shown.

    light   the first `IN_LIGHT` rollouts of a prompt alone
    places  the rollouts of training → their places in the pack of the run
    """
    if source.kind != "runs" or source.seed != seed or not source.cells & SHOWN:
        return ()
    run = opened(source.folder)
    if not run.records:
        return ()
    found, pieces = [], {}
    for shown in rollouts(run).filter(recorded=True):
        if not shown.tokens[0].recorded or (light and shown.rollout.sample >= IN_LIGHT):
            continue
        drawn = shown.step, shown.problem.id, shown.rollout.sample
        pieces[places[drawn]] = shown.evidence(f"{source.key}-{places[drawn]}")
        found.append(Recorded(places[drawn], *drawn))
    pages.pack(f"tokens/{source.key}", pieces)
    return tuple(found)
