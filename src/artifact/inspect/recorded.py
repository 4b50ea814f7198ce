"""All responses of a run whose tokens were recorded, one below the other: the page that the site shows of a run.

Left out: choosing among all responses (`collection.py`), and what a token record holds (`train/token_records.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd

from artifact.inspect.collection import Rollouts, Shown, rollouts
from artifact.inspect.view import View


def recorded(run: Any, steps: Collection[int] | None = None) -> Recorded:
    """The responses of a finished run with token records, of all recorded steps or of `steps`."""
    table = rollouts(run).filter(recorded=True)
    if steps is not None:
        table = Rollouts(table.run, table.part, table.frame[table.frame["step"].isin(list(steps))])
    return Recorded(table)


class Recorded(View):
    """Responses in the order of training, each with its tokens."""

    template: ClassVar[str] = "recorded.html.jinja"

    def __init__(self, table: Rollouts) -> None:
        self.table = table
        self.title = f"{len(table):,} responses token by token, run {table.run.key}: {table.run.label}"

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def responses(self) -> list[Shown]:
        """The views of the single responses."""
        return list(self.table)

    def to_frame(self) -> pd.DataFrame:
        """One row for each response, as `Rollouts.to_frame`."""
        return self.table.to_frame()
