"""What the parts of a step cost on H100s: as measured (results/gpu/h100.json), else by published figures.

With N multiplied weights of b bytes (all but an embedding that is looked up), w ranks, r operations a second that the
GPU reached in a matrix product; in brackets, where each comes from:

    decoding        fixed + bytes / bandwidth of an iteration, the bytes being bN and the caches of those running
                    [fitted to `decode` of configs/gpu_costs.yaml]
    prompt, scoring 2N a token over r · share  [`teacher_scores`, the head on every position]
    training        6N a token over r · share  [`checkpointed` or `plain`, head and loss included]
    update          proportional to N / w  [`zero 1` less `checkpointed`], and gradients to the other ranks  [`link`];
                    offloaded, the moments to the device and back, page-locked, 8 bytes a weight each way  [`copies`]
    ZeRO 3          each micro-batch: proportional to N  [`zero 3` less `zero 1`], and over the link weights twice and
                    gradients once
    sync            bN by CUDA IPC, by Gloo in ⌈log₂(engines + 1)⌉ rounds, or over the link; fingerprints on both sides
                    [`transfer`]
    scores          to another GPU: 8k + 4 bytes a token from the host  [`copies`]

Experts: an iteration reads those that at least one sequence is sent to, if all are chosen alike; a pass counts the
weights that a token goes through, at the rate of a dense model, which is too fast. Left out: verdicts and the driver,
how rates depend on the length of a sequence (2,048 tokens where it was measured).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from artifact.config import Config, read_yaml
from artifact.files import read_json
from artifact.paths import project_root
from artifact.studies.memory_model import bytes_of
from artifact.studies.model_shape import ModelShape, shape_of_model
from artifact.studies.rates import Decoding, Pass, Rates
from artifact.studies.simulator import Layout

Transfer = Literal["ipc", "gloo", "nccl"]
"""How weights reach the engines: within a device, through the host, from device to device."""


@dataclass(frozen=True)
class Gpu:
    """What is known of the GPU.

    decode_fixed, decode_bandwidth  of an iteration of vLLM: seconds, bytes a second
    operations                      a second, in a matrix product
    score_share, train_share, plain_share  of them, in a pass of the teacher and of the student, checkpointed or not
    update, zero3                   seconds a weight: of the optimiser, of a micro-batch under ZeRO stage 3
    ipc, gloo, fingerprints, from_host, from_pinned, to_pinned, machine, network  bytes a second
    """

    decode_fixed: float
    decode_bandwidth: float
    operations: float
    score_share: float
    train_share: float
    plain_share: float
    update: float
    zero3: float
    ipc: float
    gloo: float
    fingerprints: float
    from_host: float
    from_pinned: float
    to_pinned: float
    machine: float
    network: float
    gpus_per_machine: int
    wake: float
    device: str
    date: str

    def decoding(self, shape: ModelShape, b: int, sequences: float, ranks: int = 1) -> Decoding:
        """Of an engine of `ranks` tensor-parallel ranks; which experts are read depends on the `sequences` that run."""
        bandwidth = ranks * self.decode_bandwidth
        return Decoding(
            iteration=self.decode_fixed + b * read_weights(shape, sequences) / bandwidth,
            sampled=0.0,
            cached=shape.cache_per_token(b) / bandwidth,
            prompt=Pass(token=self.scoring(shape).token / ranks),
        )

    def scoring(self, shape: ModelShape) -> Pass:
        """A frozen model's pass over a sequence."""
        return Pass(token=2 * multiplied(shape) / (self.operations * self.score_share))

    def link(self, gpus: int) -> float:
        """Bytes a second between two of `gpus` GPUs, over the slowest way there is."""
        return self.machine if gpus <= self.gpus_per_machine else self.network


def multiplied(shape: ModelShape) -> int:
    """Weights that a token is multiplied by: the body (of experts, those it goes through) and the output head."""
    body = shape.parameters - shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    if shape.experts is not None:
        held, through = shape.experts
        body -= shape.layers * (held - through) * 3 * shape.hidden * shape.inner
    return body + shape.vocabulary * shape.hidden


def read_weights(shape: ModelShape, sequences: float) -> float:
    """Weights that an iteration over `sequences` reads: of E experts, of which a token goes through e, on average
    E · (1 − (1 − e/E)^sequences).
    """
    if shape.experts is None:
        return multiplied(shape)
    held, through = shape.experts
    touched = held * (1 - (1 - through / held) ** sequences)
    return multiplied(shape) + shape.layers * (touched - through) * 3 * shape.hidden * shape.inner


