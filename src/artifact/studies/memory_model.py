"""What each role of a run holds on its device, component by component: what a tier needs, before it is started.

With P parameters of b bytes, w data-parallel ranks, ZeRO stage z, T tokens a micro-batch, L layers of inputs bH:

| of a student rank | bytes |
|---|---|
| weights | bP, over w at z = 3 |
| optimiser | AdamW's two moments in float32, and float32 weights beside bfloat16 ones: 8P + 4P, over w from z = 1 |
| update | offloaded, the moments come for the update, at z = 3 in parts of 1e9: what the next two leave no room for |
| gradients | bP below z = 2; in float32 for the update 4P, over w from z = 1; float32 ones are both at once |
| buffers | from z = 1 one bucket of DeepSpeed's exchange, 5e8 numbers; below z = 3 no more than P |
| activations | T · L · kept, or under gradient checkpointing T · (L · bH + kept) |
| output head | logits of a chunk of the vocabulary in float32, twice: 8 T · chunk |

A frozen model that scores holds bP, and at most the widest of a layer and of the logits of `CHUNK` positions, which
exist four times in float32; colocated, the scores of its rank's share of a step as well, until the student has read
them (`actors/lent_scores.py`). An engine takes the share of its device that it is given; what weights leave of it is
its KV cache. `results/gpu/*.json` holds these numbers as measured on a GPU, and `tests/studies/test_memory_model.py`
compares. Left out: the libraries themselves (1 to 2 GiB a process), and fragmentation.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

import pandas as pd

from artifact.actors.object_store import bytes_needed
from artifact.actors.placement import Placement, place, scorers
from artifact.config import Config, apply_overrides, checked
from artifact.errors import ConfigError
from artifact.studies.model_shape import ModelShape, shape_of_model
from artifact.train.losses.lm_head import CHUNK_VOCAB
from artifact.train.scoring import CHUNK

GIB = 2**30
BUCKET_NUMBERS = 500_000_000
"""DeepSpeed's `reduce_bucket_size`."""

SUB_GROUP_NUMBERS = 1_000_000_000
"""DeepSpeed's `sub_group_size`: of how many weights at a time stage 3 makes the update."""

PROCESS_GIB = 1.5
"""Of every process on a GPU: the CUDA context and its libraries."""

DEVICE_GIB = 79.2
"""What an H100 of 80 GB has (results/gpu/h100.json)."""


@dataclass(frozen=True)
class Held:
    """Bytes of one component of one role on its device."""

    role: str
    component: str
    nbytes: float


def bytes_of(dtype: str) -> int:
    """Bytes of a number."""
    return {"float32": 4, "bfloat16": 2}[dtype]


def student(
    shape: ModelShape,
    dtype: str,
    *,
    stage: int,
    ranks: int,
    tokens: int,
    checkpointed: bool,
    offload: bool = False,
    kernel: str = "triton",
    role: str = "student-0",
) -> list[Held]:
    """What a student rank holds at its fullest (see the module)."""
    p, b, half = shape.parameters, bytes_of(dtype), dtype == "bfloat16"
    shared = [1.0 if stage < first else 1.0 / ranks for first in (1, 2, 3)]  # optimiser, gradients, weights
    gradients = 4 * p * shared[0 if half else 1] + (b * p if half and stage < 2 else 0.0)
    kept = shape.kept_per_token(b)
    layers = shape.layers * b * shape.hidden + kept if checkpointed else shape.layers * kept
    chunk = min(CHUNK_VOCAB[kernel], shape.vocabulary)
    activations, head = float(tokens * layers), 8.0 * tokens * chunk
    masters, moments = (4 if half else 0) * p * shared[0], 8 * p * shared[0]
    at_once = min(moments, 8.0 * SUB_GROUP_NUMBERS) if stage == 3 else moments
    return [
        Held(role, "weights", b * p * shared[2]),
        Held(role, "optimiser", masters + (0 if offload else moments)),
        Held(role, "gradients", gradients),
        Held(role, "buffers", (BUCKET_NUMBERS if stage == 3 else min(BUCKET_NUMBERS, p)) * b if stage else 0.0),
        Held(role, "activations", activations),
        Held(role, "output head", head),
        *([Held(role, "update", max(0.0, at_once - activations - head))] if offload else []),
    ]


def scorer(shape: ModelShape, dtype: str, tokens: int, role: str) -> list[Held]:
    """What a frozen model holds that scores `tokens` at a time."""
    b = bytes_of(dtype)
    logits = 4 * 4 * min(CHUNK, tokens) * shape.vocabulary + tokens * b * shape.hidden
    passing = max(tokens * shape.passing_per_token(b), logits)
    return [Held(role, "weights", float(b * shape.parameters)), Held(role, "activations", float(passing))]


