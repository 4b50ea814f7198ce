"""What the benchmarks of whole steps measure with: the meter by hand-made clocks, the peers by what they must do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the benchmarks, importable as their own first argument makes it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return ROOT / "benchmarks"


@pytest.fixture
def onpolicy(benchmarks: Path) -> ModuleType:
    import onpolicy_step

    return onpolicy_step


def test_phases_and_rest_make_the_step(benchmarks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from measuring import meter as of

    spent = iter([0.0, 1.0, 3.0, 3.5, 4.5, 6.0, 6.0, 10.0, 10.0])  # begin, in, out, in, out, end, begin, end, begin
    monkeypatch.setattr(of.time, "perf_counter", lambda: 0.0)
    meter = of.Meter(lambda: next(spent))
    for _ in range(2):
        with meter("student"):
            pass
    meter.end_step(rollouts=4)
    assert meter.steps[0]["processor"] == {"student": 3.0, "rest": 3.0, "total": 6.0}
    assert meter.steps[0]["wall"] == {"student": 0.0, "rest": 0.0, "total": 0.0} and meter.steps[0]["rollouts"] == 4
    meter.end_step("student")
    assert meter.steps[1]["processor"] == {"student": 4.0, "total": 4.0}


def test_only_the_named_calls_are_a_phase(benchmarks: Path) -> None:
    from measuring.meter import Meter, Metered

    class Inner:
        ranks = 3

        def step(self, x: int) -> int:
            return 2 * x

        def other(self) -> str:
            return "as it is"

    meter = Meter(lambda: 0.0)
    inner = Metered(Inner(), meter, {"step": "student"})
    assert (inner.ranks, inner.step(4), inner.other()) == (3, 8, "as it is")
    meter.end_step()
    assert set(meter.steps[0]["wall"]) == {"student", "rest", "total"}


def test_the_processor_clock_is_that_of_another_process(benchmarks: Path) -> None:
    """A child that has spent a third of a second, by the operating system's own account of it."""
    from measuring.meter import memory_gib, processor_clock

    work = "import time\nwhile time.process_time() < 0.33: pass\nprint('done', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", work], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout is not None and child.stdin is not None
        clock = processor_clock([child.pid])
        child.stdout.readline()
        times, found = psutil.Process(child.pid).cpu_times(), clock()
        assert found == pytest.approx(times.user + times.system, abs=0.03) and found > 0.33
        memory = memory_gib([child.pid])
        assert 0 < memory["pss"] <= memory["peak_rss"] * 1.01
        child.stdin.write("\n")
    assert clock() == pytest.approx(found, abs=0.1), "what it spent stays after its end"


def test_a_process_that_ends_while_it_is_measured_holds_nothing(benchmarks: Path) -> None:
    """Ended and not yet waited for, Linux lists it without a memory; waited for, not at all. Others are counted."""
    from measuring.meter import memory_gib, processor_clock

    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
        assert memory_gib([child.pid]) == {"peak_rss": 0, "pss": 0}
        assert memory_gib([child.pid, os.getpid()])["pss"] > 0
        assert processor_clock([child.pid])() >= 0
    assert memory_gib([child.pid]) == {"peak_rss": 0, "pss": 0}


def test_quartiles_and_means_by_hand(benchmarks: Path) -> None:
    from measuring import report

    assert report.quartiles([1, 2, 3, 4, 5]) == {"median": 3, "q1": 2, "q3": 4}
    steps = [{"tokens": t, "processor": {"a": t, "total": 2 * t}, "wall": {"a": 1.0, "total": 1.0}} for t in (2.0, 4.0)]
    assert report.mean_step(steps) == {
        "tokens": 3.0,
        "processor": {"a": 3.0, "total": 6.0},
        "wall": {"a": 1.0, "total": 1.0},
    }
    assert report.by_phase(steps)["processor"]["total"]["median"] == 6.0


def test_a_ratio_is_taken_repetition_by_repetition(onpolicy: ModuleType) -> None:
    def side(*seconds: float) -> list[dict[str, dict[str, float]]]:
        return [{kind: {"total": s} for kind in ("processor", "wall")} for s in seconds]

    found = onpolicy.ratios(side(1.0, 8.0, 3.0), side(2.0, 8.0, 4.0))
    assert found["wall"]["median"] == 0.75, "of 0.5, 1 and 0.75; the medians over one another are 0.75 by chance"
    assert onpolicy.ratios(side(1.0, 4.0), side(4.0, 1.0))["processor"]["median"] == pytest.approx(2.125)


