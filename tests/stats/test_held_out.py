"""Exact distances against closed forms and scipy in float64, the tail against the data-processing inequality."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax

from artifact.errors import EmptyDataset, Mismatch
from artifact.records import read_parquet, write_parquet
from artifact.stats.held_out import MEASURES, Distance, distance_changes, distance_summary, token_distances


def logs(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def test_two_tokens_by_hand() -> None:
    teacher = logs([0.7, 0.2, 0.1], [0.5, 0.25, 0.25])
    student = logs([0.4, 0.3, 0.3], [0.5, 0.25, 0.25])
    found = token_distances(teacher, student, top_k=1, vocabulary=3)
    forward = 0.7 * math.log(0.7 / 0.4) + 0.2 * math.log(0.2 / 0.3) + 0.1 * math.log(0.1 / 0.3)
    reverse = 0.4 * math.log(0.4 / 0.7) + 0.3 * math.log(0.3 / 0.2) + 0.3 * math.log(0.3 / 0.1)
    binned = 0.7 * math.log(0.7 / 0.4) + 0.3 * math.log(0.3 / 0.6)
    for name, expected in {"forward": forward, "reverse": reverse, "binned": binned}.items():
        assert found[name].tolist() == pytest.approx([expected, 0.0], abs=1e-14), name
    assert found["teacher_mass"].tolist() == pytest.approx([0.7, 0.5])
    assert found["student_mass"].tolist() == pytest.approx([0.4, 0.5])
    assert found["agreement"].tolist() == [1.0, 1.0] and found["padding"].tolist() == [0.0, 0.0]


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 30))
def test_against_scipy_and_the_tail_only_hides(seed: int, size: int, k: int) -> None:
    """Full sums equal scipy's; merging the tail never adds divergence, and keeps all of it at k = V."""
    rng = np.random.default_rng(seed)
    teacher, student = rng.normal(0, 4, (2, 5, size))
    found = token_distances(torch.tensor(teacher), torch.tensor(student), k, size)
    p, q = softmax(teacher, axis=1), softmax(student, axis=1)
    assert np.allclose(found["forward"], rel_entr(p, q).sum(1), atol=1e-10)
    assert np.allclose(found["reverse"], rel_entr(q, p).sum(1), atol=1e-10)
    assert bool((found["binned"] >= -1e-12).all()) and bool((found["binned"] <= found["forward"] + 1e-10).all())
    if k >= size:
        assert np.allclose(found["binned"], found["forward"], atol=1e-10)


def test_a_constant_added_to_all_logits_changes_nothing_and_equal_models_read_zero() -> None:
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = token_distances(logits, logits + 3.0, 7, 50)
    for name in ("forward", "reverse", "binned"):
        assert torch.allclose(found[name], torch.zeros(4, dtype=torch.float64), atol=1e-12), name


def test_padded_rows_are_taken_out_and_their_mass_is_reported() -> None:
    """Heads of two lengths are cut to the tokens there are; what stood behind them cannot move the divergence."""
    teacher, student = logs([0.6, 0.4]), logs([0.3, 0.7])
    padded_t = torch.cat([teacher, torch.tensor([[50.0]], dtype=torch.float64)], dim=1)
    padded_s = torch.cat([student, torch.tensor([[0.0]], dtype=torch.float64)], dim=1)  # e⁰ = 1, as all tokens together
    found = token_distances(padded_t, padded_s, 1, 2)
    plain = token_distances(teacher, student, 1, 2)
    for name in ("forward", "reverse", "binned", "teacher_mass", "student_mass", "agreement"):
        assert torch.allclose(found[name], plain[name], atol=1e-12), name
    assert found["padding"].tolist() == pytest.approx([0.5])
    with pytest.raises(Mismatch, match="at least the tokenizer's 3 tokens"):
        token_distances(teacher, student, 1, 3)


def test_a_tail_of_nearly_nothing_is_not_rounded_away() -> None:
    """A teacher with 1e-20 outside its top-k: 1 − Σ would be 0 in float64, the tail's own sum is not."""
    teacher = torch.tensor([[0.0, math.log(1e-20)]], dtype=torch.float64)
    student = torch.tensor([[math.log(1e-20), 0.0]], dtype=torch.float64)
    found = token_distances(teacher, student, 1, 2)
    assert float(found["binned"]) == pytest.approx(float(found["forward"]), rel=1e-12)
    assert float(found["forward"]) == pytest.approx(20 * math.log(10), rel=1e-12)


def frame(label: str, sequences: str, values: list[float], samples: int = 1, teacher: str = "A") -> pd.DataFrame:
    rest = {**dict.fromkeys(MEASURES, 0.5), "teacher": teacher, "seed": 0, "key": f"{label} {teacher}"}
    return pd.DataFrame(
        {
            "label": label,
            "cell": label.lower(),
            "sequences": sequences,
            "problem_id": f"p{i:02d}",
            "sample": s,
            "tokens": 10,
            **rest,
            "forward": v + s,
            "reverse": 2 * v,
        }
        for i, v in enumerate(values)
        for s in range(samples)
    )


