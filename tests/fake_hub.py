"""A cache in the hub's layout, filled from folders: what `hf download` leaves on the disk, without a hub."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny"


class FakeHub:
    """`models--org--name/{blobs,snapshots/<commit>,refs/<revision>}` below `cache`; snapshots link to blobs."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def place(self, repository: str) -> Path:
        return self.cache / ("models--" + repository.replace("/", "--"))

    def put(self, repository: str, folder: Path, revision: str = "main") -> str:
        """Commit the files of `folder` and move `revision` to them; returns the commit."""
        place = self.place(repository)
        files = {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        commit = hashlib.sha1(repr([(str(p), hashlib.sha1(b).hexdigest()) for p, b in files.items()]).encode())
        snapshot = place / "snapshots" / commit.hexdigest()
        for name, content in files.items():
            blob = place / "blobs" / hashlib.sha256(content).hexdigest()
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(content)
            link = snapshot / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(Path(*[".."] * (len(name.parts) + 1), "blobs", blob.name))
        self.move(repository, commit.hexdigest(), revision)
        return commit.hexdigest()

    def move(self, repository: str, commit: str, revision: str = "main") -> None:
        ref = self.place(repository) / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)


def copy_of(name: str, folder: Path, change: Callable[[Path], None] | None = None) -> Path:
    """A copy of one of the models of the repository at `folder`, changed by `change`."""
    shutil.copytree(TINY / name, folder)
    if change is not None:
        change(folder)
    return folder
