"""Everything that only a GPU can tell about the GPU tiers, in one run of minutes: no Ray, no vLLM, no downloads.

    python benchmarks/gpu_check.py --out gpu.json             # true Qwen3 widths, one GPU of 80 GB; about 5 minutes
    python benchmarks/gpu_check.py --out toy.json --toy       # a CPU at toy widths: that the script runs

Needs torch, numpy and transformers (safetensors and pydantic too where DeepSpeed is to be tried). Weights and tokens
are random: speed and memory do not depend on them. Every part runs the product's own code.

    matmul    the device's bf16 rate on 8192³: all shares below are of that
    copies    device to device, and to and from pageable and pinned host memory
    head      the chunked output head, forward and backward, per kernel and width of chunk: seconds over its four matrix
              products at that rate, extra memory over one [T, V] float32 matrix, gap to dense float64 logits
    student   one micro-batch of the distillation objective through body and head: plain, checkpointed, compiled layers
    teacher   `FrozenModel.teacher_scores` of an 8B: tokens per second
    transfer  a student's weights to a second process by the ways of a weight sync that one device has, proven by
              fingerprints: `ipc` (on a CPU a shared mapping) and `gloo`
    lent      rows of a teacher's scores read by a second process where they lie, and proven by fingerprints
    engine    an optimiser step of the student under DeepSpeed, where it can be imported: seconds and peak memory

Results are written after each part, so a limit of time loses nothing; a part that fails says so and the exit code is 1.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artifact.actors.lent_scores import LentScores, lend
from artifact.actors.ports import free_ports
from artifact.actors.sharding import ShardedEngine
from artifact.actors.transfer import open_channel
from artifact.actors.weight_sync import receive, spec_of
from artifact.provenance import source_hash
from artifact.train.examples import Distil
from artifact.train.fingerprint import fingerprint
from artifact.train.losses import lm_head
from artifact.train.objective import MicroBatch, denominators
from artifact.train.scoring import FrozenModel, TeacherRows, TeacherScores
from artifact.train.settings import DistilSettings, Losses, Optimiser
from artifact.train.student import Policy

GIB = 2**30
WIDTHS = {
    "true": {
        "T": 12288,
        "V": 151936,
        "K": 512,
        "rows": 8,
        "length": 2048,
        "N": 8192,
        "chunks": (2048, 4096, 8192, 16384),
    },
    "toy": {"T": 96, "V": 1000, "K": 16, "rows": 2, "length": 24, "N": 256, "chunks": (256, 1000)},
}
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "tie_word_embeddings": True,
}
MODELS = {
    "true": {
        "student": {
            "hidden_size": 2048,
            "intermediate_size": 6144,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "tie_word_embeddings": True,
        },
        "teacher": {
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "tie_word_embeddings": False,
        },
    },
    "toy": {"student": TINY, "teacher": TINY},
}
"""The widths of Qwen3-1.7B and Qwen3-8B, from their config.json."""


class Check:
    """The device, its measured rate, and one way to time a call and its memory."""

    def __init__(self, size: str) -> None:
        self.size, self.s, self.models = size, WIDTHS[size], MODELS[size]
        self.cuda = size == "true"
        self.device, self.dtype = ("cuda", torch.bfloat16) if self.cuda else ("cpu", torch.float32)
        self.rate = 0.0

    def measure(self, call: Callable[[], Any], n: int = 3, warm_up: bool = True) -> dict[str, float]:
        """`seconds` (best of n) and, on a GPU, `extra_gib` above what was held before and `peak_gib` in all."""
        if warm_up:
            call()
        out = {"seconds": float("inf")}
        for _ in range(n):
            before = 0
            if self.cuda:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            start = time.perf_counter()
            call()
            if self.cuda:
                torch.cuda.synchronize()
                peak = torch.cuda.max_memory_allocated()
                out |= {"extra_gib": (peak - before) / GIB, "peak_gib": peak / GIB}
            out["seconds"] = min(out["seconds"], time.perf_counter() - start)
        return out

    def attempt(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """`call()`, or how much memory it ran out of."""
        try:
            return call()
        except torch.OutOfMemoryError as err:
            return {"out_of_memory": str(err)[:200]}
        finally:
            self.clear()

    def clear(self) -> None:
        """Give freed memory back."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def network(self, which: str) -> Any:
        """A random Qwen3 of the student's or teacher's widths."""
        from transformers import Qwen3Config, Qwen3ForCausalLM

        config = Qwen3Config(vocab_size=self.s["V"], max_position_embeddings=8192, **self.models[which])
        torch.manual_seed(0)
        torch.set_default_dtype(self.dtype)
        try:
            with torch.device(self.device):
                return Qwen3ForCausalLM(config)
        finally:
            torch.set_default_dtype(torch.float32)


