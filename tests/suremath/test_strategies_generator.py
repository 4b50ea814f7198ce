"""Who gets which strategy, the prompts, and what a generator may return."""

from __future__ import annotations

from collections import Counter

import pytest
from suremath_world import item, small

from artifact.records import RecordError, Rollout
from artifact.suremath.generator import (
    NOTHING,
    PROPOSED,
    TRUNCATED,
    UNPARSED,
    Proposal,
    ProposalRequest,
    evolve_checked,
)
from artifact.suremath.llm import LLMGenerator, messages, read_proposal
from artifact.suremath.rounds import plan_round
from artifact.suremath.settings import Generation, load_settings
from artifact.suremath.strategies import FOLLOW_UP, STRATEGIES, choose_strategy, strategy_odds, system_prompt
from artifact.worlds.tiny.tokenizer import build_tokenizer


def test_the_paper_s_strategies_and_rounds() -> None:
    for name in ("tiny", "paper"):
        evolution = load_settings(name).evolution
        assert evolution.rounds == {"easy": 1, "medium": 2, "hard": 3, "competition": 5}
        assert set(FOLLOW_UP) == {"harder", "competition", "compose"} <= set(STRATEGIES)
        favoured = [
            sum(strategy_odds(evolution, t, None)[s] for s in ("harder", "competition")) for t in evolution.rounds
        ]
        assert favoured == sorted(favoured) and favoured[0] < favoured[-1]  # higher difficulties favour the two


def test_every_strategy_has_its_own_prompt() -> None:
    prompts = [system_prompt(s) for s in STRATEGIES]
    assert len(set(prompts)) == 6 and all("<problem>" in p and "one answer" in p for p in prompts)
    with pytest.raises(ValueError, match="unknown evolution strategy 'simpler'"):
        system_prompt("simpler")


@pytest.mark.parametrize("previous", FOLLOW_UP)
def test_follow_ups_differ_from_the_round_before(previous: str) -> None:
    odds = strategy_odds(small().evolution, "hard", previous)
    assert set(odds) == set(FOLLOW_UP) - {previous} and sum(odds.values()) == pytest.approx(1)


def test_strategies_are_drawn_with_their_odds() -> None:
    evolution, n = small().evolution, 4000
    counts = Counter(choose_strategy(evolution, "easy", None, seed=0, root_id=str(i), round_=1) for i in range(n))
    for name, p in strategy_odds(evolution, "easy", None).items():
        assert abs(counts[name] / n - p) < 4 * (p * (1 - p) / n) ** 0.5  # four standard errors


def test_a_difficulty_whose_weights_leave_no_follow_up_still_gets_one() -> None:
    evolution = small(evolution__weights__easy={"rewrite": 1}).evolution
    assert strategy_odds(evolution, "easy", None)["rewrite"] == 1
    assert strategy_odds(evolution, "easy", "harder") == {"compose": 0.5, "competition": 0.5}


def test_a_round_asks_the_difficulties_that_have_it_and_composes_across_families() -> None:
    settings = small()
    difficulties = ("easy", "medium", "hard", "competition")
    seeds = [
        item(f"{t}{i}", "q", seed_difficulty=t, meta={"family": ("sum", "mod")[i % 2]})
        for t in difficulties
        for i in range(20)
    ]
    asked = {r: plan_round(settings, r, seeds, {s.id: s for s in seeds}) for r in range(1, 7)}
    assert [len(asked[r]) for r in range(1, 7)] == [80, 60, 40, 20, 20, 0]
    composed = [r for r in asked[1] if r.strategy == "compose"]
    assert composed
    for request in composed:
        first, second = request.parents
        assert first.meta["family"] != second.meta["family"]
    assert all(len(r.parents) == 1 for r in asked[1] if r.strategy != "compose")


class _Answers:
    name = "answers"

    def __init__(self, proposals: list[Proposal]) -> None:
        self.proposals = proposals

    def evolve(self, requests: object) -> list[Proposal]:
        return self.proposals


