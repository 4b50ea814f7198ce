"""How an output was made: the command, the settings of its runs, and the lines of code that are its losses.

Everything is read from what is stored and from the code at hand: a configuration from the manifests of the runs, a line
number from the source itself. Left out: which runs an output shows (`sources.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from artifact.config import ConfigError
from artifact.files import read_json_lines
from artifact.site.pages import Pages
from artifact.site.sources import Source
from artifact.studies import store
from artifact.studies.plan import studies_of

LOSSES: dict[str, tuple[str, ...]] = {
    "distil": ("losses.divergence.token_divergence", "losses.reduction.reduce"),
    "nll": ("losses.nll.token_nll", "losses.reduction.reduce"),
    "policy_gradient": ("losses.policy_gradient.grpo_token_loss", "losses.reduction.reduce"),
    "contrast": ("losses.preference.dpo", "losses.preference.simpo", "losses.reduction.reduce_pairs"),
}
"""Component of the objective → the functions of `artifact.train` that are its formula and its reduction."""


@dataclass(frozen=True)
class Line:
    """A line of code: `train/losses/divergence.py`, line 42, and what stands there."""

    file: str
    line: int
    name: str

    @property
    def page(self) -> str:
        """Its place in the site."""
        return f"source/{self.file.replace('/', '.')}.html#L{self.line}"


@cache
def line_of(dotted: str) -> Line:
    """Where `losses.nll.token_nll` of `artifact.train` is defined."""
    import importlib

    module, _, name = dotted.rpartition(".")
    found = getattr(importlib.import_module(f"artifact.train.{module}"), name)
    return _line(found)


def _line(what: Any) -> Line:
    import artifact

    file = Path(inspect.getfile(what)).relative_to(Path(artifact.__file__).parent).as_posix()
    return Line(file, inspect.getsourcelines(what)[1], what.__name__)


def losses_of(sources: Iterable[Source]) -> dict[str, list[Line]]:
    """Method → where it makes its examples, then the formulas of the losses that its runs logged."""
    out: dict[str, list[Line]] = {}
    for source in sources:
        method = source.manifest.get("method")
        if method is None or method in out:
            continue
        cls = _method(str(method))
        own = [_line(cls)] if cls is not None else []
        names = [name for c in components(source) for name in LOSSES[c]]
        out[str(method)] = [*own, *(line_of(name) for name in dict.fromkeys(names))]
    return out


def _method(name: str) -> type | None:
    """The class of a method of the package; None for one that a notebook registers for itself."""
    from artifact.train.methods.base import find_method

    try:
        found = find_method(name)
    except ConfigError:
        return None
    return found if found.__module__.startswith("artifact.") else None


def components(source: Source) -> list[str]:
    """The components of the objective that a training run logged, in the order of `LOSSES`."""
    logged = {name for row in metrics(source) for name in row}
    return [c for c in LOSSES if f"loss/{c}" in logged]


def metrics(source: Source) -> list[dict[str, Any]]:
    """What a training run logged, a dict per optimiser step; nothing of other results."""
    if source.kind != "runs":
        return []
    return read_json_lines(store.file(source.folder, "metrics.jsonl"), store.remedy(source.folder))


def write_sources(pages: Pages) -> None:
    """A page for each file that a loss or a method stands in, its lines numbered and linked."""
    import artifact

    here = Path(artifact.__file__).parent
    files = {line_of(name).file for names in LOSSES.values() for name in names}
    files |= {p.relative_to(here).as_posix() for p in (here / "train" / "methods").glob("[a-z]*.py")}
    pages.write(
        "source/index.html",
        "source_index.html",
        components={component: [line_of(name) for name in names] for component, names in LOSSES.items()},
        files=[(f"src/artifact/{file}", Line(file, 1, "").page) for file in sorted(files)],
    )
    for file in sorted(files):
        lines = (here / file).read_text(encoding="utf-8").splitlines()
        pages.write(f"source/{file.replace('/', '.')}.html", "source.html", file=f"src/artifact/{file}", lines=lines)


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A configuration as dotted key and value, the form that `--set` takes."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def settings(sources: Sequence[Source]) -> tuple[dict[str, Any], list[str]]:
    """(what all of the training runs share, the dotted keys in which they differ)."""
    configs = [dict(flat(s.manifest["config"])) for s in sources if s.kind == "runs"]
    if not configs:
        return {}, []
    names = dict.fromkeys(name for config in configs for name in config)
    first = configs[0]
    same = {n: first[n] for n in names if all(n in c and c[n] == first.get(n) for c in configs)}
    return same, [n for n in names if n not in same]


def commands(
    name: str, output: str, notebook: str | None, tier: str, sources: Sequence[Source]
) -> list[tuple[str, str]]:
    """(what it does, the exact command) for an output: make it again, what that takes, check what is stored."""
    out = []
    if notebook is not None:
        out.append(("make it again", f"./run_all.sh --tier {tier} --only {notebook[:2]} --force"))
    if output and _fed(output, tier):
        out.append(("what that takes", f"artifact plan --tier {tier} --output {output}"))
    out.append(("check every stored output and claim", f"artifact check-claims --tier {tier}"))
    out.append(("read its bytes again", f"artifact verify {name}"))
    if sources:
        out.append(("read the responses of a run behind it", f"artifact transcripts {sources[0].key}"))
    return out


def _fed(output: str, tier: str) -> bool:
    try:
        return bool(studies_of(output, tier))
    except ConfigError:
        return False
