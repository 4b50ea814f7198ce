"""A notebook as one self-contained page: styles, images and formulas inside, no script, nothing from a network.

nbconvert makes the page. Formulas, which it leaves to MathJax on a server elsewhere, are written as MathML by
latex2mathml: browsers typeset that by themselves. Left out: running the notebook (`execute.py`).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from artifact.errors import ArtifactError

NAME = r"<mi>(?:[a-z]{2,}|KL)</mi>"
OPENERS = ("<msub>", "<msup>", "<msubsup>", "<munder>", "<mover>", "<mfrac>")
SET_APART = (
    re.compile(rf"{''.join(f'(?<!{tag})' for tag in OPENERS)}({NAME})(?=<m(?:i|n|row|frac|su[bp]|subsup|over|under)>)"),
    re.compile(rf"((?:\)|&#x00029;)</mo>)(?={NAME})"),
)
"""Where a function's name, as in p(c) log p, wants a thin space: before an argument without parentheses, unless the
name has a script of its own (there it is one of a fixed number of children), and after a closing parenthesis."""


def mathml(formula: str, display: bool = False) -> str:
    """The MathML of a LaTeX `formula`, given without its dollar signs.

    Raises ArtifactError for one that latex2mathml cannot read, or of which it leaves a command as it stands.
    """
    from latex2mathml import exceptions
    from latex2mathml.converter import convert

    unreadable = tuple(e for e in vars(exceptions).values() if isinstance(e, type) and issubclass(e, Exception))
    try:
        made = convert(formula, display="block" if display else "inline")
    except (*unreadable, IndexError, KeyError, StopIteration) as err:
        raise ArtifactError(f"formula {formula!r} cannot be read ({type(err).__name__}); check its LaTeX") from err
    if "\\" in made:
        left = made[made.index("\\") :].split("<")[0]
        raise ArtifactError(f"formula {formula!r} has a command that MathML does not know: {left}; write it otherwise")
    for place in SET_APART:
        made = place.sub(r'\1<mspace width="0.17em" />', made)
    return made


@cache
def _exporter() -> type:
    """nbconvert's exporter with MathML in place of formulas for MathJax.

    What stands between dollar signs and is no formula (a price in a cell's output) is shown as it was written: a page
    is never lost for it. A test holds that the formulas of the project's notebooks all are some.
    """
    from html import escape

    from jinja2 import pass_context
    from nbconvert.exporters.html import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    def shown(formula: str, written: str, display: bool = False) -> str:
        try:
            return mathml(formula, display)
        except ArtifactError:
            return f"<code>{escape(written)}</code>"

    class Renderer(IPythonRenderer):
        def block_math(self, body: str) -> str:
            return shown(body, f"$${body}$$", display=True)

        def inline_math(self, body: str) -> str:
            return shown(body, f"${body}$")

        def latex_environment(self, name: str, body: str) -> str:
            whole = rf"\begin{{{name}}}{body}\end{{{name}}}"
            return shown(whole, whole, display=True)

    class Exporter(HTMLExporter):
        @pass_context
        def markdown2html(self, context: Any, source: str) -> str:
            renderer = Renderer(
                escape=False,
                attachments=context.get("cell", {}).get("attachments", {}),
                embed_images=self.embed_images,
                path=context.get("resources", {}).get("metadata", {}).get("path", ""),
                anchor_link_text=self.anchor_link_text,
                exclude_anchor_links=self.exclude_anchor_links,
            )
            return MarkdownWithMath(renderer=renderer).render(source)

    return Exporter


def to_html(notebook: Any, folder: Path, title: str) -> str:
    """The page of an executed notebook; `folder` is where relative image paths of Markdown cells point from."""
    exporter = _exporter()(template_name="lab", embed_images=True, require_js_url="", jquery_url="", mathjax_url="")
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title, "path": str(folder)}})
    head, body = page.split("</head>", 1)
    head = re.sub(r"<script\b.*?</script>", "", head, flags=re.DOTALL)  # libraries to be fetched; none is used
    return f"{head}</head>{body}"
