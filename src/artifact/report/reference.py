"""The committed reference of a tier: the numbers of its outputs as they were accepted, with machine and versions.

`results/reference/<tier>/` holds a copy of each output's CSV and `reference.json`, which vouches for them. A run
overwrites outputs in place and never the reference: that changes by `artifact reference accept` alone, and git shows
what changed. A tier without one is compared with nothing, which is said. Left out: the comparison (`reproduction.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from artifact.errors import ArtifactError
from artifact.files import folder_atomically, read_json, write_json
from artifact.paths import project_root
from artifact.provenance import file_sha256, git_state, hardware, seal, versions
from artifact.report import stored
from artifact.report.reproduction import CLASSES, NO_INTERVAL, OUTSIDE, Compared, compare
from artifact.report.times import SUFFIX

ACCOUNT = "reference.json"
MOST_LINES = 20
"""Values of a class that are listed; the rest is counted."""

REMEDY = "restore it (git checkout), or accept one anew: artifact reference accept"


def folder_of(tier: str) -> Path:
    """Where the reference of a tier is kept, with the code and wherever results go."""
    return project_root() / "results" / "reference" / tier


def accept(tier: str) -> int:
    """Make what is stored of `tier` its reference; the number of outputs. ArtifactError where one is damaged."""
    outputs = list(_comparable(tier))
    if not outputs:
        raise ArtifactError(f"tier {tier} has no figures or tables to accept; ./run_all.sh --tier {tier} makes them")
    with folder_atomically(folder_of(tier)) as folder:
        sums = {}
        for kind, stem in outputs:
            if wrong := stored.faults(stem):
                raise stored.DamagedOutput(f"{kind} {stem.name} ({tier}): {'; '.join(wrong)}; {stored.REMEDY}")
            copied = folder / f"{kind}-{stem.name}.csv"
            shutil.copyfile(stem.with_name(f"{stem.name}.csv"), copied)
            sums[copied.name] = file_sha256(copied)
        write_json(folder / ACCOUNT, seal({"tier": tier, "made": this_machine(), "sha256": sums}))
    return len(outputs)


def this_machine() -> dict[str, Any]:
    """Commit, machine and versions, as both sides of a comparison name them."""
    return {"commit": git_state()["commit"], "hardware": hardware(), "versions": versions()}


def compare_with_reference(tier: str) -> tuple[Compared, dict[str, Any]] | None:
    """Every value stored of `tier` beside its reference, and what made that one; None where there is no reference.

    Raises ArtifactError for a reference that is not as it was accepted.
    """
    folder = folder_of(tier)
    if not folder.is_dir():
        return None
    account = read_json(folder / ACCOUNT, REMEDY)
    if not isinstance(account, dict) or seal(account) != account:
        raise ArtifactError(f"{folder / ACCOUNT} was altered: it does not agree with its own checksum; {REMEDY}")
    there = {path.name for path in folder.iterdir() if path.name != ACCOUNT}
    for name in sorted(there | set(account["sha256"])):
        if name not in there or account["sha256"].get(name) != file_sha256(folder / name):
            raise ArtifactError(f"{folder / name} is missing or was altered; {REMEDY}")
    reference = {name.removesuffix(".csv").replace("-", " ", 1): _texts(folder / name) for name in account["sha256"]}
    here = {f"{kind} {stem.name}": _texts(stem.with_name(f"{stem.name}.csv")) for kind, stem in _comparable(tier)}
    return compare(here, reference), account["made"]


def _comparable(tier: str) -> Iterator[tuple[stored.Kind, Path]]:
    yield from ((kind, stem) for kind, stem in stored.stored(tier) if not stem.name.endswith(SUFFIX))


def _texts(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def lines(tier: str) -> tuple[list[str], bool]:
    """The reproduction report, what is outside first, and whether anything is; so is a reference that is damaged."""
    try:
        found = compare_with_reference(tier)
    except ArtifactError as err:
        return [f"outside: the reference itself: {err}"], True
    if found is None:
        return [f"no reference for tier {tier}: nothing compared (`artifact reference accept` makes one)"], False
    compared, made = found
    counted = ", ".join(f"{compared.counts[c]:,} {c}" for c in CLASSES)
    out = [f"reproduction of tier {tier}: {counted}, of the values of {compared.outputs} outputs"]
    for verdict in (OUTSIDE, NO_INTERVAL):
        values = compared.of(verdict)
        out += [f"  {verdict}: {value.in_words()}" for value in values[:MOST_LINES]]
        out += [f"  {verdict}: and {len(values) - MOST_LINES} more"] * (len(values) > MOST_LINES)
    out += [f"  not made here: {', '.join(compared.missing)}"] * bool(compared.missing)
    out += [f"  without a reference: {', '.join(compared.unknown)}"] * bool(compared.unknown)
    there, here = _machine(made), _machine(this_machine())
    out += [f"  reference: {there}", f"  here:      {'the same' if here == there else here}"]
    return out, compared.is_outside


def _machine(made: dict[str, Any]) -> str:
    hardware, packages = made["hardware"], made["versions"]
    gpus = f", {', '.join(hardware['gpus'])}" if hardware["gpus"] else ""
    named = ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))
    return f"commit {(made['commit'] or 'none')[:10]}; {hardware['cpu']}, {hardware['cores']} cores{gpus}; {named}"
