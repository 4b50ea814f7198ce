"""Which notebooks run, with what parameters, and when one need not run again.

A notebook `NN_name.ipynb` has one cell tagged `parameters` with plain assignments; it takes `tier` and, if it lets the
caller override configuration values, `overrides` (a list of `"key=value"`). A parameter it does not declare is an
error: papermill would only log it and run the defaults.

A notebook belongs to every tier whose file (`configs/tiers`) does not leave it out; it says nothing of tiers itself.

An executed notebook is kept while nothing it could depend on has changed: its source, its parameters, the whole package
source, the resolved configuration and the studies, the models and the lock file, and what it says that it reads of
other notebooks (`reads`); and while everything it made is still there with the same contents. `--force` runs it anyway.
Left out: the execution itself (`execute.py`).
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifact.book.execute import execute
from artifact.config import load, load_tier, parse_overrides
from artifact.errors import ArtifactError
from artifact.files import DamagedFile, read_json, write_json
from artifact.models import snapshot
from artifact.paths import figures_dir, local_model, project_root, results_dir
from artifact.provenance import file_hash, lock_path, model_hash, source_hash, stamp, text_hash, tree_hash
from artifact.studies.study import read_learning_rates, settings_borrowed

_NAME = re.compile(r"\d\d_.+\.ipynb")
CPU_CELL_TIMEOUT_S = 7200.0


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook; `record` is the stored account of its execution (None when it failed)."""

    source: Path
    executed: bool
    reason: str
    record: dict[str, Any] | None


def discover(folder: Path | None = None, only: list[str] | None = None, tier: str | None = None) -> list[Path]:
    """The notebooks of `folder` (default `notebooks/` of the project) in order; with `tier`, those that belong to it.

    `only` picks by number (`3`, `03`) or name (`03_method`, `method`); an unknown one is an error that lists all, and
    one that does not belong to `tier` an error that says why.
    """
    folder = folder or project_root() / "notebooks"
    found = sorted(p for p in folder.glob("*.ipynb") if _NAME.fullmatch(p.name))
    if not found:
        raise ArtifactError(f"no notebook NN_name.ipynb in {folder}")
    outside = left_out(tier, folder) if tier is not None else {}
    if only is None:
        if len(outside) == len(found):
            raise ArtifactError(
                f"no notebook belongs to tier {tier}: configs/tiers/{tier}.yaml leaves out all of them; take a line "
                "from its `leaves_out`"
            )
        return [p for p in found if p not in outside]
    if not only:
        raise ArtifactError(f"the list of notebooks is empty; name some of {', '.join(p.stem for p in found)}")
    chosen = set()
    for name in only:
        number = name.zfill(2)
        hits = [p for p in found if name in (p.stem, p.stem[3:]) or number == p.stem[:2]]
        if not hits:
            known = ", ".join(p.stem for p in found)
            raise ArtifactError(f"no notebook {name!r}; the notebooks are: {known}")
        for hit in hits:
            if hit in outside:
                inside = ", ".join(p.stem for p in found if p not in outside) or "none"
                raise ArtifactError(f"notebook {hit.stem}: {outside[hit]}; the notebooks of this tier are: {inside}")
        chosen.update(hits)
    return [p for p in found if p in chosen]


def left_out(tier: str, folder: Path | None = None) -> dict[Path, str]:
    """The notebooks of `folder` that `tier` leaves out, each with the reason in words.

    Raises ArtifactError when the tier leaves out a notebook of the project that is not there.
    """
    reasons, found = load_tier(tier).leaves_out, discover(folder)
    if folder is None and (unknown := [name for name in reasons if name not in {p.stem for p in found}]):
        raise ArtifactError(
            f"configs/tiers/{tier}.yaml leaves out {unknown[0]!r}, which is no notebook; the notebooks are: "
            + ", ".join(p.stem for p in found)
        )
    return {p: f"not part of tier {tier}: {reasons[p.stem]}" for p in found if p.stem in reasons}