def test_a_random_model_never_ends_a_response(benchmarks: Path, tmp_path: Path) -> None:
    import torch

    from artifact.actors.checkpoints import check_model, load_network
    from measuring.models import random_model

    path = random_model(tmp_path / "wide", 128, 0)
    check_model(path)
    network = load_network(path, "float32")
    with torch.no_grad():
        logprobs = network(input_ids=torch.randint(3, 76, (4, 60))).logits.log_softmax(-1)
    eos = network.config.eos_token_id
    assert network.config.hidden_size == 128 and float(logprobs[..., eos].max()) < -20
    assert float(logprobs.max()) < -2, "no other token is all but certain: 75 of them share what there is"


@pytest.mark.parametrize("side", ["generate", "trl"])
def test_a_peer_makes_the_steps_it_is_told(onpolicy: ModuleType, side: str) -> None:
    """Prompts as they were given, K rollouts of each, responses within the budget, all phases measured."""
    if side == "trl" and not onpolicy.TRL_FOLDER.is_dir():
        pytest.skip(f"TRL is not installed: {onpolicy.INSTALL}")
    config = onpolicy.config_of(onpolicy.PAIRS["tiny"], 2, onpolicy.TOY)
    job = onpolicy.job_of(config, side)
    peer = onpolicy.Peer(job)
    steps = peer.measure()["steps"]
    peer.close()
    samples, prompts = job["samples"], job["prompt_ids"]
    assert [s["rollouts"] for s in steps] == [len(p) * samples for p in prompts]
    assert [s["prompt_tokens"] for s in steps] == [samples * sum(map(len, p)) for p in prompts]
    for step in steps:
        assert step["rollouts"] <= step["response_tokens"] <= step["rollouts"] * job["max_new_tokens"]
        assert {"rollout", "teacher", "student"} <= set(step["processor"])
        assert all(value >= 0 for value in step["processor"].values())


def test_a_missing_trl_is_said_with_its_remedy(onpolicy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onpolicy, "TRL_FOLDER", Path("nowhere"))
    monkeypatch.setattr(onpolicy.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install --no-deps --target \S+ trl==[\d.]+`.*--sides ours generate"):
        onpolicy.trl_path()


def test_the_peer_is_the_one_of_the_extra(onpolicy: ModuleType) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras["bench"] == [onpolicy.TRL]


def test_a_file_is_shown_with_the_sides_in_order(onpolicy: ModuleType, tmp_path: Path) -> None:
    phases = {p: {"median": 1.0, "q1": 0.5, "q3": 2.0} for p in ("rollout", "total")}
    seconds = {"processor": phases, "wall": phases}
    one = {"median": 32.0, "q1": 32.0, "q3": 32.0}
    side = {"n": 3, **seconds, "response_tokens": one, "memory_gib": {"peak_rss": 2.0, "pss": 1.0}}
    stamp = {
        "cpu": "a processor", "cores": 2, "memory_gib": 8, "versions": {"torch": "2"}, "source": "abc",
        "date": "2026-11-27T08:00:00Z", "load_average": {"before": 0.1, "after": 0.2},
    }  # fmt: skip
    pair = {
        "tier": "tiny", "prompts": 2, "rollouts": 4, "max_new_tokens": 8, "repetitions": 3, "steps": 1,
        "sides": {"generate": side, "ours": side}, "provenance": stamp,
        "ratios": {"generate": {k: {"median": 0.5, "q1": 0.4, "q3": 0.6} for k in ("processor", "wall")}},
    }  # fmt: skip
    path = tmp_path / "found.json"
    path.write_text(json.dumps({"tiny": pair}))
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "onpolicy_step.py"), "--table", "--out", str(path)],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    shown = done.stdout
    assert "| seconds a step | this artifact | a plain `generate` loop |" in shown
    assert "| processor, total | 1.00 (0.50–2.00) | 1.00 (0.50–2.00) |" in shown
    assert "| processor, teacher | – | – |" in shown
    assert "| ours over it, processor | – | 0.50 (0.40–0.60) |" in shown and "2 prompts × 2 rollouts" in shown
