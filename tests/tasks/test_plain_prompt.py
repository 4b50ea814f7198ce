"""Prompts without a chat template: their text, their ids, and where a response ends."""

from __future__ import annotations

from types import SimpleNamespace

from artifact.records import Problem, Rollout
from artifact.tasks.plain_prompt import FirstAnswer, encode_plain, first_answer, plain_text
from artifact.tasks.prompt_templates import parse_template

TEMPLATE = parse_template(
    "two",
    """answer: hashes
[system]
Be short.
[user]
1+1?
[assistant]
1+1 = 2
#### 2
[user]
{question}
""",
)


def test_turns_as_plain_text() -> None:
    text = plain_text(TEMPLATE.messages(Problem("p", "How many?", "5", None, "own", "easy")))
    assert text == "Be short.\n\nQuestion: 1+1?\nAnswer: 1+1 = 2\n#### 2\n\nQuestion: How many?\nAnswer:"
    assert plain_text([{"role": "user", "content": "1+1?"}]) == "Question: 1+1?\nAnswer:"


def test_the_tokenizer_opens_a_prompt_but_does_not_end_it() -> None:
    class Letters:
        """A letter a token, between BOS (1) and EOS (2), as some tokenizers add them to any text."""

        eos_token_id = 2

        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": [1, *map(ord, text), 2]}

    ids = encode_plain(Letters(), [{"role": "user", "content": "x"}])  # type: ignore[arg-type]
    assert ids == (1, *map(ord, "Question: x\nAnswer:"))


def rollout(text: str, ended: str = "length") -> Rollout:
    return Rollout("p", 0, (1,), (7, 8), (-0.5, -0.5), text, ended)


def test_a_response_ends_where_the_model_asks_itself_the_next_question() -> None:
    cut = first_answer(rollout("2+3=5\n#### 5\n\nQuestion: And 4+4?\nAnswer: 8\n#### 8"))
    assert (cut.text.rstrip(), cut.finish_reason, cut.response_ids) == ("2+3=5\n#### 5", "stop", (7, 8))
    for whole in (rollout("no Question: in a line"), rollout("5", "stop")):
        assert first_answer(whole) is whole


def test_every_response_of_a_sampler_is_cut() -> None:
    asked = []

    def sample(prompts: object, n: int, **named: object) -> list[tuple[Rollout, ...]]:
        asked.append((prompts, n, named))
        return [(rollout("5\nQuestion:"), rollout("6"))]

    [group] = FirstAnswer(SimpleNamespace(sample=sample)).sample([("p", (1,))], 2, temperature=0.0)
    assert [r.text for r in group] == ["5", "6"] and asked == [([("p", (1,))], 2, {"temperature": 0.0})]
