"""Numbers in memory that another process of the same device opens: CUDA IPC on a GPU, a shared mapping on a CPU.

What is lent stays its owner's until it takes it back, and whoever has opened it by then keeps it. On a CPU it lies in a
file without a name, which is reached through its owner's file descriptor by processes of the same user alone, and ends
with the last process that has it, however that ended.
"""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact.disk import told_when_full

if TYPE_CHECKING:
    import torch

SHARED = Path("/dev/shm")
"""Memory that processes of one machine share, as a folder; where there is none, files are mapped instead."""

Where = dict[str, Any]
"""Where lent numbers are, as JSON has it."""


class Lent:
    """The numbers of `flat`, one after the other, where another process opens them by `where`.

    On a CPU a copy of them, on a GPU they themselves. Raises DiskFull where memory cannot be shared.
    """

    def __init__(self, flat: torch.Tensor) -> None:
        self._file: Any = None
        self._flat: torch.Tensor | None = None
        if flat.device.type == "cpu":
            handle, name = tempfile.mkstemp(prefix="artifact-lent-", dir=SHARED if SHARED.is_dir() else None)
            self._file = os.fdopen(handle, "wb")
            os.unlink(name)
            path = f"/proc/{os.getpid()}/fd/{handle}"
            try:
                with told_when_full(Path(name).parent, flat.nbytes):
                    os.posix_fallocate(handle, 0, flat.nbytes)  # a mapping of what is not there would kill us
                _mapped(path, flat.numel(), flat.dtype).copy_(flat)
            except BaseException:
                self.take_back()
                raise
            self.where: Where = {"path": path}
        else:
            import torch

            torch.cuda.synchronize(flat.device)
            self._flat = flat
            self.where = {"handle": [_text(part) for part in flat.untyped_storage()._share_cuda_()]}

    def take_back(self) -> None:
        """Nobody opens it from here on; once who has opened it is done, the memory is free."""
        self._flat = None
        if self._file is not None:
            self._file.close()


def opened(where: Where, count: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    """The `count` numbers that are lent at `where`: not a copy, and their owner's to change."""
    import torch

    if "path" in where:
        return _mapped(where["path"], count, dtype)
    of, *rest = (_part(text) for text in where["handle"])
    at = torch.device(device)
    storage = torch.UntypedStorage._new_shared_cuda(at.index if at.index is not None else of, *rest)
    return torch.empty(0, dtype=dtype, device=at).set_(storage, 0, (count,), (1,))


def _mapped(path: str, count: int, dtype: torch.dtype) -> torch.Tensor:
    """The numbers in a file, which other processes see as they change."""
    import torch

    return torch.from_file(path, shared=True, size=count, dtype=dtype)


def _text(part: Any) -> Any:
    """A part of a CUDA handle as JSON has it."""
    return {"bytes": base64.b64encode(part).decode()} if isinstance(part, bytes) else part


def _part(text: Any) -> Any:
    return base64.b64decode(text["bytes"]) if isinstance(text, dict) else text
