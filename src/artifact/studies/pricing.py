"""What the stages of a plan take at most: seconds on a clock, and on CPUs processor seconds.

At most, as the plan's tokens are: every response is taken to be as long as it may be, and a step to be the longest that
its method can make of its rollouts (`step_load.py`). Seconds on a clock are those of the simulated step
(`simulate.py`): of a GPU tier by what is known of an H100, of a CPU tier where models of these sizes were measured.
Processor seconds follow the model of `step_cost.py` over sizes. Left out: answers of a teacher while training, which
nobody has measured; scoring of answers; what starting costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from artifact.config import Config
from artifact.errors import ArtifactError
from artifact.studies.cpu_rates import cpu_rates, step_times
from artifact.studies.gpu_rates import gpu
from artifact.studies.memory_model import bytes_of
from artifact.studies.model_shape import shape_of_model
from artifact.studies.rates import Decoding
from artifact.studies.simulate import assumed, at_once, own_layout, prompt_tokens, rates_of, timeline
from artifact.studies.step_cost import Measured, Shape, Size, measured, size_of
from artifact.studies.step_load import loads, prompts_shared
from artifact.tasks.base import Context


@dataclass(frozen=True)
class Price:
    """What something takes at most: seconds on a clock and of processors; None = not known."""

    clock: float | None = None
    processor: float | None = None

    def times(self, n: float | None) -> Price:
        """n times as much; of an unknown number nothing is known."""
        return Price(*(None if n is None or s is None else n * s for s in (self.clock, self.processor)))

    def __add__(self, other: Price) -> Price:
        pairs = ((self.clock, other.clock), (self.processor, other.processor))
        return Price(*(None if a is None or b is None else a + b for a, b in pairs))


def step_price(config: Config) -> Price:
    """Of one optimiser step."""
    try:
        clock = timeline(config, own_layout(config)).seconds
    except (ArtifactError, FileNotFoundError):
        clock = None
    return Price(clock, _processor_step(config))


def sampling_price(config: Config, rollouts: int | None, tokens: int, *, frozen: str | None = None) -> Price:
    """Of sampling `rollouts` responses of `tokens` tokens by the student of a run, in its engines; or by the model
    `frozen`, which nobody trains, in those of all lanes.
    """
    if not rollouts:
        return Price() if rollouts is None else Price(0.0, 0.0)
    found = _processor(config)
    shape = _shape(config, rollouts, tokens, frozen=frozen) if found else None
    processor = found.model.seconds(shape)["rollout"] if found and shape else None
    return Price(_sampling_clock(config, rollouts, tokens, frozen), processor)


def _sampling_clock(config: Config, rollouts: int, tokens: int, frozen: str | None) -> float | None:
    """Seconds until the fullest engine is through: whole waves of as many as it runs at a time, and the rest."""
    try:
        shape = shape_of_model(frozen or config.models.student)
        engines = config.cluster.engine.count * (config.cluster.lanes if frozen else 1)
        share, prompt = -(-rollouts // engines), prompt_tokens(config)[0]
        together = at_once(config, shape, prompt + tokens)
        decoding = _decoding(config, frozen, min(share, together))
    except (ArtifactError, FileNotFoundError):
        return None
    waves, rest = divmod(share, together)
    seconds = waves * max(decoding.finished([(prompt, tokens)] * together, together)) if waves else 0.0
    return seconds + (max(decoding.finished([(prompt, tokens)] * rest, rest)) if rest else 0.0)


def _decoding(config: Config, frozen: str | None, together: int) -> Decoding:
    """Of an engine with the student or a frozen model."""
    if config.cluster.device == "cuda":
        shape = shape_of_model(frozen or config.models.student)
        ranks = config.cluster.engine.tensor_parallel_size
        return gpu().decoding(shape, bytes_of(config.models.dtype), together, ranks)
    rates = rates_of(config, own_layout(config), together)
    found = step_times()
    if frozen is None or found is None:
        return rates.decoding
    sampled = size_of(frozen)
    return cpu_rates(found.model, sampled, sampled).decoding


def _processor(config: Config) -> Measured | None:
    """The model of processor seconds; None on GPUs, and where none was measured."""
    return measured() if config.cluster.device == "cpu" else None


def _processor_step(config: Config) -> float | None:
    found = _processor(config)
    if found is None or any(load.answered for load in loads(config)):
        return None
    budget, made = config.sampling.max_new_tokens, []
    for load in loads(config):
        counts = (load.scored, load.trained, load.referenced)
        shape = _shape(config, load.rollouts, budget, counts=counts, scored_under=load.scored_under)
        if shape is not None:
            made.append(found.model.total(shape))
    return max(made, default=None)


def _shape(
    config: Config,
    rollouts: int,
    tokens: int,
    *,
    frozen: str | None = None,
    counts: tuple[int | None, int | None, int] = (None, None, 0),
    scored_under: Context = "none",
) -> Shape | None:
    """What is computed, for the model of processor seconds; None where a model is not known here."""
    try:
        student, teacher = _size(config.models.student), _size(config.teacher_path)
        sampler = _size(frozen) if frozen else student
    except (ArtifactError, FileNotFoundError):
        return None
    engine, ranks = config.cluster.engine, config.cluster.student_workers
    scorer = student if config.make_method().needs.self_teacher else teacher
    scored, trained, referenced = counts
    return Shape(
        rollouts,
        prompt_tokens(config)[0],
        tokens,
        tokens,
        sampler,
        scorer,
        engine.count,
        ranks,
        engine.max_num_seqs,
        scored,
        trained,
        referenced,
        prompts_shared(config),
        prompt_tokens(config, scored_under)[0],
    )


@lru_cache(maxsize=64)
def _size(model: str) -> Size:
    return size_of(model)


def price_lines(config: Config) -> list[str]:
    """What a reader of prices should know: where they come from, their error, and what goes beyond the measured."""
    lines = []
    if step_price(config).clock is not None:
        lines.append(f"hours: {assumed(config)}")
    found = _processor(config)
    if found is not None and (shape := _shape(config, 1, 1)) is not None:
        lines.append(f"processor hours: {found.says()}")
        weights = max(shape.student.weights, _size(config.teacher_path).weights)
        if weights > found.largest:
            lines.append(
                f"processor hours are extrapolated: a model here has {weights / 1e6:,.1f} million weights, the largest "
                f"measured {found.largest / 1e6:,.1f}"
            )
    return lines
