"""Nothing that is published says whose machine it was: no absolute path, no host, no user."""

from __future__ import annotations

import getpass
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_notebook, new_output
from tests.studies.stored import stored

from artifact.book.executed import tidy
from artifact.book.page import to_html
from artifact.book.summary import entries, markdown, page
from artifact.paths import project_root, published, results_dir
from artifact.report.outputs import save_figure, save_table
from artifact.studies.benchmark_results import write_report
from artifact.studies.runlog import RunLog

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("results", "figures", "notebooks", "paper")
ABSOLUTE = re.compile(
    rb"(?<![\w.~/:\-])/(?:home|root|Users|tmp|var|opt|usr|mnt|work|srv|data|private|proc|etc|scratch)/[\w.\-]"
    rb"|[A-Za-z]:\\\\?(?:Users|home)|file:/"
)


def mine() -> re.Pattern[bytes]:
    """The host, the user and the folders of this machine; a name of few letters only as a word of its own kind."""
    names = {socket.gethostname(), getpass.getuser()} - {"root", "localhost"}
    found = [
        rf"(?<![\w.-]){re.escape(name)}(?![\w.-])" if len(name) > 3 else rf"(?:@|host\W{{1,4}}|\.){name}\b"
        for name in names
    ]
    folders = [re.escape(str(p)) for p in (ROOT, Path.home(), Path(sys.prefix)) if len(str(p)) > 5]
    return re.compile("|".join([*found, *folders]).encode())


def told(path: Path) -> list[str]:
    """What a file gives away, by name or by content; pictures within texts are no texts."""
    content = re.sub(rb'"image/png": "[^"]*"|base64,[A-Za-z0-9+/=\\n]+', b"", path.read_bytes())
    found = [m[0] for pattern in (ABSOLUTE, mine()) for m in pattern.finditer(content)]
    if path.suffix in (".png", ".pdf", ".parquet"):  # compressed: what looks like a path there is chance
        found = [m[0] for m in mine().finditer(content)]
    found += [m[0] for m in mine().finditer(str(path.name).encode())]
    return [f"{path}: {m!r}" for m in found]


def test_the_scan_sees_what_it_looks_for(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in (f'"{ROOT}/x"', '"/home/ann/models"', "at /root/x", "C:\\\\Users\\\\ann", f"on {Path.home()}/y"):
        file.write_text(text)
        assert told(file), text
    for text in ("x/home/y", "https://a.b/data/c", "results/runs/a", "and/or", "1/2", "</tmp>"):
        file.write_text(text)
        assert not told(file), text


def test_what_is_committed_says_nothing_of_a_machine() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", *FOLDERS], capture_output=True, text=True, check=False
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    files = files or [p for folder in FOLDERS for p in (ROOT / folder).rglob("*") if p.is_file()]
    assert len(files) > 100
    assert [line for file in files if file.is_file() for line in told(file)] == []


def test_what_is_made_now_says_nothing_of_a_machine(results: Path) -> None:
    frame, fig = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}), Figure(figsize=(2, 1))
    fig.subplots().plot(frame["x"])
    save_figure(fig, "dot", frame, tier="tiny", keys=["k"], caption="c")
    save_table(frame, "dot", tier="tiny", keys=["k"], caption="c")
    places = (results_dir() / "runs", project_root() / "models", Path.home() / "x.py", Path(sys.prefix) / "lib/a.py")
    said = "".join(f"{place}: old habit\n" for place in places)
    outputs = [
        new_output("stream", name="stderr", text=said),
        new_output("display_data", {"text/html": f"<p>{said}</p>", "text/markdown": said, "text/plain": said}),
    ]
    made = results / "page.html"
    made.write_text(
        to_html(tidy(new_notebook(cells=[new_code_cell("0", outputs=outputs)])), ROOT, "t"), encoding="utf-8"
    )
    (results / "index.html").write_text(page("tiny", "d", entries("tiny")) + markdown("tiny", "d", entries("tiny")))
    write_report([stored(results, "a"), stored(results, "b", samples=2)], graders=True)
    files = [p for p in results.rglob("*") if p.is_file()]
    assert len(files) > 12
    assert [line for file in files for line in told(file)] == []
    table = pd.read_csv(next(results.rglob("benchmarks.csv")))
    assert table["folder"].tolist()[0] == "results/evaluations/a", "and still leads to the responses"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("HuggingFaceTB/SmolLM2", "HuggingFaceTB/SmolLM2"),
        ("models/tiny/student", "models/tiny/student"),
        ("ROOT/models/tiny/student", "models/tiny/student"),
        ("RESULTS/runs/a/weights", "results/runs/a/weights"),
        ("/home/ann/models/mine", "mine"),
    ],
)
def test_a_path_as_anyone_may_read_it(path: str, said: str, results: Path) -> None:
    assert published(path.replace("ROOT", str(project_root())).replace("RESULTS", str(results))) == said


def test_tensorboard_files_do_not_name_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads any file with `tfevents` in its name, so the host in it can go; a resumed run has several."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(socket, "gethostname", lambda: "ann-laptop.lan")
    for step in range(3):
        log = RunLog(tmp_path, "a", progress=False)
        log.step(step, [], {"loss": float(step)}, {})
        log.close()
    names = sorted(p.name for p in (tmp_path / "tensorboard").iterdir())
    assert len(names) == 3 and all(re.fullmatch(r"events\.out\.tfevents\.\d+\.00\d", n) for n in names)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.value for e in events.Scalars("loss")]
    assert not any(b"ann-laptop" in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_manifests_name_files_relatively(results: Path) -> None:
    infos = [stored(results, "a")]
    write_report(infos, results / "out")
    record = json.loads((results / "out" / "report.json").read_text())
    assert set(record["files"]) == {"benchmarks.md", "benchmarks.csv", "responses.parquet"}
