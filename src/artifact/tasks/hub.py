"""Rows of a dataset, offline first: a local folder, then the cache of `datasets`, then the hub. Checked, never guessed.

Order of places: the folder given by the caller, `$ARTIFACT_DATA`, `data/` of the project, `../shared/data` beside it,
what this project has built (`built_dir`); then what `datasets` has cached; then a download, unless `HF_HUB_OFFLINE=1`.
A local file must have the known number of rows and, where one is known, the known SHA-256; hub rows are checked by
their number.

Left out: what the rows mean (`benchmarks.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from artifact.errors import ArtifactError, Mismatch
from artifact.paths import ProjectNotFound, project_root, results_dir
from artifact.provenance import file_sha256, text_sha256

Row = dict[str, Any]

FORMATS = (".jsonl", ".json", ".parquet")
"""Formats of local files, tried in this order."""


class DataAbsent(ArtifactError):
    """A dataset is in none of the places where it may be; the message lists them and says how to get it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one split lies, and what it must be.

    local       file below a data folder, without its ending (`gsm8k/test`)
    rows        number of rows of the local file; None = not known
    sha256      SHA-256 of the local `.jsonl` file; "" = not known
    hub         hub id; "" = on no hub
    configs     configurations on the hub, concatenated in this order; `("",)` = the default one
    hub_split   name of the split on the hub
    hub_rows    number of rows on the hub, all configurations together; None = not known
    made_by     the command that builds it, where this project does
    aligned     languages of a local pair of text files with a line each (`translation/train.de`), in place of one file
    """

    local: str
    rows: int | None = None
    sha256: str = ""
    hub: str = ""
    configs: tuple[str, ...] = ("",)
    hub_split: str = "test"
    hub_rows: int | None = None
    made_by: str = ""
    aligned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows with their origin: `place` is `local`, `cache` or `hub`; `checked` names what was compared."""

    rows: tuple[Row, ...]
    place: str
    origin: str
    sha256: str
    checked: tuple[str, ...]


@runtime_checkable
class FromSources(Protocol):
    """A task that reads its splits from sources; it says which, so that nothing has to be loaded to find one."""

    data_dir: str | Path | None

    def source_of(self, split: str) -> Source:
        """The source of `split`, which is no slice. ArtifactError on an unknown one."""
        ...


def data_dirs(data_dir: str | Path | None = None) -> list[Path]:
    """Folders that may hold local files, in order. A folder named by the caller or `$ARTIFACT_DATA` must exist."""
    named = {"the option data_dir": data_dir, "$ARTIFACT_DATA": os.environ.get("ARTIFACT_DATA")}
    dirs = []
    for origin, value in named.items():
        if value:
            if not Path(value).is_dir():
                raise DataAbsent(
                    f"the data folder {value} given by {origin} does not exist; correct it or leave it out"
                )
            dirs.append(Path(value))
    try:
        root = project_root()
    except ProjectNotFound:
        return dirs
    return dirs + [d for d in (root / "data", root.parent / "shared" / "data", built_dir()) if d.is_dir()]


def built_dir() -> Path:
    """Where the datasets that this project builds lie as local files, one folder each."""
    return results_dir() / "data"


def local_file(source: Source, data_dir: str | Path | None = None) -> Path | None:
    """The local file of a source in the first folder that has one; None where it lies in no folder."""
    endings = [f".{language}" for language in source.aligned[:1]] + list(FORMATS)
    files = (folder / (source.local + ending) for folder in data_dirs(data_dir) for ending in endings)
    return next((path for path in files if path.is_file()), None)


def at_hand(source: Source, data_dir: str | Path | None = None) -> bool:
    """Whether the rows of `source` are on this machine, in a folder or in the cache of `datasets`; asks no network."""
    if local_file(source, data_dir):
        return True
    try:
        return bool(source.hub) and all(_cached(source, config) for config in source.configs)
    except DataAbsent:
        return False


def load_rows(source: Source, data_dir: str | Path | None = None, columns: Sequence[str] | None = None) -> Loaded:
    """The rows of `source` from the first place that has them; of a dataset, only `columns` (those it has) are read.

    Raises DataAbsent where no place does, Mismatch where a file or dataset is not what the table says.
    """
    if path := local_file(source, data_dir):
        return _load_local(source, path)
    reasons = []
    if source.hub:
        for place, load in (("cache", _from_cache), ("hub", _from_hub)):
            try:
                rows = load(source, columns)
            except DataAbsent as err:
                reasons.append(str(err))
                continue
            return _checked(source, place, source.hub, rows)
    looked = ", ".join(str(f / source.local) for f in data_dirs(data_dir)) or "no data folder"
    raise DataAbsent(
        f"dataset {source.local!r} is absent. Looked for {'|'.join(FORMATS)} at: {looked}. "
        + (" ".join(reasons) or "It is on no hub.")
        + " Remedy: "
        + (f"run `{source.made_by}`, or " if source.made_by else "")
        + (f'run `python -c "import datasets as d; {_fetch(source)}"` once with a network, or ' if source.hub else "")
        + f"put {source.local}.jsonl into a folder and name it by --data-dir or ARTIFACT_DATA."
    )


def _fetch(source: Source) -> str:
    """Python that fills the cache of `datasets` with a source."""
    if source.configs == ("",):
        return f"d.load_dataset({source.hub!r})"
    return f"[d.load_dataset({source.hub!r}, c) for c in {list(source.configs)!r}]"