def test_missing_and_empty_proposals_are_counted() -> None:
    requests = [ProposalRequest(i, (item("p", "q"),), "harder", 1, 0) for i in "abc"]
    found = evolve_checked(_Answers([Proposal("b", PROPOSED, "What is 1+1?"), Proposal("c", PROPOSED, "  ")]), requests)
    assert [(p.id, p.outcome) for p in found] == [("a", NOTHING), ("b", PROPOSED), ("c", NOTHING)]


@pytest.mark.parametrize(
    ("proposals", "message"),
    [
        ([Proposal("z", PROPOSED, "q")], "not among its requests"),
        ([Proposal("a", PROPOSED, "q")] * 2, "two proposals for request 'a'"),
        ([Proposal("a", "fine", "q")], "unknown outcome 'fine'"),
    ],
)
def test_a_generator_that_breaks_its_contract_is_an_error(proposals: list[Proposal], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        evolve_checked(_Answers(proposals), [ProposalRequest("a", (item("p", "q"),), "harder", 1, 0)])


@pytest.mark.parametrize(
    ("text", "finish", "outcome", "question"),
    [
        ("<problem>Find x.</problem>", "stop", PROPOSED, "Find x."),
        ("<problem>old</problem> Better: <Problem>\nnew\n</Problem>", "stop", PROPOSED, "new"),
        ("<think>maybe <problem>no</problem></think><problem>yes</problem>", "stop", PROPOSED, "yes"),
        ("<think>maybe <problem>no</problem></think>I give up", "stop", UNPARSED, ""),
        ("<problem>Let n be", "length", TRUNCATED, ""),
        ("Let n be", "stop", UNPARSED, ""),
        ("", "stop", NOTHING, ""),
        ("<problem> </problem>", "stop", NOTHING, ""),
        ("<problem>a <problem>b</problem>", "stop", PROPOSED, "b"),
    ],
)
def test_what_is_read_from_a_response(text: str, finish: str, outcome: str, question: str) -> None:
    made = read_proposal("r", text, finish)
    assert (made.outcome, made.question, made.answer) == (outcome, question, "")
    assert made.raw == ("" if outcome == PROPOSED else text)


class _Sampler:
    """A sampler that gives fixed texts and remembers what it was asked."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.calls = texts, []

    def sample(self, prompts: list, n: int, **settings: object) -> list[tuple[Rollout, ...]]:
        self.calls.append((prompts, n, settings))
        return [(Rollout(p, 0, ids, (), (), t, "stop"),) for (p, ids), t in zip(prompts, self.texts, strict=True)]


def test_the_language_model_generator_asks_with_the_strategy_s_prompt() -> None:
    sampler = _Sampler(["<problem>Find y.</problem>", "sorry"])
    settings = Generation(kind="llm", model="some/model", temperature=0.5, max_new_tokens=77)
    tokenizer = build_tokenizer()
    parents = (item("p", "Add 1/2+1/3."), item("q", "Solve x+1=2."))
    requests = [ProposalRequest("a", parents, "compose", 2, 5), ProposalRequest("b", parents[:1], "harder", 1, 6)]
    made = LLMGenerator(sampler, tokenizer, settings).evolve(requests)
    assert [(p.id, p.outcome, p.question) for p in made] == [("a", PROPOSED, "Find y."), ("b", UNPARSED, "")]
    ((prompts, n, used),) = sampler.calls
    assert n == 1 and used["temperature"] == 0.5 and used["max_new_tokens"] == 77
    assert [p for p, _ in prompts] == ["a@5", "b@6"]  # the seed of a response follows its own request
    chat = messages(requests[0])
    assert chat[0] == {"role": "system", "content": system_prompt("compose")}
    assert "Add 1/2+1/3." in chat[1]["content"] and "Solve x+1=2." in chat[1]["content"]
    assert "Second problem" not in messages(requests[1])[1]["content"]
