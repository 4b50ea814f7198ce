"""What is kept of an executed notebook: the same bytes each time, nothing of the clock, the machine or its folders."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from tests.book.toys import write

from artifact.book.executed import IN_ITS_PLACE, kept, stderr_of, tidy
from artifact.book.notebooks import check, run_notebook, target_of
from artifact.paths import project_root
from artifact.report.output_manifest import VARIABLE, in_words, say

ROOT = Path(__file__).resolve().parents[2]
SHOWS = """
import pandas as pd
from matplotlib.figure import Figure
from artifact.report.notebook import Notebook

book = Notebook(tier, overrides)
book.keys = ["k1"]
data = pd.DataFrame({"x": [1, 2], "note": ["2*3*4 <b>", "a|b $p$"]})
for name in ("one", "two"):
    fig = Figure(figsize=(2, 1))
    fig.subplots().plot(data["x"])
    book.figure((fig, data), name, f"Figure {name} & its <axes>.", output="U-F2")
book.table(data, "one", "A table.", output="U-T1")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A toy notebook run twice from scratch: its copies, its page, its record, and what the terminal said."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("project")
    results = folder / "results"
    path = write(
        folder / "notebooks",
        "01_a.ipynb",
        SHOWS,
        "import time\nfrom artifact.report.output_manifest import say\nsay(f'[1/1] trained in {1 + 2} s')\n"
        "print('one', flush=True); time.sleep(0.3); print('two')",
        "import time, os\nprint('took', time.time(), 'on', os.uname().nodename)",
        "import warnings\nwarnings.warn('old habit')\nprint(book.config.tier)",
        "from artifact.paths import results_dir, project_root\n"
        "print(results_dir() / 'runs' / 'abc'); print(project_root() / 'notebooks')",
        volatile=(2,),
    )
    found: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setenv("ARTIFACT_RESULTS", str(results))
        patch.setenv("ARTIFACT_FIGURES", str(folder / "figures"))
        for turn in ("first", "second"):
            run_notebook(path, "tiny", force=True)
            found[turn] = target_of(path, "tiny").read_text()
        target = target_of(path, "tiny")
        found |= {"page": target.with_suffix(".html").read_text(), "record": target.with_suffix(".json").read_text()}
        assert check(path, "tiny", [])[2] is None
    return found | {"terminal": said.getvalue(), "results": str(results), "folder": str(folder)}


def test_executing_twice_gives_the_same_bytes(run: dict[str, str]) -> None:
    assert run["first"] == run["second"]
    notebook = nbformat.reads(run["first"], as_version=4)
    nbformat.validate(notebook)
    assert [c.id for c in notebook.cells[:4]] == ["a-00", "a-01", "a-01-injected", "a-02"]


def test_nothing_of_clock_machine_and_folders_is_kept(run: dict[str, str]) -> None:
    import platform

    copy = run["first"]
    for word in ("papermill", "duration", "start_time", "stderr", "widget", run["folder"], str(ROOT), "took 1"):
        assert word not in copy, word
    assert platform.node() not in re.sub(r'"image/png": "[^"]*"', "", copy)
    assert "results/runs/abc" in copy and '"one\\n"' in copy and '"two\\n"' in copy
    outputs = {c.id: c.outputs for c in nbformat.reads(copy, as_version=4).cells if c.cell_type == "code"}
    assert [o.name for o in outputs["a-03"]] == ["stdout"], "a stream in pieces would depend on timing"
    assert [o.data["text/markdown"] for o in outputs["a-04"]] == [IN_ITS_PLACE]
    assert [o.text for o in outputs["a-05"]] == ["tiny\n"], "a warning is kept out, the output stays"


def test_times_and_provenance_lie_in_the_record(run: dict[str, str]) -> None:
    record = json.loads(run["record"])
    assert {"seconds", "commit", "source", "lock", "python", "platform", "fingerprint"} <= record.keys()
    assert list(record["stderr"]) == ["a-05"] and "old habit" in record["stderr"]["a-05"]


