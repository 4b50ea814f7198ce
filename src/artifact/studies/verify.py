"""Whether everything that is stored is still what was stored: `artifact verify`.

Every byte is read again: results of all kinds against their manifests, figures and tables against their stamps, reports
of evaluations and executed notebooks against their records. A finding says what is wrong and how to make that one
thing again; nothing is changed. What is unfinished, or was moved aside, is said and is no damage.

Left out: whether a result is still of this code and these settings; that is its key (`keys.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from artifact.config import Config, load
from artifact.errors import ArtifactError
from artifact.files import PARTIAL, DamagedFile, read_json
from artifact.paths import figures_dir, project_root, results_dir
from artifact.provenance import file_sha256
from artifact.report import stored
from artifact.studies import store
from artifact.studies.inventory import faults

KINDS = ("runs", "checkpoints", "evaluations", "untrained", "distances", "samples", "annotations", "suremath")
"""The kinds of results that `store.result` keeps, each a folder of `results/`."""

REPORT_STAMP = "report.json"
"""What lies in the folder of an evaluation's report: its files (`benchmark_results.write_report`)."""


@dataclass(frozen=True)
class Finding:
    """One stored thing: its kind, its key or name, where it lies, what is wrong (nothing: whole), and what to do.

    `note` says what is no damage and worth knowing: that it is unfinished, or was moved aside.
    """

    kind: str
    name: str
    path: str
    wrong: tuple[str, ...] = ()
    remedy: str = ""
    note: str = ""

    def to_row(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self) | {"whole": not self.wrong}


def verify(key: str | None = None) -> list[Finding]:
    """The findings about everything stored, or about the one result, figure, table, report or notebook called `key`.

    Raises ArtifactError when nothing of that name is stored.
    """
    found = [f() for name, f in _stored() if key in (None, name)]
    if key is not None and not found:
        raise ArtifactError(
            f"{key!r} is nothing that is stored in {results_dir()} or {figures_dir()}; give the key of a result, the "
            "name of a figure, table or notebook, or --all"
        )
    return found


def _stored() -> Iterator[tuple[str, Callable[[], Finding]]]:
    """(key or name, what finds out about it) of everything stored, in a fixed order."""
    root = results_dir()
    for kind in KINDS:
        for folder in sorted(p for p in (root / kind).glob("*") if p.is_dir() and not p.name.startswith(".")):
            yield folder.name, lambda kind=kind, folder=folder: _result(kind, folder)  # type: ignore[misc]
    for stamp in sorted((root / "benchmarks").glob(f"*/*/{REPORT_STAMP}")):
        yield stamp.parent.name, lambda stamp=stamp: _report(stamp)  # type: ignore[misc]
    for kind, place in (("figure", figures_dir()), ("table", root / "tables")):
        for stem in (stem for folder in sorted(place.glob("*")) for stem in stored.stems(folder)):
            yield stem.name, lambda kind=kind, stem=stem: _output(kind, stem)  # type: ignore[misc]
    for record in sorted((root / "notebooks").glob("*/*.json")):
        yield record.stem, lambda record=record: _notebook(record)  # type: ignore[misc]


def _result(kind: str, folder: Path) -> Finding:
    if folder.name.endswith(PARTIAL):
        return Finding(kind, folder.name, str(folder), note="unfinished: its stage goes on with it")
    if store.ASIDE in folder.name:
        return Finding(kind, folder.name, str(folder), note="moved aside: delete it if nobody needs it")
    if not (folder / store.MANIFEST).is_file():
        return Finding(kind, folder.name, str(folder), (f"{store.MANIFEST} is missing",), store.remedy(folder))
    try:
        account = store.account_in(folder)
        wrong = faults(folder, account, besides=(store.MANIFEST, store.RUN_INFO))
        manifest = store.sealed(folder / store.MANIFEST)
        if (manifest.get("kind"), manifest.get("key")) != (kind, folder.name):
            wrong.append(f"its manifest is that of {manifest.get('kind')} {manifest.get('key')}")
    except DamagedFile as err:
        return Finding(kind, folder.name, str(folder), (str(err),), store.remedy(folder))
    return Finding(kind, folder.name, str(folder), tuple(wrong), again(manifest, folder) if wrong else "")


