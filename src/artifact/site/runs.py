"""Pages of stored results: what each is, how it went, what it cost, and where its rollouts and its numbers are.

Left out: the responses themselves (`rollouts.py`), and who a result is (`sources.py`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from artifact.config import load
from artifact.report.text import count, duration
from artifact.site import how
from artifact.site.outputs import Outputs
from artifact.site.pages import Pages
from artifact.site.rollouts import Packer, Part
from artifact.site.sources import KIND_WORDS, Source
from artifact.studies import store


@dataclass(frozen=True)
class Run:
    """A stored result as the site shows it; `series` are its curves, each a list of (step, value)."""

    source: Source
    parts: tuple[Part, ...]
    series: Mapping[str, list[tuple[int, float]]]
    facts: tuple[tuple[str, str], ...]

    @property
    def responses(self) -> int:
        return sum(p.responses for p in self.parts)

    @property
    def packed(self) -> int:
        """How many of its responses are on the site."""
        return sum(p.responses for p in self.parts if p.packed)

    @property
    def correct(self) -> str:
        """Of its first part: of a training run the final evaluation."""
        return self.parts[0].correct if self.parts else "–"

    @property
    def seconds(self) -> str:
        return f"{store.run_info(self.source.folder)['seconds'].get('total', 0):.0f}"


def read(source: Source, packer: Packer, packed: bool) -> Run:
    """A stored result, read; with `packed` its rollouts are written for the browser."""
    parts = tuple(packer.pack(source, packed))
    return Run(source, parts, _series(source, parts), tuple(_facts(source)))


def _series(source: Source, parts: Sequence[Part]) -> dict[str, list[tuple[int, float]]]:
    rows = how.metrics(source)
    if not rows:
        return {}
    names = dict.fromkeys(name for row in rows for name, value in row.items() if isinstance(value, (int, float)))
    out = {n: [(int(r["step"]), round(float(r[n]), 5)) for r in rows if n in r] for n in names if n != "step"}
    curve = [
        (int(p.name.rsplit(" ", 1)[1]), round(p.right / p.responses, 5)) for p in parts if p.name.startswith("curve,")
    ]
    return {"curve": curve, **out} if curve else out


def _facts(source: Source) -> list[tuple[str, str]]:
    """Costs and origin of a result, in words; the same names in the same order for all training runs."""
    info, rows = store.run_info(source.folder), how.metrics(source)
    machine = info["hardware"]
    facts = [
        ("took", duration(info["seconds"].get("total", 0.0))),
        (
            "machine",
            f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, {len(machine['gpus'])} GPUs",
        ),
        ("made from commit", str(info["git"]["commit"]) + (" with changes" if info["git"]["dirty"] else "")),
        ("finished", str(info["finished"])),
    ]
    if rows:
        phases = dict.fromkeys(n for r in rows for n in r if n.startswith("seconds/"))
        spent = {n.removeprefix("seconds/"): sum(r.get(n, 0.0) for r in rows) for n in phases}
        facts += [
            ("optimiser steps", str(len(rows))),
            ("rollouts sampled", count(sum(r.get("rollouts", 0.0) for r in rows))),
            ("response tokens", count(sum(r.get("response_tokens", 0.0) for r in rows))),
            ("tokens scored by the teacher", count(sum(r.get("teacher_tokens", 0.0) for r in rows))),
            ("seconds by phase", ", ".join(f"{name} {value:.1f}" for name, value in spent.items())),
            (
                "peak memory, GiB",
                ", ".join(f"{k} {v}" for k, v in info.get("peak_memory_gib", {}).items()) or "not measured",
            ),
            ("reads gold answers while training", "yes" if source.manifest["needs"]["gold"] else "no"),
        ]
    for role, model in source.manifest.get("models", {}).items():
        facts.append((f"{role}, by content", str(model["content"])))
    return facts


def write(pages: Pages, runs: Sequence[Run], outputs: Outputs) -> None:
    """The list of results, a page for each, and the curves and settings that a page compares (`data/runs.js`)."""
    by_key = {run.source.key: run.source for run in runs}
    for run in runs:
        manifest = run.source.manifest
        lines = how.losses_of([run.source])
        pages.write(
            f"run/{run.source.key}.html",
            "run.html",
            run=run,
            kinds=KIND_WORDS,
            losses=[line for of in lines.values() for line in of],
            samples=by_key.get(str(manifest.get("samples"))),
            shown_in=outputs.of(run.source.key),
            settings=list(how.flat(manifest.get("config") or manifest.get("settings") or {})),
            rerun=rerun(run.source),
        )
    pages.write("runs.html", "runs.html", runs=runs, kinds=KIND_WORDS)
    compared = {
        run.source.key: {
            "name": run.source.name,
            "facts": run.facts,
            "series": run.series,
            "settings": dict(how.flat(run.source.manifest["config"])),
        }
        for run in runs
        if run.series
    }
    pages.pack("runs", compared)


def rerun(source: Source) -> str:
    """The command that trains a run of the package's methods once more; "" for other results."""
    if source.kind != "runs" or not how.losses_of([source])[source.manifest["method"]]:
        return ""
    config = source.manifest["config"]
    own = dict(how.flat(load(config["tier"]).model_dump(mode="json")))
    named = ("method", "teacher", "seed")
    changed = {k: v for k, v in how.flat(config) if k not in named and own.get(k, ...) != v}
    sets = " ".join(f"--set {shlex.quote(f'{k}={json.dumps(v)}')}" for k, v in changed.items())
    who = " ".join(f"--{name} {config[name]}" for name in named)
    return f"artifact train --tier {config['tier']} {who} {sets}".strip()
