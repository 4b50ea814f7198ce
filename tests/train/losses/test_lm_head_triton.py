"""The Triton kernels of the output head under Triton's interpreter, against dense float64 logits.

`./run_all.sh test` puts Triton beside the environment, not into it: vLLM takes the machine for one with a GPU where it
finds it. What only a GPU can tell (compilation, speed) is `benchmarks/gpu_check.py`'s.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from artifact.train.losses.lm_head import kernels, log_probs_at

BESIDE = Path(sys.prefix) / "interpreter"
CASES = {
    "several chunks, one not full": (9, 16, 100, 5, 32),
    "one chunk": (5, 8, 33, 33, 33),
    "one id": (7, 8, 130, 1, 64),
    "no token": (0, 4, 20, 3, 7),
}
PROGRAM = """
import json, sys, torch
from artifact.train.losses.lm_head_triton import FusedLogProbsAt
out = {}
for name, (t, h, v, k, chunk) in json.loads(sys.argv[1]).items():
    g = torch.Generator().manual_seed(len(name))
    hidden = torch.randn(t, h, generator=g).bfloat16().requires_grad_()
    weight = torch.randn(v, h, generator=g).bfloat16().requires_grad_()
    index = torch.randint(v, (t, k), generator=g)
    if t:
        index[0] = index[0, 0]  # one id requested several times
    upstream = torch.randn(t, k, generator=g)
    for both in (True, False):
        got = FusedLogProbsAt.apply(hidden, weight, index.int(), 1 / 0.7, chunk, (both, both))
        ours = torch.autograd.grad(got[0], (hidden, weight), upstream)
        assert both or got[1] is got[2] is None
    got = FusedLogProbsAt.apply(hidden, weight, index.int(), 1 / 0.7, chunk, (True, True))
    h64, w64 = hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    dense = (h64 @ w64.T / 0.7).log_softmax(-1)
    theirs = torch.autograd.grad(dense.gather(1, index), (h64, w64), upstream.double())
    gap = lambda a, b: float((a.detach().double() - b.detach()).abs().max()) if a.numel() else 0.0
    out[name] = {
        "logprobs": gap(got[0], dense.gather(1, index)),
        "entropy": gap(got[1], -(dense.exp() * dense).sum(-1)),
        "argmax": bool((dense.argmax(-1) == got[2]).all()),
        "gradients": [
            float((a.double() - b).norm() / b.norm().clamp(min=1e-9)) for a, b in zip(ours, theirs, strict=True)
        ],
    }
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    if importlib.util.find_spec("triton") is None and not BESIDE.is_dir():
        pytest.skip(f"Triton is not in {BESIDE}: ./run_all.sh test puts it there when it makes the environment itself")
    path = os.pathsep.join([str(Path(__file__).resolve().parents[3] / "src"), str(BESIDE)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(CASES)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_dense_logits(found: dict[str, Any], case: str) -> None:
    """Log-probabilities to float32's precision; ∂L/∂z passes through bfloat16 once, so gradients to its 2⁻⁸."""
    got = found[case]
    assert got["logprobs"] < 1e-5 and got["entropy"] < 1e-5 and got["argmax"]
    assert max(got["gradients"]) < 2**-7


def test_the_reference_is_chosen_where_the_kernels_do_not_run() -> None:
    hidden, weight, index = torch.randn(3, 4), torch.randn(6, 4), torch.zeros(3, 1, dtype=torch.long)
    assert kernels(hidden) == kernels(hidden.bfloat16()) == ("reference",)
    with pytest.raises(ValueError, match="kernel 'triton' does not compute this"):
        log_probs_at(hidden, weight, index, kernel="triton")
