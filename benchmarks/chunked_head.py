"""Time and memory of the chunked output head, against the matrix products it cannot avoid and against dense logits.

    python benchmarks/chunked_head.py [--tokens 512 --hidden 2048 --vocab 151936 --top-k 512 --repeats 3]

Forward and backward of the forward KL on the teacher's top-k, float32:

    products   the four head-sized matrix products: forward, recomputation, gradient of hidden, gradient of weight
    chunked    artifact.train.losses.lm_head.log_probs_at
    dense      hidden · weightᵀ, log-softmax, gather

With `--peer` (TRL 1.16 installed) also TRL's full-vocabulary divergences from hidden states, forward KL; they project
the teacher's hidden states inside the loss, so the projection and top-k that our teacher does elsewhere stand beside:

    teacher      the teacher's logits in chunks and their top-k, no gradient
    TRL chunked  trl.trainer.distillation_trainer._chunked_divergence_loss
    TRL dense    both sets of logits, then trl's GKDTrainer.generalized_jsd_loss

Time is processor time, so that other work on the machine disturbs it less; the best of `--repeats`. Extra memory is
the rise of the resident set's peak during a step after a warm-up, less the gradients returned, in units of one [T, V]
matrix of logits. It is the larger of two steps, with and without a gradient for the weight: that gradient is made last,
and would hide what was freed before. Targets: time ≤ 1.25 × products, memory ≤ 8 %. Needs Linux (/proc) and 5 GB of
memory. Left out: CUDA.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TIME_TARGET, MEMORY_TARGET = 1.25, 0.08
WARM_UP_ROWS = 8192


def resident_bytes(field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (peak since the last reset) of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no field {field}: this benchmark needs Linux")


def measure(kind: str, what: str, t: int, h: int, v: int, k: int, repeats: int) -> float:
    """Best processor seconds (`what` = "seconds") or peak extra bytes ("bytes") of one kind of step in this process."""
    import torch

    from artifact.train.losses.divergence import token_divergence
    from artifact.train.losses.lm_head import log_probs_at

    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(t, h, generator=generator).requires_grad_()
    weight = torch.randn(v, h, generator=generator).mul_(0.05).requires_grad_()
    index = torch.randint(v, (t, k), generator=generator)
    teacher = torch.randn(t, k, generator=generator).log_softmax(-1)

    def products(head: torch.Tensor) -> None:
        with torch.no_grad():
            logits = hidden @ head.T
            torch.mm(hidden, head.T, out=logits)
            hidden.grad = logits @ head
            head.grad = logits.T @ hidden if head.requires_grad else None

    def chunked(head: torch.Tensor) -> None:
        token_divergence(teacher, log_probs_at(hidden, head, index % len(head)).logprobs_TK).loss_T.mean().backward()

    def dense(head: torch.Tensor) -> None:
        logprobs = (hidden @ head.T).log_softmax(-1).gather(1, index % len(head))
        token_divergence(teacher, logprobs).loss_T.mean().backward()

    teacher_hidden = torch.randn(t, h, generator=generator)

    def teacher_top_k(head: torch.Tensor) -> None:
        with torch.no_grad():
            for rows in teacher_hidden.split(128):
                (rows @ head.T).log_softmax(-1).topk(min(k, len(head)))

    def trl_chunked(head: torch.Tensor) -> None:
        from trl.trainer.distillation_trainer import _chunked_divergence_loss

        mask = torch.ones(1, t)
        loss, *_ = _chunked_divergence_loss(hidden[None], teacher_hidden[None], head, head.detach(), mask, 0.0)
        loss.backward()

    def trl_dense(head: torch.Tensor) -> None:
        from trl.experimental.gkd import GKDTrainer

        with torch.no_grad():
            target = (teacher_hidden @ head.T)[None]
        GKDTrainer.generalized_jsd_loss((hidden @ head.T)[None], target, beta=0.0).backward()

    steps: dict[str, Callable[[torch.Tensor], None]] = {
        "products": products,
        "chunked": chunked,
        "dense": dense,
        "teacher": teacher_top_k,
        "TRL chunked": trl_chunked,
        "TRL dense": trl_dense,
    }
    step = steps[kind]
    step(weight[:WARM_UP_ROWS].detach().requires_grad_())  # loads code and the matrix library's workspace
    if what == "seconds":
        seconds = []
        for _ in range(repeats):
            hidden.grad = weight.grad = None
            start = time.process_time()
            step(weight)
            seconds.append(time.process_time() - start)
        return min(seconds)
    extra = []
    for wants_gradient in (False, True):
        hidden.grad = weight.grad = None
        weight.requires_grad_(wants_gradient)
        before = resident_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak
        step(weight)
        extra.append(resident_bytes("VmHWM") - before - 4 * (t * h + v * h * wants_gradient))
    return max(extra)


def main() -> int:
    """Print the table; the exit code says whether both targets are met."""
    parser = argparse.ArgumentParser(description="time and memory of the chunked output head")
    for name, default in (("tokens", 512), ("hidden", 2048), ("vocab", 151_936), ("top-k", 512), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--peer", action="store_true", help="also TRL's losses; needs trl==1.16.0 and accelerate")
    parser.add_argument("--measure", nargs=2, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes = (given.tokens, given.hidden, given.vocab, given.top_k, given.repeats)
    if given.measure:
        kind, what = given.measure
        print(measure(kind, what, *sizes))
        return 0
    # Every large block gets its own mapping and goes back at once; else the heap keeps what an earlier step has freed.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    table = {}
    kinds = ("products", "chunked", "dense", *(("teacher", "TRL chunked", "TRL dense") if given.peer else ()))
    for kind in kinds:
        for what in ("seconds", "bytes"):
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", kind, what]
            env = environment if what == "bytes" else None
            table[kind, what] = float(
                subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
            )
    logits = 4 * given.tokens * given.vocab
    print(f"T={given.tokens} H={given.hidden} V={given.vocab} k={given.top_k}, float32, best of {given.repeats}")
    print(f"{'':>12} {'CPU s':>8} {'/ products':>11} {'extra MB':>9} {'/ logits':>9}")
    for kind in kinds:
        seconds, extra = table[kind, "seconds"], table[kind, "bytes"]
        ratio = seconds / table["products", "seconds"]
        print(f"{kind:>12} {seconds:8.2f} {ratio:11.2f} {extra / 1e6:9.1f} {extra / logits:9.3f}")
    time_met = table["chunked", "seconds"] <= TIME_TARGET * table["products", "seconds"]
    memory_met = table["chunked", "bytes"] <= MEMORY_TARGET * logits
    print(f"time ≤ {TIME_TARGET} × products: {'met' if time_met else 'MISSED'}")
    print(f"memory ≤ {MEMORY_TARGET:.0%} of the logits: {'met' if memory_met else 'MISSED'}")
    return 0 if time_met and memory_met else 1


if __name__ == "__main__":
    sys.exit(main())
