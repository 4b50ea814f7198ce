"""The benchmarks run: what a page says about speed can be measured anew. Nothing here is timed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from artifact.actors import object_store
from artifact.studies import driver_memory

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
ROOT = BENCHMARKS.parent
SAME = f"{ROOT}/results/tables/tiny"
SMALL = {
    "changed_digits": ["--what", "Nothing.", "--before", SAME, "--after", SAME, "--out", "{tmp}/toy.json"],
    "chunked_head": ["--hidden", "16", "--vocab", "300", "--top-k", "4", "--tokens", "8", "--repeats", "1"],
    "clustering": ["--per-kind", "1"],
    "gpu_check": ["--toy", "--out", "{tmp}/toy.json"],
    "student_step": ["--prompts", "4", "--repeats", "1"],
    "site_rollouts": ["--rollouts", "100", "--repeats", "1"],
    "rehearsed": ["--table"],
    "rollouts": ["--eager", "--problems", "8", "--prompts", "2", "--repeats", "1"],
    "memory": ["--prompts", "20", "40", "--rollouts", "4", "--tokens", "8", "--top-k", "4", "--out", "{tmp}/toy.json"],
    "starting": ["--repeats", "1", "--out", "{tmp}/toy.json"],
    "step_time": ["--table"],
    "verdicts": [],
    "zero_memory": ["--toy", "--out", "{tmp}/toy.json"],
}
"""Arguments that make a benchmark take seconds; those that need the actors are in tests/integration."""
AXES = ("rollouts", "length", "width", "engines", "ranks")
PARTS = {
    "growth": {*AXES},
    "onpolicy_step": {"tiny", "smollm2"},
    "overlap": {"opd"},
    "runs_per_hour": {"main", "ablation"},
}
NEED_ACTORS = {*PARTS}


def test_every_benchmark_is_run_by_a_test() -> None:
    assert {p.stem for p in BENCHMARKS.glob("*.py")} == {*SMALL, *NEED_ACTORS}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_on_a_small_size(name: str, tmp_path: Path) -> None:
    arguments = [a.replace("{tmp}", str(tmp_path)) for a in SMALL[name]]
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    # The exit code of `chunked_head` says whether its targets are met, which toy sizes need not.
    assert done.returncode in ((0, 1) if name == "chunked_head" else (0,)), done.stderr[-2000:]
    assert "Traceback" not in done.stderr and len(done.stdout.splitlines()) > 1
    if name == "gpu_check":
        found = json.loads((tmp_path / "toy.json").read_text())
        assert set(found) >= {"provenance", "matmul", "head", "student", "teacher", "transfer", "lent", "engine"}
        assert not [part for part in found.values() if "failed" in part or "not_measured" in part]


def test_the_page_shows_what_was_measured_on_a_gpu() -> None:
    page = (BENCHMARKS.parent / "docs" / "gpu.md").read_text(encoding="utf-8")
    for name, shown in re.findall(r"<!-- (results/gpu/\S+\.json) -->\n(.*?)<!-- end -->", page, re.DOTALL):
        command = [sys.executable, str(BENCHMARKS / "gpu_check.py"), "--table", str(BENCHMARKS.parent / name)]
        assert subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout == shown
    assert "results/gpu/" in page


ON_PAGES = dict.fromkeys(sorted({*NEED_ACTORS, "changed_digits", "starting"}), "speed.md")
ON_PAGES |= {"step_time": "gpu.md", "rehearsed": "gpu.md"}


@pytest.mark.parametrize(("name", "where"), ON_PAGES.items())
def test_the_page_shows_how_fast_a_step_is(name: str, where: str) -> None:
    page = (BENCHMARKS.parent / "docs" / where).read_text(encoding="utf-8")
    shown = re.search(rf"<!-- {name}\.py -->\n(.*?)<!-- end -->", page, re.DOTALL)
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--table"]
    assert shown and subprocess.run(command, capture_output=True, text=True, check=True).stdout == shown[1]


def test_rehearsals_have_a_common_time_where_they_were_made_together(tmp_path: Path) -> None:
    """Two that overlap by five minutes took fifteen; one of the next day, or in two goes, says nothing of both."""
    path = tmp_path / "rehearsed.json"

    def shown(finished: str, goes: int = 1) -> str:
        account = {"hardware": {"cpu": "c", "cores": 2, "memory_gib": 1}, "minutes": 10.0, "notebooks": []}
        account |= {"suremath": 0, "annotations": 0, "runs": 0, "source": "s"}
        second = {"finished": finished, "goes": [{}] * goes}
        first = {"finished": "2026-01-01T10:10:00+00:00", "goes": [{}]}
        path.write_text(json.dumps({"paper": account | first, "single-gpu": account | second}))
        command = [sys.executable, str(BENCHMARKS / "rehearsed.py"), "--table", "--out", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "All together: 15.0 minutes." in shown("2026-01-01T10:15:00+00:00")
    assert "All together" not in shown("2026-01-02T10:15:00+00:00")
    assert "All together" not in shown("2026-01-01T10:15:00+00:00", goes=2)


@pytest.mark.parametrize("name", sorted(NEED_ACTORS))
def test_what_was_measured_of_a_step_is_whole(name: str) -> None:
    """The committed numbers say on what machine, of what source and under what load they were measured."""
    path = BENCHMARKS.parent / "results" / "benchmarks" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"not measured yet: python benchmarks/{name}.py")
    found = json.loads(path.read_text())
    parts = found["axes"] if name == "growth" else found
    assert set(parts) == PARTS[name]
    for part in parts.values():
        stamp = part["provenance"]
        assert stamp["cpu"] and stamp["commit"] and stamp["source"] and stamp["versions"]["torch"]
        assert set(stamp["load_average"]) == {"before", "after"}
    if name == "onpolicy_step":
        assert all(set(p["sides"]) == {"ours", "trl", "generate"} for p in parts.values())


def test_what_was_measured_on_a_gpu_is_whole() -> None:
    """The committed numbers name their device and source, and no part of the script failed."""
    kept = sorted((BENCHMARKS.parent / "results" / "gpu").glob("*.json"))
    assert kept, "run benchmarks/gpu_check.py on a GPU and keep its JSON under results/gpu/"
    for path in kept:
        found = json.loads(path.read_text())
        assert found["provenance"]["size"] == "true" and found["provenance"]["device"] and found["provenance"]["source"]
        assert found["head"]["held"], path
        assert not [name for name, part in found.items() if "failed" in part or "not_measured" in part], path


def test_the_page_shows_what_was_measured_of_memory() -> None:
    page = (BENCHMARKS.parent / "docs" / "memory.md").read_text(encoding="utf-8")
    tables = re.findall(r"<!-- results/benchmarks/(\w+)\.json -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert [name for name, _ in tables] == ["memory", "zero_memory"]
    for name, shown in tables:
        kept = BENCHMARKS.parent / "results" / "benchmarks" / f"{name}.json"
        command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--table", str(kept)]
        assert subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout == shown


def test_tensors_between_steps_are_those_of_the_memory_model() -> None:
    """Every ZeRO stage with one and two ranks, to 2 %: weights, optimiser state, and what stage 3 keeps beside them."""
    found = json.loads((BENCHMARKS.parent / "results" / "benchmarks" / "zero_memory.json").read_text())
    assert found["provenance"]["size"] == "true" and len(found["cases"]) == 8
    for case in found["cases"]:
        for rank in case["measured"]:
            assert rank["held"] == pytest.approx(case["model"]["held"], rel=0.02), (case["stage"], case["ranks"])


def test_memory_as_measured_is_below_what_runs_are_refused_for() -> None:
    """The bound of a prompt and of a token stands above every number that was measured."""
    found = json.loads((BENCHMARKS.parent / "results" / "benchmarks" / "memory.json").read_text())
    sizes, step = found["annotation"], found["step"]
    assert found["provenance"]["cpu"] and found["provenance"]["source"] and sizes[-1]["prompts"] >= 100_000
    growth = sum(sizes[-1]["mib"].values()) - sum(sizes[0]["mib"].values())
    assert growth * 2**20 / (sizes[-1]["prompts"] - sizes[0]["prompts"]) < driver_memory.BYTES_PER_PROMPT
    assert max(r["mib"]["weights of all prompts"] for r in sizes) < 16, "annotations are not held, their weights are"
    tokens = step["rollouts"] * step["tokens"]
    assert tokens >= 1024 * 4096 and step["largest_object_mib"] <= object_store.PIECE_BYTES / 2**20
    at_once = step["mib"]["rollouts held by the driver"] + step["mib"]["written at the step"]
    assert at_once * 2**20 / tokens < driver_memory.BYTES_PER_TOKEN
