"""A notebook as one self-contained page that reads as a paper: nothing from a network, code folded, captions below.

nbconvert makes the page. A code cell is a closed <details>: a click or a key opens it, one button opens all. A figure
or table that `report/notebook.py` showed is a <figure>: it is a link target, and the first one of each id in the
papers' list (`U-F2`) carries that id too, so that `page.html#U-F2` leads there. Formulas, which nbconvert leaves to
MathJax on a server elsewhere, are written as MathML by latex2mathml: browsers typeset that by themselves.

What a cell put out may hold text of models and data, so it cannot act: its HTML is cut to the elements of tables and
text, in its Markdown tags are text and links lead to the web or into the page, pictures in it are not fetched, and the
page forbids the browser every script but that of its button, and every address but its own. Left out: running the
notebook (`execute.py`), and notebooks' own Markdown cells, which are taken as they are.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import tostring

from nbformat import NotebookNode

from artifact.errors import ArtifactError
from artifact.escape import html_text, visible
from artifact.provenance import text_integrity
from artifact.report.notebook import SHOWN, caption_html, figure_html

OPEN_ALL = """const open = this.textContent.startsWith('Show');
document.querySelectorAll('details.code').forEach(d => { d.open = open; });
this.textContent = open ? 'Hide all code' : 'Show all code';"""
"""What the one button of a page does; the only script that a page lets a browser run."""

POLICY = (
    "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    f"form-action 'none'; script-src 'unsafe-hashes' '{text_integrity(OPEN_ALL)}'"
)
"""The page's content security policy."""

TEMPLATE = (
    """
{%- extends 'index.html.j2' -%}
{% block input_group %}
<details class="code"><summary>Code</summary>
{{ super() }}
</details>
{% endblock input_group %}
{% block body_header %}
{{ super() }}
<button type="button" class="all-code" onclick="OPEN_ALL">Show all code</button>
{% endblock body_header %}
{% block data_markdown %}
<div class="jp-RenderedHTMLCommon jp-RenderedMarkdown jp-OutputArea-output" data-mime-type="text/markdown">
{{ output.data['text/markdown'] | output2html }}
</div>
{% endblock data_markdown %}
"""
).replace("OPEN_ALL", OPEN_ALL)
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
    re.compile(rf"(\)</mo>)(?={NAME})"),
)
"""Where a function's name, as in p(c) log p, wants a thin space: before an argument without parentheses, unless the
name has a script of its own (there it is one of a fixed number of children), and after a closing parenthesis."""

MATHML_ATTRIBUTES = {
    *("xmlns", "display", "displaystyle", "scriptlevel", "mathvariant", "mathsize", "mathcolor", "mathbackground"),
    *("stretchy", "fence", "form", "separator", "accent", "accentunder", "movablelimits", "largeop", "symmetric"),
    *("lspace", "rspace", "width", "height", "depth", "voffset", "minsize", "maxsize", "linethickness", "notation"),
    *("columnalign", "columnlines", "columnspacing", "rowalign", "rowlines", "rowspacing", "bevelled"),
}
"""What an element of a formula may say of itself: nothing that links, runs or styles."""

TEXT_TAGS = (
    "a b blockquote br caption code col colgroup dd details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr i "
    "input label li mark ol p pre s small span strong sub summary sup table tbody td tfoot th thead tr u ul"
).split()
TEXT_STYLES = (
    "background background-color border border-collapse border-radius color display font-size font-style font-weight "
    "height margin margin-right max-width padding text-align vertical-align white-space width"
).split()
LEADS = re.compile(r"#|https?://|\d\d_\w+\.html(#[\w-]+)?$")
"""Links of an output that are kept: into the page, to the web, to the page of another notebook."""

SHOWN_AS_IS = {"text/plain", "text/markdown", "text/latex", "image/png", "image/jpeg", "image/svg+xml", "metadata"}
"""Kinds of output that the template makes harmless: text by escaping it, pictures by <img>."""