def read_notebook(path: Path) -> dict[str, Any]:
    """The notebook's JSON; ArtifactError names a file that is not one."""
    try:
        return dict(read_json(path, "restore it from the repository"))
    except DamagedFile as err:
        raise ArtifactError(f"{path} is not a notebook: {err}") from err


def cell_source(cell: dict[str, Any]) -> str:
    """The text of a cell, whether stored as one string or as lines."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def title_of(path: Path) -> str:
    """The first heading of a notebook, or its file name."""
    for cell in read_notebook(path)["cells"]:
        if cell["cell_type"] == "markdown":
            for line in cell_source(cell).splitlines():
                if line.startswith("#"):
                    return line.lstrip("#").strip()
    return path.stem


def declared_parameters(path: Path) -> list[str]:
    """Names assigned at top level of the cell tagged `parameters`, in order."""
    cells = [c for c in read_notebook(path)["cells"] if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(cells) != 1:
        raise ArtifactError(f"{path.name} has {len(cells)} cells tagged `parameters`; it needs exactly one")
    names = []
    for node in ast.parse(cell_source(cells[0])).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names += [t.id for t in targets if isinstance(t, ast.Name)]
    return names


def check_parameters(path: Path, parameters: dict[str, Any]) -> None:
    """Raise ArtifactError when `path` does not declare one of `parameters`, with the nearest right name."""
    declared = declared_parameters(path)
    for name in parameters:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"it declares: {', '.join(declared) or 'none'}"
            raise ArtifactError(f"{path.name} has no parameter {name!r}; {hint}")


def fingerprint(path: Path, tier: str, parameters: dict[str, Any], overrides: list[str]) -> dict[str, str]:
    """Everything the outputs of a notebook could depend on, as one short hash a part."""
    config = load(tier, parse_overrides(overrides))
    root = project_root()
    read = reads(path, tier)
    borrowed = [load(name) for name in settings_borrowed(tier)]
    named = dict.fromkeys(m for c in (config, *borrowed) for m in c.models.checkpoints)
    lock = lock_path(config.cluster.device)
    return {
        "notebook": file_hash(path),
        "parameters": text_hash(json.dumps(parameters, sort_keys=True)),
        "source": source_hash(),
        "configuration": text_hash(
            "".join(c.model_dump_json() for c in (config, *borrowed))
            + load_tier(tier).model_dump_json()
            + json.dumps(read_learning_rates(tier))
            + tree_hash(root / "configs" / "studies")
        ),
        "models": text_hash("".join(map(_content, named))),
        "lock": file_hash(lock) if lock.is_file() else "none",
        **({"reads": text_hash("".join(f"{portable(p)}\0{file_hash(p)}\0" for p in read))} if read else {}),
    }


def reads(path: Path, tier: str) -> list[Path]:
    """What a notebook says that it reads of others, in its metadata `artifact.reads`: patterns, `!` for what is not.

    `{tier}` stands for the tier; below `results/` and `figures/` lie the folders where those go.
    """
    declared = read_notebook(path).get("metadata", {}).get("artifact", {}).get("reads", [])
    places = {"results": results_dir(), "figures": figures_dir()}
    found: set[Path] = set()
    for pattern in declared:
        first, _, rest = pattern.removeprefix("!").format(tier=tier).partition("/")
        matched = set(places.get(first, project_root() / first).glob(rest))
        found = found - matched if pattern.startswith("!") else found | matched
    return sorted(p for p in found if p.is_file())


def _content(model: str) -> str:
    """The hash of a model's content; its name where it is not on this machine."""
    try:
        return model_hash(local_model(model) or snapshot(model, download=False).folder)
    except FileNotFoundError:
        return model


