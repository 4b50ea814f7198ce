"""Tables, sentences and figures of a language-model run, from frames whose numbers are known by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from artifact.records import Problem, Rollout, Status, Verdict
from artifact.report import figures_language_model as figures
from artifact.report import language_model as lm
from artifact.report.outputs import save_figure
from artifact.stats.held_out import MEASURES, distance_changes, distance_summary


def metrics() -> pd.DataFrame:
    """Two runs of two steps: 10 s of rollout, 2 of teacher, 4 of student per step; CORE has no divergence at step 1."""
    rows = []
    for label in ("OPD (uniform)", "CORE"):
        for step in range(2):
            rows.append(
                {
                    "label": label,
                    "cell": label.lower(),
                    "teacher": "t",
                    "seed": 0,
                    "key": label,
                    "step": step,
                    "loss": 1.0 - 0.1 * step,
                    "grad_norm": 2.0,
                    "distil/divergence": None if label == "CORE" and step else 0.5,
                    "response_tokens": 100.0,
                    "teacher_tokens": 100.0 if label != "CORE" else 20.0,
                    "verdict/wrong": 7.0,
                    "verdict/correct": 1.0 if step == 0 else None,
                    "seconds/rollout": 10.0,
                    "seconds/teacher": 2.0,
                    "seconds/student": 4.0,
                    "seconds/sync": 1.0,
                    "seconds/verify": 0.0,
                    "seconds/method": 0.0,
                }
            )
    return pd.DataFrame(rows)


def distances() -> pd.DataFrame:
    """Base at 2 nats per token on eight problems; OPD half a nat closer on the same ids, further away on its own."""
    rest = {**dict.fromkeys(MEASURES, 0.9), "teacher": "t", "seed": 0}
    rows = []
    for problem in range(8):  # fewer than six could not be significant, whatever they show: 2 of 2⁵ signs are 0.06
        i = problem % 4
        for label, sequences, forward in (("Base", "base", 2.0), ("OPD", "base", 1.5 - 0.01 * i), ("OPD", "own", 2.4)):
            rows.append(
                {
                    "label": label,
                    "cell": label.lower(),
                    "key": label,
                    "sequences": sequences,
                    "problem_id": f"p{problem}",
                    "sample": 0,
                    "tokens": 5,
                    **rest,
                    "forward": forward + i,
                    "reverse": 1.0 + i,
                    "binned": forward + i - 0.25,
                }
            )
    return pd.DataFrame(rows)


def test_phases_by_hand() -> None:
    tokens = lm.phase_tokens(metrics()).set_index("phase")["tokens"]
    assert tokens.to_dict() == {"rollout": 100, "teacher": 60, "student": 60}
    table = lm.phase_times(metrics(), {"engine-0": 4.0, "teacher": 2.0, "student-0": 3.0}).set_index("phase")
    assert list(table.index) == ["rollout", "verify", "method", "teacher", "student", "sync"]
    assert table.loc["rollout", ["seconds", "tokens_per_second", "memory_gib"]].tolist() == [10, 10, 4]
    assert table.loc["teacher", ["seconds", "tokens_per_second", "memory_gib"]].tolist() == [2, 30, 2]
    assert table["share"].sum() == pytest.approx(1) and table.loc["student", "share"] == pytest.approx(4 / 17)
    assert pd.isna(table.loc["verify", "tokens_per_second"]) and pd.isna(table.loc["method", "memory_gib"])


def test_stages_add_up() -> None:
    sampled = {"seconds": {"sampling": 50.0, "total": 90.0}, "sampled": {"tokens": 1000}, "greedy": {"tokens": 100}}
    scored = {"seconds": {"sampling": 10.0, "scoring": 20.0, "total": 30.0}, "response_tokens": 200}
    run = {"seconds": {"train": 60.0, "total": 120.0}}
    stages = [("phase 1", sampled), ("runs", run), ("runs", run), ("held out", scored)]
    counts, times = lm.stage_tokens(stages).set_index("stage"), lm.stage_times(stages).set_index("stage")
    assert list(counts.index) == list(times.index) == ["phase 1", "runs", "held out"]
    assert counts["results"].tolist() == [1, 2, 1] and times["minutes"].tolist() == [1.5, 4.0, 0.5]
    assert counts.loc["phase 1", "tokens"] == 1100, "greedy answers are tokens too, sampled outside the timed part"
    assert times.loc["phase 1", "tokens_per_second"] == 20 and times.loc["held out", "tokens_per_second"] == 20
    assert pd.isna(counts.loc["runs", "tokens"]) and pd.isna(times.loc["runs", "tokens_per_second"])


def test_memory_is_the_highest_peak() -> None:
    found = lm.largest_memory([{"peak_memory_gib": {"a": 1.0, "b": 5.0}}, {"peak_memory_gib": {"a": 2.0}}, {}])
    assert found == {"a": 2.0, "b": 5.0}


def test_verdicts_are_counted_and_none_is_lost() -> None:
    table = lm.verdict_counts(metrics()).set_index("label")
    assert table.loc["CORE"].to_dict() == {
        "correct": 1,
        "wrong": 14,
        "unparsed": 0,
        "timeout": 0,
        "error": 0,
        "rollouts": 15,
    }


def test_sentences_say_what_the_interval_says() -> None:
    frame = distances()
    lines = lm.distance_sentences(distance_changes(frame, resamples=200))
    assert lines[0].startswith("OPD: held-out KL(teacher ‖ student) on the base student's rollouts falls from 3.500 to")
    assert "on its own rollouts rises from 3.500 to 3.900" in lines[1] and "n = 8" in lines[1]
    two = pd.concat([frame, frame.assign(teacher="u", key=frame["key"] + " u")])
    assert lm.distance_sentences(distance_changes(two, resamples=50))[2].startswith("OPD, teacher u: held-out KL")
    same = lm.distance_sentences(distance_changes(frame, resamples=200), "reverse")
    assert all("shows no significant difference from before: from" in line for line in same)


def test_the_promise_is_counted_where_it_holds() -> None:
    """OPD falls on the base student's rollouts; a method that does not is named with its verdict, and nothing fails."""
    frame = distances()
    worse = frame[frame["label"] == "OPD"].assign(label="UOPD", cell="uopd", key="UOPD")
    both = pd.concat([frame, worse.assign(forward=worse["forward"] + 1)])
    changes = distance_changes(both, resamples=50)
    text = (
        "KL(teacher ‖ student) on the base student's rollouts falls in {} of {} runs that distil from this teacher{}."
    )
    assert lm.promise_sentence(changes, ["opd"]) == text.format(1, 1, "")
    assert lm.promise_sentence(changes, ["opd", "uopd"]) == text.format(1, 2, " (UOPD: rises)")


