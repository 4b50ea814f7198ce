"""Croissant 1.0 metadata of the published folder: files with checksums, record sets with their fields.

One record set a split, over a file set of its shards; field types follow the Arrow schema that the shards have. Left
out: the responsible-AI extension, whose content is the card's part "Limits".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artifact.provenance import file_sha256
from artifact.suremath.load import Published
from artifact.suremath.settings import SureMathSettings

PARQUET = "application/x-parquet"

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "samplingRate": "cr:samplingRate",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_TYPES = {"str": "sc:Text", "json": "sc:Text", "int": "sc:Integer", "float": "sc:Float", "bool": "sc:Boolean"}


def croissant(settings: SureMathSettings, folder: Path, files: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """The metadata as JSON-LD; `files` are the shards of each split below `folder`."""
    objects: list[dict[str, Any]] = []
    record_sets = []
    for split, paths in files.items():
        for path in paths:
            name = path.relative_to(folder).as_posix()
            objects.append(
                {
                    "@type": "cr:FileObject",
                    "@id": name,
                    "name": path.name,
                    "contentUrl": name,
                    "contentSize": f"{path.stat().st_size} B",
                    "encodingFormat": PARQUET,
                    "sha256": file_sha256(path),
                }
            )
        files_id = f"{split}-files"
        objects.append(
            {
                "@type": "cr:FileSet",
                "@id": files_id,
                "name": files_id,
                "encodingFormat": PARQUET,
                "includes": f"data/{split}-*.parquet",
            }
        )
        record_sets.append(
            {
                "@type": "cr:RecordSet",
                "@id": split,
                "name": split,
                "key": {"@id": f"{split}/id"},
                "field": [_field(split, files_id, column, kind) for column, kind in Published.COLUMNS.items()],
            }
        )
    where = {"url": settings.url} if settings.url else {}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": settings.name,
        "description": settings.description or settings.name,
        "version": settings.version,
        "license": settings.license,
        **where,
        "datePublished": settings.published,
        "creator": {"@type": "sc:Organization", "name": settings.creator},
        "citeAs": f"{settings.creator}: {settings.name}, version {settings.version}",
        "isLiveDataset": False,
        "distribution": objects,
        "recordSet": record_sets,
    }


def _field(split: str, files_id: str, column: str, kind: str) -> dict[str, Any]:
    repeated = kind.startswith("[")
    inner = {"[int]": "int", "[float]": "float", "[double]": "float", "[str]": "str"}.get(kind, kind)
    out: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{split}/{column}",
        "name": column,
        "dataType": _TYPES[inner],
        "source": {"fileSet": {"@id": files_id}, "extract": {"column": column}},
    }
    return out | {"repeated": True} if repeated else out