def engine(shape: ModelShape, dtype: str, share: float, device_gib: float, ranks: int, role: str) -> list[Held]:
    """What an engine of `ranks` tensor-parallel ranks holds on each device: its share, weights and KV cache apart."""
    b = bytes_of(dtype)
    weights = b * shape.parameters / ranks
    return [Held(role, "weights", weights), Held(role, "KV cache", share * device_gib * GIB - weights)]


def held(config: Config, device_gib: float = DEVICE_GIB) -> list[Held]:
    """Every component of every role of phase 2 of `config`; a sequence longer than a micro-batch is one by itself."""
    c, dtype = config.cluster, config.models.dtype
    tokens = max(config.optimiser.micro_batch_tokens, config.sampling.max_new_tokens)
    own, teacher = shape_of_model(config.models.student), shape_of_model(config.teacher_path)
    needs = config.make_method().needs
    kernel = "triton" if c.device == "cuda" else "reference"
    rows: list[Held] = []
    for rank in range(c.student_workers):
        rows += student(
            own,
            dtype,
            stage=c.zero_stage,
            ranks=c.student_workers,
            tokens=tokens,
            checkpointed=config.optimiser.gradient_checkpointing,
            offload=c.offload_optimiser,
            kernel=kernel,
            role=f"student-{rank}",
        )
    scoring = own if needs.self_teacher else teacher
    for role in scorers("teacher", c) if needs.scorer else ():
        rows += scorer(scoring, dtype, tokens, role)
        if c.layout == "colocated":
            rows.append(Held(role, SCORES, bytes_needed(config, scoring.vocabulary) / c.lanes / c.student_workers))
    for role in scorers("reference", c) if needs.reference else ():
        rows += scorer(own, dtype, tokens, role)
    return rows + [row for i in range(c.engine.count) for row in _engine(config, own, f"engine-{i}", device_gib)]


def frozen(served: Config, model: str, device_gib: float = DEVICE_GIB) -> list[Held]:
    """The same of the engines that sample the frozen `model` under `served`, with the reference that proves them."""
    shape, c = shape_of_model(model), served.cluster
    rows = [row for i in range(c.engine.count * c.lanes) for row in _engine(served, shape, f"sampler-{i}", device_gib)]
    if c.engine.prove_weights:
        rows.append(Held("reference", "weights", float(bytes_of(served.models.dtype) * shape.parameters)))
    return rows


def in_phase_1(config: Config, device_gib: float = DEVICE_GIB) -> dict[int, list[Held]]:
    """Device → what it holds in phase 1: of the teacher's engines, and a judge's; the more where both have no room."""
    teacher = config.as_role("teacher")
    judge, free = config.as_role("judge"), [1.0] * config.cluster.gpus
    first = by_device(teacher, frozen(teacher, config.teacher_path, device_gib), free)
    if config.annotation.clustering != "llm":
        return first
    asked = frozen(judge, config.judge_path, device_gib)
    try:
        second = by_device(judge, asked, free)
    except ConfigError:  # no room
        second = by_device(judge, asked)
        return {d: max(first.get(d, []), second.get(d, []), key=_bytes) for d in sorted({*first, *second})}
    return {d: first.get(d, []) + second.get(d, []) for d in sorted({*first, *second})}


def _bytes(rows: Iterable[Held]) -> float:
    return sum(row.nbytes for row in rows)


def _engine(config: Config, shape: ModelShape, role: str, device_gib: float) -> list[Held]:
    """An engine with a model: on GPUs it has its share of the device, on CPUs its weights and the cache it is given."""
    e, dtype = config.cluster.engine, config.models.dtype
    if config.cluster.device == "cuda":
        return engine(shape, dtype, e.gpu_memory_utilization, device_gib, e.tensor_parallel_size, role)
    weights = bytes_of(dtype) * shape.parameters / e.tensor_parallel_size
    return [Held(role, "weights", weights), Held(role, "KV cache", e.kv_cache_gib * GIB)]


def devices(placement: Placement, free: list[float]) -> dict[str, int]:
    """Role → the first of the devices it is on: bundles take GPUs in their order, fractions share one that has room.

    free  what is left of each GPU, of which the placement takes its part
    """
    gpus = len(free)
    of_bundle: dict[int, int] = {}
    for index, bundle in enumerate(placement.bundles):
        wanted = bundle.get("GPU", 0.0)
        start = next(
            (d for d in range(gpus) if all(f >= min(wanted, 1.0) - 1e-9 for f in free[d : d + max(1, round(wanted))])),
            None,
        )
        if start is None:
            raise ConfigError(
                f"the roles of this run need more than cluster.gpus = {gpus}: raise it, or lower the counts"
            )
        for d in range(start, start + max(1, round(wanted))):
            free[d] -= min(wanted, 1.0)
        of_bundle[index] = start
    return {role: of_bundle[index] for role, index in placement.bundle_of.items()}