def matmul(c: Check) -> dict[str, Any]:
    """The rate of one large product; sets the check's `rate` in FLOP per second."""
    n = c.s["N"]
    a, b = (torch.randn(n, n, device=c.device).to(c.dtype) for _ in range(2))
    found = c.measure(lambda: [a @ b for _ in range(5)])
    c.rate = 5 * 2 * n**3 / found["seconds"]
    return {"n": n, "tflops": c.rate / 1e12}


def copies(c: Check) -> dict[str, Any]:
    """GB per second of copies of 1 GiB; device to device counts bytes read and written."""
    size = GIB if c.cuda else 2**20
    on_device = torch.empty(size, dtype=torch.uint8, device=c.device)
    other, pageable = torch.empty_like(on_device), torch.zeros(size, dtype=torch.uint8)
    out = {"device_to_device": 2 * size / c.measure(lambda: other.copy_(on_device))["seconds"] / 1e9}
    hosts = {"pageable": pageable} | ({"pinned": pageable.pin_memory()} if c.cuda else {})
    for name, host in hosts.items():
        out[f"to_{name}"] = size / c.measure(lambda h=host: h.copy_(on_device))["seconds"] / 1e9
        out[f"from_{name}"] = size / c.measure(lambda h=host: on_device.copy_(h))["seconds"] / 1e9
    return out


def head(c: Check) -> dict[str, Any]:
    """The output head per implementation and chunk, against its products, a dense matrix, and float64."""
    s, width = c.s, c.models["student"]["hidden_size"]
    torch.manual_seed(0)
    hidden = (torch.randn(s["T"], width, device=c.device) / width**0.5).to(c.dtype).requires_grad_()
    weight = torch.randn(s["V"], width, device=c.device).to(c.dtype).requires_grad_()
    index = torch.rand(s["T"], s["V"], device=c.device, dtype=torch.bfloat16).topk(s["K"]).indices.int()
    upstream = torch.randn(s["T"], s["K"], device=c.device)
    floor = 4 * 2 * s["T"] * width * s["V"] / c.rate
    few = slice(0, min(128, s["T"]))
    exact = _dense_head(hidden[few], weight, index[few], upstream[few])
    out: dict[str, Any] = {"tokens": s["T"], "hidden": width, "vocabulary": s["V"], "k": s["K"], "products_s": floor}
    for kernel in lm_head.kernels(hidden):
        for chunk in s["chunks"]:
            c.clear()

            def forward(rows: slice, kernel: str = kernel, chunk: int = chunk) -> lm_head.HeadOutput:
                return lm_head.log_probs_at(
                    hidden[rows], weight, index[rows], chunk_vocab=chunk, with_argmax=True, kernel=kernel
                )

            def step(forward: Callable[[slice], lm_head.HeadOutput] = forward) -> None:
                logprobs = forward(slice(None)).logprobs_TK
                torch.autograd.grad(logprobs, (hidden, weight), upstream)

            def compare(forward: Callable[[slice], lm_head.HeadOutput] = forward) -> dict[str, float]:
                logprobs = forward(few).logprobs_TK
                gradients = torch.autograd.grad(logprobs, (hidden, weight), upstream[few])
                found = (logprobs, gradients[0][few], gradients[1])
                return {
                    "gap_nats": float((found[0].detach().double() - exact[0]).abs().max()),
                    "grad_hidden_error": _relative(found[1], exact[1]),
                    "grad_weight_error": _relative(found[2], exact[2]),
                }

            try:
                entry = compare()
            except Exception as err:
                if kernel == "reference":
                    raise
                # What follows is then measured with the reference, and this part fails at its end.
                out[f"{kernel} {chunk}"] = {"failed": f"{type(err).__name__}: {err}"[:400], "gap_nats": float("inf")}
                lm_head.kernels = lambda *_: ("reference",)
                break
            entry |= c.attempt(lambda step=step: c.measure(step))
            entry["over_its_products"] = entry.get("seconds", float("nan")) / floor
            if "extra_gib" in entry:  # less the two gradients, which are the result
                gradients = (hidden.numel() + weight.numel()) * hidden.element_size()
                entry["extra_over_logits"] = (entry["extra_gib"] * GIB - gradients) / (4 * s["T"] * s["V"])
            out[f"{kernel} {chunk}"] = entry
    gaps = [e["gap_nats"] for e in out.values() if isinstance(e, dict)]
    names = ("grad_hidden_error", "grad_weight_error")
    errors = [e[k] for e in out.values() if isinstance(e, dict) for k in names if k in e]
    out["held"] = max(gaps) < 1e-3 and max(errors) < (2e-2 if c.cuda else 1e-5)
    return out


