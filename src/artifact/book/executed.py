"""What is kept of an executed notebook: the same bytes whenever and wherever the same results are read.

`tidy` is for both readers, page and copy: paths below the project are relative, pieces of one stream are one, and what
no reader sees but a browser or terminal obeys is written out. `kept` is
the copy for a code host: no times, hosts, widgets or stderr, ids that do not change, and of a cell tagged `volatile`
(its output holds seconds, or facts of the machine) a line in place of the output. Left out: executing (`execute.py`).
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from artifact.escape import visible, visible_html
from artifact.paths import figures_dir, project_root, results_dir

VOLATILE = "volatile"
IN_ITS_PLACE = "*Shown in the page: seconds, or facts of the machine that ran it.*"


def _portable(value: Any, folders: dict[str, str], shown: Callable[[str], str] = visible) -> Any:
    """`value` with every text in it `visible` and free of absolute paths into `folders`; images stay as they are."""
    if isinstance(value, str):
        for folder, name in folders.items():
            value = value.replace(folder, name)
        return shown(value)
    if isinstance(value, list):
        return [_portable(item, folders, shown) for item in value]
    if isinstance(value, dict):
        return NotebookNode(
            {
                key: item
                if key.startswith("image/")
                else _portable(item, folders, visible_html if key == "text/html" else shown)
                for key, item in value.items()
            }
        )
    return value


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs with neighbouring pieces of one stream put together: where a stream is cut depends on timing."""
    out: list[NotebookNode] = []
    for output in outputs:
        before = out[-1] if out else None
        if before is not None and before.output_type == output.output_type == "stream" and before.name == output.name:
            before.text += output.text
        else:
            out.append(copy.deepcopy(output))
    return out


def tidy(notebook: NotebookNode) -> NotebookNode:
    """A copy of `notebook` as its readers see it: streams in one piece, paths into the project without the project."""
    home = str(Path.home())
    folders = {
        str(figures_dir()): "figures",
        str(results_dir()): "results",
        f"{project_root()}/": "",
        str(project_root()): ".",
        sys.prefix: "environment",
        **({} if home == "/" else {home: "~"}),
    }
    out = copy.deepcopy(notebook)
    for cell in out.cells:
        if cell.cell_type == "code":
            cell.outputs = [_portable(output, folders) for output in _joined(cell.outputs)]
    return out


def stderr_of(notebook: NotebookNode) -> dict[str, str]:
    """Cell id → what it wrote to stderr: a warning has no place in a page, and its cause is to be removed."""
    return {
        cell.id: "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stderr")
        for cell in notebook.cells
        if cell.cell_type == "code" and any(o.output_type == "stream" and o.name == "stderr" for o in cell.outputs)
    }


def kept(notebook: NotebookNode) -> NotebookNode:
    """The copy of a tidy notebook that is stored in the repository."""
    out = copy.deepcopy(notebook)
    out.metadata = NotebookNode(
        {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
            **({"artifact": out.metadata["artifact"]} if "artifact" in out.metadata else {}),
        }
    )
    before = "start"
    for cell in out.cells:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.id = f"{before}-injected"
        before = cell.id
        cell.metadata = NotebookNode({"tags": tags} if tags else {})
        if cell.cell_type != "code":
            continue
        cell.outputs = [o for o in cell.outputs if not (o.output_type == "stream" and o.name == "stderr")]
        if VOLATILE in tags and cell.outputs:
            cell.outputs = [new_output("display_data", {"text/markdown": IN_ITS_PLACE, "text/plain": IN_ITS_PLACE})]
    return out
