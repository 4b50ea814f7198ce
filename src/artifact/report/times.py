"""Which outputs hold seconds, rates, memory, hosts or dates: those alone may change when a rerun uses another machine.

A figure or table with such a number is named `…_times`, and every other one holds results alone, so that two runs are
compared by all files but these. A new name is added to `TIMES`; the tests compare it with the notebooks and with every
CSV that is kept. Left out: manifests and logs of runs, which say when and where by design.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

SUFFIX = "_times"

TIMES = frozenset(
    {
        "core_budget_times",
        "core_cost_times",
        "core_curves_times",
        "language_model_phases_times",
        "language_model_stages_times",
        "models_times",
        "uopd_budget_times",
        "uopd_cost_times",
        "uopd_curves_times",
    }
)
"""Every output that depends on the machine or the clock."""

_WORDS = "seconds minutes hours per_second time times date gib mib host hostname machine cpu gpu cores".split()
_VOLATILE = re.compile(rf"(^|[_ /])({'|'.join(_WORDS)})($|[_ /])")


def volatile_columns(columns: Iterable[object]) -> list[str]:
    """The columns whose names say seconds, rates, memory, dates or hosts (`second`, the ordinal, is none of them)."""
    return [str(c) for c in columns if _VOLATILE.search(str(c).lower())]
