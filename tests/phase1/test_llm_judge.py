"""The language-model judge on scorers with known probabilities: the rule, both directions, muteness, cache, replay."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from artifact.phase1.clustering import cluster_many
from artifact.phase1.judge import ChainJudge, EquivalenceJudge, JudgeError, Judgement, RecordedJudge, SymbolicJudge
from artifact.phase1.judge_calibration import known_pairs
from artifact.phase1.llm_judge import PROMPT, LLMJudge, fill_prompt, spellings

WORDS = {"yes": 1, " yes": 2, "Yes": 3, " Yes": 3, "no": 4, " no": 5, "No": 6, "NO": 7}


class Tokenizer:
    """Knows the words above as single tokens; any other text is one token a character. Prompts keep their text."""

    chat_template = "plain"
    name_or_path = "toy"

    def __init__(self) -> None:
        self.texts: dict[tuple[int, ...], str] = {}
        self.modes: list[dict] = []

    def encode(self, text, add_special_tokens=True):
        assert not add_special_tokens
        return [WORDS[text]] if text in WORDS else [100 + ord(c) for c in text]

    def apply_chat_template(self, messages, add_generation_prompt, return_dict, **mode):
        assert add_generation_prompt and return_dict
        self.modes.append(mode)
        ids = tuple(100 + ord(c) for c in messages[0]["content"])
        self.texts[ids] = messages[0]["content"]
        return {"input_ids": list(ids)}


def judge_of(answer, **settings) -> tuple[LLMJudge, list]:
    """A judge whose model puts `answer(question, first, second)` = (mass on yes, mass on no), spread over spellings."""
    tokenizer, calls = Tokenizer(), []

    def scorer(prompts, candidates):
        calls.append(len(prompts))
        rows = []
        for prompt in prompts:
            lines = [line.partition(": ") for line in tokenizer.texts[prompt].splitlines()]
            read = {key: value for key, _, value in lines}
            yes, no = answer(read.get("Question", ""), read["Answer 1"], read["Answer 2"])
            rows.append([math.log(yes / 3) if c in (1, 2, 3) else math.log(no / 4) for c in candidates])
        return np.array(rows)

    return LLMJudge(tokenizer, scorer, **settings), calls


def verdicts(judge: EquivalenceJudge, pairs, contexts=None):
    return [j.equivalent for j in judge.judge(pairs, contexts)]


PAIRS = [("a", "b"), ("c", "d")]


def test_all_single_token_spellings_are_found_and_a_tokenizer_without_any_is_refused() -> None:
    assert spellings(Tokenizer(), "yes") == [1, 2, 3]
    assert spellings(Tokenizer(), "no") == [4, 5, 6, 7]
    with pytest.raises(JudgeError, match="no single token for 'maybe'"):
        spellings(Tokenizer(), "maybe")


def test_the_prompt_holds_question_and_answers_verbatim_even_with_braces() -> None:
    text = fill_prompt(PROMPT.read_text(encoding="utf-8"), "Is {first} = 2?", r"\frac{1}{2}", "{question}")
    assert "Question: Is {first} = 2?\nAnswer 1: \\frac{1}{2}\nAnswer 2: {question}\n" in text
    assert "Question" not in fill_prompt(PROMPT.read_text(encoding="utf-8"), "", "1", "2")


def test_mass_of_all_spellings_counts_and_the_probability_is_that_of_yes_among_both() -> None:
    judge, calls = judge_of(lambda q, a, b: (0.6, 0.2))
    (j,) = judge.judge([("a", "b")])
    assert j.equivalent is True and j.probability == pytest.approx(0.75) and calls == [2]
    reading = judge.read([("a", "b")], [""])[0]
    assert reading is not None and reading.mass == pytest.approx(0.8)
    assert reading.log_odds == pytest.approx((math.log(3), math.log(3)))


def test_yes_sayer_merges_all_and_no_sayer_nothing() -> None:
    yes, no = judge_of(lambda q, a, b: (0.9, 0.05))[0], judge_of(lambda q, a, b: (0.05, 0.9))[0]
    assert verdicts(yes, PAIRS) == [True, True] and yes.account["merged"] == 2
    assert verdicts(no, PAIRS) == [False, False] and no.account["refused"] == 2


def test_the_mean_over_both_directions_decides_and_position_bias_is_counted() -> None:
    # says yes only where the smaller string comes first: one direction alone would merge
    for odds_back, expected in ((1 / 20, False), (1 / 5, True)):
        biased, _ = judge_of(lambda q, a, b, o=odds_back: (0.5, 0.05) if a < b else (0.4 * o, 0.4))
        (j,) = biased.judge([("a", "b")])
        assert j.equivalent is expected
        assert j.probability == pytest.approx(1 / (1 + math.exp(-(math.log(10) + math.log(odds_back)) / 2)))
        assert biased.account["position"] == 1


def test_exactly_even_odds_do_not_merge_and_a_threshold_moves_the_line() -> None:
    for threshold, merged in ((0.0, False), (-0.1, True)):
        judge, _ = judge_of(lambda q, a, b: (0.3, 0.3), threshold=threshold)
        assert verdicts(judge, PAIRS) == [merged, merged]
    likely, _ = judge_of(lambda q, a, b: (0.6, 0.2), threshold=math.log(3) + 0.01)
    assert verdicts(likely, PAIRS) == [False, False]


def test_a_mute_judge_is_unable_not_a_no_even_if_only_one_direction_is_mute() -> None:
    mute, _ = judge_of(lambda q, a, b: (0.06, 0.03))
    assert mute.judge(PAIRS) == [Judgement("a", "b", None, "llm"), Judgement("c", "d", None, "llm")]
    assert mute.account == {"unable": 2}
    half, _ = judge_of(lambda q, a, b: (0.9, 0.05) if a < b else (0.05, 0.04))
    assert verdicts(half, [("a", "b")]) == [None]


def test_a_prompt_that_does_not_fit_is_left_undecided_and_counted() -> None:
    judge, calls = judge_of(lambda q, a, b: (0.9, 0.05), max_prompt_tokens=1200)
    assert verdicts(judge, [("a", "b"), ("c", "d")], ["short", "long " * 500]) == [True, None]
    assert judge.account == {"merged": 1, "too_long": 1, "position": 0} and calls == [2]


def test_one_call_a_batch_and_none_for_what_is_known_but_each_question_apart() -> None:
    judge, calls = judge_of(lambda q, a, b: (0.9, 0.05) if "percentage" in q else (0.05, 0.9))
    pairs, questions = [("50\\%", "50"), ("50", "50\\%")], ["Which percentage?", "Which number?"]
    assert verdicts(judge, pairs, questions) == [True, False] and calls == [4]
    assert verdicts(judge, pairs[::-1], questions) == [True, False] and calls == [4]


def test_thinking_is_switched_off_where_the_template_has_the_switch() -> None:
    plain, thinking = Tokenizer(), Tokenizer()
    thinking.chat_template = "{% if enable_thinking %}"
    for tokenizer, mode in ((plain, {}), (thinking, {"enable_thinking": False})):
        LLMJudge(tokenizer, lambda p, c: np.zeros((len(p), len(c)))).prompt_ids("", "1", "2")
        assert tokenizer.modes == [mode]


def test_scorers_that_return_other_shapes_or_no_log_probabilities_are_caught() -> None:
    for scores, message in (
        (np.zeros((1, 7)), "one log-probability each"),
        (np.full((2, 7), -0.1), "add up to"),
        (np.full((2, 7), np.nan), "no log-probabilities"),
    ):
        with pytest.raises(JudgeError, match=message):
            LLMJudge(Tokenizer(), lambda p, c, s=scores: s).judge([("a", "b")])


def test_clustering_hands_the_question_of_each_problem_to_the_judge() -> None:
    judge, _ = judge_of(lambda q, a, b: (0.9, 0.05) if q == "Q1" else (0.05, 0.9))
    chain = ChainJudge([SymbolicJudge(), judge])
    first, second = cluster_many([["a dozen", "12"], ["a dozen", "12"]], chain, ["Q1", "Q2"])
    assert first.cluster_ids == (0, 0) and second.cluster_ids == (0, 1)
    assert chain.in_context and not SymbolicJudge().in_context


def test_replay_gives_the_original_verdicts_question_by_question() -> None:
    pairs = known_pairs()
    asked = [(p.left, p.right) for p in pairs]
    questions = [f"{i}: {p.question}" for i, p in enumerate(pairs)]
    judge, _ = judge_of(lambda q, a, b: (0.5, 0.1) if len(q) % 3 else (0.1, 0.5))
    chain = ChainJudge([SymbolicJudge(), judge])
    made = chain.judge(asked, questions)
    assert {j.judge for j in made} == {"symbolic", "llm"}
    assert RecordedJudge(made, contexts=questions).judge(asked, questions) == made
    with pytest.raises(JudgeError, match="no recorded judgement"):
        RecordedJudge(made, contexts=questions).judge(asked[:1])
    twice = [Judgement("a", "b", True, "llm"), Judgement("a", "b", False, "llm")]
    assert verdicts(RecordedJudge(twice, contexts=["Q1", "Q2"]), [("b", "a")] * 2, ["Q2", "Q1"]) == [False, True]
    with pytest.raises(JudgeError, match="disagree"):
        RecordedJudge(twice)
    with pytest.raises(JudgeError, match="1 questions for 2 recorded"):
        RecordedJudge(twice, contexts=["Q1"])
    with pytest.raises(JudgeError, match="2 questions for 1 pairs"):
        judge.judge([("a", "b")], ["Q1", "Q2"])


def test_engines_get_both_directions_of_a_pair_and_answers_come_back_in_order(monkeypatch) -> None:
    from artifact.actors import judge_engine

    class Engine:
        def __init__(self, number):
            self.asked = []
            self.next_token_logprobs = SimpleNamespace(remote=self.answer)

        def answer(self, prompts, candidates):
            self.asked += prompts
            return np.array([[p[0] + c / 10 for c in candidates] for p in prompts])

    monkeypatch.setattr(judge_engine, "call", lambda refs, timeout_s, what: refs)
    engines = [Engine(0), Engine(1)]
    prompts = [(i,) for i in range(6)]
    table = judge_engine.engine_scorer(lambda: engines, 5.0)(prompts, [1, 2])
    assert engines[0].asked == [(0,), (1,), (4,), (5,)] and engines[1].asked == [(2,), (3,)]
    assert np.allclose(table, [[i + 0.1, i + 0.2] for i in range(6)])