def by_device(config: Config, rows: list[Held], free: list[float] | None = None) -> dict[int, list[Held]]:
    """Device → what of `rows` is held there, `free` as in `devices`; on a CPU everything is in one memory."""
    roles = tuple(dict.fromkeys(row.role for row in rows))
    if config.cluster.device == "cpu":
        return {0: rows}
    where = devices(place(config.cluster, roles), [1.0] * config.cluster.gpus if free is None else free)
    out: dict[int, list[Held]] = {}
    for row in rows:
        span = config.cluster.engine.tensor_parallel_size if row.role.startswith(("engine", "sampler")) else 1
        for d in range(where[row.role], where[row.role] + span):
            out.setdefault(d, []).append(row)
    for d, inside in out.items():
        inside += [Held(role, "process", PROCESS_GIB * GIB) for role in dict.fromkeys(r.role for r in inside)]
        out[d] = inside
    return dict(sorted(out.items()))


PHASES = ("phase 1", "rollout", "teacher", "student")
"""Phase 1, and the phases of a step that differ in what is held."""

SCORES = "scores"
"""What a colocated teacher keeps for the student of its device: from its own phase to the end of the student's."""

PASSING = ("activations", "output head", "update", SCORES)
"""Components that live in one phase of a step, that of their role, or two; all else lives as long as the run trains."""


def _sleeping(config: Config, row: Held) -> bool:
    """Whether an engine gives this up while others train on its device."""
    return config.cluster.layout == "colocated" and row.role.startswith("engine") and row.component != "process"


def at_most(config: Config, inside: list[Held]) -> float:
    """GiB that a device holds at most while a run trains.

    All components together: what a process has once had it keeps, by torch's allocator. Colocated roles give it back:
    then it is the more of what is held while engines sample and of what is held while they sleep.
    """
    asleep = [row for row in inside if not _sleeping(config, row)]
    sampling = [row for row in inside if row.component not in PASSING] if len(asleep) < len(inside) else []
    return max(sum(row.nbytes for row in rows) for rows in (asleep, sampling)) / GIB


def by_phase(config: Config, device_gib: float = DEVICE_GIB) -> pd.DataFrame:
    """GiB that each device holds in each of `PHASES`.

    Columns: device, roles (of a step), the phases, training (`at_most`: this must fit), capacity.
    """
    first = in_phase_1(config, device_gib)
    training = by_device(config, held(config, device_gib))

    def gib(inside: Iterable[Held], phase: str | None = None) -> float:
        of = {"teacher": ("teacher", "reference"), "student": ("student",)}.get(phase or "", ())
        rows = [r for r in inside if not (of and _sleeping(config, r))]

        def there(r: Held) -> bool:
            return r.component not in PASSING or r.role.startswith(of) or bool(of and r.component == SCORES)

        return sum(r.nbytes for r in rows if phase is None or there(r)) / GIB

    rows = []
    for device in sorted({*first, *training}):
        inside = training.get(device, [])
        row: dict[str, object] = {"device": device, "roles": ", ".join(dict.fromkeys(r.role for r in inside))}
        row |= {"phase 1": gib(first.get(device, []))} | {phase: gib(inside, phase) for phase in PHASES[1:]}
        rows.append(row | {"training": at_most(config, inside), "capacity": device_gib})
    return pd.DataFrame(rows)


def fullest(config: Config, device_gib: float = DEVICE_GIB, *, first: bool = False) -> tuple[int, float]:
    """The device that holds most while training (`first`: in phase 1), and how many GiB."""
    inside = in_phase_1(config, device_gib) if first else by_device(config, held(config, device_gib))
    sums = {d: _bytes(of) / GIB if first else at_most(config, of) for d, of in inside.items()}
    device = max(sums, key=lambda d: sums[d])
    return device, sums[device]


