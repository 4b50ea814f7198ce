"""What a student rank holds at every ZeRO stage, with one and two ranks: measured beside the model of `artifact plan`.

    python benchmarks/zero_memory.py --out results/benchmarks/zero_memory.json     # 74 M parameters; about 3 minutes
    python benchmarks/zero_memory.py --out toy.json --toy                          # one case at toy widths
    python benchmarks/zero_memory.py --table results/benchmarks/zero_memory.json   # a table of what was measured

The real student actor (DeepSpeed on CPU, gloo between ranks, without Ray) makes two optimiser steps on a random Qwen3
in bfloat16. Held: bytes of all tensors that are alive between steps. Peak: the most the operating system saw resident
during the second step, beyond what the process had before the model was loaded. The model is
`studies/memory_model.py`; it leaves out the libraries' own memory and fragmentation.
"""

from __future__ import annotations

import argparse
import gc
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MIB = 2**20
SIZES = {
    "true": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 4, "vocab_size": 8192, "tokens": 512},
    "toy": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 64, "tokens": 16},
}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64, "tie_word_embeddings": True}
CASES = [(stage, ranks) for ranks in (1, 2) for stage in (0, 1, 2, 3)]


def resident(field: str) -> int:
    """Bytes of this process: `VmRSS` at this moment, `VmHWM` at most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


def forget_peak() -> None:
    """`VmHWM` starts anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def alive() -> int:
    """Bytes of the storages of all tensors that this process can reach."""
    import torch

    gc.collect()
    held: dict[int, int] = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor) and thing.device.type == "cpu":
            storage = thing.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
    return sum(held.values())


def measure(rank: int, ranks: int, stage: int, folder: Path, port: int, size: dict[str, int]) -> dict[str, float]:
    """Two steps of this rank; what it holds between steps and at its fullest."""
    import torch

    from artifact.actors.placement import Slot
    from artifact.actors.student import StudentActor
    from artifact.config import load
    from artifact.train.examples import Imitate
    from artifact.train.objective import denominators
    from artifact.train.settings import DistilSettings, Losses, Optimiser
    from artifact.train.workers import StepWork

    slot = Slot("student", 1.0, 0.0, "cpu", 1, {"DS_ACCELERATOR": "cpu", "GLOO_SOCKET_IFNAME": "lo"})
    cluster = load("tiny").cluster.model_copy(update={"zero_stage": stage})
    actor = StudentActor(slot, rank, cluster, "bfloat16")
    actor.init_distributed("127.0.0.1", port, ranks, "secret")
    optimiser = Optimiser(lr=1e-4, micro_batch_tokens=size["tokens"], gradient_checkpointing=True)
    losses = Losses(DistilSettings(top_k=4))
    before, tensors = resident("VmRSS"), alive()
    actor.reset(str(folder), optimiser, losses, 2, 0)
    parameters = sum(int(getattr(p, "ds_numel", p.numel())) for p in dict(actor.network.named_parameters()).values())
    response = tuple(i % size["vocab_size"] for i in range(size["tokens"] - 2))
    examples = [Imitate(f"p{i}", (1, 2), response) for i in range(ranks)]
    for step in range(2):
        forget_peak()
        work = StepWork(step, {"nll": 1.0}, denominators(examples, losses, size["tokens"]))
        actor.step(work, examples[rank::ranks], None)
    peak = resident("VmHWM") - before
    held = alive() - tensors
    torch.distributed.destroy_process_group()
    return {"parameters": parameters, "held": held, "peak": peak}


def a_case(stage: int, ranks: int, folder: Path, name: str) -> list[dict[str, float]]:
    """All ranks of a case, a process each."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [
        sys.executable,
        __file__,
        "--size",
        name,
        "--stage",
        str(stage),
        "--ranks",
        str(ranks),
        "--port",
        str(port),
    ]
    started = [
        subprocess.Popen([*command, "--folder", str(folder), "--rank", str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in range(ranks)
    ]
    texts = [process.communicate(timeout=300)[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"a rank of ZeRO {stage} with {ranks} ranks failed; its message stands above")
    return [json.loads(text.splitlines()[-1]) for text in texts]


def expected(size: dict[str, int], stage: int, ranks: int) -> dict[str, float]:
    """The model's bytes: what stays between steps, and the peak."""
    from artifact.studies.memory_model import student
    from artifact.studies.model_shape import shape_of

    shape = shape_of({"model_type": "qwen3", **HEADS, **size}, "the benchmark's model")
    tokens = size["tokens"]
    rows = student(shape, "bfloat16", stage=stage, ranks=ranks, tokens=tokens, checkpointed=True, kernel="reference")
    of = {row.component: row.nbytes for row in rows}
    stays = of["buffers"] + of["gradients"] if stage == 3 else 0.0  # the others let go of them
    return {"held": of["weights"] + of["optimiser"] + stays, "peak": sum(of.values())}


def run(name: str, out: Path) -> None:
    """Every case, written to `out`."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from artifact.provenance import hardware, stamp

    size = SIZES[name]
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        import torch

        torch.manual_seed(0)
        widths = {k: v for k, v in size.items() if k != "tokens"}
        Qwen3ForCausalLM(Qwen3Config(**HEADS, **widths)).to(torch.bfloat16).save_pretrained(folder)
        for stage, ranks in CASES if name == "true" else [(1, 2)]:
            found = a_case(stage, ranks, Path(folder), name)
            case = {"stage": stage, "ranks": ranks, "model": expected(size, stage, ranks), "measured": found}
            cases.append(case)
            print(row(case), flush=True)
    made = {"provenance": {**stamp("cpu"), **hardware(), "size": name}, "widths": {**HEADS, **size}, "cases": cases}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def row(case: dict[str, Any]) -> str:
    """A line of the table: the fullest rank beside the model, in MiB."""
    cells = [str(case["stage"]), str(case["ranks"])]
    for what in ("held", "peak"):
        measured, model = max(rank[what] for rank in case["measured"]), case["model"][what]
        cells += [f"{measured / MIB:,.0f}", f"{model / MIB:,.0f}", f"{measured / model:.2f}"]
    return f"| {' | '.join(cells)} |"


def table(path: Path) -> str:
    """What was measured, as Markdown."""
    found = json.loads(path.read_text(encoding="utf-8"))
    parameters = found["cases"][0]["measured"][0]["parameters"]
    head = ["ZeRO", "ranks", "held, MiB", "model", "ratio", "peak, MiB", "model", "ratio"]
    lines = [
        f"{parameters / 1e6:.0f} M parameters in bfloat16, {found['widths']['tokens']} tokens a micro-batch, "
        "layers checkpointed.",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
        *map(row, found["cases"]),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--toy", action="store_true")
    for name in ("rank", "ranks", "stage", "port"):
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.table:
        print(table(a.table), end="")
    elif a.rank is not None:
        print(json.dumps(measure(a.rank, a.ranks, a.stage, a.folder, a.port, SIZES[a.size])))
    elif a.out:
        run("toy" if a.toy else "true", a.out)
    else:
        parser.error("say where to write (--out FILE) or what to show (--table FILE)")


if __name__ == "__main__":
    main()
