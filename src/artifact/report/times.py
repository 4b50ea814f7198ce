"""Which outputs hold seconds, rates, memory, hosts or dates: those alone may change when a rerun uses another machine.

A figure or table with such a number is named `…_times`, and every other one holds results alone, so that two runs are
compared by all files but these. `outputs.py` refuses to save it otherwise. Left out: manifests and logs of runs, which
say when and where by design.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from artifact.report.styles import PHASES

SUFFIX = "_times"
"""Of the name of every output that depends on the machine or the clock."""

_WORDS = "seconds minutes hours per_second time times date gib mib host hostname machine cpu gpu cores".split()
_VOLATILE = re.compile(rf"(^|[_ /])({'|'.join(_WORDS)})($|[_ /])")


def volatile_columns(columns: Iterable[object]) -> list[str]:
    """The columns whose names say seconds, rates, memory, dates or hosts (`second`, the ordinal, is none of them)."""
    return [str(c) for c in columns if _VOLATILE.search(str(c).lower())]


def phase_seconds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Seconds of every optimiser step by phase: a column per phase that was logged, in the order of the loop."""
    seconds = metrics.filter(regex="^seconds/").rename(columns=lambda c: c.removeprefix("seconds/")).fillna(0.0)
    return seconds[in_loop_order(seconds)]


def in_loop_order(phases: Iterable[str]) -> list[str]:
    """Distinct phases, those of `PHASES` first and in its order."""
    seen = list(dict.fromkeys(phases))
    return [*(p for p in PHASES if p in seen), *(p for p in seen if p not in PHASES)]
