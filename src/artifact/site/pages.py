"""How a page of the site is written: Jinja templates that escape, one policy for all, data beside the page.

A page asks for nothing but files of its own folder: its policy forbids the browser every address of a network, and
every script within a page. Data that a page filters (rollouts, curves, lineage) lie in `data/<name>.js` as gzip in
base64, which a page opened from disk may load where it may not read a JSON file; `static/packs.js` unpacks them.
Left out: what stands on a page (`builder.py`).
"""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from artifact.escape import visible
from artifact.files import write_text
from artifact.inspect.view import style_sheet

HERE = Path(__file__).parent

POLICY = (
    "default-src 'none'; img-src 'self' file: data:; style-src 'self' file:; script-src 'self' file:; base-uri 'none'; "
    "form-action 'none'"
)
"""The content security policy of every page. Not every browser takes a neighbour on disk for `self`, hence `file:`."""


@dataclass(frozen=True)
class Pages:
    """The pages of the site in `out`; `common` are the facts that every template knows."""

    out: Path
    common: dict[str, Any]

    @cached_property
    def _environment(self) -> Any:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        made = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=lambda value: visible(value) if type(value) is str else value,
        )
        made.filters["count"] = lambda n: f"{n:,}"
        return made

    def write(self, name: str, template: str, **context: Any) -> Path:
        """Write the page `name` (`output/table-x.html`) from `template`; `root` leads from it to the site's folder."""
        root = "../" * name.count("/")
        known = {"root": root, "policy": POLICY, "here": name, **self.common, **context}
        text = self._environment.get_template(template).render(known)
        return write_text(self.out / name, text)

    def pack(self, name: str, value: Any) -> Path:
        """Write `value` as `data/<name>.js`, the same bytes for the same value."""
        plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
        packed = base64.b64encode(gzip.compress(plain, 9, mtime=0)).decode("ascii")
        return write_text(self.out / "data" / f"{name}.js", f"artifactPack({json.dumps(name)},{json.dumps(packed)})\n")

    def static(self) -> None:
        """Copy what all pages share: the styles, those of tokens among them, and the scripts."""
        (self.out / "static").mkdir(parents=True, exist_ok=True)
        for path in sorted((HERE / "static").iterdir()):
            shutil.copyfile(path, self.out / "static" / path.name)
        write_text(self.out / "static" / "view.css", style_sheet())
