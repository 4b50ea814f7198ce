"""The verifier against hostile text, hung and killed workers, threads, and real gold answers."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from tests.processes import alive

import artifact
from artifact.records import Status
from artifact.tasks.answer_latex import Unreadable
from artifact.tasks.graders import GRADERS, as_columns, grade
from artifact.tasks.symbolic import symbolic_equal
from artifact.tasks.verifier import Verifier
from artifact.tasks.verifier_process import WorkerDied, WorkerProcess

sys.path.insert(0, str(Path(__file__).parent))
import hostile

DATA = Path(os.environ.get("ARTIFACT_DATA_DIR", Path(__file__).resolve().parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def verifier():
    with Verifier(timeout_s=10.0) as v:
        yield v


def _worker_pids(v: Verifier) -> list[int]:
    return [w.pid for w in v._running if w.alive]


def _rows(name: str) -> list[dict]:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not there; set ARTIFACT_DATA_DIR to a folder with the benchmark files")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_statuses_and_rules(verifier):
    texts = [r"\boxed{1/2}", r"\boxed{0.6}", "no answer", r"\boxed{\sqrt{8}}", "#### 7", "so it is 7"]
    golds = ["0.5", "0.5", "0.5", r"2\sqrt{2}", "7", "7"]
    verdicts = verifier.verify_batch(texts, golds)
    assert [str(v.status) for v in verdicts] == ["correct", "wrong", "unparsed", "correct", "correct", "correct"]
    assert [v.rule for v in verdicts] == ["boxed", "boxed", "", "boxed", "hashes", "last_number"]
    assert verdicts[1].extracted == "0.6" and verdicts[2].extracted is None


def test_two_hundred_hostile_answers(verifier):
    assert len(set(hostile.ANSWERS)) >= 200
    for answer in hostile.ANSWERS:
        assert not verifier.check("42", answer).correct, answer[:60]
        if "{" not in answer and "}" not in answer:
            assert not verifier.verify(rf"\boxed{{{answer}}}", "42").correct, answer[:60]
            assert not verifier.verify(rf"42 is \boxed{{{answer}", "42").correct, answer[:60]  # cut off


@pytest.mark.parametrize("name", hostile.HUGE)
def test_a_huge_text_is_never_correct(verifier, name):
    assert not verifier.verify(hostile.HUGE[name], "42").correct


@pytest.mark.parametrize("answer", hostile.HANGING)
def test_expression_that_hangs_the_algebra_is_killed_at_the_deadline(answer):
    with Verifier(timeout_s=1.0) as v:
        assert v.check(r"\sqrt{2}", r"\sqrt2").correct  # start the worker first, so that its start is not timed
        (pid,) = _worker_pids(v)
        verdict = v.check("42", answer)
        assert verdict.status is Status.TIMEOUT and "1 s of processor time" in verdict.detail
        assert not alive(pid)
        assert v.counts["timeout"] == 1


def _after(seconds: float, v: Verifier, sign: int) -> threading.Timer:
    """Send `sign` to the worker of `v` after some seconds: in the middle of its comparison."""
    timer = threading.Timer(seconds, lambda: os.kill(_worker_pids(v)[0], sign))
    timer.start()
    return timer


def test_a_stopped_or_killed_worker_changes_no_verdict():
    """Stopped while idle, killed while idle: the same question goes to a fresh worker."""
    for sign in (signal.SIGSTOP, signal.SIGKILL):
        with Verifier(timeout_s=20.0, wall_s=5.0) as v:
            assert v.check(r"\sqrt{12}", r"2\sqrt{3}").correct
            (pid,) = _worker_pids(v)
            os.kill(pid, sign)
            assert v.check(r"\sqrt{18}", r"3\sqrt{2}").correct
            assert not alive(pid) and v.counts["timeout"] == v.counts["error"] == 0


@pytest.mark.parametrize("sign", [signal.SIGSTOP, signal.SIGKILL])
def test_a_worker_stopped_in_mid_comparison_is_asked_once_more(sign):
    """A comparison of about a second of processor time, interrupted in its middle: the same verdict as without."""
    slow = r"\sum_{k=1}^{1500} \frac{1}{k^2+1}"
    with Verifier(timeout_s=60.0, wall_s=60.0) as v:
        v.check(r"\sqrt{12}", r"2\sqrt{3}")
        undisturbed = v.check("42", slow)
        v.close()
    with Verifier(timeout_s=60.0, wall_s=10.0) as v:
        v.check(r"\sqrt{12}", r"2\sqrt{3}")
        (pid,) = _worker_pids(v)
        timer = _after(0.2, v, sign)
        assert v.check("42", slow) == undisturbed
        timer.join()
        assert not alive(pid)


def test_accidents_that_repeat_are_named_and_not_cached(monkeypatch):
    asked = []

    def dies(worker, *_):
        asked.append(worker.pid)
        worker.kill()
        raise WorkerDied("exit code -9")

    with Verifier(timeout_s=20.0) as v:
        with monkeypatch.context() as patch:
            patch.setattr(WorkerProcess, "ask", dies)
            verdict = v.check(r"\sqrt{18}", r"3\sqrt{2}")
            assert verdict.status is Status.ERROR and "died" in verdict.detail
            assert len(set(asked)) == 2  # once more, of a fresh one, and no third time
        assert v.check(r"\sqrt{18}", r"3\sqrt{2}").correct


def test_the_limit_is_processor_time_not_the_clock():
    """A worker that stands still for twice its limit of processor time, and is then let go on, answers as ever."""
    with Verifier(timeout_s=1.0, wall_s=60.0) as v:
        assert v.check(r"\sqrt{12}", r"2\sqrt{3}").correct
        (pid,) = _worker_pids(v)
        os.kill(pid, signal.SIGSTOP)
        timer = threading.Timer(2.0, lambda: os.kill(pid, signal.SIGCONT))
        timer.start()
        assert v.check(r"\sqrt{18}", r"3\sqrt{2}").correct
        assert _worker_pids(v) == [pid]  # no other worker was needed


def test_exception_in_the_algebra_is_an_error_with_its_reason(verifier):
    """A gold answer without a value is no verdict on the response; `unreadable` finds it when it is loaded."""
    with pytest.raises(Unreadable, match="value"):
        symbolic_equal(r"\frac{1}{0}", "2")
    verdict = verifier.check(r"\frac{1}{0}", "2")
    assert verdict.status is Status.ERROR and "Unreadable" in verdict.detail and not verdict.correct
    golds = ["7", "north", r"2\sqrt{3}", r"\frac{1}{0}", r"1 + \ldots + 9", "(1, 2"]
    assert set(verifier.unreadable(golds)) == set(golds[3:])


def test_works_from_threads_on_two_workers():
    pairs = [(rf"\sqrt{{{n * n * 2}}}", rf"{n}\sqrt{{2}}") for n in range(2, 12)]
    found: list[bool] = []
    with Verifier(timeout_s=30.0, workers=2) as v:
        calls = [threading.Thread(target=lambda p=p: found.append(v.check(*p).correct)) for p in pairs]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        assert found == [True] * 10
        assert len(_worker_pids(v)) == 2
        batch = v.verify_batch([rf"\boxed{{{p}}}" for _, p in pairs], [g for g, _ in reversed(pairs)])
        assert [b.correct for b in batch] == [False] * 10


def test_batch_compares_equal_pairs_once_and_caches():
    with Verifier() as v:
        v.verify_batch([r"\boxed{2\sqrt{3}}"] * 8, [r"\sqrt{12}"] * 8)
        assert v.paths == {"exact": 0, "symbolic": 1, "cached": 0}
        v.verify(r"again \boxed{2\sqrt{3}}", r"\sqrt{12}")
        assert v.paths == {"exact": 0, "symbolic": 1, "cached": 1}
        assert v.counts == {"correct": 9, "wrong": 0, "unparsed": 0, "timeout": 0, "error": 0}


def test_simple_answers_need_no_worker_and_close_leaves_none():
    v = Verifier()
    assert v.verify("#### 1,000", "1000").correct
    assert _worker_pids(v) == []
    assert v.check(r"\sqrt{12}", r"2\sqrt{3}").correct
    (pid,) = _worker_pids(v)
    v.close()
    assert not alive(pid)
    assert v.check(r"\sqrt{27}", r"3\sqrt{3}").correct  # usable after close
    v.close()


def test_garbage_collection_ends_the_worker():
    v = Verifier()
    assert v.check(r"\sqrt{12}", r"2\sqrt{3}").correct
    (pid,) = _worker_pids(v)
    del v
    assert not alive(pid)


def test_script_without_main_guard_and_no_orphan(tmp_path):
    """A plain script, as a notebook would run it: right verdicts from a thread, and no worker left after it ends."""
    script = tmp_path / "plain.py"
    script.write_text(
        textwrap.dedent(r"""
        import threading
        from artifact.tasks.verifier import shared_verifier
        out = []
        v = shared_verifier()
        t = threading.Thread(target=lambda: out.append(v.verify(r"\boxed{2\sqrt{3}}", r"\sqrt{12}").correct))
        t.start(); t.join()
        print(out, next(iter(v._running)).pid)
    """)
    )
    env = os.environ | {"PYTHONPATH": str(Path(artifact.__file__).parents[1])}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result, pid = done.stdout.rsplit(maxsplit=1)
    assert result == "[True]" and not alive(int(pid))


def test_pickles_its_settings():
    v = Verifier(("boxed",), 3.0, 2, 9.0)
    copy = pickle.loads(pickle.dumps(v))
    assert (copy.rules, copy.timeout_s, copy.workers, copy.wall_s) == (("boxed",), 3.0, 2, 9.0)


def test_importing_the_verifier_loads_no_heavy_library():
    code = "import sys, artifact.tasks.verifier; print({'sympy', 'math_verify', 'torch', 'pandas'} & set(sys.modules))"
    env = os.environ | {"PYTHONPATH": str(Path(artifact.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("settings", [{"timeout_s": 0}, {"workers": 0}, {"rules": ("box",)}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError):
        Verifier(**settings)


def test_unequal_lengths_are_refused(verifier):
    with pytest.raises(ValueError, match="2 responses but 1"):
        verifier.verify_batch(["1", "2"], ["1"])


@pytest.mark.parametrize("split", ["test", "train"])
def test_gsm8k_gold_solutions_are_all_correct(verifier, split):
    rows = _rows(f"gsm8k/{split}.jsonl")
    golds = [r["answer"].split("####")[1].strip() for r in rows]
    assert all(v.correct and v.rule == "hashes" for v in verifier.verify_batch([r["answer"] for r in rows], golds))
    boxed = verifier.verify_batch([rf"\boxed{{{g.replace(',', '')} dollars}}" for g in golds], golds)
    assert all(v.correct for v in boxed)
    off_by_one = verifier.verify_batch([rf"\boxed{{{float(g.replace(',', '')) + 1:.10g}}}" for g in golds], golds)
    assert not any(v.correct for v in off_by_one)


def test_math500_gold_answers_and_solutions_are_all_correct(verifier):
    rows = _rows("math500/test.jsonl")
    golds = [r["answer"] for r in rows]
    assert all(v.correct for v in verifier.verify_batch([rf"\boxed{{{g}}}" for g in golds], golds))
    assert all(v.correct for v in verifier.verify_batch([r["solution"] for r in rows], golds))
    assert not any(v.correct for v in verifier.verify_batch([rf"\boxed{{{g} + 1}}" for g in golds[::5]], golds[::5]))


def test_math500_gold_answers_pass_the_algebra_alone():
    """`identical text` decides the test above; here each gold answer is parsed and compared with itself."""
    golds = [r["answer"] for r in _rows("math500/test.jsonl")][::5]
    assert [g for g in golds if not symbolic_equal(g, g)[0]] == []


def test_agrees_with_math_verify_where_math_verify_is_right(verifier):
    """Three comparisons with the peer library's own defaults, called as its documentation says."""
    from math_verify import parse, verify

    pairs = [(r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"), ("x^2-1", "(x-1)(x+1)"), (r"2\pi", r"3\pi")]
    for gold, prediction in pairs:
        theirs = verify(parse(f"${gold}$"), parse(f"${prediction}$"))
        assert verifier.check(gold, prediction).correct == theirs


def test_graders_disagree_where_they_should():
    texts = [r"\boxed{42}", r"\boxed{42 apples}", "it is 41, not 42", r"\boxed{\sqrt{4}} in step 9", "none"]
    columns = as_columns(grade(texts, ["42", "42", "42", "2", "2"]))
    assert columns["math_verify"] == ["correct", "correct", "correct", "correct", "unparsed"]
    assert columns["strict_string"] == ["correct", "wrong", "correct", "wrong", "unparsed"]
    assert columns["numeric_last_number"] == ["correct", "correct", "correct", "wrong", "unparsed"]
    assert columns["strict_string_answer"] == ["42", "42 apples", "42", r"\sqrt{4}", None]
    assert list(as_columns(grade(texts, ["42"] * 5, ["strict_string"]))) == ["strict_string", "strict_string_answer"]
    with pytest.raises(ValueError, match="no_such"):
        grade(texts, ["42"] * 5, ["no_such"])
    assert set(GRADERS) >= {"math_verify", "strict_string", "numeric_last_number"}