def portable(path: Path) -> str:
    """`path` relative to the project where it lies below it, absolute otherwise."""
    root = project_root()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def why_stale(record: dict[str, Any] | None, parts: dict[str, str]) -> str | None:
    """Why a notebook must run, in words; None when its stored outputs, and what they were made of, are still there."""
    if record is None:
        return "never executed"
    changed = [part for part, value in parts.items() if record["fingerprint"].get(part) != value]
    if changed:
        return "changed: " + ", ".join(changed)
    for item in record["files"]:
        file = project_root() / item["path"]
        if not file.is_file():
            return f"missing: {item['path']}"
        if file_hash(file) != item["hash"]:
            return f"altered: {item['path']}"
    gone = [name for name in record["stored"] if not (results_dir() / name / "manifest.json").is_file()]
    return f"no longer stored: {', '.join(gone)}" if gone else None


def stored_behind(keys: Iterable[str]) -> list[str]:
    """The stored results (`runs/<key>` and the like) of those among `keys` that have one."""
    root = results_dir()
    found = (path.parent for key in set(keys) for path in root.glob(f"*/{key}/manifest.json"))
    return sorted(folder.relative_to(root).as_posix() for folder in found)


def target_of(source: Path, tier: str) -> Path:
    """Where the executed copy of a notebook goes; page and account lie beside it."""
    return results_dir() / "notebooks" / tier / source.name


def read_record(target: Path) -> dict[str, Any] | None:
    """The stored account of an execution, None when there is none or it cannot be read (it is then made again)."""
    path = target.with_suffix(".json")
    if not path.is_file():
        return None
    try:
        record = read_json(path, "it is made again")
    except DamagedFile:
        return None
    return record if isinstance(record, dict) and {"fingerprint", "files", "stored"} <= record.keys() else None


def check(source: Path, tier: str, overrides: list[str]) -> tuple[dict[str, Any], dict[str, str], str | None]:
    """Parameters, fingerprint and the reason to run (None: up to date) of a notebook; raises on unknown parameters."""
    parameters: dict[str, Any] = {"tier": tier} | ({"overrides": overrides} if overrides else {})
    check_parameters(source, parameters)
    parts = fingerprint(source, tier, parameters, overrides)
    return parameters, parts, why_stale(read_record(target_of(source, tier)), parts)


def run_notebook(
    source: Path,
    tier: str,
    overrides: list[str] | None = None,
    *,
    force: bool = False,
    cell_timeout_s: float | None = None,
    heard: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Execute one notebook unless its stored outputs are still right; `heard` as in `execute`.

    Raises ArtifactError for an unknown parameter and NotebookFailed when a cell fails.
    """
    overrides = list(overrides or [])
    parameters, parts, reason = check(source, tier, overrides)
    target = target_of(source, tier)
    if reason is None and not force:
        return Outcome(source, False, "up to date", read_record(target))
    config = load(tier, parse_overrides(overrides))
    if cell_timeout_s is None and config.cluster.device == "cpu":
        cell_timeout_s = CPU_CELL_TIMEOUT_S
    provenance = stamp(config.cluster.device)
    facts = {**provenance, "tier": tier, "parameters": parameters, "fingerprint": parts}
    log_path = results_dir() / "logs" / f"{source.stem}.{tier}.log"
    target.with_suffix(".json").unlink(missing_ok=True)
    done = execute(source, target, parameters, log_path=log_path, cell_timeout_s=cell_timeout_s, heard=heard)
    for cell, text in done.stderr.items():
        print(
            f"warning: {source.name}, cell {cell} wrote to stderr, which a page should not hold: {text.strip()[:300]}"
        )
    made = [{**item, "path": portable(Path(item["path"]))} for item in done.made]
    files = [done.notebook, done.page, *(Path(item["path"]) for item in done.made)]
    record = {
        "notebook": source.name,
        "title": title_of(source),
        **facts,
        "seconds": round(done.seconds, 1),
        "waited_seconds": round(done.waited_s, 1),
        "stderr": done.stderr,
        "made": made,
        "files": [{"path": portable(file), "hash": file_hash(file)} for file in files],
        "stored": stored_behind(key for item in done.made for key in item["runs"]),
    }
    write_json(target.with_suffix(".json"), record)
    return Outcome(source, True, reason or "forced", record)
