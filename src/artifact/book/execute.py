"""One notebook, headless: papermill runs it, `page.py` makes a page of it, `executed.py` the copy that is kept.

The kernel is this very interpreter (a private kernel specification is made for the run, so nothing installed elsewhere
can be picked up), a fork of one that has imported the libraries (`kernels.py`), without the user's IPython start-up
files. Page and copy have their names only when both are whole.
Left out: which notebooks run, with what parameters, and when one may be skipped (`notebooks.py`).
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from artifact.book.executed import kept, stderr_of, tidy
from artifact.book.kernels import FORKED, register
from artifact.book.page import to_html
from artifact.errors import ArtifactError
from artifact.escape import visible
from artifact.files import write_text
from artifact.report.output_manifest import VARIABLE, in_words, read_entries, read_made, read_wait

KERNEL = "artifact-this-python"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotebookFailed(ArtifactError):
    """A cell raised, timed out, or the kernel died. `interrupted` is True where going on would make no sense."""

    def __init__(self, message: str, interrupted: bool = False) -> None:
        super().__init__(message)
        self.interrupted = interrupted


@dataclass(frozen=True)
class Executed:
    """What one execution left behind: two files, the announcements of `record_made`, seconds, stderr by cell id.

    waited_s  of the seconds, those in which runs of studies were trained or waited for
    """

    notebook: Path
    page: Path
    made: list[dict[str, Any]]
    seconds: float
    stderr: dict[str, str]
    waited_s: float


class Lines(io.TextIOBase):
    """Writes a notebook's output to a log file and, line by line with a margin, to the terminal.

    A progress bar rewrites its line with carriage returns; only the last state of a line is shown and kept, without
    colours and other orders to a terminal, which text of a model could give as well.
    """

    def __init__(self, log: TextIO, terminal: TextIO) -> None:
        self.log, self.terminal, self.rest = log, terminal, ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            shown = visible(_ANSI.sub("", line.rstrip("\r").rsplit("\r", 1)[-1]))
            self.log.write(shown + "\n")
            self.terminal.write(f"    | {shown}\n")
        self.log.flush()
        self.terminal.flush()
        return len(text)


@contextmanager
def _followed(announcements: Path, lines: Lines, heard: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, `lines` tells what the kernel announces, as it comes; `heard` is given each line."""
    done = threading.Event()

    def follow() -> None:
        told, last = 0, False
        while not last:
            last = done.wait(0.5)
            entries = read_entries(announcements)
            for line in in_words(entries[told:]):
                lines.write(line + "\n")
                heard(line)
            told = len(entries)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _kernel_environment() -> Iterator[Path]:
    """A temporary folder that holds the kernel specification and the announcements; the environment points to it."""
    with tempfile.TemporaryDirectory(prefix="artifact-kernel-") as name:
        folder = Path(name)
        spec = folder / "kernels" / KERNEL
        spec.mkdir(parents=True)
        (folder / "ipython").mkdir()
        register()
        stated: dict[str, Any] = {"display_name": "Python", "language": "python"}
        stated["argv"] = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
        stated["metadata"] = {"kernel_provisioner": {"provisioner_name": FORKED}}
        (spec / "kernel.json").write_text(json.dumps(stated))
        values = {
            "JUPYTER_PATH": name,
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "IPYTHONDIR": str(folder / "ipython"),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # Jupyter's, before matplotlib is imported
            "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm asks for widgets; pages here are static
            VARIABLE: str(folder / "made.jsonl"),
        }
        before = {key: os.environ.get(key) for key in values}
        os.environ.update(values)
        try:
            yield folder
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value


def describe_failure(err: Any) -> str:
    """A papermill error as a few lines: which cell, its first lines, and the end of the traceback without colours."""
    trace = _ANSI.sub("", "\n".join(err.traceback)).splitlines()
    source = err.source.splitlines()
    shown = [f"    {line}" for line in source[:6]] + (["    …"] if len(source) > 6 else [])
    tail = [f"    {line}" for line in trace[-14:]]
    return "\n".join(
        [f"cell {err.cell_index + 1} raised {err.ename}: {err.evalue}", *shown, "  traceback (end):", *tail]
    )


def _run(source: Path, partial: Path, parameters: dict[str, Any], lines: Lines, cell_timeout_s: float | None) -> None:
    """papermill on `source`; whatever goes wrong in the kernel is a NotebookFailed. `partial` then holds what ran."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            str(source),
            str(partial),
            parameters=parameters,
            kernel_name=KERNEL,
            language="python",
            cwd=str(source.parent),
            progress_bar=lines.terminal.isatty(),
            stdout_file=lines,
            stderr_file=lines,
            start_timeout=180,
            execution_timeout=cell_timeout_s,
        )
    except PapermillExecutionError as err:
        raise NotebookFailed(f"{source.name}: {describe_failure(err)}") from None
    except CellTimeoutError as err:
        message = str(err).splitlines()[0]
        raise NotebookFailed(f"{source.name}: {message}; allow more with --cell-timeout") from None
    except DeadKernelError as err:
        message = f"the kernel ended ({err}): it was interrupted, or the machine ran out of memory"
        raise NotebookFailed(f"{source.name}: {message}", interrupted=True) from None


def execute(
    source: Path,
    target: Path,
    parameters: dict[str, Any],
    *,
    log_path: Path,
    cell_timeout_s: float | None = None,
    terminal: TextIO | None = None,
    heard: Callable[[str], None] = lambda line: None,
) -> Executed:
    """Run `source` with `parameters` and write `target` (.ipynb, without what is volatile) and its page (.html).

    `heard` is called with each line that the notebook says of its progress, from another thread.
    Raises NotebookFailed with the failing cell; the partial copy is then kept as `<name>.failed.ipynb` and older
    results stay untouched.
    """
    import nbformat

    terminal = terminal or sys.stdout
    target.parent.mkdir(parents=True, exist_ok=True)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.stem + ".partial.ipynb")
    failed = target.with_name(target.stem + ".failed.ipynb")
    start = time.monotonic()
    with _kernel_environment() as folder, log_path.open("w", encoding="utf-8") as log:
        announcements = folder / "made.jsonl"
        try:
            with _followed(announcements, Lines(log, terminal), heard):
                _run(source, partial, parameters, Lines(log, terminal), cell_timeout_s)
        except NotebookFailed as err:
            partial.replace(failed)
            raise NotebookFailed(f"{err}\n  partial copy: {failed}; output: {log_path}", err.interrupted) from None
        made, waited_s = read_made(announcements), read_wait(announcements)
    seconds = time.monotonic() - start
    notebook = tidy(nbformat.read(partial, as_version=4))
    page = to_html(notebook, source.parent, source.stem)
    write_text(target, nbformat.writes(kept(notebook)) + "\n")
    write_text(target.with_suffix(".html"), page)
    partial.unlink()
    failed.unlink(missing_ok=True)
    return Executed(target, target.with_suffix(".html"), made, seconds, stderr_of(notebook), waited_s)
