"""SURE-Math figures: the numbers they draw against hand counts, and what is on the axes."""

from __future__ import annotations

import pytest

from artifact.records import RecordError
from artifact.report import figures_suremath as figures
from artifact.suremath.accounting import BuildReport
from artifact.suremath.lineage import Evolved
from artifact.suremath.load import Published


def item(item_id: str, difficulty: str = "easy", strategy: str = "seed", *parents: str, round_: int = 0) -> Evolved:
    return Evolved(
        id=item_id,
        question=f"Question $x$ of {item_id}?",
        answer="1",
        answer_source="ground_truth",
        solution=None,
        task="tinymath",
        difficulty=difficulty,
        strategy=strategy,
        round=round_,
        parent_ids=parents,
        root_id="s",
        seed_difficulty="easy",
        source="test",
        generator="test",
    )


def row(item: Evolved, normalised: float | None) -> Published:
    return Published(**{name: getattr(item, name) for name in Evolved.COLUMNS}, normalised=normalised)


def test_counts_by_strategy() -> None:
    items = [
        item("a", "hard", "curated"),
        item("b", "hard", "curated"),
        item("c", "hard", "compose", "s", "t", round_=1),
    ]
    figure, data = figures.counts_by_strategy([*items, item("d", "easy", "curated")])
    cells = data.set_index(["difficulty", "strategy"])["n"].to_dict()
    assert cells == {("easy", "curated"): 1, ("hard", "curated"): 2, ("easy", "compose"): 0, ("hard", "compose"): 1}
    axis = figure.axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["easy (n = 1)", "hard (n = 3)"]
    assert sorted(t.get_text() for t in axis.texts) == ["0", "1", "1", "2"]


def test_lineage_tree_shows_both_parents() -> None:
    items = {
        i.id: i
        for i in (
            item("s"),
            item("t"),
            item("c1", "medium", "harder", "s", round_=1),
            item("c2", "hard", "compose", "c1", "t", round_=2),
            item("unrelated"),
        )
    }
    figure, data = figures.lineage_tree("c2", items)
    assert list(data["id"]) == ["s", "t", "c1", "c2"]
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert "compose" in texts and "harder" in texts and not any("unrelated" in t for t in texts)
    assert sum(getattr(t, "arrow_patch", None) is not None for t in figure.axes[0].texts) == 3  # an arrow a parent
    figure.canvas.draw()  # a lone $ would be read as mathematics and fail here
    with pytest.raises(RecordError, match="'t' is not in the table"):
        figures.lineage_tree("c2", {k: v for k, v in items.items() if k != "t"})


def test_entropy_by_difficulty_quartiles() -> None:
    rows = [row(item(str(i), "easy", "curated"), v) for i, v in enumerate([0.0, 0.25, 0.5, 0.75, 1.0])]
    rows += [row(item("e", "easy", "harder", "s", round_=1), 0.5), row(item("n", "hard", "curated"), None)]
    figure, data = figures.entropy_by_difficulty(rows)
    curated = data[data["origin"] == "curated"].iloc[0]
    assert (curated["n"], curated["q1"], curated["median"], curated["q3"], curated["mean"]) == (5, 0.25, 0.5, 0.75, 0.5)
    assert curated["share_zero"] == 0.2 and list(data["difficulty"]) == ["easy", "easy"]
    assert [t.get_text() for t in figure.axes[0].texts] == ["5", "1"]
    with pytest.raises(ValueError, match="no row has an entropy"):
        figures.entropy_by_difficulty(rows[-1:])


def test_filter_funnel_subtracts_stage_by_stage() -> None:
    funnel = (
        {"stage": "seeds", "seed_difficulty": "easy", "strategy": "seed", "reason": "ngram", "n": 9},
        {"stage": "evolve", "seed_difficulty": "easy", "strategy": "harder", "reason": "nothing", "n": 2},
        {"stage": "solvable", "seed_difficulty": "hard", "strategy": "harder", "reason": "disagreement", "n": 1},
    )
    kept = (
        {
            "split": "train",
            "difficulty": "easy",
            "seed_difficulty": "easy",
            "strategy": "harder",
            "answer_source": "model",
            "n": 5,
        },
        {
            "split": "train",
            "difficulty": "easy",
            "seed_difficulty": "easy",
            "strategy": "curated",
            "answer_source": "gold",
            "n": 7,
        },
        {
            "split": "train",
            "difficulty": "hard",
            "seed_difficulty": "hard",
            "strategy": "apply",
            "answer_source": "model",
            "n": 3,
        },
    )
    report = BuildReport("x", "g", "l", 7, 0, 4, 11, 8, 15, funnel, kept, (), (), {})
    report.check()
    figure, data = figures.filter_funnel(report)
    totals = data.groupby("stage", sort=False)["n"].sum()
    assert totals.to_dict() == {
        "proposed": 11,
        "evolve": 9,
        "well_formed": 9,
        "decontaminate": 9,
        "duplicates": 9,
        "solvable": 8,
        "size": 8,
    }
    assert [t.get_text().strip() for t in figure.axes[0].texts][:2] == ["11", "9  (−2)"]
