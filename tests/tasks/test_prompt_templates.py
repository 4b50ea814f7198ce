"""Prompt templates as files, few-shot exemplars, thinking mode, and that the embedded tier's prompts stay the same."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from artifact.errors import ArtifactError
from artifact.records import Problem
from artifact.tasks import encode_prompt, get_task, load_problems
from artifact.tasks.calculator import MARK, calculate
from artifact.tasks.hub import DataAbsent
from artifact.tasks.prompt_templates import FOLDER, load_template, parse_template, template_names
from artifact.tasks.verifier import Verifier
from artifact.worlds.tiny.tokenizer import build_tokenizer

sys.path.insert(0, str(Path(__file__).parent))
from qwen3 import qwen3_tokenizer

PROBLEM = Problem("p", r"What is {answer} of \frac{1}{2}?", "7", "it is <<3+4=7>>7", "gsm8k", "easy")


def test_zero_shot_says_how_to_answer_and_replaces_once() -> None:
    template = load_template("zero_shot")
    (user,) = template.messages(PROBLEM)
    assert user == {
        "role": "user",
        "content": PROBLEM.question + "\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
    }
    assert (template.answer_form, template.shots) == ("boxed", 0)


def test_contexts_reveal_what_they_say() -> None:
    template = load_template("zero_shot")
    system, _ = template.messages(PROBLEM, "answer")
    assert system["role"] == "system" and system["content"].endswith("Verified answer: 7")
    system, _ = template.messages(PROBLEM, "solution")
    assert system["content"].endswith("Verified solution:\nit is 7")
    system, _ = template.messages(PROBLEM, "solution", calculator=True)
    assert system["content"].endswith("it is <<3+4=7>>7")
    bare = Problem("q", "?", "7", None, "gsm8k", "easy")
    with pytest.raises(ValueError, match="needs a gold solution, but problem 'q'"):
        template.messages(bare, "solution")
    with pytest.raises(ValueError, match="unknown prompt context 'hint'"):
        template.messages(PROBLEM, "hint")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["gsm8k_4shot", "svamp_4shot"])
def test_exemplars_are_right(name: str) -> None:
    """Each exemplar ends in `#### N`, its marks are computed by the calculator, and its result follows from them."""
    template = load_template(name)
    messages = template.messages(PROBLEM, calculator=True)
    exemplars = [m["content"] for m in messages if m["role"] == "assistant"]
    assert len(exemplars) == template.shots == 4
    with Verifier() as verifier:
        for text in exemplars:
            gold = text.rpartition("#### ")[2]
            verdict = verifier.verify(text, gold)
            assert verdict.correct and verdict.rule == "hashes"
            for expression, value in MARK.findall(text):
                assert calculate(expression).value == value
                assert f">>{value}" in text  # the mark stands directly before its result
    assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * 4, "user"]


def test_four_answers_worked_out_by_hand() -> None:
    texts = [m["content"] for m in load_template("gsm8k_4shot").messages(PROBLEM) if m["role"] == "assistant"]
    tank = (240 - 240 * 35 // 100) // 12
    jonas = next(3 * lea for lea in range(100) if (3 * lea + 6) + (lea + 6) == 40)
    vans = -(-(36 + 2) // 8)
    assert [t.rpartition("#### ")[2] for t in texts] == [str(vans), str(6 * 15 + 3 * 40 - 48), str(tank), str(jonas)]


def test_marks_appear_with_the_tool_only() -> None:
    template = load_template("gsm8k_4shot")
    with_tool, without = template.messages(PROBLEM, calculator=True), template.messages(PROBLEM)
    assert sum(m["content"].count(">>") for m in with_tool[1:]) == 14
    assert "calculator" in with_tool[0]["content"]
    assert "<<" not in json.dumps(without) and "calculator" not in without[0]["content"]
    assert [MARK.sub("", m["content"]) for m in with_tool[1:]] == [m["content"] for m in without[1:]]


def test_exemplars_are_in_no_benchmark() -> None:
    questions = {
        line
        for name in template_names()
        for m in load_template(name).messages(PROBLEM)
        if m["role"] == "user"
        for line in [" ".join(m["content"].lower().split())]
    }
    try:
        known = [p for t, s in (("gsm8k", "train"), ("gsm8k", "test"), ("svamp", "all")) for p in get_task(t).load(s)]
    except DataAbsent as err:
        pytest.skip(str(err))
    assert questions.isdisjoint(" ".join(p.question.lower().split()) for p in known)

    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + 13]) for i in range(len(words) - 12)}

    ours = set().union(*map(grams, questions))
    assert not [p.id for p in known if ours & grams(" ".join(p.question.lower().split()))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[user]\n{question}", "header line `answer: boxed|hashes|any` is missing"),
        ("answer: latex\n[user]\n{question}", "line 1: 'answer: latex'"),
        ("shots: 4\n[user]\n{question}", "line 1: 'shots: 4'"),
        ("answer: any\n[tool]\nx\n[user]\n{question}", r"line 2: '\[tool\]'"),
        ("answer: any\n[user if answer]\n{question}", "line 2"),
        ("answer: any\n[system if hint]\nx\n[user]\n{question}", "line 2"),
        ("answer: any\n[user]\nno place", "{question} must stand in the last"),
        ("answer: any\n[user]\n{question}\n[assistant]\nx\n[user]\n{question}", "{question} must stand in the last"),
        ("answer: any\n[user]\n{question}\n[assistant]\nx", "must alternate and end"),
        ("answer: any\n[system]\nx", "must alternate and end"),
    ],
)
def test_malformed_templates_are_refused(text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message.replace("|", r"\|").replace("{", r"\{")):
        parse_template("own", text)


def test_a_template_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("answer: any\n[user]\nQ: {question}\n", encoding="utf-8")
    assert load_template(str(path)).messages(PROBLEM)[0]["content"] == f"Q: {PROBLEM.question}"
    with pytest.raises(ArtifactError, match="no prompt template 'mine'; there are gsm8k_1shot"):
        load_template("mine")
    assert {p.stem for p in FOLDER.glob("*.txt")} == set(template_names()) >= {"zero_shot", "gsm8k_4shot"}


def test_prompts_of_the_embedded_tier_are_pinned() -> None:
    """Recorded before thinking mode came in: 200 problems × 3 contexts. The runs in the repository depend on them."""
    tokenizer, task = build_tokenizer(), get_task("tinymath")
    problems = load_problems(task, "evaluation", 200)
    ids = [encode_prompt(tokenizer, task.messages(p, c)) for c in ("none", "answer", "solution") for p in problems]
    assert ids[0] == (1, 5, 37, 54, 31, 8, 7, 38, 24, 46, 31, 8, 16, 25, 57, 58, 38, 26, 2, 6)
    assert ids[200][:8] == (1, 4, 74, 23, 31, 9, 16, 2)
    digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
    assert digest == "303d7b77d73501ba17a408c95cf892e36e47b2edb1a354e99b933d0fc2e752b0"


def test_thinking_mode_needs_a_template_that_knows_it() -> None:
    with pytest.raises(ValueError, match="has no thinking mode"):
        encode_prompt(build_tokenizer(), [{"role": "user", "content": "Solve x+1=6."}], thinking=False)


def test_thinking_mode_of_qwen3() -> None:
    tokenizer = qwen3_tokenizer()
    messages = [{"role": "user", "content": "How much is 2 + 2?"}]
    unset, on, off = (tokenizer.decode(encode_prompt(tokenizer, messages, t)) for t in (None, True, False))
    start = "<|im_start|>user\nHow much is 2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    assert unset == on == start
    assert off == start + "<think>\n\n</think>\n\n"


def test_token_counts_of_four_shot_prompts_under_qwen3() -> None:
    """Recorded lengths over all 1,319 test questions; prompt and 512 new tokens fit into 2,048 positions."""
    tokenizer = qwen3_tokenizer()
    try:
        problems = get_task("gsm8k").load("test")
    except DataAbsent as err:
        pytest.skip(str(err))
    task = get_task("gsm8k", template="gsm8k_4shot", calculator=True)
    longest = max(problems, key=lambda p: len(tokenizer.encode(p.question)))
    counts = [len(encode_prompt(tokenizer, task.messages(p), True)) for p in (problems[0], longest)]
    assert counts == [770, 893]
    assert counts[1] + 512 <= 2048
    no_thinking = encode_prompt(tokenizer, task.messages(problems[0]), False)
    assert len(no_thinking) == 774  # an empty think block: four tokens
    text = tokenizer.decode(no_thinking)
    assert text.count("<|im_start|>assistant") == 5 and text.count("<|im_start|>system") == 1
    assert text.count("<think>") == 1  # none in the exemplars