def short_of(config: Config, device_gib: float = DEVICE_GIB) -> str | None:
    """Why the GPUs do not hold this run, None where they do: the fullest device, or an engine without room for a
    response of full length; of phase 1 as well where the method reads it.
    """
    if config.cluster.device == "cpu":
        return None
    stages = [("", config.models.student, False)]
    if config.make_method().needs.annotation:
        stages.append(("in phase 1 ", config.teacher_path, True))
    for when, model, first in stages:
        device, gib = fullest(config, device_gib, first=first)
        if gib > device_gib:
            return f"{when}GPU {device} would hold {gib:.1f} GiB and has {device_gib:.1f}"
        served = config.as_role("teacher") if first else config
        shape, e = shape_of_model(model), served.cluster.engine
        room = next(r.nbytes for r in _engine(served, shape, "engine", device_gib) if r.component == "KV cache")
        needed = shape.cache_per_token(bytes_of(config.models.dtype)) / e.tensor_parallel_size * e.max_model_len
        if room < needed:
            return (
                f"{when}an engine's KV cache would have {room / GIB:.1f} GiB, and one response of engine.max_model_len "
                f"= {e.max_model_len} needs {needed / GIB:.1f}"
            )
    return None


def changes(config: Config) -> Iterator[dict[str, object]]:
    """Settings that need less memory, the mildest first: those of one device, each on top of those before it; then the
    same with GPUs of engines given to the student.
    """
    o, c = config.optimiser, config.cluster
    steps: list[dict[str, object]] = []
    if not o.gradient_checkpointing:
        steps.append({"optimiser.gradient_checkpointing": True})
    tokens = o.micro_batch_tokens
    while tokens > max(2048, config.sampling.max_new_tokens):
        tokens //= 2
        steps.append({"optimiser.micro_batch_tokens": tokens})
    shares: list[dict[str, object]] = [
        {"cluster.engine.gpu_memory_utilization": share}
        for share in (0.8, 0.6, 0.4, 0.25)
        if share < c.engine.gpu_memory_utilization
    ]
    offload: list[dict[str, object]] = [] if c.offload_optimiser else [{"cluster.offload_optimiser": True}]
    yield from accumulate([*steps, *offload, *shares], operator.or_)
    given_up = c.engine.count if c.layout == "separate" else 1  # colocated, no GPU is an engine's alone
    for ranks in range(c.student_workers, c.student_workers + given_up):
        sharded: dict[str, object] = {"cluster.zero_stage": max(c.zero_stage, 1)}
        if ranks > c.student_workers:
            given = ranks - c.student_workers
            sharded |= {"cluster.student_workers": ranks, "cluster.engine.count": c.engine.count - given}
        elif ranks == 1:
            continue
        yield from accumulate([sharded, *steps, *offload], operator.or_)
        whole: dict[str, object] = {"cluster.zero_stage": 3, "train.component_norms_every": 0}
        yield from accumulate([sharded | whole, *steps, *offload], operator.or_)


def nearest_change(config: Config, device_gib: float = DEVICE_GIB) -> dict[str, object] | None:
    """The mildest of `changes` with which the run fits, without those parts of it that are not needed; None where none
    of them is enough.
    """
    settings = config.model_dump()

    def fits(change: dict[str, object]) -> bool:
        return short_of(checked(Config, apply_overrides(settings, change), "the plan", change), device_gib) is None

    change = next((change for change in changes(config) if fits(change)), None)
    for key in list(change or ()):
        fewer = {name: value for name, value in (change or {}).items() if name != key}
        try:
            change = fewer if fewer and fits(fewer) else change
        except ConfigError:
            pass  # the rest goes with it
    return change


def refusal(config: Config, device_gib: float = DEVICE_GIB) -> str | None:
    """Why the GPUs do not hold this run, with the nearest change that makes it fit; None where they do."""
    why = short_of(config, device_gib)
    if why is None:
        return None
    change = nearest_change(config, device_gib)
    remedy = (
        "set " + ", ".join(f"{key} = {str(value).lower()}" for key, value in change.items())
        if change
        else "no setting of this tier is enough: use more GPUs (cluster.gpus, and cluster.student_workers with "
        "cluster.zero_stage = 3), or a smaller model"
    )
    return f"{why}: {remedy}"


def require_memory(config: Config, device_gib: float = DEVICE_GIB) -> None:
    """ConfigError with the `refusal` of this run, where there is one."""
    if (why := refusal(config, device_gib)) is not None:
        raise ConfigError(why)


def planned(configs: Mapping[str, Config], device_gib: float = DEVICE_GIB) -> pd.DataFrame:
    """GiB that each role of each configuration is planned to hold, by device and component.

    `configs`: how a layout is printed → its configuration. Columns: layout, device, role, component, planned, capacity.
    """
    rows = [
        {
            "layout": layout,
            "device": device,
            "role": row.role,
            "component": row.component,
            "planned": row.nbytes / GIB,
            "capacity": device_gib,
        }
        for layout, config in configs.items()
        for device, inside in by_device(config, held(config, device_gib)).items()
        for row in inside
    ]
    return pd.DataFrame(rows)
