"""The numbers of the README: what stands between `<!-- NAME -->` and `<!-- end -->` is written from stored files.

`artifact paper` writes them anew; a test holds every other digit of the README and of `docs/` to a short list. A region
whose name is a path holds what that command prints. Left out: those, and the pages of `docs/` that commands make.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from artifact.book.costs import measured_minutes
from artifact.errors import ArtifactError
from artifact.files import write_text
from artifact.paths import project_root

LANGUAGE_MODEL = "results/tables/cpu-llm"
REGION = re.compile(r"<!-- (\S+) -->\n.*?<!-- end -->", flags=re.DOTALL)
"""A region: its first group is its name."""


def times() -> str:
    """How long the embedded tier takes, from `configs/costs`."""
    tier, minutes = measured_minutes("tiny")
    quick, looked = measured_minutes("tiny-quick")
    return (
        f"On {tier.machine}, `./run_all.sh` takes {minutes} minutes for\n{len(tier.notebooks)} notebooks and "
        f"{tier.runs} training runs, `./run_all.sh --quick` {looked} for {len(quick.notebooks)} notebooks and "
        f"{quick.runs} runs (measured {tier.measured}).\n"
    )


def language_model() -> str:
    """What the tier of the pretrained model took and found, from its tables."""
    minutes = _table("language_model_stages_times").set_index("stage")["minutes"]
    phases = _table("language_model_phases_times")["seconds"].sum()
    distance = _table("language_model_distance")
    untouched = distance[distance["sequences"] == "base"].set_index(["task", "label"])["forward"]
    took = ", ".join(f"{stage} {value:.0f}" for stage, value in minutes.items())
    fell = "; ".join(
        f"on {task} from {untouched[task, 'Base']:.2f} nats per token to {untouched[task, 'OPD (uniform)']:.2f} (OPD) "
        f"and {untouched[task, 'UOPD (soft)']:.2f} (UOPD)"
        for task in untouched.index.unique("task")
    )
    return (
        f"Minutes on two cores: {took}; {phases:.0f} s a step.\n"
        f"KL(teacher ‖ student) on held-out prompts, over the untouched student's responses, fell {fell}.\n"
    )


def real_text() -> str:
    """What distillation changed on summaries, translations and instructions, from the tables of notebook 16."""
    distance, changes = _table("real_text_distance"), _table("real_text_changes")
    untouched = distance[distance["sequences"] == "base"].set_index(["task", "label"])["forward"]
    went = "; ".join(
        f"{task} from {untouched[task, 'Base']:.2f} nats per token to {untouched[task, 'OPD (uniform)']:.2f} (OPD), "
        f"{untouched[task, 'UOPD (similarity)']:.2f} (UOPD) and {untouched[task, 'CORE (by rank)']:.2f} (CORE)"
        for task in untouched.index.unique("task")
    )
    changes = changes[changes["label"] != "Teacher"]
    told = changes[changes["significant"]]
    which = "; ".join(f"{r.label} on {r.family}, {100 * r.change:+.1f} points" for r in told.itertuples())
    return (
        f"The same KL went there, by task: {went}.\n"
        f"Of {len(changes)} changes of a score on {changes['problems'].max()} held-out problems each, {len(told)} can "
        f"be told from none{f' ({which})' if which else ''}.\n"
    )


def _table(name: str) -> pd.DataFrame:
    return pd.read_csv(project_root() / LANGUAGE_MODEL / f"{name}.csv")


REGIONS: dict[str, Callable[[], str]] = {"times": times, "language-model": language_model, "real-text": real_text}


def readme() -> Path:
    """Where the README lies."""
    return project_root() / "README.md"


def written(text: str) -> str:
    """`text` with its regions as they should be. ArtifactError for a region that nothing writes."""

    def one(match: re.Match[str]) -> str:
        if "/" in match[1]:
            return match[0]
        if match[1] not in REGIONS:
            raise ArtifactError(f"README.md: nothing writes <!-- {match[1]} -->; there are: {', '.join(REGIONS)}")
        return f"<!-- {match[1]} -->\n{REGIONS[match[1]]()}<!-- end -->"

    return REGION.sub(one, text)


def write_readme() -> Path:
    """Write the regions of the README anew; returns its path."""
    path = readme()
    return write_text(path, written(path.read_text(encoding="utf-8")))