def again(manifest: dict[str, Any], folder: Path) -> str:
    """The command that makes one result again, where there is one; else what to delete."""
    if manifest.get("kind") == "runs" and "config" in manifest:
        return " ".join(["artifact train", f"--tier {manifest['tier']}", *_sets(manifest), "--force"])
    return store.remedy(folder)


def _sets(manifest: dict[str, Any]) -> Iterator[str]:
    """`--set` options that lead from a tier to the configuration of a run."""
    try:
        wanted = Config.model_validate(manifest["config"]).model_dump(mode="json")
        given = load(manifest["tier"]).model_dump(mode="json")
    except ArtifactError:  # a configuration or tier of another version
        return
    yield from (f"--set {name}={value}" for name, value in _difference(given, wanted))


def _difference(given: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    import json

    for name, value in wanted.items():
        before = given.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            yield from _difference(before, value, f"{prefix}{name}.")
        elif value != before:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{prefix}{name}", f"'{text}'" if set(text) & set(" \"'{}[]") else text


def _report(stamp: Path) -> Finding:
    folder, remedy = stamp.parent, "run `artifact evaluate` again: the stored responses are not sampled anew"
    try:
        account = read_json(stamp, remedy)["files"]
    except DamagedFile as err:
        return Finding("report", folder.name, str(folder), (str(err),), remedy)
    wrong = faults(folder, account, besides=(stamp.name,))
    return Finding("report", folder.name, str(folder), tuple(wrong), remedy if wrong else "")


def _output(kind: str, stem: Path) -> Finding:
    """A figure or table: its stamp is `<stem>.json`, which holds the SHA-256 of the files of that name beside it."""
    notebook = _maker(stem.with_name(f"{stem.name}.json"))
    remedy = f"artifact notebooks --tier {stem.parent.name} --force"
    remedy += f" --only {notebook}" if notebook else " (the notebook that makes it: --only NN)"
    wrong = stored.faults(stem)
    return Finding(kind, stem.name, str(stem), tuple(wrong), remedy if wrong else "")


def _maker(made: Path) -> str:
    """The executed notebook whose record lists `made`, "" where none does."""
    for path in sorted((results_dir() / "notebooks" / made.parent.name).glob("*.json")):
        try:
            files = read_json(path, "")["files"]
        except (DamagedFile, KeyError, TypeError):
            continue  # its own finding says so
        if any((project_root() / item["path"]).resolve() == made.resolve() for item in files):
            return path.stem
    return ""


def _notebook(record: Path) -> Finding:
    """An executed notebook and its page: the record beside them holds the hash of each (`book/notebooks.py`)."""
    remedy = f"artifact notebooks --tier {record.parent.name} --only {record.stem} --force"
    try:
        listed = read_json(record, remedy)["files"]
    except (DamagedFile, KeyError, TypeError) as err:
        wrong = str(err) if isinstance(err, DamagedFile) else f"{record.name} is no record of an execution"
        return Finding("notebook", record.stem, str(record), (wrong,), remedy)
    own = [item for item in listed if (project_root() / item["path"]).parent == record.parent]
    damage = []
    for item in own:
        path = project_root() / item["path"]
        if not path.is_file():
            damage.append(f"{path.name} is missing")
        elif not file_sha256(path).startswith(item["hash"]):
            damage.append(f"{path.name} was altered")
    return Finding("notebook", record.stem, str(record), tuple(damage), remedy if damage else "")


def print_findings(found: Sequence[Finding], console: Any) -> int:
    """One line for each thing that is not whole, and a last one that counts; returns the number that are damaged."""
    for finding in found:
        if finding.note:
            console.print(f"{finding.kind} {finding.name}: {finding.note}", markup=False, highlight=False)
        for wrong in finding.wrong:
            console.print(f"DAMAGED {finding.kind} {finding.name}: {wrong}", markup=False, highlight=False)
        if finding.wrong:
            console.print(f"  to make it again: {finding.remedy}", markup=False, highlight=False)
    damaged = sum(bool(f.wrong) for f in found)
    whole = sum(not f.wrong and not f.note for f in found)
    console.print(f"{whole} whole, {damaged} damaged, {len(found) - whole - damaged} unfinished", markup=False)
    return damaged
