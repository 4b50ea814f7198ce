"""A checkpoint is data: what would run code when it is loaded is refused, and nothing else is lost by that."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from artifact.actors.checkpoints import tensors_only
from artifact.actors.ports import free_ports


class Hostile:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mknod, (str(self.path), 0o600)


def test_no_pickle_is_executed_whatever_the_caller_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    evil, fine = tmp_path / "evil.pt", tmp_path / "fine.pt"
    torch.save({"x": Hostile(tmp_path / "ran")}, evil)
    torch.save({"x": torch.ones(2), "step": 3}, fine)
    with tensors_only():
        with pytest.raises(pickle.UnpicklingError):
            torch.load(evil, weights_only=False)
        assert torch.load(fine, weights_only=False)["step"] == 3
    assert not (tmp_path / "ran").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    torch.load(evil, weights_only=False)
    assert (tmp_path / "ran").exists(), "the file does nothing, so the test shows nothing"


DEEPSPEED = """
import os, sys
from pathlib import Path
import deepspeed, torch
from artifact.actors.checkpoints import load_deepspeed
from artifact.errors import ArtifactError
from tests.actors.test_resumption import Hostile

deepspeed.ops.__compatible_ops__ = {}
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[2]}
os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
deepspeed.init_distributed("gloo", rank=0, world_size=1, verbose=False)

def engine(stage, bf16):
    torch.manual_seed(0)
    layers = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    network = torch.nn.Sequential(*layers).to(torch.bfloat16 if bf16 else torch.float32)
    settings = {
        "train_micro_batch_size_per_gpu": 1, "gradient_clipping": 1.0, "managed_gradient_accumulation": False,
        "zero_optimization": {"stage": stage, "overlap_comm": False}, "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": bf16}, "steps_per_print": 10**9,
    }
    adamw = torch.optim.AdamW(network.parameters(), lr=1e-2)
    return deepspeed.initialize(model=network, optimizer=adamw, config=settings)[0]

def step(made, bf16, seed):
    torch.manual_seed(seed)
    x = torch.randn(4, 8).to(torch.bfloat16 if bf16 else torch.float32)
    made.backward((made(x).float() ** 2).sum())
    made.step()
    return [p.detach().clone() for p in made.module.parameters()]

for stage, bf16 in ((0, False), (0, True), (1, False), (1, True), (2, True), (3, True)):
    folder = Path(sys.argv[1]) / f"{stage}-{bf16}"
    first = engine(stage, bf16)
    step(first, bf16, 1)
    first.save_checkpoint(str(folder), tag="step-1")
    expected = step(first, bf16, 2)
    again = engine(stage, bf16)
    load_deepspeed(again, folder, "step-1")
    same = all(torch.equal(a, b) for a, b in zip(step(again, bf16, 2), expected, strict=True))
    print(stage, bf16, "same" if same else "DIFFERENT")
    for number, path in enumerate(sorted((folder / "step-1").glob("*.pt"))):
        whole = path.read_bytes()
        state = torch.load(path, weights_only=False)
        torch.save(state | {"more": Hostile(folder / f"ran-{number}")}, path)
        for content, what in ((path.read_bytes(), "hostile"), (whole[: len(whole) // 2], "torn")):
            path.write_bytes(content)
            try:
                load_deepspeed(engine(stage, bf16), folder, "step-1")
                print(stage, bf16, path.name, what, "LOADED")
            except ArtifactError as err:
                assert "cannot be loaded (it is torn, or holds more than tensors" in str(err) or what == "torn", err
        path.write_bytes(whole)
    try:
        load_deepspeed(again, folder, "step-9")
    except ArtifactError as err:
        assert "step-9 cannot be loaded" in str(err)
    assert not list(folder.glob("ran-*"))
print("done")
"""


@pytest.mark.integration
def test_deepspeed_goes_on_from_tensors_alone_at_every_stage(tmp_path: Path) -> None:
    """The step after loading is the step without, bit for bit; a hostile and a torn checkpoint are refused."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", DEEPSPEED, str(tmp_path), str(free_ports(1)[0])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False, env=env)
    lines = [line for line in done.stdout.splitlines() if line.endswith(("same", "DIFFERENT", "LOADED", "done"))]
    assert len(lines) == 7 and lines[-1] == "done" and all(x.endswith("same") for x in lines[:-1]), (
        done.stdout + done.stderr
    )
