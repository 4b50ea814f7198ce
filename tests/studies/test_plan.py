"""The plan counts what Algorithm 1 would sample; expected numbers are worked out by hand from the configuration."""

from __future__ import annotations

import io
import re

from rich.console import Console

from artifact.config import load
from artifact.studies.plan import plan, print_plan, problem_count, roles_of, studies_of
from artifact.studies.study import load_study, study_names


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
        "evaluation.sampled": {"k": 4},
    }
    stages, configs = plan("tiny", "uopd", settings)
    study = load_study("uopd")
    per_cell = 2 * len(study.seeds)  # two teachers
    assert len(configs) == per_cell * len(study.cells)
    by_name = {name: [s for s in stages if s.name == name] for name in ("annotate", "train", "curve", "evaluate")}
    assert [(s.rollouts, s.tokens) for s in by_name["annotate"]] == [
        (20 * 10, 20 * 10 * 50)
    ] * 2  # nine samples and a greedy answer
    assert [(s.times, s.rollouts, s.tokens) for s in by_name["train"]] == [
        (per_cell, per_cell * 10 * 4 * 3, per_cell * 10 * 4 * 3 * 100)
    ] * len(study.cells)
    assert [(s.times, s.rollouts) for s in by_name["curve"]] == [(len(configs), len(configs) * 3 * 30)]
    assert [(s.times, s.rollouts, s.tokens) for s in by_name["evaluate"]] == [
        (len(configs), len(configs) * 30 * 5, len(configs) * 30 * 5 * 60)
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
    assert studies_of("C-T1") == ["core", "core_controls"]
    assert studies_of("U-F2") == ["uopd"]


def test_roles_are_placed_once_each() -> None:
    roles = roles_of(load("paper"))
    assert len(set(roles)) == len(roles)
    assert [r for r in roles if r.startswith("engine")] == ["engine-0", "engine-1"]
    assert {"teacher", "reference", "student-0"} <= set(roles)


def test_every_study_can_be_planned() -> None:
    out = io.StringIO()
    for tier in ("tiny", "paper"):
        print_plan(tier, study_names(), None, Console(file=out, width=160))
    for name in study_names():
        assert len(re.findall(rf"Study {name}\b", out.getvalue())) == 2, name


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