def mathml(formula: str, display: bool = False) -> str:
    """The MathML of a LaTeX `formula`, given without its dollar signs.

    Raises ArtifactError for one that latex2mathml cannot read, or of which it leaves a command as it stands.
    """
    from latex2mathml.converter import convert_to_element

    shown = formula if len(formula) <= 80 else f"{formula[:80]}…"
    if refused := re.search(r"\\(?:(?:re|provide)?newcommand|providecommand|def)\b", formula):
        raise ArtifactError(f"formula {shown!r} defines a command ({refused[0]}), which could expand without end")
    try:
        tree = convert_to_element(formula, display="block" if display else "inline")
    except Exception as err:  # whatever the library's parser stumbles over, a RecursionError too
        raise ArtifactError(f"formula {shown!r} cannot be read ({type(err).__name__}); check its LaTeX") from err
    for node in tree.iter():  # signs are entities in its text: as signs, they are escaped where they must be
        node.text, node.tail = unescape(node.text or ""), unescape(node.tail or "")
        if acting := set(node.keys()) - MATHML_ATTRIBUTES:
            raise ArtifactError(f"formula {shown!r} sets {', '.join(sorted(acting))}; a formula may only be typeset")
    made = tostring(tree, encoding="unicode")
    if "\\" in made:
        left = made[made.index("\\") :].split("<")[0]
        raise ArtifactError(f"formula {shown!r} has a command that MathML does not know: {left}; write it otherwise")
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
            return f"<code>{html_text(written)}</code>"

    class Renderer(IPythonRenderer):
        def block_math(self, body: str) -> str:
            return shown(body, f"$${body}$$", display=True)

        def inline_math(self, body: str) -> str:
            return shown(body, f"${body}$")

        def latex_environment(self, name: str, body: str) -> str:
            whole = rf"\begin{{{name}}}{body}\end{{{name}}}"
            return shown(whole, whole, display=True)

    class OutputRenderer(Renderer):
        """Of Markdown that a cell put out."""

        def link(self, text: str, url: str, title: str | None = None) -> str:
            leads = LEADS.match(url)
            return f'<a href="{html_text(url)}" rel="noreferrer">{text}</a>' if leads else text

        def image(self, text: str, url: str, title: str | None = None) -> str:
            return text

        def block_mermaidjs(self, code: str) -> str:
            return f"<pre><code>{html_text(code)}</code></pre>"

    class Exporter(HTMLExporter):
        def default_filters(self) -> Any:
            yield from super().default_filters()
            yield "output2html", self.output2html

        def output2html(self, source: str) -> str:
            renderer = OutputRenderer(escape=True, allow_harmful_protocols=False, exclude_anchor_links=True)
            return MarkdownWithMath(renderer=renderer).render(visible(source))

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


def harmless(notebook: NotebookNode) -> NotebookNode:
    """A copy of `notebook` whose outputs show text and pictures and do nothing; other kinds of output are left out."""
    from nbconvert.preprocessors.sanitize import SanitizeHTML

    cleaner = SanitizeHTML(
        tags=TEXT_TAGS,
        attributes={"*": _harmless_attribute},
        styles=TEXT_STYLES,
        safe_output_keys=SHOWN_AS_IS,
        sanitized_output_types={"text/html"},
    )
    out = copy.deepcopy(notebook)
    for cell in (c for c in out.cells if c.cell_type == "code"):
        for output in (o for o in cell.outputs if "text/html" in o.get("data", {})):
            output.data["text/html"] = _BUTTONS_ALONE.sub("", _STYLE.sub("", output.data["text/html"]))
        cell.outputs = cleaner.sanitize_code_outputs(cell.outputs)
    return out


_STYLE = re.compile(r"<style(?: scoped)?>.*?</style>", flags=re.DOTALL)
"""What pandas and the views of `artifact.inspect` put before what they show; the page has styles of its own."""

_BUTTONS_ALONE = re.compile(r"<input\b(?![^>]*\btype=[\"']?radio\b)[^>]*>?", flags=re.IGNORECASE)
"""Any field that is no radio button: nothing can be typed into an output, or sent from it."""

OF_BUTTONS = {"input": {"type", "name", "checked", "aria-label"}, "label": {"for"}, "div": {"role", "aria-label"}}
"""What the buttons of a view say of themselves besides what all elements may."""


def _harmless_attribute(tag: str, name: str, value: str) -> bool:
    """Whether an element of an output keeps an attribute: looks, spans, links into this page and those beside it."""
    within = name == "href" and not value.startswith("http") and LEADS.match(value)
    common = name in {"id", "class", "style", "scope", "colspan", "rowspan"}
    return common or bool(within) or (name in OF_BUTTONS.get(tag, ()) and (name != "type" or value == "radio"))


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
                shown = f'<img src="{source}" alt="{html_text(size["alt"])}" width="{size["width"]}">'
                caption = caption_html(facts["anchor"], facts["output"], facts["caption"])
                output.data["text/html"] = figure_html(facts["anchor"], shown, caption)
            if facts["output"] and facts["output"] not in anchored:
                anchored.add(facts["output"])
                output.data["text/html"] = f'<a id="{html_text(facts["output"])}"></a>\n{output.data["text/html"]}'
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
    page, _ = exporter.from_notebook_node(with_figures(harmless(notebook)), resources)
    head, body = page.split("</head>", 1)
    head = head.replace("<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">', 1)
    head = re.sub(r"<script\b.*?</script>", "", head, flags=re.DOTALL)  # libraries to be fetched; none is used
    from artifact.inspect.view import style_sheet

    views = f"<style>{style_sheet()}</style>\n" if 'class="artifact-view"' in body else ""
    return f"{head}{STYLE}{views}</head>{body}"
