"""Extraction rules: which one fires, what it finds, and that a quarter of a megabyte of nonsense takes linear time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifact.tasks.extract import DEFAULT_RULES, Extraction, extract_answer, rules_for

sys.path.insert(0, str(Path(__file__).parent))
import hostile


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ 42 apples }", "42 apples"),
        (r"\boxed {7}", "7"),
        (r"\fbox{8}", "8"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{x \mid x > 0\right.}", r"\left\{x \mid x > 0\right."),
        (r"\boxed{\boxed{7}}", "7"),
        (r"$\\boxed{7}$, in a string", "7"),
        (r"\boxed{5} and \boxed{8}", "5, 8"),
        (r"$\boxed{x=1}$, $\boxed{y=2}$.", "x=1, y=2"),
        (r"\boxed{5}, that is \boxed{8}", "8"),
        (r"\boxed{5} \boxed{5}", "5"),
        (r"$\boxed{2\frac{1}{2}},$ or $\boxed{\frac{5}{2}}$", r"\frac{5}{2}"),
        (r"<think>\boxed{1}</think> so \boxed{2}", "2"),
        (r"\boxed{1}, no.</think> So \boxed{2}", "2"),
        (r"\boxed{5} and then cut off: \boxed{6", "5"),
        (r"\boxed{5} as asked: \boxed{}", "5"),
        (r"} \boxed{5} {", "5"),
        ("\\boxed{a\nb}", "a\nb"),
    ],
)
def test_boxed(text, answer):
    assert extract_answer(text) == Extraction(answer, "boxed")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("steps\n#### 42", "42"),
        ("#### 1\n#### 2\n", "2"),
        ("####-3\nbye", "-3"),
        ("#### x = 5", "x = 5"),
        ("  #### $1,000 ", "$1,000"),
    ],
)
def test_hashes(text, answer):
    assert extract_answer(text) == Extraction(answer, "hashes")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It is 42.", "42"),
        ("cost $1,234.50.", "$1,234.50"),
        ("from 3 to -7", "-7"),
        ("5-3", "5-3"),  # 3 alone would be a fragment
        ("The sum is 5 - 3 = 2.", "2"),
        ("so it is 2a + 9.", "2a + 9"),
        ("so it is 8/3.", "8/3"),
        ("about 8x, no more", "8x"),
        (r"hence \sqrt{11}", r"\sqrt{11}"),
        ("it costs $5 and not $7.", "$7"),
        ("118 000 people", "118 000"),
        (r"we find \(3\pi\)", r"3\pi"),
        ("altogether $14{,}916$", "14{,}916"),
        ("- first, 3 eggs", "3"),
        ("the answer is $-5$", "-5"),
        ("pour 3/4 cups", "3/4"),
        (r"\frac{3}{4}", r"\frac{3}{4}"),
        ("that is 50%", "50%"),
        ("6.7e-5", "6.7e-5"),
        ("10^{-3}", "10^{-3}"),
        ("x^2 + 7, of H2O", "x^2 + 7"),
        ("- 5 apples", "5"),
        ("0.5", "0.5"),
        (".5", ".5"),
        ("#### Step 2\nWe get 9.", "9"),
        ("##### 8", "8"),
        (r"in a \boxed{} we put 3", "3"),
    ],
)
def test_last_number(text, answer):
    assert extract_answer(text) == Extraction(answer, "last_number")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no idea",
        r"\boxed{",
        r"so 42, \boxed{42",
        "7\n#### 7\n\\boxed{",
        r"\boxed{}",
        r"\boxed{3} or \boxed{4}",
        r"<think>\boxed{3}",
        r"<think>a</think> b <think>\boxed{3}",
        r"\boxed{3} </think>",
        "<think>3",
        "####",
        "####\n",
        "٤٢",
        "x^2",
    ],
)
def test_nothing_found(text):
    assert extract_answer(text) is None


def test_rule_order_is_the_callers():
    text = "\\boxed{1}\n#### 2\nor 3"
    assert [extract_answer(text, [rule]).answer for rule in DEFAULT_RULES] == ["1", "2", "3"]
    assert extract_answer(text, ("hashes", "boxed")).rule == "hashes"
    assert extract_answer("so 3", ("boxed",)) is None


def test_the_template_says_which_rule():
    assert rules_for("boxed") == ("boxed",) and rules_for("hashes") == ("hashes",) and rules_for("any") == DEFAULT_RULES
    with pytest.raises(ValueError, match="latex"):
        rules_for("latex")


@pytest.mark.parametrize("rules", [(), ("box",), "boxed"])
def test_unknown_rules_are_refused(rules):
    with pytest.raises(ValueError, match="choose from"):
        extract_answer("1", rules)


@given(st.text(alphabet="\\{}boxed 1#\n", max_size=60))
def test_boxed_content_is_balanced_and_non_empty(text):
    found = extract_answer(text, ("boxed",))
    if found is not None:
        bare = found.answer.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
        assert found.answer and bare.count("{") == bare.count("}")
        assert found.answer in text


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="{}\\"), min_size=1).filter(str.strip))
def test_any_boxed_text_comes_back(inner):
    assert extract_answer(f"we find \\boxed{{{inner}}} done").answer == inner.strip()


@pytest.mark.parametrize("name", hostile.HUGE)
def test_a_huge_text_takes_linear_time(name):
    text = hostile.HUGE[name]
    start = time.process_time()
    extract_answer(text)
    assert time.process_time() - start < 10  # a fifth of a second; quadratic behaviour would take many minutes