def _dense_head(
    hidden: torch.Tensor, weight: torch.Tensor, index: torch.Tensor, upstream: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Log-probabilities at `index` and both gradients, from dense float64 logits."""
    h, w = hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    logprobs = (h @ w.T).log_softmax(-1).gather(1, index.long())
    gradients = torch.autograd.grad(logprobs, (h, w), upstream.double())
    return logprobs.detach(), *gradients


def _relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def _micro_batch(c: Check) -> MicroBatch:
    """`rows` responses of `length` tokens with random teacher rows; the prompt is one token."""
    rng, s = np.random.default_rng(0), c.s
    examples, teacher = [], []
    for i in range(s["rows"]):
        tokens = tuple(int(t) for t in rng.integers(0, s["V"], s["length"]))
        examples.append(Distil(f"p{i}", tokens[:1], tokens[1:]))
        logprobs = np.log(rng.dirichlet(np.ones(s["K"]), s["length"] - 1)).astype(np.float32)
        ids = np.stack([rng.permutation(s["V"])[: s["K"]] for _ in range(4)]).astype(np.int32)
        rows = np.resize(ids, (s["length"] - 1, s["K"]))
        teacher.append(TeacherRows(rows, logprobs, np.ones(s["length"] - 1, np.float32)))
    losses = Losses(DistilSettings(top_k=s["K"]))
    whole = denominators(examples, losses, s["length"])
    return MicroBatch(examples, teacher, [None] * len(examples), 0, {"distil": 1.0}, whole, c.device)


def student(c: Check) -> dict[str, Any]:
    """One micro-batch, forward and backward, through the objective."""
    batch, tokens = _micro_batch(c), c.s["rows"] * c.s["length"]
    out: dict[str, Any] = {"tokens": tokens}
    compiled = ("compiled", "checkpointed and compiled") if c.cuda else ()  # a minute of C++ on a CPU, for nothing
    for name in ("plain", "checkpointed", *compiled):
        network = c.network("student")
        policy = Policy(network, Losses(DistilSettings(top_k=c.s["K"])))
        parameters = sum(p.numel() for p in network.parameters())
        if "checkpointed" in name:
            network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if "compiled" in name:
            for layer in network.model.layers:
                layer.compile()
        policy.train()

        def step(policy: Policy = policy) -> None:
            policy.zero_grad(set_to_none=True)
            policy(batch).loss.backward()

        start = time.perf_counter()
        found = c.attempt(lambda step=step: c.measure(step, 2))
        found["first_s"] = time.perf_counter() - start
        if "seconds" in found:
            found["tokens_per_second"] = tokens / found["seconds"]
            found["share_of_rate"] = 6 * parameters * tokens / found["seconds"] / c.rate
        out |= {"parameters": parameters, name: found}
        del network, policy, step
        c.clear()
    return out


def teacher(c: Check) -> dict[str, Any]:
    """Scores of random responses: the product's way, and the same without copies to the host."""
    network = c.network("teacher").eval().requires_grad_(False)
    frozen, rng, s = FrozenModel(network, c.device), np.random.default_rng(0), c.s
    parameters, tokens = sum(p.numel() for p in network.parameters()), s["rows"] * s["length"]
    sequences = {}
    for i in range(s["rows"]):
        ids = tuple(int(t) for t in rng.integers(0, s["V"], s["length"]))
        sequences[i] = (ids[:1], ids[1:])
    out: dict[str, Any] = {"parameters": parameters, "tokens": tokens}

    def product() -> None:
        frozen.teacher_scores(sequences, s["K"], max_tokens=tokens)

    @torch.no_grad()
    def body() -> None:
        for _ in frozen.passes(list(sequences.values()), tokens):
            pass

    ways = {"teacher_scores": product, "body alone": body}
    for name, call in ways.items():
        found = c.attempt(lambda call=call: c.measure(call, 2))
        out[name] = found | {"tokens_per_second": tokens / found["seconds"]} if "seconds" in found else found
    if c.cuda:
        for layer in network.model.layers:
            layer.compile()
        found = c.attempt(lambda: c.measure(body, 2))
        out["body alone, compiled layers"] = found | {"tokens_per_second": tokens / found.get("seconds", float("nan"))}
    return out


def transfer(c: Check) -> dict[str, Any]:
    """The student's tensors to a second process, and the proof that they arrived to the bit."""
    network = c.network("student")
    weights = {n: p.detach() for n, p in network.named_parameters()}
    nbytes = sum(t.numel() * t.element_size() for t in weights.values())
    out: dict[str, Any] = {"gib": nbytes / GIB}
    prints = {}

    def hash_all() -> None:
        prints.update({n: fingerprint(t) for n, t in weights.items()})

    out["fingerprints"] = c.measure(hash_all, 2)
    context = torch.multiprocessing.get_context("spawn")
    for way in ("ipc", "gloo"):
        there, back = context.Queue(), context.Queue()
        [port] = free_ports(1)
        receiver = context.Process(target=_receive, args=(way, port, there, back, c.device), daemon=True)
        receiver.start()
        try:
            found = _send(way, port, weights, there, back)
        finally:
            there.put(None)
            receiver.join(30)
            if receiver.is_alive():
                receiver.kill()
        assert found.pop("prints") == prints, f"weights sent by {way} are not those that arrived"
        out[way] = found | {"gb_per_second": nbytes / found["seconds"] / 1e9}
    # The proof can fail: one flipped bit of one tensor.
    name, tensor = next(iter(weights.items()))
    tensor.view(torch.int16 if c.dtype == torch.bfloat16 else torch.int32).view(-1)[-1] ^= 1
    assert fingerprint(tensor) != prints[name], "a flipped bit was not seen"
    return out


def _send(way: str, port: int, weights: dict[str, torch.Tensor], there: Any, back: Any) -> dict[str, Any]:
    """Second transfer timed: the first one also starts the other process and its context."""
    spec = spec_of(weights.items())
    there.put(spec)
    channel, seconds = open_channel(way, "127.0.0.1", port, 0, 2, 120.0, "check"), 0.0
    for _ in range(2):
        start = time.perf_counter()
        for bucket in spec.buckets():
            channel.send(torch.cat([weights[spec.names[i]].reshape(-1) for i in bucket]))
        assert back.get(timeout=120) == "arrived"
        seconds = time.perf_counter() - start
        prints = back.get(timeout=120)
    return {"seconds": seconds, "prints": prints}


def _receive(way: str, port: int, there: Any, back: Any, device: str) -> None:
    """The other process: own copies of what arrives, a word when they are there, and their fingerprints."""
    own: dict[str, torch.Tensor] = {}
    spec = there.get()
    channel = open_channel(way, "127.0.0.1", port, 1, 2, 120.0, "check")
    for _ in range(2):
        for name, tensor in receive(channel, spec, device):
            own.setdefault(name, torch.empty_like(tensor, device=device)).copy_(tensor)
        if device == "cuda":
            torch.cuda.synchronize()
        back.put("arrived")
        back.put({n: fingerprint(t) for n, t in own.items()})
    there.get()


def lent(c: Check) -> dict[str, Any]:
    """A micro-batch's rows of a teacher, random, in memory that a second process opens."""
    shape, t = (c.s["T"], c.s["K"]), c.s["T"]
    ids = torch.randint(c.s["V"], shape, dtype=torch.int32, device=c.device)
    reals = [-torch.rand(size, device=c.device) for size in (shape, t, t)]
    scores = TeacherScores(ids, reals[0], reals[1], np.array([0, t]), np.array([0]), reals[2])
    where, held = lend(scores)
    context = torch.multiprocessing.get_context("spawn")
    there, back = context.Queue(), context.Queue()
    reader = context.Process(target=_read, args=(there, back, c.device), daemon=True)
    reader.start()
    there.put(where)
    try:
        found = back.get(timeout=120)
    finally:
        reader.join(30)
        if reader.is_alive():
            reader.kill()
        held.take_back()
    assert found.pop("prints") == _prints(scores), "what was read is not what was lent"
    return found | {"gib": scores.nbytes / GIB}


def _prints(scores: TeacherScores) -> list[int]:
    columns = (scores.ids, scores.logprobs, scores.entropy, scores.tail)
    return [fingerprint(torch.as_tensor(column)) for column in columns if column is not None]


def _read(there: Any, back: Any, device: str) -> None:
    """The other process: seconds until it has the rows, which it reads once, and their fingerprints."""
    lent_scores: LentScores = there.get()
    torch.zeros(1, device=device)  # a context, which takes seconds, is not what is timed
    start = time.perf_counter()
    scores = lent_scores.open(device)
    float(torch.as_tensor(scores.logprobs).sum())
    back.put({"seconds": time.perf_counter() - start, "prints": _prints(scores)})


def engine(c: Check) -> dict[str, Any]:
    """One optimiser step of one micro-batch under DeepSpeed: each ZeRO stage that one rank can have, and stage 2 with
    the moments in host memory between updates.
    """
    try:
        import deepspeed
    except ImportError as err:
        return {"not_measured": f"DeepSpeed cannot be imported: {err}"}
    if not c.cuda:
        deepspeed.ops.__compatible_ops__ = {}  # else a compiler builds an operator for tensor-parallel inference
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_ports(1)[0]), "RANK": "0", "LOCAL_RANK": "0"}
    os.environ["WORLD_SIZE"] = "1"
    deepspeed.init_distributed("nccl" if c.cuda else "gloo", rank=0, world_size=1, verbose=False)
    batch, out = _micro_batch(c), {"deepspeed": deepspeed.__version__}
    losses, dtype = Losses(DistilSettings(top_k=c.s["K"])), str(c.dtype).removeprefix("torch.")
    for stage, offload in ((1, False), (2, False), (3, False), (2, True)) if c.cuda else ((1, False), (2, True)):
        name = f"zero {stage}{', offloaded' if offload else ''}"

        def run(stage: int = stage, offload: bool = offload) -> dict[str, Any]:
            network = c.network("student")
            network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            policy = Policy(network, losses)
            policy.train()
            made = ShardedEngine(policy, Optimiser(lr=1e-6), stage, dtype, offload)

            def step() -> None:
                made.backward(made(batch).loss)
                made.step()

            found = c.measure(step, 2)
            held = torch.cuda.memory_allocated() / GIB if c.cuda else 0.0  # weights, master weights, moments
            made.destroy()
            return found | {"static_gib": held}

        try:
            out[name] = c.attempt(run)
        except Exception as err:  # what an engine says at one stage is a finding, not the end of the others
            traceback.print_exc()
            out[name] = {"failed": f"{type(err).__name__}: {err}"[:400]}
            out["held"] = False
    torch.distributed.destroy_process_group()
    return out


