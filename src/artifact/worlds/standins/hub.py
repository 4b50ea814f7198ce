"""Caches in the layouts of the hub's client and of `datasets`, filled without a network.

models    models--org--name/{blobs,snapshots/<commit>,refs/main}: what `hf download` leaves
datasets  org___name/<configuration>/0.0.0/<hash>/{dataset_info.json,name-<split>.arrow}: what `load_dataset` leaves
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artifact.provenance import bytes_sha256, text_sha256


def put_model(cache: Path, repository: str, folder: Path) -> str:
    """Commit the files of `folder` to `repository` and move `main` there; returns the commit."""
    place = cache / f"models--{repository.replace('/', '--')}"
    files = {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    commit = text_sha256(repr([(str(p), bytes_sha256(b)) for p, b in files.items()]))[:40]
    for name, data in files.items():
        blob = place / "blobs" / bytes_sha256(data)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = place / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path(*[".."] * (len(name.parts) + 1), "blobs", blob.name))
    ref = place / "refs" / "main"
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit, encoding="utf-8")
    return commit


def put_dataset(cache: Path, repository: str, config: str, splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """The rows of every split of one configuration ("" = the default one) of a dataset."""
    import datasets
    import pyarrow as pa
    from datasets.naming import camelcase_to_snakecase

    owner, _, name = repository.partition("/")
    name = camelcase_to_snakecase(name)
    folder = cache / f"{owner}___{name}" / (config or "default") / "0.0.0" / "standin"
    folder.mkdir(parents=True, exist_ok=True)
    info: dict[str, Any] = {}
    for split, rows in splits.items():
        table = pa.Table.from_pylist([dict(row) for row in rows])
        with pa.OSFile(str(folder / f"{name}-{split}.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as s:
            s.write_table(table)
        info[split] = datasets.SplitInfo(split, num_bytes=table.nbytes, num_examples=len(rows), dataset_name=name)
        features = datasets.Features.from_arrow_schema(table.schema)
    described = datasets.DatasetInfo(
        features=features, builder_name="parquet", dataset_name=name, config_name=config or "default", version="0.0.0"
    )
    described.splits = datasets.SplitDict(info, dataset_name=name)
    described.write_to_directory(str(folder))