def test_shown_distances_state_the_tail() -> None:
    shown = lm.format_distances(distance_summary(distances(), resamples=200))
    assert shown["of the former, tail"].tolist() == ["0.2500"] * 3
    assert shown["sequences"].tolist() == ["the base student's rollouts"] * 2 + ["its own rollouts"]
    assert shown["teacher mass on top-k"].tolist() == ["90.00 %"] * 3


def rollout(sample: int, status: Status) -> Rollout:
    return Rollout("p", sample, (1, 2), (3, 4), (-0.5, -1.5), "text", "stop", 7, Verdict(status, "9", rule="hashes"))


def test_two_rollouts_one_of_each_kind() -> None:
    rollouts = [rollout(i, s) for i, s in enumerate((Status.WRONG, Status.CORRECT, Status.CORRECT, Status.UNPARSED))]
    assert [r.sample for r in lm.two_rollouts(rollouts)] == [2, 3]
    assert [r.sample for r in lm.two_rollouts(rollouts[:1])] == [0]


def test_a_rollout_is_shown_in_full() -> None:
    class Words:
        def decode(self, ids: list[int]) -> str:
            return " ".join(f"<{i}>" for i in ids)

    text = lm.rollout_markdown(rollout(1, Status.WRONG), Problem("p", "q?", "8", None, "svamp", "easy", {}), Words())
    for part in (
        "<1> <2>",
        "<3> <4>",
        "gold answer `8`",
        "**wrong**, answer `9` by rule `hashes`",
        "-1.00",
        "version 7",
    ):
        assert part in text


def test_the_calculator_is_seen_token_by_token() -> None:
    """`<<1+1=` is the policy's, `2>>` the tool's: who wrote what stands beside each token."""

    class Tokens:
        def decode(self, ids: list[int]) -> str:
            return {1: " <<", 2: "1", 3: "+", 4: "=", 5: "2", 6: ">>", 7: "|\n"}[ids[0]]

    ids, mask = (1, 2, 3, 2, 4, 5, 6, 7), (True,) * 5 + (False,) * 2 + (True,)
    plain = Rollout("p", 0, (1,), (2, 3), (-0.5, -0.5), "1+", "length")
    called = Rollout("q", 1, (1,), ids, (-0.25,) * 5 + (0.0,) * 2 + (-1.0,), "t", "stop", response_mask=mask)
    assert lm.calculator_rollout([plain, called]) is called and lm.calculator_rollout([plain]) is None
    text = lm.mask_markdown(called, Tokens())
    rows = [line for line in text.splitlines() if line.startswith(tuple(f"| {t} |" for t in range(10)))]
    assert "8 response tokens, 2 of them the calculator's" in text and len(rows) == 8
    assert rows[5:7] == ['| 5 | "2" | calculator | – |', '| 6 | "\\>\\>" | calculator | – |']
    assert rows[0] == '| 0 | " \\<\\<" | policy | -0.25 |' and rows[7] == '| 7 | "\\|\\\\n" | policy | -1.00 |'


def test_two_teachers_are_drawn_apart() -> None:
    both = pd.concat([metrics(), metrics().assign(teacher="u", loss=7.0)])
    figure, data = figures.loss_curves(both)
    assert len(figure.axes) == 6 and len(data) == 8
    drawn = [sorted(set(line.get_ydata())) for line in figure.axes[3].lines]
    assert drawn == [[7.0], [7.0]], "the second row holds the second teacher's losses alone"
    assert figure.axes[3].get_title().endswith("teacher u")
    frame = distances()
    other = frame.assign(teacher="u", key=frame["key"] + " u", forward=frame["forward"] + 10)
    figure, data = figures.distance_bars(distance_summary(pd.concat([frame, other]), resamples=50))
    heights = [[round(p.get_height(), 3) for p in axis.patches] for axis in figure.axes]
    assert len(heights) == 4 and [round(h - 10, 3) for h in heights[2]] == heights[0] and len(data) == 6


def test_figures_draw_what_they_return(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACT_FIGURES", str(tmp_path))
    curves = figures.loss_curves(metrics())
    assert len(curves[1]) == 4 and curves[1]["distil/divergence"].isna().sum() == 1
    bars = figures.distance_bars(distance_summary(distances(), resamples=200))
    heights = sorted(round(p.get_height(), 3) for p in bars[0].axes[0].patches)
    assert heights == sorted(round(v, 3) for v in bars[1]["forward"])
    verdicts = figures.verdict_bars(metrics())
    assert verdicts[1]["rollouts"].sum() == 30
    for name, (figure, data) in {"curves": curves, "bars": bars, "verdicts": verdicts}.items():
        path = save_figure(figure, name, data, tier="cpu-llm", keys=["k"], caption="A figure of this test.")
        assert path.stat().st_size > 5000