def read_file(path: Path) -> list[Row]:
    """The rows of a `.jsonl`, `.json` (a list) or `.parquet` file; Mismatch names file and line where it is broken."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return list(pq.read_table(path).to_pylist())
        except (pa.ArrowInvalid, OSError) as err:
            raise Mismatch(f"{path} cannot be read as Parquet ({err}); fetch it again") from err
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        try:
            data = json.loads(text)
        except json.JSONDecodeError as err:
            raise Mismatch(f"{path} is not valid JSON ({err}); fetch it again") from err
        if not isinstance(data, list):
            raise Mismatch(f"{path} holds a {type(data).__name__}, expected a list of rows")
        return data
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: U+2028 may stand inside a text
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as err:
                raise Mismatch(f"{path}, line {number}, is not valid JSON ({err}); fetch the file again") from err
    return rows


def read_aligned(path: Path, languages: Sequence[str]) -> list[Row]:
    """Lines of text files beside each other, one for each language, as WMT's rows; Mismatch where one is shorter."""
    texts = {}
    for language in languages:
        beside = path.with_suffix(f".{language}")
        if not beside.is_file():
            raise Mismatch(f"{beside} is missing beside {path.name}: both sides of a translation are needed")
        texts[language] = beside.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    counts = {language: len(lines) for language, lines in texts.items()}
    if len(set(counts.values())) > 1:
        raise Mismatch(f"{path.with_suffix('')}: the sides have {counts} lines; one is cut off, fetch both again")
    return [{"translation": dict(zip(languages, lines, strict=True))} for lines in zip(*texts.values(), strict=True)]


def _load_local(source: Source, path: Path) -> Loaded:
    aligned = path.suffix not in FORMATS
    rows = read_aligned(path, source.aligned) if aligned else read_file(path)
    sides = [path.with_suffix(f".{language}") for language in source.aligned] if aligned else [path]
    digest = file_sha256(path) if len(sides) == 1 else text_sha256("".join(map(file_sha256, sides)))
    checked = []
    if source.rows is not None:
        expected = {source.rows, source.hub_rows} if path.suffix == ".parquet" else {source.rows}
        if len(rows) not in expected:
            raise Mismatch(f"{path} has {len(rows)} rows, expected {source.rows}: it is cut off or another version")
        checked.append("rows")
    if source.sha256 and path.suffix == ".jsonl":
        if digest != source.sha256:
            raise Mismatch(
                f"{path} has SHA-256 {digest}, expected {source.sha256}: it was changed or is another version; fetch "
                "it again, or keep your own version under another name with its own row in the table of benchmarks"
            )
        checked.append("sha256")
    return Loaded(tuple(rows), "local", str(path), digest, tuple(checked))


def _checked(source: Source, place: str, origin: str, rows: Sequence[Row]) -> Loaded:
    if source.hub_rows is not None and len(rows) != source.hub_rows:
        raise Mismatch(
            f"{origin}, split {source.hub_split!r} ({place}), has {len(rows)} rows, expected {source.hub_rows}: "
            "the dataset has changed; compare the versions before reporting numbers on it"
        )
    text = "\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False, default=str) for row in rows)
    digest = text_sha256(text)
    return Loaded(tuple(rows), place, origin, digest, ("rows",) if source.hub_rows is not None else ())


def _from_cache(source: Source, columns: Sequence[str] | None) -> list[Row]:
    """Rows that `datasets` has cached, without touching the network."""
    rows: list[Row] = []
    for config in source.configs:
        try:
            rows += _to_rows(_cached(source, config).as_dataset(split=source.hub_split), columns)
        except (ValueError, FileNotFoundError) as err:
            raise DataAbsent(f"Not in the cache of datasets ({str(err).splitlines()[0]}).") from err
    return rows


def _cached(source: Source, config: str) -> Any:
    """What `datasets` has cached of one configuration; DataAbsent where that is nothing."""
    import datasets
    from datasets.packaged_modules.cache.cache import Cache

    datasets.logging.set_verbosity_error()  # it warns that it takes the newest version of its cache, as is meant here
    name = source.hub.split("/")[-1]
    try:
        return Cache(repo_id=source.hub, dataset_name=name, config_name=config or None, version="auto", hash="auto")
    except (ValueError, FileNotFoundError) as err:
        raise DataAbsent(f"Not in the cache of datasets ({str(err).splitlines()[0]}).") from err


def _from_hub(source: Source, columns: Sequence[str] | None) -> list[Row]:
    """Rows from the hub; DataAbsent where it cannot be reached or does not know the dataset."""
    import datasets

    rows: list[Row] = []
    for config in source.configs:
        try:
            rows += _to_rows(datasets.load_dataset(source.hub, config or None, split=source.hub_split), columns)
        except (ConnectionError, OSError, ValueError) as err:
            offline = " HF_HUB_OFFLINE=1 is set." if datasets.config.HF_HUB_OFFLINE else ""
            reason = f"{type(err).__name__}: {str(err).splitlines()[0][:200]}"
            raise DataAbsent(f"Not from the hub ({reason}).{offline}") from err
    return rows


def _to_rows(dataset: Any, columns: Sequence[str] | None) -> list[Row]:
    if columns is not None:
        dataset = dataset.select_columns([c for c in dataset.column_names if c in set(columns)])
    return list(dataset.to_list())