def test_progress_and_files_are_said_on_the_terminal_and_not_in_the_page(run: dict[str, str]) -> None:
    assert "    | [1/1] trained in 3 s\n" in run["terminal"]
    assert re.search(r"    \| made: .*/figures/tiny/one \(\.png, \.pdf, \.csv, \.json\)\n", run["terminal"])
    assert "warning: 01_a.ipynb, cell a-05 wrote to stderr" in run["terminal"]
    for where in ("page", "first"):
        assert "made: " not in run[where] and "trained in 3 s" not in run[where]
    assert "took 1" in run["page"], "the page shows what the copy leaves out"


def test_said_without_a_runner_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    say("by hand")
    assert capsys.readouterr().out == "by hand\n"


def test_captions_stand_below_and_ids_are_link_targets(run: dict[str, str]) -> None:
    page = run["page"]
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "an id is there once"
    assert {"figure-one", "figure-two", "table-one", "U-F2", "U-T1"} <= set(ids)
    assert page.index('id="U-F2"') < page.index('<figure id="figure-one">') < page.index('<figure id="figure-two">')
    assert set(re.findall(r'class="output-id" href="#([^"]+)"', page)) == {"figure-one", "figure-two", "table-one"}
    for block in re.findall(r"<figure id=.*?</figure>", page, flags=re.DOTALL):
        assert block.count("<figcaption>") == 1
        content = max(block.find("<img"), block.find("<table"))
        assert 0 < content < block.index("<figcaption>")
    assert page.count("Figure one &amp; its &lt;axes&gt;.</figcaption>") == 1, "said once, escaped"
    assert 'alt="Figure one &amp; its &lt;axes&gt;."' in page


def test_a_table_shows_its_cells_as_they_are(run: dict[str, str]) -> None:
    assert "<td>2*3*4 &lt;b&gt;</td>" in run["page"] and "<td>a|b $p$</td>" in run["page"]
    assert "tier: tiny — embedded CPU tier, not a paper number" in run["page"]


def test_a_copy_is_readable_where_only_the_notebook_is(run: dict[str, str]) -> None:
    """A code host shows images and HTML of outputs: the image is an image, its caption follows."""
    shown = next(c for c in nbformat.reads(run["first"], as_version=4).cells if c.id == "a-02")
    kinds = [next(k for k in ("image/png", "text/html") if k in o.data) for o in shown.outputs]
    assert kinds == ["image/png", "text/html", "image/png", "text/html", "text/html"]
    assert "U-F2" in shown.outputs[1].data["text/html"] and "<table" in shown.outputs[4].data["text/html"]


def test_images_are_left_as_they_are() -> None:
    """A folder's name may occur in base64 by chance; only texts are made portable."""
    folder = str(project_root())
    output = new_output("display_data", {"image/png": folder, "text/plain": f"{folder}/x"})
    cell = new_code_cell("0", outputs=[output, new_output("stream", name="stderr", text="w")])
    notebook = tidy(new_notebook(cells=[cell]))
    assert dict(notebook.cells[0].outputs[0].data) == {"image/png": folder, "text/plain": "x"}
    assert stderr_of(notebook) == {cell.id: "w"} and stderr_of(kept(notebook)) == {}


def test_git_keeps_the_copies_of_the_embedded_tier_only() -> None:
    def ignored(name: str) -> bool:
        done = subprocess.run(["git", "-C", str(ROOT), "check-ignore", "-q", f"results/notebooks/{name}"], check=False)
        if done.returncode > 1:
            pytest.skip("not a git clone")
        return done.returncode == 0

    assert not ignored("tiny/01_a.ipynb")
    for name in ("01_a.html", "01_a.json", "01_a.failed.ipynb", "01_a.partial.ipynb", "01_a.ipynb.partial"):
        assert ignored(f"tiny/{name}"), name
    assert ignored("paper/01_a.ipynb")


def test_lines_for_the_terminal() -> None:
    root = project_root()
    made = [{"path": str(root / "figures" / f"a.{s}")} for s in ("png", "pdf")] + [{"path": "/elsewhere/b.md"}]
    assert list(in_words([{"said": "x"}, {"said": "x"}, *made])) == [
        "x",
        "x",
        "made: figures/a (.png, .pdf)",
        "made: /elsewhere/b (.md)",
    ]
