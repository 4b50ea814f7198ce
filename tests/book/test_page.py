"""Pages: formulas as MathML against markup written by hand, and nothing that a reader would have to fetch."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from artifact.book.page import mathml, to_html
from artifact.errors import ArtifactError

NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


def outline(formula: str) -> str:
    """The MathML of a formula as nested names and texts, without the wrapping <math> and <mrow>."""

    def walk(node: ElementTree.Element) -> str:
        inner = " ".join(walk(child) for child in node) or (node.text or "")
        return f"{node.tag.removeprefix(NAMESPACE)}({inner})"

    row = ElementTree.fromstring(mathml(formula))[0]
    return " ".join(walk(child) for child in row)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("y_t", "msub(mi(y) mi(t))"),
        (r"\frac{1}{|y|}", "mfrac(mrow(mn(1)) mrow(mo(|) mi(y) mo(|)))"),
        (r"x \mid y_{<t}", "mi(x) mo(∣) msub(mi(y) mrow(mo(<) mi(t)))"),
    ],
)
def test_formulas_become_mathml(formula: str, expected: str) -> None:
    assert outline(formula) == expected
    assert 'display="inline"' in mathml(formula) and 'display="block"' in mathml(formula, display=True)


def test_a_function_is_set_apart_from_its_neighbours() -> None:
    assert "<mi>log</mi><mspace" in mathml(r"\log p")
    assert "<mspace" not in mathml(r"\log(p)")
    assert outline(r"p(c)\log(x)").split("mspace()")[1].startswith(" mi(log)")
    assert outline(r"\log_2 x") == "msub(mi(log) mn(2)) mi(x)", "a script keeps its two children"


@pytest.mark.parametrize("formula", [r"\nosuchcommand{x}", r"a_b_c", r"\left( x", "a^b^c", r"\begin{matrix} a"])
def test_a_formula_that_cannot_be_typeset_is_named(formula: str) -> None:
    with pytest.raises(ArtifactError, match=re.escape(repr(formula))):
        mathml(formula)


def test_a_page_holds_all_it_needs(tmp_path: Path) -> None:
    cells = [
        new_markdown_cell("Weight $w = 1 - H/\\log N$, and\n\n$$\\sum_c p(c) = 1$$\n\nnot in code: `$x$`."),
        new_code_cell("cost = '$5'"),
        new_code_cell("0", outputs=[new_output("display_data", {"text/markdown": "found $p < 0.05$"})]),
    ]
    page = to_html(new_notebook(cells=cells), tmp_path, "title")
    assert page.count("<math") == 3 and page.count('display="block"') == 1
    assert "<code>$x$</code>" in page and "$5" in page
    assert "<script" not in page and not re.search(r"""(?:src|href)=["']https?:""", page)
    assert "<title>title</title>" in page


def test_code_is_folded_and_opens_without_a_script(tmp_path: Path) -> None:
    """A closed <details> for each code cell is opened by a click or by the keyboard, in any browser."""
    cells = [new_markdown_cell("Prose."), new_code_cell("a = 1"), new_code_cell("print(a)")]
    page = to_html(new_notebook(cells=cells), tmp_path, "title")
    folded = re.findall(r'<details class="code"><summary>Code</summary>(.*?)</details>', page, flags=re.DOTALL)
    assert len(folded) == 2 and all("highlight" in block for block in folded) and "Prose." not in "".join(folded)
    assert "In&nbsp;[" not in page and "Prompt jp-" not in page
    assert len(re.findall(r'<button class="all-code"[^>]* type="button">Show all code<', page, flags=re.DOTALL)) == 1


def test_what_is_no_formula_is_shown_as_it_was_written(tmp_path: Path) -> None:
    said = new_output("display_data", {"text/markdown": "from $a_b_c < 1$ on"})
    page = to_html(new_notebook(cells=[new_code_cell("0", outputs=[said])]), tmp_path, "title")
    assert "from <code>$a_b_c &lt; 1$</code> on" in page and "<math" not in page


def test_every_formula_of_the_project_can_be_typeset() -> None:
    root = Path(__file__).parents[2] / "notebooks"
    sources = sorted(root.glob("*.ipynb"))
    assert sources
    for path in sources:
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [c for c in notebook.cells if c.cell_type == "markdown"]
        written = sum(len(re.findall(r"\$\$.+?\$\$|\$[^$\n]+?\$", c.source, flags=re.DOTALL)) for c in notebook.cells)
        assert to_html(notebook, root, path.stem).count("<math") == written, path.name


def test_links_of_an_output_lead_into_the_pages_and_nowhere_else(tmp_path: Path) -> None:
    kept = ["#table-x", "07_uopd_training.html#table-uopd_claimed", "03_entropy.html"]
    lost = ["../../secret.html", "file:///etc/passwd", "07_a.html/../../x", "javascript:alert(1)", "07_uopd.html?x=1"]
    text = "\n".join(f"- [a link]({url})" for url in [*kept, *lost])
    raw = "".join(f'<a href="{url}">a link</a>' for url in [*kept, *lost])
    outputs = [new_output("display_data", {"text/markdown": text}), new_output("display_data", {"text/html": raw})]
    page = to_html(new_notebook(cells=[new_code_cell("0", outputs=outputs)]), tmp_path, "a")
    for url in kept:
        assert page.count(f'href="{url}"') == 2, url
    for url in lost:
        assert f'href="{url}"' not in page, url
