"""What all views have in common: one template each, one style sheet, escaped text, no script.

A template sees `view`. Autoescape is on, and what no reader can see but a browser obeys is written out
(`escape.visible`), for every value that a template prints. Tokens change colour, and show what the models say of them,
by radio buttons and style sheet alone: arrow keys walk along a response, a click pins a token, and a page that cuts
scripts out (`book/page.py`) loses nothing.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from artifact.escape import visible
from artifact.files import write_text

_NUMBER = itertools.count(1)
"""Numbers of views, so that the radio buttons of two on one page are two groups."""


@cache
def style_sheet() -> str:
    """The style sheet of all views."""
    return files("artifact.inspect").joinpath("view.css").read_text(encoding="utf-8")


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("artifact.inspect"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )


class View(ABC):
    """Something to look at. A subclass names its `template`, and says what it shows in `title` and `to_frame`."""

    template: ClassVar[str]
    title: str = ""

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """What the view shows, as a frame."""

    def fragment(self, template: str | None = None, name: str | None = None) -> str:
        """The view as a piece of HTML, without its style sheet.

        template  another than its own, for a part of it
        name      tells its radio buttons from those of other pieces of a page (default: one of its own)
        """
        found: str = (
            _environment().get_template(template or self.template).render(view=self, number=name or next(_NUMBER))
        )
        return f'<div class="artifact-view">\n{found}\n</div>'

    def _repr_html_(self) -> str:
        return f"<style>{style_sheet()}</style>\n{self.fragment()}"

    def to_html(self, path: str | Path | None = None) -> str:
        """A whole page that needs nothing beside it; written to `path` where one is given."""
        page: str = (
            _environment()
            .get_template("page.html.jinja")
            .render(title=self.title, style=style_sheet(), body=self.fragment())
        )
        if path is not None:
            write_text(Path(path), page)
        return page
