"""The benchmarks of whole steps go through the product's own loop, on the actors that are up, at toy size."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from artifact.config import Config

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PHASES = {"rollout", "teacher", "student", "sync", "rest", "total"}


@pytest.fixture
def scripts(workers, config: Config, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """Both scripts, on the actors and with the settings of these tests."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import growth
    import onpolicy_step
    from measuring import models

    def small(steps: int, tokens: int, lr: float = 1e-3) -> Config:
        changes = {
            "train": replace(config.train, steps=steps, component_norms_every=0, checkpoint_every=1000),
            "sampling": replace(config.sampling, max_new_tokens=tokens),
        }
        return config.model_copy(update=changes)

    monkeypatch.setattr(onpolicy_step, "config_of", lambda pair, steps, settings: small(steps, 8))
    monkeypatch.setattr(growth, "config_of", lambda ask, student, teacher, steps: small(steps, ask.length))
    monkeypatch.setattr(models, "random_model", lambda folder, width, seed: models.BASE)
    return onpolicy_step, growth


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    module.main()


def test_a_step_is_compared_by_phase(scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    out = tmp_path / "step.json"
    arguments = ["--toy", "--pair", "tiny", "--sides", "ours", "generate", "--out", str(out)]
    run(scripts[0], monkeypatch, *arguments)
    found = json.loads(out.read_text())["tiny"]
    ours = found["sides"]["ours"]
    for kind in ("processor", "wall"):
        assert set(ours[kind]) == PHASES and all(q["median"] >= 0 for q in ours[kind].values())
        parts = [q["median"] for phase, q in ours[kind].items() if phase != "total"]
        assert sum(parts) == pytest.approx(ours[kind]["total"]["median"]), "one repetition: the parts make the whole"
    assert ours["prompt_tokens"] == found["sides"]["generate"]["prompt_tokens"], "the same prompts"
    assert 0 < ours["memory_gib"]["pss"] <= ours["memory_gib"]["peak_rss"]
    ratio = ours["wall"]["total"]["median"] / found["sides"]["generate"]["wall"]["total"]["median"]
    assert found["ratios"]["generate"]["wall"]["median"] == pytest.approx(ratio)
    assert found["provenance"]["load_average"]["before"] >= 0 and found["provenance"]["source"]
    assert "ours over it, processor" in capsys.readouterr().out


def test_forms_of_a_step_take_turns(
    workers, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import overlap

    def small(form: str, steps: int, toy: bool) -> Config:
        changes = {name.removeprefix("train."): value for name, value in overlap.FORMS[form].items()}
        train = replace(config.train, steps=steps, component_norms_every=0, checkpoint_every=1000, **changes)
        return config.model_copy(update={"train": replace(train, part_prompts=changes.get("part_prompts") and 2)})

    monkeypatch.setattr(overlap, "config_of", small)
    run(overlap, monkeypatch, "--repetitions", "1", "--steps", "3", "--out", str(tmp_path / "overlap.json"))
    forms = json.loads((tmp_path / "overlap.json").read_text())["opd"]["forms"]
    assert set(forms) == set(overlap.FORMS) and forms["whole steps"]["wall"]["ratio"]["median"] == 1.0
    assert all(of[kind]["seconds"]["median"] > 0 for of in forms.values() for kind in ("wall", "processor"))
    assert "| a step ahead |" in capsys.readouterr().out


def test_growth_is_measured_and_fitted(scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from artifact.studies.step_cost import measured, shape_of

    out = tmp_path / "growth.json"
    run(scripts[1], monkeypatch, "--toy", "--out", str(out))
    found = json.loads(out.read_text())
    read = measured(out)
    assert read is not None
    points = found["axes"]["rollouts"]["points"]
    assert [p["held_out"] for p in points] == [False, False, True]
    for point, ask in zip(points, scripts[1].TOY["rollouts"], strict=True):
        shape = shape_of(point["shape"])
        assert shape.longest <= ask.length and set(point["processor"]) == PHASES
        assert point["predicted"] == pytest.approx(read.model.total(shape))
    assert read.error["held_out"]["n"] == 1
    shown = capsys.readouterr().out
    run(scripts[1], monkeypatch, "--fit", "--out", str(out))
    assert json.loads(out.read_text()) == found, "the same points give the same coefficients"
    run(scripts[1], monkeypatch, "--table", "--out", str(out))
    assert capsys.readouterr().out.strip().splitlines()[-1] == shown.strip().splitlines()[-1]


def test_runs_an_hour_are_those_that_were_stored(
    workers, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import runs_per_hour

    short = config.model_copy(update={"train": replace(config.train, steps=1, prompts_per_step=2)})
    asked: list[str] = []
    monkeypatch.setattr(runs_per_hour, "config_of", lambda kind, changes: asked.append(kind) or short)
    run(runs_per_hour, monkeypatch, "--runs", "2", "--out", str(tmp_path / "rate.json"))
    found = json.loads((tmp_path / "rate.json").read_text())
    assert asked == ["main", "ablation"] and set(found) == set(asked)
    for part in found.values():
        assert part["runs"] == 2 and part["runs_an_hour"] == pytest.approx(7200 / part["seconds"])
        assert part["seconds_each"]["median"] <= part["seconds"]
    assert "runs an hour" in capsys.readouterr().out
