"""A notebook as one self-contained page that reads as a paper: nothing from a network, code folded, captions below.

nbconvert makes the page. A code cell is a closed <details>: a click or a key opens it, one button opens all. A figure
or table that `report/notebook.py` showed is a <figure>: it is a link target, and the first one of each id in the
papers' list (`U-F2`) carries that id too, so that `page.html#U-F2` leads there. Formulas, which nbconvert leaves to
MathJax on a server elsewhere, are written as MathML by latex2mathml: browsers typeset that by themselves. Left out:
running the notebook (`execute.py`).
"""

from __future__ import annotations

import copy
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from artifact.errors import ArtifactError
from artifact.report.notebook import SHOWN, caption_html, figure_html

TEMPLATE = """
{%- extends 'index.html.j2' -%}
{% block input_group %}
<details class="code"><summary>Code</summary>
{{ super() }}
</details>
{% endblock input_group %}
{% block body_header %}
{{ super() }}
<button type="button" class="all-code" onclick="const open = this.textContent.startsWith('Show');
document.querySelectorAll('details.code').forEach(d => { d.open = open; });
this.textContent = open ? 'Hide all code' : 'Show all code';">Show all code</button>
{% endblock body_header %}
"""
STYLE = """<style>
main{max-width:62rem;margin:0 auto;padding:0 1rem 4rem}
.jp-Cell,.jp-RenderedHTMLCommon.jp-RenderedMarkdown.jp-MarkdownOutput{padding-left:0;padding-right:0}
.all-code{display:block;margin:1rem 0 0 auto;font:inherit;padding:.2rem .7rem;cursor:pointer}
details.code>summary{color:#666;cursor:pointer;font:.8rem system-ui,sans-serif;padding:.15rem 0;width:max-content}
details.code>summary:focus-visible,.all-code:focus-visible{outline:2px solid #0b5394}
figure{margin:1.2rem 0;max-width:100%;overflow-x:auto;scroll-margin-top:1rem}
figure img{max-width:100%;height:auto}
figure:target,a:target+figure{outline:2px solid #0b5394;outline-offset:.4rem}
figcaption{margin-top:.5rem;max-width:52rem;line-height:1.45}
figcaption small{color:#666}
.jp-RenderedHTMLCommon table{margin-left:0}
main .jp-RenderedHTML.jp-RenderedHTMLCommon :is(td,th){text-align:left;vertical-align:top}
</style>
"""

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

    own = tuple(e for e in vars(exceptions).values() if isinstance(e, type) and issubclass(e, Exception))
    unreadable: tuple[type[Exception], ...] = (*own, IndexError, KeyError, StopIteration)
    try:
        made = convert(formula, display="block" if display else "inline")
    except unreadable as err:
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
    is never lost for it.
    """
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


def with_figures(notebook: NotebookNode) -> NotebookNode:
    """A copy of `notebook` in which each image shown by `Notebook.figure` and its caption are one <figure>."""
    out, anchored = copy.deepcopy(notebook), set()
    for cell in (c for c in out.cells if c.cell_type == "code"):
        outputs = [o for o in cell.outputs if "caption_of" not in o.get("metadata", {}).get(SHOWN, {})]
        for output in outputs:
            facts = output.get("metadata", {}).get(SHOWN)
            if facts is None:
                continue
            image = output.data.pop("image/png", None)
            if image is not None:
                size = output.metadata["image/png"]
                source = f"data:image/png;base64,{image.strip()}"
                shown = f'<img src="{source}" alt="{escape(size["alt"])}" width="{size["width"]}">'
                caption = caption_html(facts["anchor"], facts["output"], facts["caption"])
                output.data["text/html"] = figure_html(facts["anchor"], shown, caption)
            if facts["output"] and facts["output"] not in anchored:
                anchored.add(facts["output"])
                output.data["text/html"] = f'<a id="{escape(facts["output"])}"></a>\n{output.data["text/html"]}'
        cell.outputs = outputs
    return out


def to_html(notebook: NotebookNode, folder: Path, title: str) -> str:
    """The page of an executed notebook; `folder` is where relative image paths of Markdown cells point from."""
    exporter = _exporter()(
        raw_template=TEMPLATE,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
        require_js_url="",
        jquery_url="",
        mathjax_url="",
    )
    resources = {"metadata": {"name": title, "path": str(folder)}}
    page, _ = exporter.from_notebook_node(with_figures(notebook), resources)
    head, body = page.split("</head>", 1)
    head = re.sub(r"<script\b.*?</script>", "", head, flags=re.DOTALL)  # libraries to be fetched; none is used
    return f"{head}{STYLE}</head>{body}"
