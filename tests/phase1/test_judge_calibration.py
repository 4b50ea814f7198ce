"""The calibration set and its report: hand counts, limits, thresholds; the symbolic judge against the set's labels."""

from __future__ import annotations

from collections import Counter

import pytest

from artifact.phase1.judge import EquivalenceJudge, ExactJudge, JudgeError, Judgement, RulesJudge, SymbolicJudge
from artifact.phase1.judge_calibration import KnownPair, calibrate, known_pairs, require_usable

EQUAL = [p for p in known_pairs() if p.equal]
DIFFERENT = [p for p in known_pairs() if not p.equal]


class Table(EquivalenceJudge):
    """Verdicts from a function of the pair."""

    name = "table"

    def __init__(self, verdict):
        super().__init__()
        self.verdict = verdict

    def decide(self, pairs):
        return [Judgement(a, b, self.verdict(a, b), self.name) for a, b in pairs]


def test_the_set_is_large_balanced_and_has_nothing_that_normalising_would_merge() -> None:
    assert len(EQUAL) >= 60 and len(DIFFERENT) >= 60
    counts = Counter((p.kind, p.equal) for p in known_pairs())
    assert set(counts.values()) == {10} and len(counts) == 2 * 8
    for p in known_pairs():
        assert p.left and p.right and p.left != p.right and p.question, p
    assert len({(p.question, *sorted((p.left, p.right))) for p in known_pairs()}) == len(known_pairs())


def test_the_symbolic_judge_never_contradicts_the_labels_and_adds_algebra_to_the_rules() -> None:
    judge = SymbolicJudge()
    by_label = {p: judge.judge([(p.left, p.right)])[0].equivalent for p in known_pairs()}
    assert [p for p, verdict in by_label.items() if verdict not in (None, p.equal)] == []
    report = calibrate(judge)
    assert report.false_merge.estimate == 0 and report.usable
    assert (
        report.true_merge.estimate == sum(by_label[p] is True for p in EQUAL) / len(EQUAL) == (45 + 2 + 7 + 10) / 80
    )  # sets, LaTeX, algebra
    assert report.undecided.estimate == sum(v is None for v in by_label.values()) / 160
    kinds = {c.kind: c for c in report.kinds}
    assert (kinds["fraction"].equal_merged, kinds["fraction"].equal_undecided) == (10, 0)
    assert all((kinds[k].equal_merged, kinds[k].different_undecided) == (10, 0) for k in ("algebra", "latex"))
    rules = calibrate(RulesJudge())
    kinds = {c.kind: c for c in rules.kinds}
    assert rules.false_merge.estimate == 0 and rules.total.equal_merged == 45
    assert (kinds["algebra"].equal_undecided, kinds["algebra"].different_undecided) == (10, 10)


@pytest.mark.parametrize(
    ("judge", "faults"),
    [
        (ExactJudge(), ["of the pairs that mean the same"]),
        (Table(lambda a, b: True), ["of the pairs that differ"]),
        (Table(lambda a, b: None), ["of the pairs that mean the same"]),
    ],
    ids=["merges nothing", "merges everything", "never answers"],
)
def test_a_judge_that_cannot_tell_is_refused_unless_told_to_go_on(judge: EquivalenceJudge, faults: list[str]) -> None:
    report = calibrate(judge)
    assert not report.usable and len(report.faults) == len(faults)
    assert all(expected in found for expected, found in zip(faults, report.faults, strict=True))
    with pytest.raises(JudgeError, match=r"not usable: it merges .* Use a stronger judge model"):
        require_usable(report)
    require_usable(report, go_on=True)


def test_limits_count_themselves_as_usable() -> None:
    def judge(false_merges: int, true_merges: int) -> EquivalenceJudge:
        merged = {tuple(sorted((p.left, p.right))) for p in DIFFERENT[:false_merges] + EQUAL[:true_merges]}
        return Table(lambda a, b: (a, b) in merged)

    assert calibrate(judge(4, 40)).usable  # 5 % and 50 %, no more
    assert not calibrate(judge(5, 40)).usable
    assert not calibrate(judge(4, 39)).usable


def test_counts_rates_and_intervals_by_hand() -> None:
    pairs = [
        KnownPair("k", True, "", "a", "b"),
        KnownPair("k", True, "", "c", "d"),
        KnownPair("k", False, "", "e", "f"),
        KnownPair("m", True, "", "g", "h"),
        KnownPair("m", False, "", "i", "j"),
        KnownPair("m", False, "", "k", "l"),
    ]
    verdict = {"a": True, "c": None, "e": False, "g": True, "i": True, "k": None}
    report = calibrate(Table(lambda a, b: verdict[a]), pairs)
    t = report.total
    assert (t.equal, t.equal_merged, t.equal_undecided) == (3, 2, 1)
    assert (t.different, t.different_merged, t.different_undecided) == (3, 1, 1)
    frame = report.frame().set_index(["kind", "measure"])
    assert frame.loc[("all", "undecided"), ["n", "count"]].tolist() == [6, 2]
    assert frame.loc[("m", "false_merge"), "rate"] == 0.5
    # Wilson interval of 1 of 2 at 95 %: (p + z²/2n ± z√(p(1−p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964
    assert frame.loc[("m", "false_merge"), ["low", "high"]].tolist() == pytest.approx([0.09453, 0.90547], abs=1e-4)
    with pytest.raises(JudgeError, match="no pairs that mean the same, or none"):
        calibrate(Table(lambda a, b: True), pairs[:2])
