"""The plan counts what Algorithm 1 would sample; expected numbers are worked out by hand from the configuration."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from artifact.config import load
from artifact.errors import ConfigError
from artifact.files import write_json
from artifact.studies.inputs import mean_prompt_tokens
from artifact.studies.offline import problem_count
from artifact.studies.plan import disk, plan, run_stages, studies_of
from artifact.studies.plan_page import print_plan, roles_of
from artifact.studies.simulate import simulated
from artifact.studies.step_cost import Shape, Size, as_json
from artifact.studies.study import load_study, studies_made_on, study_names


def test_counts_of_the_uopd_study() -> None:
    settings = {
        "train.steps": 10,
        "train.prompts_per_step": 4,
        "sampling.samples_per_prompt": 3,
        "sampling.max_new_tokens": 100,
        "train.curve_every": 5,
        "annotation.samples": 8,
        "annotation.draw": 9,
        "annotation.max_new_tokens": 50,
        "task.train_limit": 20,
        "evaluation.limit": 30,
        "evaluation.max_new_tokens": 60,
        "evaluation.sampled": {"k": 16, "limit": 5},
    }
    stages, configs = plan("tiny", "uopd", settings)
    study = load_study("uopd")
    times = [2 * len(study.seeds_of(cell.id)) for cell in study.cells]  # two teachers
    assert len(configs) == sum(times) and len(set(times)) > 1, "the pair that the paper is about has more seeds"
    by_name = {
        name: [s for s in stages if s.name == name] for name in ("annotate", "train", "curve", "evaluate", "sample")
    }
    assert [(s.rollouts, s.tokens) for s in by_name["annotate"]] == [
        (20 * 10, 20 * 10 * 50)
    ] * 2  # nine samples and a greedy answer
    assert [(s.times, s.rollouts, s.tokens) for s in by_name["train"]] == [
        (n, n * 10 * 4 * 3, n * 10 * 4 * 3 * 100) for n in times
    ]
    assert [(s.times, s.rollouts) for s in by_name["curve"]] == [(len(configs), len(configs) * 3 * 30)]
    assert [(s.times, s.rollouts, s.tokens) for s in by_name["evaluate"]] == [
        (len(configs), len(configs) * 30, len(configs) * 30 * 60)
    ]
    assert [(s.times, s.rollouts, s.tokens) for s in by_name["sample"]] == [
        (len(configs), len(configs) * 5 * 16, len(configs) * 5 * 16 * 60)
    ]


def test_unknown_counts_stay_unknown() -> None:
    """A task whose data is not here gives no number, and the table says why instead of guessing."""
    config = load("tiny", {"task.name": "not-here"})
    count, reason = problem_count(config, "train")
    assert count is None and "not-here" in reason
    out = io.StringIO()
    print_plan("tiny", ["uopd"], {"task.name": "not-here"}, Console(file=out, width=160))
    assert "unknown here" in out.getvalue() and "?" in out.getvalue() and "of what is known" in out.getvalue()


def test_an_output_leads_to_the_studies_behind_it() -> None:
    assert studies_of("C-T1", "tiny") == ["core", "core_controls"]
    assert studies_of("U-F2", "paper-4b") == ["uopd"]
    texts = ["text_instructions", "text_summaries", "text_translation"]
    for tier in ("cpu-llm", "single-gpu", "paper", "paper-8b"):
        assert studies_of("C-X1", tier) == texts, tier
    assert studies_of("C-X1", "tiny-quick") == studies_of("C-X1", "tiny-text") == ["other_tasks"]


def test_roles_are_placed_once_each() -> None:
    roles = roles_of(load("paper"))
    assert len(set(roles)) == len(roles)
    assert [r for r in roles if r.startswith("engine")] == ["engine-0", "engine-1"]
    assert {"teacher", "reference", "student-0"} <= set(roles)


def test_every_study_can_be_planned() -> None:
    out = io.StringIO()
    made = {tier: studies_made_on(tier) for tier in ("tiny", "cpu-llm", "paper")}
    for tier, names in made.items():
        print_plan(tier, names, None, Console(file=out, width=160))
    assert set().union(*made.values()) == {*study_names()}
    for name in study_names():
        times = sum(name in names for names in made.values())
        assert len(re.findall(rf"Study {name}\b", out.getvalue())) == times, name


def test_a_study_is_refused_on_a_tier_that_it_is_not_made_on() -> None:
    with pytest.raises(
        ConfigError, match=r"'other_tasks' is made on tiny, tiny-text and what extends them, not on 'paper'"
    ):
        print_plan("paper", ["other_tasks"], None, Console(file=io.StringIO()))
    with pytest.raises(ConfigError, match=r"'text_summaries' is made on .* not on 'tiny-quick'"):
        load_study("text_summaries").runs("tiny-quick")
    assert load_study("text_summaries").runs("paper-8b") and load_study("other_tasks").runs("tiny-quick")


def test_the_start_up_report_is_in_the_plan_where_models_are_at_hand() -> None:
    def shown(overrides: dict[str, object]) -> str:
        out = io.StringIO()
        print_plan("tiny", ["uopd"], overrides, Console(file=out, width=400))
        return out.getvalue()

    fine = shown({})
    assert "train: 1,000 problems trained on, longest prompt 113" in fine and "none left out" in fine
    assert "models/tiny/student: eos: a turn ends with 2" in fine and "would stop" not in fine
    tight = shown({"evaluation.max_new_tokens": 418})
    assert tight.count("evaluation: ") == 2, "in the report of the tier, and among what to know of the study"
    stops = shown({"evaluation.max_new_tokens": 448})
    assert (
        "would stop: 2 start-up checks failed" in stops
        and "none of the 200 problems of split 'curve[:200]' fits" in stops
    )
    assert "models/absent is not on this machine" in shown({"models.student": "models/absent"})


def priced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, largest: int = 10**6, student: float = 0.0, teacher: float = 0.0
) -> None:
    """A model of costs: 3.6 s an iteration of an engine, 36 s of the driver a step, seconds a token scored and trained
    on, and nothing else.
    """
    size = Size(largest, 0, 4, 64)
    shape = Shape(4, 1.0, 1.0, 1.0, size, size)
    free = {phase: dict.fromkeys(terms, 0.0) for phase, terms in shape.terms().items()}
    free["rollout"]["iteration"], free["rest"]["step"] = 3.6, 36.0
    free["student"]["token"], free["teacher"]["token"] = student, teacher
    points = [{"shape": as_json(shape), "held_out": False}]
    axis = {"provenance": {"cpu": "a processor", "date": "2026-11-27T08:00:00Z"}, "points": points}
    known = {"n": 9, "median": 0.03, "largest": 0.08}
    path = tmp_path / "growth.json"
    write_json(path, {"axes": {"width": axis}, "model": free, "error": {"fitted": known, "held_out": known}})
    monkeypatch.setattr("artifact.studies.step_cost.growth_file", lambda: path)


def test_prices_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    priced(tmp_path, monkeypatch)
    settings = {
        "train.steps": 10,
        "train.prompts_per_step": 75,  # 300 rollouts: two waves of at most 256 sequences, 100 iterations each
        "train.curve_every": 5,
        "sampling.samples_per_prompt": 4,
        "sampling.max_new_tokens": 100,
        "cluster.engine.max_num_seqs": 256,
        "evaluation.limit": 30,
        "evaluation.max_new_tokens": 50,
        "annotation.samples": 8,
        "annotation.draw": 9,
        "annotation.max_new_tokens": 20,
        "task.train_limit": 100,
    }
    stages, configs = plan("tiny", "uopd", settings)
    study = load_study("uopd")
    times = [2 * len(study.seeds_of(cell.id)) for cell in study.cells]
    stages = [s for s in stages if s.name != "sample"]
    found = {
        name: [s.price.processor for s in stages if s.name == name]
        for name in ("annotate", "train", "curve", "evaluate")
    }
    assert found["train"] == [pytest.approx(n * 10 * (200 * 3.6 + 36)) for n in times]
    assert found["curve"] == [pytest.approx(len(configs) * 3 * 50 * 3.6)]
    assert found["evaluate"] == [pytest.approx(len(configs) * 50 * 3.6)]
    assert found["annotate"] == [pytest.approx(4 * 20 * 3.6)] * 2  # 1,000 answers, 256 at a time


def test_every_method_is_priced_by_its_longest_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CORE trains on pairs and has a reference, GRPO has no teacher; where a teacher answers nobody has measured it."""
    priced(tmp_path, monkeypatch, student=0.5, teacher=0.25)
    step = {"task.train_limit": 20, "train.steps": 10, "train.prompts_per_step": 3, "sampling.samples_per_prompt": 4}
    step |= {"sampling.max_new_tokens": 100, "optimiser.shared_prompts": True}
    prompt = mean_prompt_tokens(load("tiny", step))
    tokens = prompt + 100
    always = 100 * 3.6 + 36

    def of(**settings: object) -> float | None:
        found = run_stages("", [load("tiny", step | {k.replace("__", "."): v for k, v in settings.items()})])
        return next(s.price.processor for s in found if s.name == "train")

    assert of(method="opd") == pytest.approx(10 * (always + (3 * prompt + 12 * 100) * 0.75)), "prompts are shared"
    step["optimiser.shared_prompts"] = False
    assert of(method="opd") == pytest.approx(10 * (always + 12 * tokens * 0.75))
    assert of(method="grpo") == pytest.approx(10 * (always + 12 * tokens * 0.5))
    # None correct: 12 rejected and 3 solutions, all of them scored by the reference.
    assert of(method="core") == pytest.approx(10 * (always + 15 * tokens * 0.75))
    asks = {"chosen_order": ["own"], "fallback": "generate"}
    assert of(method="core", method_options=asks) is None