PARTS: dict[str, Callable[[Check], dict[str, Any]]] = {
    "matmul": matmul,
    "copies": copies,
    "head": head,
    "student": student,
    "teacher": teacher,
    "transfer": transfer,
    "lent": lent,
    "engine": engine,
}


def provenance(c: Check) -> dict[str, Any]:
    """What ran this: device, driver, versions, processor."""
    out: dict[str, Any] = {
        "size": c.size,
        "source": source_hash(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    if c.cuda:
        properties = torch.cuda.get_device_properties(0)
        driver = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout.strip()
        out |= {
            "device": properties.name,
            "memory_gib": properties.total_memory / GIB,
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "driver": driver,
        }
    for package in ("transformers", "triton", "deepspeed"):
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            out[package] = None
    return out


def table(found: dict[str, Any]) -> str:
    """The measured JSON as the Markdown table of `docs/gpu.md`."""
    made, head_part, student_part, teacher_part = (found[k] for k in ("provenance", "head", "student", "teacher"))
    lines = [
        f"{made['device']} ({made['memory_gib']:.1f} GiB), torch {made['torch']}, driver {made['driver']}, "
        f"{made['date'][:10]}, source {made['source']}.",
        "",
        "| what | measured |",
        "|---|---|",
        f"| bf16 matrix product, {found['matmul']['n']}³ | {found['matmul']['tflops']:.0f} TFLOP/s |",
        f"| copy to pinned, to pageable host memory | {found['copies']['to_pinned']:.1f}, "
        f"{found['copies']['to_pageable']:.1f} GB/s |",
    ]
    for name, e in head_part.items():
        if isinstance(e, dict):
            lines.append(
                f"| output head, {name.replace(' ', ', chunks of ')}: T = {head_part['tokens']:,}, "
                f"k = {head_part['k']}, forward and backward | {1e3 * e['seconds']:.0f} ms, "
                f"{e['over_its_products']:.2f} × its four matrix products; extra memory {e['extra_gib']:.2f} GiB |"
            )
    for name, e in student_part.items():
        if isinstance(e, dict):
            lines.append(
                f"| student of {student_part['parameters'] / 1e9:.2f} B, {student_part['tokens']:,} tokens, {name} | "
                f"{e['seconds']:.2f} s, {e['tokens_per_second']:,.0f} tokens per second, activations "
                f"{e['extra_gib']:.1f} GiB, peak {e['peak_gib']:.1f} GiB |"
            )
    for name, e in teacher_part.items():
        if isinstance(e, dict):
            lines.append(
                f"| teacher of {teacher_part['parameters'] / 1e9:.2f} B, {teacher_part['tokens']:,} tokens, {name} | "
                f"{e['tokens_per_second']:,.0f} tokens per second, peak {e['peak_gib']:.1f} GiB |"
            )
    sent = found["transfer"]
    for way in ("ipc", "gloo"):
        lines.append(
            f"| weights to another process by {way}, {sent['gib']:.1f} GiB | {sent[way]['seconds']:.2f} s, "
            f"{sent[way]['gb_per_second']:.1f} GB/s |"
        )
    lines.append(f"| fingerprints of these weights | {sent['fingerprints']['seconds']:.2f} s |")
    if read := found.get("lent"):
        lines.append(f"| a teacher's rows read in its memory, {read['gib']:.2f} GiB | {1e3 * read['seconds']:.1f} ms |")
    for name, e in found["engine"].items():
        if isinstance(e, dict) and "seconds" in e:
            lines.append(
                f"| optimiser step, DeepSpeed {found['engine']['deepspeed']}, {name}, checkpointed | "
                f"{e['seconds']:.2f} s, static {e['static_gib']:.1f} GiB, peak {e['peak_gib']:.1f} GiB |"
            )
        elif isinstance(e, dict):
            lines.append(f"| optimiser step, DeepSpeed, {name} | {e.get('failed') or e.get('out_of_memory')} |")
    return "\n".join(lines)


def main() -> int:
    """Run the parts; 1 where one of them failed or was left out for want of time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    parser.add_argument("--table", type=Path, help="print this JSON file as the table of docs/gpu.md, and nothing else")
    parser.add_argument("--toy", action="store_true", help="toy widths on a CPU")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to run (matmul always)")
    parser.add_argument("--seconds", type=float, default=480.0, help="start no further part after this many seconds")
    args = parser.parse_args()
    if args.table:
        print(table(json.loads(args.table.read_text(encoding="utf-8"))))
        return 0
    if not args.out:
        parser.error("--out FILE is needed")
    if not args.toy and not torch.cuda.is_available():
        parser.error("no CUDA device: use --toy to see that the script runs")
    c, start = Check("toy" if args.toy else "true"), time.perf_counter()
    result: dict[str, Any] = {"provenance": provenance(c)}
    failed = []
    for name, part in PARTS.items():
        if args.only and name not in ("matmul", *args.only):
            continue
        began = time.perf_counter()
        if began - start > args.seconds:
            result[name] = {"not_measured": f"{args.seconds:g} s had passed"}
            failed.append(name)
        else:
            try:
                result[name] = part(c)
                if not result[name].get("held", True):
                    failed.append(name)
            except Exception as err:  # the parts after it are still worth their minutes
                traceback.print_exc()
                result[name] = {"failed": f"{type(err).__name__}: {err}"[:400]}
                failed.append(name)
            c.clear()
            result[name]["part_s"] = time.perf_counter() - began
        print(name, json.dumps(result[name]), flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"failed: {', '.join(failed)}" if failed else "all parts ran", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