def fit_decoding(published: dict[str, Any]) -> tuple[float, float]:
    """(seconds of an iteration beside its bytes, bytes a second): least squares over the published points."""
    shape = shape_of_model(published["model"])
    points = published["points"]
    read = [
        2 * read_weights(shape, p["running"]) + shape.cache_per_token(2) * p["running"] * p["cached"] for p in points
    ]
    slope, fixed = np.polyfit(read, [p["seconds"] for p in points], 1)
    return float(fixed), float(1 / slope)


@lru_cache(maxsize=4)
def gpu(measured: Path | None = None, published: Path | None = None) -> Gpu:
    """What results/gpu/h100.json and configs/gpu_costs.yaml say."""
    of = read_json(measured or project_root() / "results" / "gpu" / "h100.json", "run benchmarks/gpu_check.py")
    figures = read_yaml(published or project_root() / "configs" / "gpu_costs.yaml")
    own, teacher = shape_of_model("Qwen/Qwen3-1.7B"), shape_of_model("Qwen/Qwen3-8B")
    operations, tokens = of["matmul"]["tflops"] * 1e12, of["student"]["tokens"]
    fixed, bandwidth = fit_decoding(figures["decode"])

    def share(passes: int, shape: ModelShape, seconds: float) -> float:
        return passes * multiplied(shape) * tokens / seconds / operations

    sent = of["transfer"]["gib"] * 2**30
    return Gpu(
        decode_fixed=fixed,
        decode_bandwidth=bandwidth,
        operations=operations,
        score_share=share(2, teacher, of["teacher"]["teacher_scores"]["seconds"]),
        train_share=share(6, own, of["student"]["checkpointed"]["seconds"]),
        plain_share=share(6, own, of["student"]["plain"]["seconds"]),
        update=(of["engine"]["zero 1"]["seconds"] - of["student"]["checkpointed"]["seconds"]) / own.parameters,
        zero3=(of["engine"]["zero 3"]["seconds"] - of["engine"]["zero 1"]["seconds"]) / own.parameters,
        ipc=of["transfer"]["ipc"]["gb_per_second"] * 1e9,
        gloo=of["transfer"]["gloo"]["gb_per_second"] * 1e9,
        fingerprints=sent / of["transfer"]["fingerprints"]["seconds"],
        from_host=of["copies"]["from_pageable"] * 1e9,
        from_pinned=of["copies"]["from_pinned"] * 1e9,
        to_pinned=of["copies"]["to_pinned"] * 1e9,
        machine=float(figures["link"]["machine"]),
        network=float(figures["link"]["network"]),
        gpus_per_machine=int(figures["link"]["gpus_per_machine"]),
        wake=float(figures["wake"]["seconds"]),
        device=of["provenance"]["device"],
        date=of["provenance"]["date"][:10],
    )


def gpu_rates(config: Config, layout: Layout, transfer: Transfer, sequences: float, known: Gpu | None = None) -> Rates:
    """The rates of a step of `config` on H100s in this layout; `sequences` run in an engine at the same time."""
    g, b, ranks = known or gpu(), bytes_of(config.models.dtype), len(layout.students)
    own, teacher = shape_of_model(config.models.student), shape_of_model(config.teacher_path)
    scorer = own if config.make_method().needs.self_teacher else teacher
    link, held = g.link(len(layout.devices)), b * own.parameters
    stage, elsewhere = config.cluster.zero_stage, not set(layout.scorers) & set(layout.students)
    share = g.train_share if config.optimiser.gradient_checkpointing else g.plain_share
    exchange = (ranks - 1) / ranks * held / link  # one way round the ranks
    handed = (8 * config.losses.distil.top_k + 4) / g.from_host if elsewhere else 0.0
    way = {"ipc": g.ipc, "gloo": g.gloo / math.ceil(math.log2(len(layout.engines) + 1)), "nccl": link}[transfer]
    share_of_update = own.parameters / (ranks if stage else 1)
    moved = 8 * share_of_update * (1 / g.from_pinned + 1 / g.to_pinned) if config.cluster.offload_optimiser else 0.0
    return Rates(
        decoding=g.decoding(own, b, sequences, config.cluster.engine.tensor_parallel_size),
        scoring=g.scoring(scorer),
        reference=g.scoring(own),
        training=Pass(token=6 * multiplied(own) / (g.operations * share), response=handed),
        micro_batch=g.zero3 * own.parameters + 3 * exchange if stage == 3 else exchange if stage == 2 else 0.0,
        update=g.update * share_of_update + moved + (0.0 if stage >= 2 else 2 * exchange),
        sync=held / way + 2 * held / g.fingerprints,
        switch=g.wake if layout.sleeping else 0.0,
    )
