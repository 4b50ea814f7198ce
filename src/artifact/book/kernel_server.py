"""A process that has imported the libraries of notebooks, and forks for each kernel that is asked of it.

Run by `kernels.py` as `python -m artifact.book.kernel_server FD`, where FD is its end of a socket. A request is a line
of JSON: arguments of ipykernel, folder, environment; the answer is a line with the kernel's process id. When the other
end is closed the server ends, and kernels end within a second of it (ipykernel's `parent_handle`).

Only libraries are imported beforehand: the artifact's own code is read by each kernel as it then is. Left out are those
that open connections (Ray), and those that ask on being imported whether they are in a notebook (pandas and what
imports it, matplotlib's backend). The one kind of thread there is at a fork is OpenBLAS's, which knows of forks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("IPython", "ipykernel.ipkernel", "matplotlib.pyplot", "pyarrow.parquet", "pydantic", "scipy.stats", "torch"),
    *("transformers.tokenization_utils_tokenizers", "yaml"),
)


def kernel_of(channel: socket.socket) -> dict[str, Any] | None:
    """Serve until the other end is closed; then None. In a fork: what the kernel was asked to be."""
    with channel, channel.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            if (pid := os.fork()) == 0:
                return dict(json.loads(line))
            lines.write(f"{pid}\n")
            lines.flush()
    return None


def be_a_kernel(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """The life of a kernel, as `python -m ipykernel_launcher` in `folder` would lead it."""
    os.setsid()  # an interruption at the terminal is the series' to pass on
    sys.path[:] = [path for path in sys.path if path and Path(path) != Path.cwd()]
    for own in [name for name in sys.modules if name.split(".")[0] == "artifact"]:
        del sys.modules[own]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["ipykernel_launcher.py", *arguments]
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(argv=arguments, parent_handle=os.getppid())


if __name__ == "__main__":
    gc.disable()
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # what is imported is shared by all forks, and never looked at again
    gc.enable()
    if (asked := kernel_of(socket.socket(fileno=int(sys.argv[1])))) is not None:
        be_a_kernel(**asked)