def test_summary_weights_problems_equally() -> None:
    """A problem with two responses counts once: its responses are averaged first."""
    data = pd.concat([frame("Base", "base", [1.0, 2.0]), frame("Base", "base", [4.0]).assign(problem_id="p02")])
    more = pd.concat([data, frame("Base", "base", [6.0]).assign(problem_id="p02", sample=1)])
    row = distance_summary(more, resamples=200).iloc[0]
    assert row["forward"] == pytest.approx((1 + 2 + 5) / 3) and row["reverse"] == pytest.approx((2 + 4 + 10) / 3)
    assert row["problems"] == 3 and row["responses"] == 4 and row["tokens"] == 40
    assert row["forward_low"] < row["forward"] < row["forward_high"]
    with pytest.raises(EmptyDataset):
        distance_summary(data.iloc[:0])


def test_changes_are_paired_over_problems() -> None:
    """Large differences between problems do not blur a small fall on each of them."""
    before = [1.0, 5.0, 9.0, 3.0, 7.0, 2.0, 8.0, 4.0]
    after = [x - 0.1 - 0.01 * i for i, x in enumerate(before)]
    data = pd.concat(
        [frame("Base", "base", before), frame("OPD", "base", after), frame("OPD", "own", [x + 0.5 for x in after])]
    )
    table = distance_changes(data, resamples=500).set_index(["sequences", "measure"])
    fixed = table.loc[("base", "forward")]
    assert fixed["change"] == pytest.approx(np.mean(np.subtract(after, before)))
    assert fixed["verdict"] == "falls" and fixed["low"] < fixed["change"] < fixed["high"] < 0
    assert fixed["p_value"] == pytest.approx(2 / 2**8)  # all eight fall: 2 of 256 sign patterns are as extreme
    assert table.loc[("own", "forward")]["verdict"] == "rises"
    same = pd.concat([frame("Base", "base", before), frame("OPD", "base", before)])
    unchanged = distance_changes(same, resamples=50).iloc[0]
    assert (unchanged["change"], unchanged["verdict"]) == (0.0, "no significant difference")
    with pytest.raises(Mismatch, match="needs the same ones"):
        distance_changes(pd.concat([frame("Base", "base", before), frame("OPD", "base", after[:3])]))


def test_two_teachers_are_never_averaged() -> None:
    """KL to A and KL to B of the same student: two rows, and each change starts from the Base of its own teacher."""
    near, far = [1.0, 2.0, 3.0] * 2, [11.0, 12.0, 13.0] * 2
    data = pd.concat(
        [
            frame("Base", "base", near),
            frame("OPD", "base", [x - 0.5 for x in near]),
            frame("Base", "base", far, teacher="B"),
            frame("OPD", "base", [x + 0.5 for x in far], teacher="B"),
        ]
    )
    means = distance_summary(data, resamples=50).set_index(["teacher", "label"])["forward"]
    assert means.to_dict() == {("A", "Base"): 2.0, ("A", "OPD"): 1.5, ("B", "Base"): 12.0, ("B", "OPD"): 12.5}
    table = distance_changes(data, resamples=50)
    forward = table[table["measure"] == "forward"].set_index("teacher")
    assert forward["change"].to_dict() == {"A": -0.5, "B": 0.5}
    assert forward["verdict"].to_dict() == {"A": "falls", "B": "rises"}
    few = distance_changes(data[data["problem_id"].isin(sorted(set(data["problem_id"]))[:3])], resamples=50)
    assert set(few["verdict"]) == {"no significant difference"}  # 2 of 2³ signs are as far
    with pytest.raises(Mismatch, match="teacher 'B' has 0 measurements of 'base'"):
        distance_changes(data[(data["teacher"] == "A") | (data["label"] == "OPD")])


def test_measurements_of_several_settings_are_refused() -> None:
    base, other = frame("Base", "base", [1.0, 2.0]), frame("Base", "base", [3.0, 4.0]).assign(key="longer")
    trained = frame("OPD", "base", [1.0, 2.0])
    for read in (distance_summary, distance_changes):
        with pytest.raises(Mismatch, match="2 measurements of different settings"):
            read(pd.concat([base, other, trained]))
    with pytest.raises(Mismatch, match="has 2 measurements of 'base'"):  # one for each seed: which one is before?
        distance_changes(pd.concat([base, other.assign(seed=1), trained]))


def test_the_interval_is_one_of_nats() -> None:
    """Equal distances have no spread, below 1 nat as above; a proportion's interval would be as wide as a guess."""
    for value in (0.0, 0.5, 3.0):
        row = distance_summary(frame("Base", "base", [value] * 4), resamples=50).iloc[0]
        assert row["forward_low"] == row["forward"] == row["forward_high"] == value
    one = pd.concat([frame("Base", "base", [1.0]), frame("OPD", "base", [0.5])])
    for read in (distance_summary, distance_changes):
        with pytest.raises(EmptyDataset, match="measure at least two"):
            read(one)


def test_records_survive_storage(tmp_path) -> None:
    rows = [Distance("own", "p1", 0, 7, 0.5, 0.25, 0.4, 0.99, 0.9, 0.5, 0.0)]
    write_parquet(tmp_path / "d.parquet", rows, Distance)
    assert read_parquet(tmp_path / "d.parquet", Distance) == rows
