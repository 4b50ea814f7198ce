"""A forked kernel against the one that Jupyter starts by itself, and what becomes of it when others end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from tests.book.toys import write
from tests.processes import alive, until

from artifact.book import execute as executing
from artifact.book import kernels
from artifact.book.execute import NotebookFailed, execute
from artifact.errors import ArtifactError

FACTS = """import os, sys, warnings, random
import matplotlib
print(os.getcwd(), sys.path, sys.argv[0].split("/")[-1], sys.executable, __name__, sys.stdin.read())
print(sorted(set(os.environ) - {"JPY_PARENT_PID"}), matplotlib.get_backend(), os.getsid(0) == os.getpid())
print(sys.flags, any("IProgress" in str(what) for _, what, *_ in warnings.filters))
print(type(get_ipython()).__name__, get_ipython().parent.parent.log_level, [n for n in sys.modules if "artifact" in n])
print("pandas" in sys.modules)"""

TABLE = """import pandas
pandas.DataFrame([[1.5] * 40] * 100)"""

FIGURE = """import matplotlib.pyplot as plt
plt.plot([1, 2]);"""


def run(folder: Path, name: str, *cells: str) -> list[list[Any]]:
    """The outputs of `cells`, of which the first stands behind the parameters."""
    source = write(folder, f"{name}.ipynb", *cells)
    done = execute(source, folder / "out" / source.name, {"tier": "tiny"}, log_path=folder / f"{name}.log")
    found = nbformat.read(done.notebook, as_version=4).cells
    return [[dict(output) for output in cell.outputs] for cell in found[-len(cells) :]]


def text(outputs: list[Any]) -> str:
    return "".join(output.get("text", "") for output in outputs)


def test_it_is_what_jupyters_own_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to how pandas writes a table: on its import it asks whether there is a terminal."""
    forked = run(tmp_path, "01_a", FACTS, TABLE, FIGURE, "'torch' in __import__('sys').modules")
    monkeypatch.setattr(executing, "FORKED", "local-provisioner")
    own = run(tmp_path, "01_a", FACTS, TABLE, FIGURE, "'torch' in __import__('sys').modules")
    assert forked[:-1] == own[:-1]
    assert forked[-1][0]["data"]["text/plain"] == "True" and own[-1][0]["data"]["text/plain"] == "False"


def test_kernels_share_a_process_to_come_from_and_nothing_else(tmp_path: Path) -> None:
    told = (
        "import os, random, artifact; artifact.left = 1; os.environ['LEFT'] = '1'\nprint(os.getppid(), random.random())"
    )
    first, second = (text(run(tmp_path, f"0{i}_a", told)[0]).split() for i in (1, 2))
    assert first[0] == second[0] != str(os.getpid()) and first[1] != second[1]
    asked = "import os, artifact; print(hasattr(artifact, 'left'), 'LEFT' in os.environ)"
    assert text(run(tmp_path, "03_a", asked)[0]) == "False False\n"


def test_the_folder_of_the_first_notebook_may_go(tmp_path: Path) -> None:
    kernels._server.cache_clear()
    run(tmp_path / "first", "01_a", "1")
    shutil.rmtree(tmp_path / "first")
    assert text(run(tmp_path / "second", "02_a", "import os; print(os.getcwd())")[0]) == f"{tmp_path / 'second'}\n"


def test_a_kernel_that_dies_is_told_and_the_next_one_lives(tmp_path: Path) -> None:
    with pytest.raises(NotebookFailed, match="the kernel ended") as caught:
        run(tmp_path, "01_a", "import os; os.kill(os.getpid(), 9)")
    assert caught.value.interrupted
    assert text(run(tmp_path, "02_a", "print('here')")[0]) == "here\n"


def test_a_server_that_died_is_told_and_the_next_one_serves(tmp_path: Path) -> None:
    server = int(text(run(tmp_path, "01_a", "import os; print(os.getppid())")[0]))
    os.kill(server, signal.SIGKILL)
    with pytest.raises(ArtifactError, match=r"its exit code: -9.*Start the command again"):
        run(tmp_path, "02_a", "print('here')")
    assert text(run(tmp_path, "03_a", "import os; print(os.getppid())")[0]) != f"{server}\n"


def test_an_interrupted_request_is_not_answered_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = kernels._server()
    with monkeypatch.context() as patch:
        patch.setattr(server, "_lines", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            server.fork(["-f", "nowhere"], str(tmp_path), {})
    assert kernels._server() is not server and server._process.wait(20) == -signal.SIGKILL


class Interrupted:
    """A channel on which Ctrl-C comes before the answer."""

    def write(self, text: str) -> None:
        """Taken."""

    def flush(self) -> None:
        raise KeyboardInterrupt


def test_what_ends_with_the_series_ends_though_nobody_tells_it(tmp_path: Path) -> None:
    """SIGKILL: kernel, server and what the kernel would have done are gone within seconds."""
    pids = tmp_path / "pids"
    told = f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}}')"
    source = write(tmp_path, "01_a.ipynb", f"import os, time\n{told}\ntime.sleep(300)")
    places = (
        f"Path({str(source)!r}), Path({str(tmp_path / 'out.ipynb')!r}), {{}}, log_path=Path({str(tmp_path)!r}, 'log')"
    )
    code = f"from pathlib import Path\nfrom artifact.book.execute import execute\nexecute({places})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as series:
        until(lambda: pids.is_file() and len(pids.read_text().split()) == 2, 120)
        series.kill()
    until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()), 20)


def test_what_ended_says_so_and_takes_no_more_signals() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as child:
        forked = kernels.Forked(child.pid)
        assert forked.poll() is None
        forked.terminate()
        assert forked.wait() == 1 and forked.poll() == 1
        forked.kill()
    assert child.returncode == -signal.SIGTERM
