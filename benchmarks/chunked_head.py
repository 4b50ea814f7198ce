"""Time and memory of the chunked output head, against the matrix products it cannot avoid and against dense logits.

    python benchmarks/chunked_head.py [--tokens 512 --hidden 2048 --vocab 151936 --top-k 512 --repeats 3]

Three measurements, each in a fresh process, forward and backward of the forward KL on the teacher's top-k in float32:

    products   the four head-sized matrix products: forward, recomputation, gradient of hidden, gradient of weight
    chunked    artifact.losses.head.log_probs_at
    dense      hidden · weightᵀ, log-softmax, gather

Extra memory is the rise of the process's resident set during the step, less the two gradients that any way must return; it is given in
units of one [T, V] matrix of logits. Times are the best of `--repeats`. Targets: time ≤ 1.25 × products, memory ≤ 8 %.
Needs Linux (/proc) and about 5 GB of memory. Left out: CUDA; there, use torch.cuda.max_memory_allocated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TIME_TARGET, MEMORY_TARGET = 1.25, 0.08


def resident_bytes(field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (peak since the last reset) of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no field {field}: this benchmark needs Linux")


def measure(kind: str, t: int, h: int, v: int, k: int, repeats: int) -> dict[str, float]:
    """Best seconds and peak extra bytes of one kind of step, in this process."""
    import torch

    from artifact.losses.divergence import token_divergence
    from artifact.losses.head import log_probs_at

    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(t, h, generator=generator).requires_grad_()
    weight = torch.randn(v, h, generator=generator).mul_(0.05).requires_grad_()
    index = torch.randint(v, (t, k), generator=generator)
    teacher = torch.randn(t, k, generator=generator).log_softmax(-1)

    def products() -> None:
        with torch.no_grad():
            logits = hidden @ weight.T
            torch.mm(hidden, weight.T, out=logits)
            weight.grad = logits.T @ hidden
            hidden.grad = logits @ weight

    def chunked() -> None:
        token_divergence(teacher, log_probs_at(hidden, weight, index).logprobs_TK).loss_T.mean().backward()

    def dense() -> None:
        logprobs = (hidden @ weight.T).log_softmax(-1).gather(1, index)
        token_divergence(teacher, logprobs).loss_T.mean().backward()

    step: Callable[[], None] = {"products": products, "chunked": chunked, "dense": dense}[kind]
    seconds, extra = [], []
    for _ in range(repeats):
        hidden.grad = weight.grad = None
        before = resident_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
        extra.append(resident_bytes("VmHWM") - before - 4 * (t * h + v * h))
    return {"seconds": min(seconds), "extra_bytes": max(extra)}


def main() -> int:
    """Print the table; the exit code says whether both targets are met."""
    parser = argparse.ArgumentParser(description="time and memory of the chunked output head")
    for name, default in (("tokens", 512), ("hidden", 2048), ("vocab", 151_936), ("top-k", 512), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--measure", choices=("products", "chunked", "dense"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = (arguments.tokens, arguments.hidden, arguments.vocab, arguments.top_k, arguments.repeats)
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, *sizes)))
        return 0
    results = {}
    for kind in ("products", "chunked", "dense"):
        command = [sys.executable, __file__, *sys.argv[1:], "--measure", kind]
        results[kind] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    logits = 4 * arguments.tokens * arguments.vocab
    print(
        f"T={arguments.tokens} H={arguments.hidden} V={arguments.vocab} k={arguments.top_k}, float32, best of {arguments.repeats}"
    )
    print(f"{'':>10} {'seconds':>9} {'/ products':>11} {'extra MB':>9} {'/ logits':>9}")
    for kind, r in results.items():
        ratio = r["seconds"] / results["products"]["seconds"]
        print(
            f"{kind:>10} {r['seconds']:9.2f} {ratio:11.2f} {r['extra_bytes'] / 1e6:9.1f} {r['extra_bytes'] / logits:9.3f}"
        )
    time_ratio = results["chunked"]["seconds"] / results["products"]["seconds"]
    memory_ratio = results["chunked"]["extra_bytes"] / logits
    met = time_ratio <= TIME_TARGET and memory_ratio <= MEMORY_TARGET
    print(
        f"targets (time ≤ {TIME_TARGET} × products, memory ≤ {MEMORY_TARGET:.0%} of the logits): {'met' if met else 'MISSED'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
