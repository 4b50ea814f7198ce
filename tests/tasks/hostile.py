"""Malformed and hostile answers that must neither hang, crash nor count as correct. None of them equals 42."""

from __future__ import annotations

DEEP = 5000

STRUCTURE = [
    "{" * DEEP, "}" * DEEP, "{" * DEEP + "42" + "}" * DEEP, "(" * DEEP + "42" + ")" * DEEP, r"\frac{" * DEEP,
    r"\sqrt{" * 90 + "42" + "}" * 90, r"\frac{1}{" * 90 + "42" + "}" * 90, "x^{" * 90 + "42" + "}" * 90,
    "[" * 90 + "42" + "]" * 90, r"\left(" * 300, r"\{" * 500 + "42", "42}", "{42", "}42{", "{}", "{{}}", "{",
    "}", "}{",
    "()", "(42", "42)", "(42]", "[42)", r"\left(42", r"42\right)", r"\begin{matrix}42", r"\end{matrix}",
    r"\begin{cases}", "42}{", "{42}}", "{{42}", r"\{42", r"42\}", "||", "|42", r"\left|42", ",,", ";",
    "42;43", "42,43",
    "(42,42)",
]  # fmt: skip
POWERS = [
    "9**9**9**9", "1e999999999", "1e-999999999", "42e999999999999999999", "9" * 900, "0." + "0" * 900 + "1",
    "9" * 450 + "/" + "7" * 450, r"0.\overline{" + "3" * 900 + "}", r"42\cdot10^{400}", r"42 \times 10^{-400}",
]  # fmt: skip
HANGING = [  # no answer within any time limit, or within memory
    "10^(10^10)", "2^{2^{2^{2^{2^{2}}}}}", "((9!)!)!", r"\binom{10^9}{10^8}", r"\frac{9^{9^{9}}}{9^{9^{9}}}",
]  # fmt: skip
NUMBERS = [
    "４２", "٤٢", "४२", "𝟜𝟚", "４2", "4２", "႔႒", "⑷⑵", "㊷", "ⅩⅬⅡ", "4\u200b2", "4\u00ad2", "\ufeff42",
    "42\u202e", "4 2", "4  2",
    "4\n2", "4\t2", "4.2.", "4..2", "42..0", "4,2", "4_2", "4'2", "0x2a", "0b101010", "0o52", "4e1.2", "--",
    "-+42", "-42",
    "+-42", "- 42", "42-", "42+", "42*", "42/", "/42", "42//1", "42/0", "0/0", r"\frac{42}{0}",
    r"\frac{0}{0}", "1/0", "nan",
    "NaN", "inf", "-inf", "Infinity", r"\infty", "None", "null", "True", "1:42", "42:00", "42%%", "4%2", "$", "$$",
    "$42$43", "42 or 43", "42 and 7", "41 or 42", "not 42", "?42", ">42", "<42", "≥42", r"\ge 42", r"\ne 42",
    r"x\neq 42",
    "!42", "42!", "42 million", "42 thousand", "a dozen", "42 more than x", "about", "42x", "42 x", "x42",
    "42ab", "42i",
    "42 pi", "4{2}", "42_7", "42_{9}", "4^2", "42^2", "42^{-1}", "42 hundred", "minus 42", "half of 42", "forty-two",
    "the answer",
]  # fmt: skip
MACROS = [
    "\\", "\\\\", r"\frac", r"\frac{42}", r"\frac{42}{}", r"\frac{}{42}", r"\frac{}{}", r"\sqrt", r"\sqrt{}",
    r"\sqrt[3]{",
    r"\phantom{42}", r"\hphantom{42}", r"42\phantom{3}", r"\def\x{\x\x}\x", r"\newcommand{\a}{42}\a", r"\boxed{",
    r"\input{/etc/passwd}", r"\include{42}", r"\write18{ls}", r"\catcode`\@=11", r"\boxed{}", r"\text{}", r"\text{",
    r"\text{42", r"\left\right", r"\color{red}43", r"\href{42}{43}", r"\underbrace{41}_{42}", r"\overset{42}{41}",
    r"\cancel{42}", r"\not 42", r"\#42", r"\&42", r"\operatorname{42}", r"\unknownmacro{42}", r"\verb|42|",
    "__import__('os').system('true')", "lambda: 42", "eval('6*7')", "exec('42')", "().__class__", "Integer(41)",
    "{'a': 42}", "<script>42</script>", "'; DROP TABLE--", "{{7*7}}", "%s%s%n", "../../42", "\x00", "42\x00",
    "4\x002",
    "\x0042", "\x1b[42m", "42\x07", "\x7f42", "\ud800", "42\udfff", "\u2028\u2029", "🍎42", "💥" * 400, "ﷺ" * 400,
    "a\u0301" * 400, " " * 1000, "\n" * 1000, "42 " * 300, "1+" * 100 + "1", "x" * 900, "x" * 10_000,
    "-" * 101, "." * 900,
    "," * 900, "\\" * 901, "$" * 901, "=" * 700, "42=43", "x=", "=", "x=42=43", "x=y=z",
]  # fmt: skip
_N = 250_000
HUGE = {
    "digits": "1" * _N, "open boxes": r"\boxed{" * (_N // 7), "braces": "{" * _N, "backslashes": "\\" * _N,
    "spaces": r"\boxed" + " " * _N, "commas": "1," * (_N // 2), "hashes": "#### " * (_N // 5),
    "hash lines": "####\n" * (_N // 5), "slashes": "1/" * (_N // 2), "exponents": "1e" * (_N // 2), "minus": "-" * _N,
    "fractions": r"\frac{1" * (_N // 7), "nested": r"\boxed{" * (_N // 8) + "x" + "}" * (_N // 8),
    "letters in a box": r"\boxed{" + "x" * _N + "}", "powers": "1^{" * (_N // 3), "dots": "1." * (_N // 2),
    "digits in a box": r"\boxed{" + "4" * _N + "}", "tabs": ("####" + "\t" * 1000 + "\n") * (_N // 1000),
}  # fmt: skip
"""Texts of about 250,000 characters: what takes more than linear time takes minutes here."""
ANSWERS = STRUCTURE + POWERS + NUMBERS + MACROS