def test_the_error_of_prices_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(tier: str, study: str) -> str:
        out = io.StringIO()
        print_plan(tier, [study], None, Console(file=out, width=300))
        return out.getvalue()

    monkeypatch.setattr("artifact.studies.step_cost.growth_file", lambda: tmp_path / "absent.json")
    assert "processor hours" not in shown("tiny", "uopd")
    priced(tmp_path, monkeypatch)
    page = shown("tiny", "uopd")
    assert "processor hours at most" in page and "extrapolated" not in page
    assert "fitted to 9 steps measured on a processor (2026-11-27); over 9 steps held out it is off by 3%" in page
    assert "processor hours" not in shown("paper", "uopd"), "the model is of CPUs"
    priced(tmp_path, monkeypatch, largest=10_000)
    assert "processor hours are extrapolated: a model here has 0." in shown("tiny", "uopd")


def page(tier: str, study: str, overrides: dict[str, object] | None = None) -> str:
    """A plan as printed; what it refuses stands at the end."""
    out = io.StringIO()
    try:
        print_plan(tier, [study], overrides, Console(file=out, width=300))
    except ConfigError as err:
        return out.getvalue() + str(err)
    return out.getvalue()


def test_a_gpu_tier_is_planned_in_gib_seconds_hours_and_disk() -> None:
    shown = page("paper", "uopd")
    assert "GiB by device and phase, planned" in shown and "student-0" in shown
    for column in ("step, s", "hours at most", "GPU-hours at most"):
        assert column in shown
    stages, configs = plan("paper", "uopd")
    seconds = simulated(configs[0]).seconds
    trained = [s for s in stages if s.name == "train"]
    assert [s.step.clock for s in trained if s.step] == [pytest.approx(seconds)] * 3
    assert trained[0].price.clock == pytest.approx(seconds * 1563 * trained[0].times)
    kept = disk(configs, stages)
    assert kept["checkpoints"] == pytest.approx(3 * 14 * 1.7206e9 / 1e9, rel=1e-3)  # weights, and AdamW in float32
    assert kept["runs"] == pytest.approx(len(configs) * 2 * 1.7206e9 / 1e9, rel=1e-3)


def test_what_cannot_fit_is_refused_with_the_nearest_change_that_fits() -> None:
    wanted: dict[str, object] = {"models.student": "Qwen/Qwen3-8B"}
    shown = page("paper", "uopd", wanted)
    assert "tier paper does not fit: GPU 0 would hold" in shown
    change = re.search(r"set (.*)$", shown)
    assert change
    fits = dict(pair.split(" = ") for pair in change[1].split(", "))
    assert "does not fit" not in page("paper", "uopd", wanted | {key: json.loads(value) for key, value in fits.items()})
