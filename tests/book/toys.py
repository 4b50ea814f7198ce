"""Small notebooks for the tests of this folder: a heading, a parameters cell, and the cells that a test is about."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = 'tier = "wrong"\noverrides: list[str] = []\n'


def write(
    folder: Path, name: str, *cells: str, parameters: str | None = PARAMETERS, volatile: tuple[int, ...] = ()
) -> Path:
    """A notebook with a heading, a parameters cell and `cells`; those at the places `volatile` are tagged so."""
    notebook = new_notebook()
    notebook.cells.append(new_markdown_cell("# A title\nText.", id="a-00"))
    if parameters is not None:
        notebook.cells.append(new_code_cell(parameters, id="a-01", metadata={"tags": ["parameters"]}))
    for i, cell in enumerate(cells):
        metadata = {"tags": ["volatile"]} if i in volatile else {}
        notebook.cells.append(new_code_cell(cell, id=f"a-{i + 2:02d}", metadata=metadata))
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / name)
    return folder / name
