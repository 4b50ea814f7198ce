"""Gold answers of each source's own form, and the form of an answer; expected values are read off by hand."""

from __future__ import annotations

import pytest

from artifact.tasks.answers import GOLD, answer_type, solution_for
from artifact.tasks.verifier import Verifier


@pytest.mark.parametrize(
    ("reader", "value", "gold"),
    [
        ("hashes", "2+2 = <<2+2=4>>4\n#### 1,080", "1,080"),
        ("hashes", "no mark", None),
        ("hashes", "x\n####", None),
        ("hashes", None, None),
        ("boxed", r"so \boxed{1} or rather \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        ("boxed", r"thus $x = \boxed 3.$", "3"),
        ("boxed", "a proof", None),
        ("boxed", None, None),
        ("boxed", r"cut off \boxed{4", None),
        ("field", " $2n$ ", "2n"),
        ("field", "$69$,$84$", "69,84"),
        ("field", r"\$32", r"\$32"),
        ("field", "$5", "$5"),
        ("field", "", None),
        ("field", None, None),
        ("field", 7, "7"),
        ("number", 145.0, "145"),
        ("number", "145.0", "145"),
        ("number", "033", "33"),
        ("number", 4.5, "4.5"),
        ("number", None, None),
        ("number", "", None),
        ("number", 0.0, "0"),
        ("first", ["$\\frac{1}{x}$"], r"\frac{1}{x}"),
        ("first", [], None),
        ("first", None, None),
        ("boxed_or_text", "$$\n\\boxed{16}\n$$", "16"),
        ("boxed_or_text", "Infinitely many.", "Infinitely many."),
    ],
)
def test_readers(reader: str, value: object, gold: str | None) -> None:
    assert GOLD[reader](value) == gold


@pytest.mark.parametrize(
    ("gold", "form"),
    [
        ("42", "number"),
        (r"-\frac{35}{9}", "number"),
        ("1,080", "number"),
        ("x=5", "number"),
        ("52_8", "number"),
        (r"50\%", "number"),
        ("864 inches", "number"),
        (r"2\sqrt{3}", "expression"),
        (r"\frac{\pi}{2}", "expression"),
        ("x^2-5x+6", "expression"),
        ("6-5i", "expression"),
        (r"\binom{2n}{n}", "expression"),
        ("2n", "expression"),
        (r"\{1, 2, 3\}", "set"),
        ("1,-2", "set"),
        ("69,84", "set"),
        (r"1+\sqrt{2}, 1-\sqrt{2}", "set"),
        (r"(1,8,19), (2,7,13)", "set"),
        ("(3,4)", "tuple"),
        (r"\left( 3, \frac{\pi}{2} \right)", "tuple"),
        ("(-2,1,5)", "tuple"),
        ("[0,1)", "interval"),
        (r"(5,\infty)", "interval"),
        (r"x \in [-2,7]", "interval"),
        (r"(-\infty, 2) \cup (3, \infty)", "interval"),
        (r"t < \frac{1}{2}", "interval"),
        ("x \\geq 3", "interval"),
        (r"\text{Evelyn}", "text"),
        ("Evelyn", "text"),
        (r"\text{(C)}", "text"),
        ("Infinitely many.", "text"),
    ],
)
def test_form_of_an_answer(gold: str, form: str) -> None:
    assert answer_type(gold) == form


def test_a_reference_solution_states_its_answer_as_the_template_asks() -> None:
    marked = "2 + 2 = 4\n#### 4"
    assert solution_for(marked, "4", "boxed") == "2 + 2 = 4\nThe final answer is \\boxed{4}."
    assert solution_for(marked, "4", "hashes") == solution_for(marked, "4", "any") == marked
    boxed = r"so $\boxed{\frac12}$"
    assert solution_for(boxed, r"\frac12", "boxed") == boxed
    assert solution_for(boxed, r"\frac12", "hashes") == boxed + "\n#### \\frac12"
    assert solution_for("so it is 3", "3", "boxed") == "so it is 3\nThe final answer is \\boxed{3}."
    assert solution_for(None, "3", "boxed") is None
    with Verifier() as verifier:
        for form, rule in (("boxed", "boxed"), ("hashes", "hashes")):
            verdict = verifier.verify(solution_for(marked, "4", form) or "", "4")
            assert verdict.correct and verdict.rule == rule
    with pytest.raises(ValueError, match="'latex'"):
        solution_for(marked, "4", "latex")
