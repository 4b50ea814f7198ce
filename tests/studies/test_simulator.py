"""The simulator against loops that count token by token, sums by hand, and steps that were measured on a processor."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifact.config import load
from artifact.errors import ConfigError
from artifact.paths import project_root
from artifact.studies.cpu_rates import cpu_rates, layout_on_cpu
from artifact.studies.rates import Decoding, Pass, Rates
from artifact.studies.simulator import Layout, Work, layout_of, lengths, micro_batches, sequential, streamed
from artifact.studies.step_cost import PHASES, CostModel, Shape, Size

COSTS = Decoding(iteration=0.5, sampled=0.125, cached=0.0625, prompt=Pass(token=0.25, squared=0.01), sequence=2.0)


def token_by_token(costs: Decoding, sequences: list[tuple[float, int]], at_once: int) -> list[float]:
    """The end of every sequence, by going through every iteration."""
    now, waiting, running, ends = 0.0, list(enumerate(sequences)), dict[int, list[float]](), [0.0] * len(sequences)
    while waiting or running:
        while waiting and len(running) < at_once:
            i, (prompt, response) = waiting.pop(0)
            now += costs.sequence + costs.prompt.token * prompt + costs.prompt.squared * prompt**2
            running[i] = [prompt, response]
        in_caches = sum(cached for cached, _ in running.values())
        now += costs.iteration + costs.sampled * len(running) + costs.cached * in_caches
        for i in list(running):
            running[i][0] += 1
            running[i][1] -= 1
            if running[i][1] == 0:
                ends[i] = now
                del running[i]
    return ends


SEQUENCES = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 12)), min_size=1, max_size=12)


@given(SEQUENCES, st.integers(1, 5))
def test_sampling_is_that_of_every_iteration(sequences: list[tuple[float, int]], at_once: int) -> None:
    assert COSTS.finished(sequences, at_once) == pytest.approx(token_by_token(COSTS, sequences, at_once))


RATES = Rates(
    decoding=Decoding(iteration=1.0, sampled=0.0, cached=0.0, prompt=Pass()),
    scoring=Pass(token=0.5),
    reference=Pass(response=0.25),
    training=Pass(token=1.0),
    call=0.5,
    micro_batch=0.125,
    update=3.0,
    sync=0.25,
    sync_engine=0.5,
    step=0.1,
    rollout=0.2,
    token=0.01,
    switch=0.75,
)
FOUR = tuple((1.0, n) for n in (3, 5, 7, 9))


def test_a_step_on_separate_devices_by_hand() -> None:
    """Engines have lengths 3, 7 and 5, 9 and run their two at a time; one teacher, one student, four micro-batches."""
    work = Work(FOUR, FOUR, FOUR[:2], FOUR, micro_batch_tokens=10, at_once=2)
    step = sequential(work, RATES, layout_of("separate", 4))
    assert step.phases() == pytest.approx(
        {
            "rollout": 9.0,
            "rest": 0.1 + 4 * 0.2 + 24 * 0.01,
            "teacher": (0.5 + 28 * 0.5) + (0.5 + 8 * 0.25),
            "student": 28 * 1.0 + 3 * 0.125 + 3.0,  # 4 + 6, 8, 10 tokens
            "sync": 0.25 + 2 * 0.5,
        }
    )
    assert step.seconds == pytest.approx(sum(step.phases().values()))
    assert [s.device for s in step.spans if s.phase == "sync"] == ["GPU 0", "GPU 2", "GPU 3"]


def test_devices_that_hold_all_share_every_phase_and_engines_sleep_where_they_must() -> None:
    work = Work(FOUR, FOUR, (), FOUR, micro_batch_tokens=10, at_once=2)
    for sleeping in (False, True):
        step = sequential(work, RATES, layout_of("colocated", 4, sleeping=sleeping))
        phases = step.phases()
        assert phases["rollout"] == 9.0 and phases["teacher"] == 0.5 + 10 * 0.5
        assert phases["student"] == 10 * 1.0 + 0.125 + 3.0
        assert phases.get("switch", 0.0) == (1.5 if sleeping else 0.0)
        assert step.seconds == pytest.approx(sum(phases.values()))


def test_a_streamed_step_by_hand() -> None:
    """A micro-batch each; the teacher needs half as long as the student, which is never idle after the first."""
    rates = Rates(
        decoding=RATES.decoding, scoring=Pass(token=0.5), reference=Pass(), training=Pass(token=1.0), update=3.0
    )
    work = Work(FOUR, FOUR, (), FOUR, micro_batch_tokens=1, at_once=4)
    step = streamed(work, rates, Layout("four", ("engine",), ("teacher",), ("student",)))
    # Sampled at 3, 5, 7, 9; scored from 3 to 5, 5 to 8, 8 to 12, 12 to 17; trained from 5 to 9, to 15, to 23, to 33.
    assert [(s.start, s.end) for s in step.spans if s.phase == "teacher"] == [(3, 5), (5, 8), (8, 12), (12, 17)]
    assert [(s.start, s.end) for s in step.spans if s.phase == "student"] == [
        (5, 9),
        (9, 15),
        (15, 23),
        (23, 33),
        (33, 36),
    ]
    assert step.seconds == 36.0 and sequential(work, rates, step.layout).seconds == 9 + 14 + 28 + 3


LAYOUTS = st.sampled_from(
    [
        layout_of("separate", 4),
        layout_of("separate", 16),
        layout_of("colocated", 1),
        layout_of("colocated", 4, sleeping=True),
    ]
)


@given(SEQUENCES, LAYOUTS, st.integers(1, 40), st.booleans())
def test_a_device_does_one_thing_at_a_time_and_all_work_is_done(
    sequences: list[tuple[float, int]], layout: Layout, tokens: int, stream: bool
) -> None:
    of = tuple(sequences)
    step = (streamed if stream else sequential)(Work(of, of, (), of, tokens, 3), RATES, layout)
    by_device = defaultdict(list)
    for span in step.spans:
        by_device[span.device].append((span.start, span.end))
    for spans in by_device.values():
        ordered = sorted(spans)
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(ordered))
    trained = sum(s.seconds for s in step.spans if s.phase == "student") - RATES.update * len(layout.students)
    passes = (trained - sum(map(sum, of))) / RATES.micro_batch
    assert passes == pytest.approx(round(passes)) and 1 <= round(passes) <= len(of)
    assert max(s.end for s in step.spans) == step.seconds and 0 <= step.used <= 1 + 1e-9


def test_micro_batches_keep_order_and_size() -> None:
    assert list(micro_batches([(1.0, 3), (1.0, 5), (1.0, 20), (0.0, 1)], 10)) == [
        [(1.0, 3), (1.0, 5)],
        [(1.0, 20)],
        [(0.0, 1)],
    ]


@given(st.integers(50, 400), st.floats(100.0, 4096.0))
def test_lengths_have_the_mean_and_stay_below_the_budget(n: int, mean: float) -> None:
    made = lengths(n, mean, 4096)
    assert len(made) == n and min(made) >= 1 and max(made) <= 4096
    assert fmean(made) == pytest.approx(mean, rel=0.05)


def test_what_makes_no_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="layout 'other' is none of separate, colocated"):
        layout_of("other", 4)
    with pytest.raises(ConfigError, match="0 GPUs make no layout"):
        layout_of("separate", 0)
    with pytest.raises(ConfigError, match="a mean of 5000 response tokens is not between 0 and the budget, 4096"):
        lengths(4, 5000, 4096)
    with pytest.raises(ConfigError, match="of distillation alone"):
        streamed(Work(FOUR, FOUR, FOUR, FOUR, 10, 4), RATES, layout_of("colocated", 1))


def test_the_parts_of_a_step_on_a_processor_add_up_to_the_model_of_steps() -> None:
    """Of equal lengths, one engine and one rank: the same step, once by sums and once by its parts."""
    own, teacher = Size(10_000, 2_000, 2, 32), Size(90_000, 3_000, 4, 64)
    shape = Shape(24, 20.0, 50.0, 50.0, own, teacher, max_num_seqs=8, scored=10.0, trained=30.0, referenced=6.0)
    model = CostModel(
        {phase: {n: 1e-3 * (1 + i) for i, n in enumerate(terms)} for phase, terms in shape.terms().items()}
    )
    of = tuple((20.0, 50) for _ in range(30))
    work = Work(of[:24], of[:10], of[:6], of, micro_batch_tokens=10**6, at_once=8)
    found = sequential(work, cpu_rates(model, own, teacher), layout_on_cpu(load("tiny"))).phases()
    expected = model.seconds(shape)
    assert found == pytest.approx({phase: expected[phase] for phase in PHASES})


def stored() -> dict[str, Any]:
    """Steps of runs of the embedded tier, as they were measured, and the model that every other one was fitted to."""
    path = project_root() / "results" / "benchmarks" / "step_time.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_a_measured_step_is_reproduced() -> None:
    """Steps that the model was not fitted to, by the responses they sampled: within 10 %, method by method."""
    found = stored()
    sizes = {name: Size(**size) for name, size in found["sizes"].items()}
    model, layout = CostModel(found["model"]), layout_on_cpu(load("tiny"))
    gaps: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in found["runs"]:
        rates = cpu_rates(model, sizes[run["student_model"]], sizes[run["scorer_model"]])
        steps, simulated = run["steps"][1::2], []
        for step in steps:
            counts = [pair.split("*") for pair in step["lengths"].split()]
            rollouts = tuple((step["prompt"], int(length)) for length, n in counts for _ in range(int(n)))

            once = step["prompts"]  # so many prompts are computed, each for all of its sequences

            def of(
                count: float,
                prompt: float = step["prompt"],
                once: float = once,
                rollouts: tuple[tuple[float, int], ...] = rollouts,
            ) -> tuple[tuple[float, int], ...]:
                chosen = (rollouts[round(i * len(rollouts) / count) % len(rollouts)] for i in range(round(count)))
                return tuple((prompt * once / max(count, once), n) for _, n in chosen)

            scored = of(step["scored"], step["scored_prompt"])
            work = Work(rollouts, scored, of(step["referenced"]), of(step["trained"]), 10**9, 256)
            simulated.append(sequential(work, rates, layout).seconds)
        gaps[run["method"]].append((median(simulated), median(sum(step["seconds"].values()) for step in steps)))
    assert sum(map(len, gaps.values())) >= 10
    for method in ("opd", "uopd", "core", "grpo", "opsd"):
        pairs = gaps[method]
        simulated_s, measured_s = (fmean(column) for column in zip(*pairs, strict=True))
        assert simulated_s == pytest.approx(measured_s, rel=0.1), method
