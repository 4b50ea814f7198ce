"""A configuration → the timeline of its step, in the layout it has or in another one.

On GPUs by `gpu_rates.py`; on CPUs by steps that were measured, for models of their sizes (`cpu_rates.py`). A response
is as long as it may be, or of a mean that the caller supposes. Left out: what a step costs over a whole study
(`pricing.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import pandas as pd

from artifact.actors.placement import place, scorers
from artifact.config import Config
from artifact.errors import ConfigError
from artifact.studies.cpu_rates import cpu_rates, layout_on_cpu, sizes_of, step_times
from artifact.studies.gpu_rates import Transfer, gpu, gpu_rates
from artifact.studies.inputs import mean_prompt_tokens
from artifact.studies.memory_model import DEVICE_GIB, GIB, PROCESS_GIB, bytes_of, devices, scorer, student
from artifact.studies.model_shape import ModelShape, shape_of_model
from artifact.studies.offline import absent_splits, is_here
from artifact.studies.rates import Rates, Tokens
from artifact.studies.simulator import PHASES, Layout, Timeline, Work, layout_of, lengths, sequential, streamed
from artifact.studies.step_cost import share
from artifact.studies.step_load import Load, loads, prompts_shared
from artifact.tasks.base import Context

Order = Literal["sequential", "streamed"]

PROMPT_TOKENS = 200.0
"""Of a prompt, where prompts cannot be read on this machine."""


def prompt_tokens(config: Config, context: Context = "none") -> tuple[float, bool]:
    """Mean tokens of the training prompts under a context, and whether they were read: without the network, else
    `PROMPT_TOKENS`.
    """
    if is_here(config.models.student) and not absent_splits(config, [config.task.train_split]):
        return mean_prompt_tokens(config, context), True
    return PROMPT_TOKENS, False


def at_once(config: Config, shape: ModelShape, tokens: float) -> int:
    """Sequences of `tokens` that an engine with this model runs at a time: by its setting, and by its KV cache."""
    c, b = config.cluster, bytes_of(config.models.dtype)
    room = c.engine.kv_cache_gib * GIB
    if c.device == "cuda":
        weights = b * shape.parameters / c.engine.tensor_parallel_size
        room = c.engine.gpu_memory_utilization * DEVICE_GIB * GIB - weights
    each = shape.cache_per_token(b) * tokens / c.engine.tensor_parallel_size
    return max(1, min(c.engine.max_num_seqs, int(room / each)))


def own_layout(config: Config) -> Layout:
    """The layout that a run of `config` has."""
    c = config.cluster
    if c.device == "cpu":
        return layout_on_cpu(config)
    engines = tuple(f"engine-{i}" for i in range(c.engine.count))
    students = tuple(f"student-{i}" for i in range(c.student_workers))
    teachers = scorers("teacher", c)
    where = devices(place(c, (*students, *scorers("reference", c), *teachers, *engines)), [1.0] * c.gpus)
    name = {role: f"GPU {device}" for role, device in where.items()}
    e, t, s = (tuple(name[role] for role in roles) for roles in (engines, teachers, students))
    return Layout("as configured", e, t, s, sleeping=c.layout == "colocated")


def work_of(config: Config, load: Load, mean_response: float | None = None) -> Work:
    """What a step of `load` computes, its responses of a mean length (None: all at the budget)."""
    budget = config.sampling.max_new_tokens
    prompt, _ = prompt_tokens(config)
    spread = lengths(max(load.rollouts, 1), mean_response or budget, budget)

    def sequences(n: int, prompts: float | None = prompts_shared(config), prompt: float = prompt) -> tuple[Tokens, ...]:
        computed = prompt * share(prompts, n)
        return tuple((computed, spread[i % len(spread)]) for i in range(n))

    shape = shape_of_model(config.models.student)
    return Work(
        sequences(load.rollouts, None),
        sequences(load.scored, prompt=prompt_tokens(config, load.scored_under)[0]),
        sequences(load.referenced),
        sequences(load.trained),
        config.optimiser.micro_batch_tokens,
        at_once(config, shape, prompt + budget),
    )


def rates_of(config: Config, layout: Layout, rollouts: int) -> Rates:
    """What the parts of a step of `config` cost in this layout. ConfigError where nobody has measured it."""
    if config.cluster.device == "cuda":
        wanted, together = config.cluster.weight_transfer, set(layout.engines) <= set(layout.students)
        transfer: Transfer = "ipc" if together else "gloo" if wanted == "gloo" else "nccl"
        return gpu_rates(config, layout, transfer, max(1.0, rollouts / len(layout.engines)))
    found, sizes = step_times(), sizes_of(config)
    if found is None or not {*sizes} <= found.sizes:
        raise ConfigError(
            f"no step of {config.models.student} taught by {config.teacher_path} was measured on a CPU: "
            "train one and run benchmarks/step_time.py"
        )
    return cpu_rates(found.model, *sizes)


def timeline(
    config: Config, layout: Layout, *, order: Order = "sequential", mean_response: float | None = None
) -> Timeline:
    """The longest of the steps that one of `config` can be, over how many rollouts are correct.

    Raises ConfigError where nobody has measured it, and where the teacher answers while training.
    """
    found = loads(config)
    if not found or any(load.answered for load in found):
        raise ConfigError(
            f"a step of method {config.method!r} with these options is not simulated: nobody has measured a teacher "
            "that answers while training"
            if found
            else f"method {config.method!r} makes no examples of a step"
        )
    of = {"sequential": sequential, "streamed": streamed}[order]
    made = [of(work_of(config, load, mean_response), rates_of(config, layout, load.rollouts), layout) for load in found]
    return max(made, key=lambda step: step.seconds)


def simulated(
    config: Config,
    layout: str | None = None,
    gpus: int | None = None,
    *,
    order: Order = "sequential",
    mean_response: float | None = None,
) -> Timeline:
    """The timeline of a step of `config` in its own layout, or on `gpus` GPUs in the layout of that name."""
    if layout is None and gpus is None:
        return timeline(config, own_layout(config), order=order, mean_response=mean_response)
    if config.cluster.device != "cuda":
        raise ConfigError(f"tier {config.tier!r} runs on CPUs, which have one layout: leave out layout and GPUs")
    count = gpus or config.cluster.gpus
    made = layout_of(layout or config.cluster.layout, count)
    if made.engines == made.students:
        made = layout_of(made.name, count, sleeping=sleeps(config, count))
    return timeline(config, made, order=order, mean_response=mean_response)


def sleeps(config: Config, gpus: int) -> bool:
    """Whether a GPU that holds all roles of a step has no room for them at once, so that its engine has to sleep.

    The engine has its weights and a cache for its part of the rollouts at full length. Raises ConfigError where not
    even the roles that train fit.
    """
    own, dtype = shape_of_model(config.models.student), config.models.dtype
    tokens = max(config.optimiser.micro_batch_tokens, config.sampling.max_new_tokens)
    needs = config.make_method().needs
    roles = [
        student(
            own,
            dtype,
            stage=config.cluster.zero_stage,
            ranks=gpus,
            tokens=tokens,
            checkpointed=config.optimiser.gradient_checkpointing,
            offload=config.cluster.offload_optimiser,
        )
    ]
    if needs.scorer:
        scoring = own if needs.self_teacher else shape_of_model(config.teacher_path)
        roles.append(scorer(scoring, dtype, tokens, "teacher"))
    if needs.reference:
        roles.append(scorer(own, dtype, tokens, "reference"))
    training = sum(row.nbytes for rows in roles for row in rows) / GIB + PROCESS_GIB * len(roles)
    if training > DEVICE_GIB:
        raise ConfigError(
            f"{gpus} GPUs that hold all roles would need {training:.1f} GiB each while training and have {DEVICE_GIB}: "
            "take more GPUs, cluster.zero_stage = 3, cluster.offload_optimiser = true, or the layout `separate`"
        )
    length = prompt_tokens(config)[0] + config.sampling.max_new_tokens
    share = math.ceil(config.train.prompts_per_step * config.sampling.samples_per_prompt / gpus)
    cached = min(share, config.cluster.engine.max_num_seqs) * own.cache_per_token(bytes_of(dtype)) * length
    return training + (bytes_of(dtype) * own.parameters + cached) / GIB + PROCESS_GIB > DEVICE_GIB


def compared(config: Config, cases: Sequence[tuple[str, int]], mean_response: float | None = None) -> pd.DataFrame:
    """One row per layout and number of GPUs in `cases`, and order: seconds of each phase and of the step.

    Columns: layout, gpus, order, the phases, step, used (share of the GPUs' time), spent_s (of all GPUs). Phases of a
    streamed step overlap.
    """
    rows = []
    for layout, gpus in cases:
        for order in get_args(Order):
            step = simulated(config, layout, gpus, order=order, mean_response=mean_response)
            phases = {phase: step.phases().get(phase, 0.0) for phase in PHASES}
            row = {"layout": layout, "gpus": gpus, "order": order, **phases, "step": step.seconds, "used": step.used}
            rows.append(row | {"spent_s": gpus * step.seconds})
    return pd.DataFrame(rows)


def assumed(config: Config, mean_response: float | None = None) -> str:
    """What a timeline of `config` supposes and where its costs are from, in a line."""
    budget = config.sampling.max_new_tokens
    n = config.train.prompts_per_step * config.sampling.samples_per_prompt
    prompt, read = prompt_tokens(config)
    tokens = (
        f"{mean_response:,.0f} tokens on average, {budget:,} at most" if mean_response else f"{budget:,} tokens each"
    )
    prompts = f"prompts of {prompt:,.0f} tokens" + ("" if read else " (supposed)")
    if config.cluster.device == "cpu":
        found = step_times()
        basis = found.says() if found else "not measured"
    else:
        g = gpu()
        basis = (
            f"parts measured on one {g.device} ({g.date}), decoding, links and sleep from published figures "
            "(configs/gpu_costs.yaml); no run on GPUs was measured"
        )
    return f"{config.models.student} from {config.teacher_path}, {n} responses of {tokens}, {prompts}; {basis}."
