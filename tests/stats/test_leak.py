r"""The leak check against a scorer whose probabilities are known in advance."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from artifact.errors import EmptyDataset, Mismatch
from artifact.records import Problem, Rollout, Status, Verdict
from artifact.stats.leak import (
    LeakProbe,
    build_probes,
    check_spans,
    leak_frame,
    summarise,
    tokens_before_box,
    written_forms,
)

WORDS = ["\\boxed{", "}", "a;", "b;", "c;", "d;", "4", "2", "x=", "<eos>"]


def tokenize(text: str) -> tuple[int, ...]:
    ids = []
    while text:
        word = next(w for w in WORDS if text.startswith(w))
        ids.append(WORDS.index(word))
        text = text[len(word) :]
    return tuple(ids)


def decode(ids) -> str:
    return "".join(WORDS[i] for i in ids if WORDS[i] != "<eos>")


def encode(problem: Problem, context: str) -> tuple[int, ...]:
    return {"none": (90,), "answer": (91, 90), "solution": (92, 93, 90)}[context]


def rollout(name: str, text: str, status: Status = Status.CORRECT, sample: int = 0) -> Rollout:
    ids = (*tokenize(text), WORDS.index("<eos>"))
    return Rollout(name, sample, (90,), ids, (0.0,) * len(ids), text, "stop", 0, Verdict(status))


PROBLEMS = {n: Problem(n, "?", "42", "a;\\boxed{x=42}", "t", "easy") for n in ("p", "q")}
RIGHT = rollout("p", "a;b;c;d;\\boxed{42}")
WRONG = rollout("q", "a;b;c;d;\\boxed{24}", Status.WRONG)


def probes(rollouts=(RIGHT, WRONG), **kwargs) -> list[LeakProbe]:
    return build_probes(PROBLEMS, rollouts, encode, tokenize, decode, **kwargs)


def test_forms_are_the_canonical_answer_and_the_one_in_the_reference():
    assert written_forms(PROBLEMS["p"]) == ("42", "x=42")
    assert written_forms(replace(PROBLEMS["p"], solution=None)) == ("42",)
    assert written_forms(replace(PROBLEMS["p"], solution="\\boxed{42}")) == ("42",)


def test_the_box_is_found_in_tokens():
    assert tokens_before_box(RIGHT.response_ids, RIGHT.text, decode) == 4
    assert tokens_before_box((2, 0, 7, 1, 2, 0, 6, 1), "a;\\boxed{2}a;\\boxed{4}", decode) == 5  # the last one counts
    assert tokens_before_box((0, 6, 1), "\\boxed{4}", decode) == 0
    assert tokens_before_box((2, 3), "a;b;", decode) is None


def test_spans_are_the_rollouts_own_tokens_up_to_the_cut_then_the_marker():
    own = [p for p in probes([RIGHT]) if p.context == "answer"]
    cuts = {p.fraction: p.span_ids for p in own}
    assert cuts == {0.0: (0,), 0.25: (2, 0), 0.5: (2, 3, 0), 0.75: (2, 3, 4, 0), 1.0: (2, 3, 4, 5, 0)}
    assert own[1].pairs == [((91, 90, 2, 0), (6, 7, 1)), ((91, 90, 2, 0), (8, 6, 7, 1))]
    assert len(probes()) == 2 * 5 * 3


def test_rollouts_without_a_box_are_left_out_and_none_at_all_is_an_error():
    assert len(probes([RIGHT, rollout("q", "a;b;", Status.UNPARSED)])) == 15
    with pytest.raises(EmptyDataset, match="no place to cut"):
        probes([rollout("q", "a;b;", Status.UNPARSED)])
    with pytest.raises(ValueError, match="none of the 2 given problems"):
        probes([rollout("r", "a;\\boxed{42}")])
    with pytest.raises(ValueError, match="between 0 and 1"):
        probes(fractions=[1.5])


def scorer(pairs):
    """Each answer token has probability ½ for who reads the answer; without, 1/8 a token plus 1/8 a token of prefix."""
    out = []
    for prompt, response in pairs:
        p = 0.5 if prompt[0] == 91 else (1 + prompt[1:].index(0)) / 8
        out.append(np.full(len(response), math.log(p), dtype=np.float32))
    return out


def test_probability_is_the_sum_over_written_forms():
    frame = leak_frame(probes([RIGHT], contexts=["none", "answer"]), scorer)
    answer = frame[frame["context"] == "answer"]["probability"]
    assert answer.tolist() == pytest.approx([0.5**3 + 0.5**4] * 5)
    none = frame[frame["context"] == "none"].set_index("fraction")["probability"]
    assert none.loc[0.5] == pytest.approx((3 / 8) ** 3 + (3 / 8) ** 4)


def test_summary_is_the_mean_over_rollouts_with_an_interval_over_problems():
    frame = leak_frame(probes(contexts=["none", "answer"]), scorer)
    frame.loc[(frame["problem_id"] == "q") & (frame["context"] == "answer"), "probability"] = 1.0
    table = summarise(frame, resamples=200).set_index(["context", "fraction"])
    row = table.loc[("answer", 0.0)]
    assert row["probability"] == pytest.approx((0.1875 + 1) / 2)
    assert (row["low"], row["high"]) == pytest.approx((0.1875, 1.0))  # two problems: resamples are all one, or both
    assert row["excess"] == pytest.approx(row["probability"] - (1 / 8**3 + 1 / 8**4))
    assert (row["problems"], row["rollouts"]) == (2, 2)
    often = summarise(pd.concat([frame] * 4), resamples=200).set_index(["context", "fraction"])
    assert often.loc[("answer", 0.0), ["low", "high"]].tolist() == pytest.approx([0.1875, 1.0])  # still two problems
    split = summarise(frame, by=["correct"], resamples=50)
    assert split[split["correct"] & (split["context"] == "answer")]["probability"].tolist() == pytest.approx(
        [0.1875] * 5
    )
    assert split["excess"].notna().all()


def test_a_changed_span_is_refused_by_context_and_place():
    given = probes([RIGHT])
    changed = [replace(p, span_ids=(3, *p.span_ids[1:])) if p.context == "solution" else p for p in given]
    with pytest.raises(Mismatch, match="other token ids under context 'solution'"):
        leak_frame(changed, scorer)
    with pytest.raises(Mismatch, match="does not begin with the prompt"):
        check_spans({"none": [((1, 2), (3,))]}, {"none": [(2,)]})


def test_a_scorer_that_returns_too_little_is_refused():
    with pytest.raises(Mismatch, match="3 answer tokens, 2 values"):
        leak_frame(probes([RIGHT], contexts=["answer"]), lambda pairs: [np.zeros(len(r) - 1) for _, r in pairs])
