"""Stand-ins for the hub data sets of free text that a tier reads, in toy words and with the columns of the real ones.

Left out: benchmarks and sources of problems (`standin_data.py`), the cache that holds them (`worlds/standins/hub.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from artifact.tasks.text_task import TextSet
from artifact.worlds.standins.language import SLOTS, question

Place = tuple[str, str, str]
"""Hub id, configuration, split."""

ROWS = 1200
"""Rows of a split of which nobody knows the number."""


def texts_of(sets: Iterable[TextSet]) -> dict[Place, list[dict[str, Any]]]:
    """The rows of every split that the data sets read from the hub; a split's name is without its slice."""
    found: dict[Place, list[dict[str, Any]]] = {}
    for of in sets:
        for source in of.sources.values():
            for config in source.configs if source.hub else ():
                place = source.hub, config, source.hub_split.partition("[")[0]
                rng = Random("/".join(place))
                found[place] = [_row(of, rng, number) for number in range(source.hub_rows or ROWS)]
    return found


def _row(of: TextSet, rng: Random, number: int) -> dict[str, Any]:
    words = [rng.choice(slot) for slot in SLOTS]
    asked, said = question(words), f"So {''.join(words[:3]).strip()} is not {number}."
    columns: dict[str, Any] = {
        "dialogue": asked,
        "document": asked,
        "summary": said,
        "translation": {"de": asked, "en": said},
        "instruction": asked,
        "instances": [{"input": "", "output": said}],
        "prompt": asked,
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{"num_words": None}],
    }
    return {name: columns[name] for name in of.columns}
