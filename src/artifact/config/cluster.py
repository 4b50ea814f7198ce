"""The sections that say who runs where: devices, the engines of each role, the layout, and the way of a weight sync.

Left out: what a placement makes of them (`actors/placement.py`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from artifact.config.section import Section


class Engine(Section):
    """vLLM rollout engines."""

    count: int = Field(2, ge=1)
    threads: int = Field(1, ge=1, description="CPU threads an engine may use")
    max_model_len: int = Field(ge=8)
    max_num_seqs: int = Field(256, ge=1)
    max_num_batched_tokens: int = Field(8192, ge=64)
    kv_cache_gib: float = Field(1.0, gt=0, description="KV cache of an engine on CPU")
    gpu_memory_utilization: float = Field(0.85, gt=0, le=1)
    tensor_parallel_size: int = Field(1, ge=1)
    gpus: float | None = Field(
        None,
        gt=0,
        description="GPUs an engine reserves; None: one a part of its tensors, or a share where all share one",
    )
    enforce_eager: bool = True
    prove_weights: bool = Field(
        True, description="compare with a forward pass on one device; off for a model that is larger than a device"
    )
    prefix_cache: bool = Field(True, description="reuse the KV cache of shared prompt prefixes; off for tiny models")
    scheduler: Literal["vllm", "lean"] = Field(
        "vllm", description="`lean`: vLLM's, and its runner, with a short way through decode steps, on CPU; same tokens"
    )


Role = Literal["teacher", "judge", "generator"]
"""Whose engines may be others than the student's: the teacher that answers, phase 1's judge, SURE-Math's generator."""


class RoleEngine(Section):
    """What the engines of a role have of their own; None: as in `cluster.engine`."""

    count: int | None = Field(None, ge=1)
    max_model_len: int | None = Field(None, ge=8)
    max_num_seqs: int | None = Field(None, ge=1)
    max_num_batched_tokens: int | None = Field(None, ge=64)
    kv_cache_gib: float | None = Field(None, gt=0)
    gpu_memory_utilization: float | None = Field(None, gt=0, le=1)
    tensor_parallel_size: int | None = Field(None, ge=1)
    gpus: float | None = Field(None, gt=0)
    enforce_eager: bool | None = None
    prove_weights: bool | None = None


class Cluster(Section):
    """Who runs where, and how weights pass between them."""

    device: Literal["cpu", "cuda"]
    gpus: int = Field(
        0,
        ge=0,
        description="GPUs the run may use, over all nodes; with device = cpu Ray counts them where there are none",
    )
    engine: Engine = Field(description="the student's engines, and those of every role that has none of its own")
    engines: dict[Role, RoleEngine] = Field(
        default_factory=dict, description="by role: what its engines have otherwise"
    )
    lanes: int = Field(1, ge=1, description="runs of a study trained side by side, each on actors of its own")
    object_store_gib: float = Field(
        2.0, ge=0.1, description="shared memory of a local Ray head, through which teacher scores go to the student"
    )
    student_workers: int = Field(1, ge=1, description="data-parallel DeepSpeed ranks")
    student_threads: int = Field(2, ge=1)
    teacher_threads: int = Field(2, ge=1)
    colocate_reference: float = Field(
        0.2, gt=0, le=1, description="GPU fraction of the reference actor beside the student"
    )
    zero_stage: Literal[0, 1, 2, 3] = Field(
        1,
        description="what the ranks share out: 0 nothing, 1 optimiser state, 2 gradients too, 3 weights too; gradients "
        "of bfloat16 weights are summed in float32 from 2 on, in bfloat16 below",
    )
    offload_optimiser: bool = Field(
        False,
        description="AdamW's moments wait in host memory and come to the device for the update alone: 8 bytes a "
        "parameter (over the ranks, from stage 1 on) less on the device, the same bits, a slower update",
    )
    layout: Literal["separate", "colocated"] = Field(
        "separate",
        description="`separate`: UOPD appendix A.1, engines, teacher and student on devices of their own; `colocated`: "
        "every device has an engine, a rank of the student, a teacher and a reference, and the engine sleeps while the "
        "others work",
    )
    weight_transfer: Literal["auto", "ipc", "nccl", "gloo"] = Field(
        "auto",
        description="how the student's weights reach engines: `ipc` on one device, `nccl` between GPUs, `gloo` through "
        "host memory; `auto`: the first of these that can",
    )
    sync_tolerance: float = Field(
        2e-4,
        gt=0,
        description="largest allowed |Δ log-prob| of the probe after a weight sync, nats; bfloat16: the mean",
    )
    start_timeout_s: float = Field(900, gt=0)
    step_timeout_s: float = Field(600, gt=0, description="deadline of every actor call in the loop")
    idle_timeout_s: float = Field(1800, gt=0, description="after which actors that nobody uses end by themselves")

    @model_validator(mode="after")
    def _a_prompt_fits_a_batch(self) -> Cluster:
        budget, longest = self.engine.max_num_batched_tokens, self.engine.max_model_len
        if self.device == "cpu" and budget < longest:
            raise ValueError(
                f"engine.max_num_batched_tokens = {budget} is below engine.max_model_len = {longest}; on CPU a prompt "
                "is never divided, so raise the former"
            )
        return self

    @model_validator(mode="after")
    def _a_transfer_has_its_devices(self) -> Cluster:
        if self.weight_transfer == "nccl" and self.device == "cpu":
            raise ValueError(
                "weight_transfer = nccl moves memory of GPUs, and device = cpu: set it to gloo, ipc or auto"
            )
        return self

    @model_validator(mode="after")
    def _the_lean_scheduler_is_for_plain_engines(self) -> Cluster:
        engine = self.engine
        if engine.scheduler == "lean" and (
            self.device != "cpu" or engine.prefix_cache or engine.tensor_parallel_size > 1
        ):
            raise ValueError(
                f"engine.scheduler = lean is for engines on one CPU without prefix cache; here device = {self.device}, "
                f"engine.prefix_cache = {str(engine.prefix_cache).lower()}, engine.tensor_parallel_size = "
                f"{engine.tensor_parallel_size}: set engine.scheduler = vllm"
            )
        return self
