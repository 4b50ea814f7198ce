"""Run by `test_alone.py` in a process of its own: all of `artifact.train` where torch and numpy are all there is.

Arguments: the modules that may be imported besides the standard library, then a folder for checkpoints. Prints what it
saw as JSON. Nothing of this project but `train`, `records`, `errors`, `files` and `disk` may be imported either.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

REFUSED = {"ray", "vllm", "deepspeed", "pydantic", "transformers", "yaml", "pyarrow", "pandas"}
ROOMS = {"train", "records", "errors", "files", "disk"}


class Bare:
    """The only finder: what is not allowed is not installed. `asked` is what this project itself wanted of that."""

    def __init__(self, allowed: set[str]) -> None:
        self.allowed = (allowed | sys.stdlib_module_names | {"artifact"}) - REFUSED
        self.asked: list[str] = []
        self.finders = list(sys.meta_path)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        top, _, rest = name.partition(".")
        room = rest.split(".")[0]
        allowed = top in self.allowed or top.startswith("_sysconfigdata")  # Python's own, under a built name
        if allowed and (top != "artifact" or not room or room in ROOMS):
            return next((s for f in self.finders if (s := f.find_spec(name, path, target)) is not None), None)
        frame = sys._getframe(1)
        while frame.f_back and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        if str(frame.f_globals.get("__name__")).split(".")[0] in ("artifact", "__main__"):
            self.asked.append(name)
        return None


bare = Bare(set(sys.argv[1].split(",")))
sys.meta_path[:] = [bare]

import importlib  # noqa: E402
import json  # noqa: E402
import pkgutil  # noqa: E402
from pathlib import Path  # noqa: E402
from types import SimpleNamespace  # noqa: E402

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import artifact.train  # noqa: E402
from artifact.records import Problem, Rollout, Status, Verdict  # noqa: E402
from artifact.train.inputs import RunInputs, TeacherAnnotations  # noqa: E402
from artifact.train.local import LocalWorkers  # noqa: E402
from artifact.train.loop import train  # noqa: E402
from artifact.train.methods.base import make  # noqa: E402
from artifact.train.settings import DistilSettings, Losses, Optimiser, RunSettings, Sampling, Train  # noqa: E402

VOCABULARY, END = 12, 0


class Body(nn.Module):
    """Two recurrent layers: causal, as a decoder is."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.layers = nn.Embedding(VOCABULARY, 8), nn.GRU(8, 8, num_layers=2, batch_first=True)

    def forward(self, input_ids: Tensor, use_cache: bool) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.layers(self.embed(input_ids))[0])


class Network(nn.Module):
    """A body and a head under the names that transformers gives them."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__()
        self.model, self.lm_head = Body(), nn.Linear(8, VOCABULARY, bias=False)


class Memory:
    """A run's log that keeps its metrics and writes nothing itself."""

    def __init__(self, folder: Path) -> None:
        self.checkpoints, self.weights = folder / "checkpoints", folder / "weights"
        self.metrics: list[dict[str, float]] = []
        self.curves: list[int] = []
        self.committed = 0
        self.recorded: list[int] = []

    def resume(self) -> int:
        return self.committed

    def progress(self, steps: range) -> Iterator[int]:
        return iter(steps)

    def step(self, step: int, groups: Any, metrics: dict[str, float], seconds: dict[str, float]) -> None:
        assert all(r.verdict is not None for group in groups for r in group)
        self.metrics.append(metrics)

    def tokens(self, step: int, records: Sequence[Any]) -> None:
        self.recorded.append(len(records))

    def curve(self, step: int, problems: Sequence[Problem], groups: Sequence[Sequence[Rollout]]) -> None:
        self.curves.append(step)

    def commit(self, step: int) -> None:
        self.committed = step


def decode(responses: Sequence[Sequence[int]]) -> list[str]:
    return [" ".join(map(str, ids)) for ids in responses]


def verify(texts: list[str], problems: list[Problem]) -> list[Verdict]:
    """A response is right if its first token is even where the gold answer is even."""
    same = [int(text.split()[0]) % 2 == int(p.answer) % 2 for text, p in zip(texts, problems, strict=True)]
    return [Verdict(Status.CORRECT if s else Status.WRONG) for s in same]


def run(method: str, folder: Path) -> dict[str, Any]:
    """Two steps of `method` from fixed weights."""
    settings = RunSettings(
        Sampling(samples_per_prompt=4, max_new_tokens=5, temperature=1.0),
        Losses(DistilSettings(top_k=4)),
        Optimiser(lr=1e-2, schedule="constant", warmup_fraction=0.0, micro_batch_tokens=40),
        Train(steps=2, prompts_per_step=3, curve_every=1),
        curve_tokens=3,
    )
    problems = [Problem(f"p{i}", f"{i} + 1?", str(i + 1), str(i + 1), "toy", "easy") for i in range(4)]
    inputs = RunInputs(
        problems,
        problems[:2],
        lambda problem, context: (1 + int(problem.id[1:]), 3),
        lambda text: (int(text), END),
        decode,
        verify,
    )
    student, log = Network(0), Memory(folder)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    workers = LocalWorkers(student, Network(1).requires_grad_(False), settings, decode, [END])
    train(settings, make(method, settings), inputs, workers, workers, log, TeacherAnnotations())
    stored = torch.load(log.weights / "weights.pt", weights_only=True)
    return {
        "moved": sorted(n for n, v in student.state_dict().items() if not torch.equal(v, before[n])),
        "parameters": sorted(before),
        "stored": all(torch.equal(stored[n], v) for n, v in student.state_dict().items()),
        "metrics": log.metrics,
        "curves": log.curves,
        "committed": log.committed,
        "recorded": log.recorded,
    }


names = [m.name for m in pkgutil.walk_packages(artifact.train.__path__, "artifact.train.")]
names.remove(
    "artifact.train.losses.lm_head_triton"
)  # imported where `lm_head.kernels` offers it: torch for CUDA has Triton
for name in names:
    importlib.import_module(name)
found: dict[str, Any] = {name: run(name, Path(sys.argv[2]) / name) for name in ("opd", "core", "grpo")}
found |= {"imported": names, "asked": bare.asked, "loaded": sorted({n.split(".")[0] for n in sys.modules} & REFUSED)}
try:
    import pandas  # noqa: F401
except ModuleNotFoundError as err:
    found["refused"] = str(err)
print(json.dumps(found))
