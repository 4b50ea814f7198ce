"""One notebook, headless: papermill runs it, `page.py` makes a page of it; neither has its name until it is whole.

The kernel is this very interpreter (a private kernel specification is made for the run, so nothing needs to be
registered and nothing installed elsewhere can be picked up), without the user's IPython start-up files.
Left out: which notebooks run, with what parameters, and when one may be skipped (`notebooks.py`).
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from artifact.book.page import to_html
from artifact.errors import ArtifactError
from artifact.report.output_manifest import VARIABLE, read_made

KERNEL = "artifact-this-python"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotebookFailed(ArtifactError):
    """A cell raised, timed out, or the kernel died. `interrupted` is True where going on would make no sense."""

    def __init__(self, message: str, interrupted: bool = False) -> None:
        super().__init__(message)
        self.interrupted = interrupted


@dataclass(frozen=True)
class Executed:
    """What one execution left behind: the two files, the announcements of `record_made`, wall-clock seconds."""

    notebook: Path
    page: Path
    made: list[dict[str, Any]]
    seconds: float


class Lines(io.TextIOBase):
    """Writes a notebook's output to a log file and, line by line with a margin, to the terminal.

    A progress bar rewrites its line with carriage returns; only the last state of a line is shown and kept.
    """

    def __init__(self, log: TextIO, terminal: TextIO) -> None:
        self.log, self.terminal, self.rest = log, terminal, ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            shown = line.rstrip("\r").rsplit("\r", 1)[-1]
            self.log.write(shown + "\n")
            self.terminal.write(f"    | {shown}\n")
        self.log.flush()
        self.terminal.flush()
        return len(text)


@contextmanager
def _kernel_environment() -> Iterator[Path]:
    """A temporary folder that holds the kernel specification and the announcements; the environment points to it."""
    with tempfile.TemporaryDirectory(prefix="artifact-kernel-") as name:
        folder = Path(name)
        spec = folder / "kernels" / KERNEL
        spec.mkdir(parents=True)
        (folder / "ipython").mkdir()
        argv = [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python", "language": "python"}))
        values = {
            "JUPYTER_PATH": name,
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "IPYTHONDIR": str(folder / "ipython"),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
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


def execute(
    source: Path,
    target: Path,
    parameters: dict[str, Any],
    stamp: dict[str, Any],
    *,
    log_path: Path,
    cell_timeout_s: float | None = None,
    terminal: TextIO | None = None,
) -> Executed:
    """Run `source` with `parameters` and write `target` (.ipynb) and its page (.html) beside it.

    `stamp` is put into the notebook's metadata under `artifact`, with the seconds it took. Raises NotebookFailed with
    the failing cell; the partial copy is then kept as `<name>.failed.ipynb` and older results stay untouched.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    terminal = terminal or sys.stdout
    target.parent.mkdir(parents=True, exist_ok=True)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.stem + ".partial.ipynb")
    failed = target.with_name(target.stem + ".failed.ipynb")
    start = time.monotonic()
    with _kernel_environment() as folder, log_path.open("w", encoding="utf-8") as log:
        lines = Lines(log, terminal)
        try:
            papermill.execute_notebook(
                str(source),
                str(partial),
                parameters=parameters,
                kernel_name=KERNEL,
                language="python",
                cwd=str(source.parent),
                progress_bar=terminal.isatty(),
                stdout_file=lines,
                stderr_file=lines,
                start_timeout=180,
                execution_timeout=cell_timeout_s,
            )
        except PapermillExecutionError as err:
            partial.replace(failed)
            raise NotebookFailed(f"{source.name}: {describe_failure(err)}\n  partial copy: {failed}") from None
        except CellTimeoutError as err:
            partial.replace(failed)
            message = str(err).splitlines()[0]
            raise NotebookFailed(
                f"{source.name}: {message}\n  partial copy: {failed}; allow more with --cell-timeout"
            ) from None
        except DeadKernelError as err:
            partial.replace(failed)
            raise NotebookFailed(
                f"{source.name}: the kernel ended ({err}): it was interrupted, or the machine ran out of memory; "
                f"partial copy: {failed}, output: {log_path}",
                interrupted=True,
            ) from None
        made = read_made(folder / "made.jsonl")
    seconds = time.monotonic() - start
    notebook = nbformat.read(partial, as_version=4)
    notebook.metadata["artifact"] = {**stamp, "seconds": round(seconds, 1)}
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, partial)
    page = target.with_suffix(".html")
    page_partial = page.with_name(page.name + ".partial")
    page_partial.write_text(to_html(notebook, source.parent, source.stem), encoding="utf-8")
    partial.replace(target)
    page_partial.replace(page)
    failed.unlink(missing_ok=True)
    return Executed(target, page, made, seconds)
