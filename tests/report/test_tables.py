"""Tables against numbers worked out by hand on tiny frames."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from scipy.stats import t

from artifact.config import load
from artifact.report import differences, tables
from artifact.report import narrative as sentences
from artifact.studies.comparison import run_settings
from artifact.studies.study import load_study

REF = "OPD (uniform)"
CELLS = {REF: tables.REFERENCE, "Base": tables.BASE, "UOPD (soft)": "uopd-soft", "Self-distilled (OPSD)": "opsd"}


def evaluation(outcomes: dict[tuple[str, int], str], teacher: str = "A") -> pd.DataFrame:
    """(label, seed) → a string of 0 and 1, one per problem; the first half easy, the second hard."""
    rows = []
    for (label, seed), bits in outcomes.items():
        for i, bit in enumerate(bits):
            rows.append(
                {
                    "label": label,
                    "cell": CELLS.get(label, label.lower()),
                    "teacher": teacher,
                    "seed": seed,
                    "reads_gold": label in ("GRPO", "SFT"),
                    "split": "evaluation",
                    "problem_id": f"p{i}",
                    "difficulty": "easy" if i < len(bits) / 2 else "hard",
                    "family": "sum",
                    "sample": 0,
                    "correct": bit == "1",
                    "response_tokens": 10 + i,
                }
            )
    return pd.DataFrame(rows)


FRAME = evaluation(
    {(REF, 0): "1100", (REF, 1): "1000", ("UOPD (soft)", 0): "1111", ("UOPD (soft)", 1): "1110", ("Base", 0): "0000"}
)


def test_accuracy_by_hand() -> None:
    table = tables.accuracy_table(FRAME, resamples=500).set_index("label")
    row = table.loc[REF]  # seeds 0.5 and 0.25
    assert row["accuracy"] == pytest.approx(0.375)
    assert row["sd"] == pytest.approx(math.sqrt(2 * 0.125**2))
    assert (row["seeds"], row["problems"], row["samples"]) == (2, 4, 1)
    assert row["response_tokens"] == pytest.approx(11.5)
    assert row["difficulty:easy"] == pytest.approx(0.75) and row["difficulty:hard"] == 0.0
    assert row["low"] <= 0.375 <= row["high"]
    assert pd.isna(table.loc["Base", "sd"])  # one run has no spread
    assert list(table.index) == ["Base", REF, "UOPD (soft)"]  # the study's order, not a ranking


def test_base_stands_beside_every_teacher_once() -> None:
    b = evaluation({(REF, 0): "0101", ("Base", 0): "0000"}, teacher="B")
    both = tables.with_base(pd.concat([FRAME, b]))
    assert both[both["label"] == "Base"].groupby("teacher").size().to_dict() == {"A": 4, "B": 4}


def test_difference_by_hand() -> None:
    table = tables.difference_table(FRAME, resamples=500)
    row = table[table["label"] == "UOPD (soft)"].iloc[0]
    # per problem: ref (1, .5, 0, 0), soft (1, 1, 1, .5): differences 0, .5, 1, .5
    assert row["difference"] == pytest.approx(0.5)
    assert row["p_value"] == pytest.approx(2 / 8)  # three non-zero differences: only +++ and −−− reach the sum
    assert row["seeds_agreeing"] == "2/2"
    base = table[table["label"] == "Base"].iloc[0]
    assert base["difference"] == pytest.approx(-0.375) and pd.isna(base["seeds_agreeing"])
    assert base["p_holm"] == pytest.approx(max(2 * min(base["p_both"], row["p_both"]), base["p_both"]))
    # seeds .5 and .5: no spread between them, so the SE is that over problems, √(var{0, .5, 1, .5} / 4)
    assert row["sd_seeds"] == pytest.approx(0.0) and row["se_problems"] == pytest.approx(math.sqrt(1 / 6 / 4))
    assert row["p_both"] == pytest.approx(2 * t.sf(0.5 / row["se_problems"], 3))
    assert row["resolution"] == pytest.approx(0.5 / row["smallest_detectable"])
    assert base["sd_seeds"] == pytest.approx(math.sqrt(2 * 0.125**2)), "an untrained model has no seeds of its own"


def test_methods_are_compared_on_the_seeds_that_they_share() -> None:
    """A headline pair has more seeds than the baselines beside it; each difference is over what both have."""
    runs = {(REF, s): "1" * (4 + s) + "0" * (16 - s) for s in range(6)}
    runs |= {("UOPD (soft)", s): "1" * (6 + s) + "0" * (14 - s) for s in range(6)}
    runs |= {("GRPO", s): "1" * 8 + "0" * 12 for s in range(3)} | {("SFT", s): "1" * s + "0" * (20 - s) for s in (7, 9)}
    table = tables.difference_table(evaluation(runs), resamples=200).set_index("label")
    assert table["seeds"].to_dict() == {"UOPD (soft)": 6, "GRPO": 3, "SFT": 6}, "none shared: all of both, unpaired"
    assert table["difference"].tolist() == pytest.approx([2 / 20, (8 - 5) / 20, (8 - 6.5) / 20])
    assert table.loc["GRPO", "p_seeds"] == pytest.approx(2 * t.sf(3 / (1 / math.sqrt(3)), 2)), "4, 3, 2 of 20"
    assert pd.isna(table.loc["SFT", "sd_seeds"]) and table.loc["SFT", "p_both"] > table.loc["SFT", "p_seeds"]


def test_holm_decides_what_a_comparison_alone_would_claim() -> None:
    """As below, four problems lost: p = 0.04 of both at once, and 0.13 beside two rows nearly the reference."""
    ref, won = "0" * 100 + "1" * 100, (19, 7, 17, 7, 18, 10)
    gains = {s: "1" * k + "0" * (100 - k) + "1" * 96 + "0" * 4 for s, k in enumerate(won)}
    runs = {(REF, s): ref for s in gains} | {("UOPD (soft)", s): bits for s, bits in gains.items()}
    alone = tables.difference_table(evaluation(runs)).iloc[0]
    assert alone["p_both"] == alone["p_holm"] == pytest.approx(0.042, abs=0.001) and alone["verdict"] == "higher"
    more = {(label, s): ref[1:] + bit for s in gains for label, bit in (("GRPO", "0"), ("SFT", "1"))}
    beside = tables.difference_table(evaluation(runs | more)).set_index("label").loc["UOPD (soft)"]
    assert beside["p_holm"] == pytest.approx(3 * beside["p_both"]) and beside["verdict"] == tables.SAME


def test_problems_and_seeds_that_each_support_a_claim_need_not_support_it_together() -> None:
    """Each test divides one difference by its own error alone; over both errors it is within what they would do."""
    ref = "0" * 100 + "1" * 100
    won = (21, 9, 19, 9, 20, 12)  # of 200 problems at each of six seeds; six are lost at every seed
    gains = {s: "1" * k + "0" * (100 - k) + "1" * 94 + "0" * 6 for s, k in enumerate(won)}
    frame = evaluation({(REF, s): ref for s in gains} | {("UOPD (soft)", s): bits for s, bits in gains.items()})
    row = tables.difference_table(frame).iloc[0]
    assert row["low"] > 0 and row["p_value"] <= 0.05 and row["p_seeds"] <= 0.05
    assert row["p_both"] > 0.05 and row["verdict"] == tables.SAME


def test_equal_methods_show_no_significant_difference() -> None:
    frame = evaluation({(REF, 0): "10101010", ("UOPD (soft)", 0): "01010101"})
    row = tables.difference_table(frame, resamples=500).iloc[0]
    assert row["difference"] == 0 and row["p_value"] == 1 and row["verdict"] == tables.SAME
    assert tables.SAME in sentences.differences(tables.difference_table(frame, resamples=500))[0]


def test_a_uniform_gain_is_significant_and_said() -> None:
    gain = "1" * 19 + "0"
    frame = evaluation({(name, s): bits for s in (0, 1) for name, bits in ((REF, "0" * 20), ("UOPD (soft)", gain))})
    table = tables.difference_table(frame, by="difficulty", resamples=500)
    assert table["scope"].tolist() == ["all", "easy", "hard"]
    assert table["difference"].tolist() == pytest.approx([0.95, 1.0, 0.9])
    assert table["verdict"].iloc[0] == "higher"
    assert "95.0 points above" in sentences.differences(table)[0]
    shown = tables.format_differences(table)
    assert shown["difference, points"].iloc[0] == "+95.0"


def test_four_problems_of_thirty_two_are_too_few() -> None:
    """All four that differ favour one side: the bootstrap leaves out 0, but 2 of 2⁴ sign patterns are as far."""
    gain = "1" * 4 + "0" * 28
    frame = evaluation({(name, s): bits for s in (0, 1) for name, bits in ((REF, "0" * 32), ("UOPD (soft)", gain))})
    row = tables.difference_table(frame).set_index("label").loc["UOPD (soft)"]
    assert row["low"] > 0 and row["p_value"] == pytest.approx(2 / 16)
    assert row["verdict"] == tables.SAME and row["p_seeds"] == 0.0


def seeds_frame(ref: list[int], other: list[int], n: int = 200) -> pd.DataFrame:
    """Two methods whose seed s is right on the first ref[s], other[s] of n problems."""
    runs = {(REF, s): "1" * k + "0" * (n - k) for s, k in enumerate(ref)}
    return evaluation(runs | {("UOPD (soft)", s): "1" * k + "0" * (n - k) for s, k in enumerate(other)})


@pytest.mark.parametrize(
    ("ref", "other", "verdict"),
    [
        ([100, 80, 120], [130, 109, 151], "higher"),  # paired by seed: 30, 29, 31, although seeds differ by 20
        ([100, 80, 120], [102, 130, 170], tables.SAME),  # 2, 50, 50: problems say yes, seeds do not
        ([100], [150], tables.SAME),  # one seed
        ([100, 80, 120], [70, 51, 89], "lower"),
        ([100, 100], [103, 103], tables.SAME),  # seeds say yes; 3 of 200 problems are too few
    ],
)
def test_a_claim_needs_problems_and_seeds(ref: list[int], other: list[int], verdict: str) -> None:
    row = tables.difference_table(seeds_frame(ref, other), resamples=500).iloc[0]
    assert row["verdict"] == verdict
    if other == [102, 130, 170]:
        assert row["low"] > 0 and row["p_value"] < 0.01 and row["p_seeds"] == pytest.approx(2 * t.sf(34 / 16, 2))


def test_holm_runs_over_all_rows_of_the_table() -> None:
    """Two references, and the rows of each difficulty: one family, of which each row knows."""
    frame = pd.concat([seeds_frame([10, 11], [16, 17], 30), evaluation({("Base", 0): "0" * 30})])
    table = tables.difference_table(frame, reference=("opd", tables.BASE), by="difficulty", resamples=200)
    assert len(table) == 12 and table["reference"].nunique() == 2
    # REF − Base and Base − REF are one comparison: three in each of three scopes
    once = table[(table["label"] != "Base")]
    assert once["p_holm"].tolist() == pytest.approx(differences.holm(once["p_both"])) and len(once) == 9
    mirrored = table[table["label"] == "Base"]
    assert mirrored["p_holm"].tolist() == once[(once["label"] == REF)]["p_holm"].tolist()
    assert (table["p_holm"] > table["p_both"]).any()


def test_untrained_models_have_no_seeds_to_disagree() -> None:
    """Teacher and Base stand for themselves; against a trained method they are one number each."""
    frame = evaluation({("Base", 0): "0" * 40, ("Teacher", 0): "1" * 30 + "0" * 10})
    row = tables.difference_table(frame, reference=tables.BASE, resamples=200).iloc[0]
    assert row["verdict"] == "higher" and pd.isna(row["p_seeds"])
    trained = seeds_frame([20, 21, 22], [20, 21, 22], 40)
    both = tables.difference_table(pd.concat([frame, trained]), resamples=200).set_index("label")
    assert both.loc["Base", "verdict"] == "lower" and both.loc["Teacher", "verdict"] == "higher"
    assert both.loc["Base", "p_seeds"] == pytest.approx(2 * t.sf(21 / (1 / math.sqrt(3)), 2))


def test_holm_by_hand() -> None:
    assert differences.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3·.01; 2·.03; max(.06, .04)
    assert differences.holm([0.04, 0.001, 0.03]) == pytest.approx([0.06, 0.003, 0.06])  # in the order given
    assert differences.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_what_is_missing_or_double_is_named() -> None:
    with pytest.raises(tables.ArtifactError, match="appears twice"):
        tables.accuracy_table(pd.concat([FRAME, FRAME[FRAME["label"] == REF]]), resamples=10)
    with pytest.raises(tables.ArtifactError, match="not every seed"):
        tables.accuracy_table(FRAME[~((FRAME["seed"] == 1) & (FRAME["problem_id"] == "p3"))], resamples=10)
    with pytest.raises(tables.ArtifactError, match="was not run"):
        tables.difference_table(FRAME[FRAME["label"] != REF], resamples=10)
    with pytest.raises(tables.ArtifactError, match="different problems"):
        tables.difference_table(FRAME[~((FRAME["label"] == REF) & (FRAME["problem_id"] == "p3"))], resamples=10)


def test_compute_budget_sums_steps_and_averages_seeds() -> None:
    runs = load_study("uopd").runs("tiny")
    rows = [
        {
            "label": REF,
            "cell": "opd",
            "teacher": "A",
            "seed": seed,
            "step": step,
            "rollouts": 128.0,
            "examples": 128.0,
            "response_tokens": 1000.0 + 500 * seed,
            "teacher_tokens": 900.0,
            "seconds/rollout": 1.0,
            "seconds/student": 2.0,
        }
        for seed in (0, 1)
        for step in (0, 1)
    ]
    row = tables.compute_budget(pd.DataFrame(rows), run_settings(runs)).iloc[0]
    assert (row["steps"], row["rollouts"], row["response_tokens"]) == (2, 256, 2500)
    times = tables.training_times(pd.DataFrame(rows)).iloc[0]
    assert (times["cell"], times["label"], times["seeds"], times["seconds"]) == ("opd", REF, 2, 6.0)
    assert row["prompts"] == 2 * load("tiny").train.prompts_per_step and not row["reads_gold"]
    with pytest.raises(tables.ArtifactError, match="not part of the study"):
        tables.compute_budget(pd.DataFrame(rows).assign(cell="grpo", label="GRPO"), run_settings(runs))


def test_compute_budget_says_who_sampled_who_scored_and_who_read_what() -> None:
    runs = [r for name in ("core", "uopd_methods") for r in load_study(name).runs("tiny")]
    labels = ["SFT", "SeqKD", REF, "UOPD (soft)", "Self-distilled (OPSD)", "GRPO", "CORE"]
    rows = [
        {
            "label": label,
            "cell": CELLS.get(label, label.lower()),
            "teacher": "A",
            "seed": seed,
            "step": step,
            "rollouts": 8.0,
            "examples": 8.0,
            "response_tokens": 10.0,
            "teacher_tokens": 10.0,
            "seconds/rollout": 1.0,
            "fallback_tokens": 30.0 * (seed + 1) if label == "CORE" and step == 1 else float("nan"),
        }
        for label in labels
        for seed in (0, 1)
        for step in (0, 1)
    ]
    table = tables.compute_budget(pd.DataFrame(rows), run_settings(runs), {"A": 5000.0}).set_index("label")
    assert table["teacher_tokens_sampled"].to_dict() == {
        "SFT": 0,
        "SeqKD": 5000,
        REF: 0,
        "UOPD (soft)": 5000,
        "Self-distilled (OPSD)": 0,
        "GRPO": 0,
        "CORE": 45,
    }
    assert table["uses_teacher"].to_dict() == {
        "SFT": "no",
        "SeqKD": "yes",
        REF: "yes",
        "UOPD (soft)": "yes",
        "Self-distilled (OPSD)": "self",
        "GRPO": "no",
        "CORE": "yes",
    }
    assert table.index[table["reads_gold"]].tolist() == ["SFT", "SeqKD", "Self-distilled (OPSD)", "GRPO", "CORE"]
    shown = tables.format_budget(tables.compute_budget(pd.DataFrame(rows), run_settings(runs))).set_index("method")
    assert shown["teacher tokens sampled"].to_dict()["SeqKD"] == "–" and shown.loc["CORE", "uses teacher"] == "yes"
    assert {
        "prompts",
        "rollouts",
        "response tokens",
        "teacher tokens scored",
        "teacher tokens sampled",
        "steps",
        "reads gold",
        "uses teacher",
    } <= set(shown.columns)


def test_annotation_summary_by_hand() -> None:
    frame = pd.DataFrame(
        {
            "difficulty": ["easy", "easy", "hard", "hard"],
            "family": "eq",
            "normalised": [0.0, 0.2, 0.6, 1.0],
            "weight": [1.0, 0.8, 0.4, 0.0],
            "clusters": [1, 2, 4, 8],
            "greedy_correct": [True, False, False, True],
            "majority_correct": [True, False, False, False],
        }
    )
    table = tables.annotation_summary({"A": frame}).set_index("group")
    assert table.loc["all", "greedy_accuracy"] == 0.5 and table.loc["all", "majority_accuracy"] == 0.25
    assert table.loc["all", "sure_and_wrong"] == 0.25  # the second problem only
    assert table.loc["all", "signal_wrong"] == pytest.approx(1.2 / 2.2)
    assert table.loc["easy", "zero"] == 0.5 and table.loc["hard", "clusters"] == 6
    assert "`easy`" in sentences.blind_spots(table.reset_index())[0]


def test_auroc_table_on_a_perfect_and_a_useless_score() -> None:
    wrong = [False] * 6 + [True] * 6
    perfect, useless = [float(i) for i in range(12)], [0.0] * 12
    others = ["discrete_entropy", "one_minus_majority_share", "answer_string_entropy", "negative_mean_logprob"]
    scores = pd.DataFrame({"wrong": wrong, "semantic_entropy": perfect, **dict.fromkeys(others, useless)})
    table = tables.auroc_table({"A": scores}, resamples=50)
    assert table["auroc"].tolist() == [1.0, 0.5, 0.5, 0.5, 0.5] and table["teacher"].unique().tolist() == ["A"]
    assert (
        "above" not in sentences.aurocs(table)[0] and "below it: discrete entropy (0.500)" in sentences.aurocs(table)[0]
    )


def test_shown_numbers() -> None:
    accuracy = tables.accuracy_table(FRAME, resamples=200)
    shown = tables.format_accuracy(accuracy, tables.difference_table(FRAME, resamples=200))
    assert shown["reads labels"].tolist() == ["no", "no", "no"]
    assert shown[f"against {REF}"].tolist()[1] == "reference" and shown["easy"].tolist()[1] == "75.0 ± 35.4"
