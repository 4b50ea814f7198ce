r"""Gold answers written differently: the standing test of the verifier, with its two rates.

Each rewrite of a gold answer either keeps its meaning (`\dfrac`, wider spaces, bmatrix: the verifier must accept it) or
changes it (a digit more, rows for columns, a square root dropped: it must not). `check_golds` applies all rewrites that
apply to each gold answer and reports the share missed and the share falsely accepted, with every case by name;
`check_pairs` compares gold answers of different problems. `artifact check-verifier` runs both over the benchmarks.

A rewrite that does not apply (no digit, no fraction, nothing to swap) gives None. The rewrites work on the text alone,
so that they share no code with what they test. Left out: answers in responses (`extract.py`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from artifact.tasks.verifier import Verifier


@dataclass(frozen=True, slots=True)
class Failure:
    """One wrong verdict: the rewrite's name, the gold answer, what was compared with it, and the verdict's reason."""

    rewrite: str
    gold: str
    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `check_golds` found: numbers of comparisons of both kinds, and the wrong ones."""

    kept: int
    changed: int
    missed: tuple[Failure, ...]
    accepted: tuple[Failure, ...]


Rewrite = Callable[[str], str | None]

_WORDS = re.compile(r"\\(?:text|mathrm|mbox|operatorname|textbf)\b|(?<![\\A-Za-z])[A-Za-z]{3,}")
_MATRIX = re.compile(r"\\begin\{([pb])matrix\}(.*?)\\end\{\1matrix\}", re.DOTALL)
_BRACKETS = re.compile(r"\\[{}]|[()\[\]{}]|\\begin\{[a-z]*\}|\\end\{[a-z]*\}")


def _replaced(pattern: str, to: str, count: int = 0) -> Rewrite:
    found = re.compile(pattern)

    def rewrite(gold: str) -> str | None:
        return found.sub(to, gold, count=count) if found.search(gold) else None

    return rewrite


def _compact(gold: str) -> str | None:
    if _WORDS.search(gold) or re.search(r"\\ |[0-9] [0-9]", gold):
        return None
    out = re.sub(r"(?<![A-Za-z\\]) +| +(?![A-Za-z0-9])", "", gold)
    return out if out != gold else None


def _spaced(gold: str) -> str | None:
    if _WORDS.search(gold):
        return None
    out = re.sub(r"(?<=[A-Za-z0-9)}])\s*([-+=<>])\s*(?=[A-Za-z0-9(\\])", r" \1 ", gold)
    out = re.sub(r",(?!\\!|[0-9]{3}|\})\s*", ", ", out)
    return out if out != gold else None


def _matrix_kind(gold: str) -> str | None:
    if not _MATRIX.search(gold):
        return None
    other = {"p": "b", "b": "p"}
    return re.sub(r"(begin|end)\{([pb])matrix\}", lambda m: f"{m[1]}{{{other[m[2]]}matrix}}", gold)


def _digit(gold: str) -> str | None:
    match = re.search(r"(?<![0-9_^{])[0-9]+|[0-9]+", gold)
    if match is None:
        return None
    digits = match.group()
    last = str(int(digits[-1]) + 1 if digits[-1] != "9" else 8)
    return gold[: match.end() - 1] + last + gold[match.end() :]


def _single(gold: str) -> bool:
    """Whether the gold answer looks like one value without words: what a sign or a summand can be put to."""
    outside = re.sub(r"\\(?:frac|sqrt|binom)|\{[^{}]*\}", "", gold)
    return not (
        _WORDS.search(gold)
        or re.search(
            r"[,;=<>%]|\\(?:le|ge|in|cup|pm|mp|infty|circ|begin|neq?|mid|emptyset|{|equiv|quad|\$|%|times|cdot 10)",
            gold,
        )
        or re.search(r"_\{?[0-9]", gold)
        or outside.strip().startswith(("[", "$"))
    )


def _sign(gold: str) -> str | None:
    text = gold.strip()
    if not _single(text) or not re.search(r"[1-9A-Za-z]", text):
        return None
    return f"-({text})"


def _plus_one(gold: str) -> str | None:
    return f"{gold}+1" if _single(gold) else None


def _parts(text: str) -> list[str]:
    """Parts of `text` at its outermost commas."""
    depth, start, parts = 0, 0, []
    for match in re.finditer(r"\\[{}]|[()\[\]{}]|,", text):
        token = match.group()
        if token == "," and depth == 0:
            parts.append(text[start : match.start()])
            start = match.end()
        depth += (token in ("(", "[", "{", r"\{")) - (token in (")", "]", "}", r"\}"))
    return [*parts, text[start:]]


def _collection(gold: str) -> tuple[str, list[str], str] | None:
    """(opening bracket, members, closing bracket) of a tuple, an interval, a set, or a bare list ("" as brackets)."""
    text = re.sub(r"\\(?:left|right)(?![A-Za-z])\s*", "", gold).strip()
    if _WORDS.search(text) or "=" in text or r"\cup" in text or r"\mid" in text or r"\begin" in text:
        return None
    for left, right in ((r"\{", r"\}"), ("(", ")"), ("[", "]"), ("(", "]"), ("[", ")")):
        inner = text[len(left) : len(text) - len(right)]
        if text.startswith(left) and text.endswith(right) and len(_parts(inner)) > 1:
            return left, _parts(inner), right
    parts = _parts(text)
    if len(parts) > 1 and not re.fullmatch(r"-?(?:\\?\$)?[0-9]{1,3}(,(?:\\!)?\s?[0-9]{3})+(\.[0-9]+)?\D*", text):
        return ("", parts, "") if all(p.strip() for p in parts) else None
    return None


def _members(change: Callable[[list[str]], list[str] | None], ordered: bool | None = None) -> Rewrite:
    """A rewrite of a collection's members; of those with round or square brackets only where `ordered`."""

    def rewrite(gold: str) -> str | None:
        found = _collection(gold)
        if found is None or (ordered is not None and (found[0] in ("(", "[")) is not ordered):
            return None
        changed = change([m.strip() for m in found[1]])
        return None if changed is None else found[0] + ", ".join(changed) + found[2]

    return rewrite


def _swap(members: list[str]) -> list[str] | None:
    return [members[1], members[0], *members[2:]] if members[0] != members[1] else None


def _bracket_kind(gold: str) -> str | None:
    found = _collection(gold)
    if found is None or found[0] not in ("(", "["):
        return None
    return ("[" if found[0] == "(" else "(") + ",".join(found[1]) + found[2]


def _transposed(gold: str) -> str | None:
    match = _MATRIX.search(gold)
    if match is None:
        return None
    rows = [
        [cell.strip() for cell in row.split("&")] for row in re.split(r"\\\\", match[2].strip().removesuffix("\\\\"))
    ]
    turned = [list(column) for column in zip(*rows, strict=False)]
    if turned == rows:
        return None
    body = r" \\ ".join(" & ".join(row) for row in turned)
    return gold[: match.start(2)] + body + gold[match.end(2) :]


def _rows_swapped(gold: str) -> str | None:
    match = _MATRIX.search(gold)
    rows = re.split(r"\\\\", match[2].strip()) if match else []
    if match is None or len(rows) < 2 or rows[0].strip() == rows[1].strip():
        return None
    body = r" \\ ".join([rows[1], rows[0], *rows[2:]])
    return gold[: match.start(2)] + body + gold[match.end(2) :]


def _inverted(gold: str) -> str | None:
    match = re.search(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", gold)
    if match is None or match[1].strip() == match[2].strip() or match[1].strip() in ("0", ""):
        return None
    return gold[: match.start()] + rf"\frac{{{match[2]}}}{{{match[1]}}}" + gold[match.end() :]


def _other_variable(gold: str) -> str | None:
    if _WORDS.search(gold) or r"\mid" in gold or r"\sum" in gold or not re.search(r"[-+^=/\\<>]", gold):
        return None
    letters = re.findall(
        r"(?<![\\A-Za-z_{])([abcklmnpqrstxyz])(?![A-Za-z])", re.sub(r"\\[A-Za-z]+", lambda m: "\\" * len(m[0]), gold)
    )
    if not letters:
        return None
    new = next(c for c in "wuvz" if c not in gold)
    return re.sub(rf"(?<![\\A-Za-z]){letters[0]}(?![A-Za-z])", new, gold)


def _display(gold: str) -> str | None:
    return None if "$" in gold or r"\(" in gold or r"\[" in gold else rf"\[ {gold} \]"


def _sized(gold: str) -> str | None:
    if "(" not in gold or r"\left" in gold or r"\big" in gold or r"\(" in gold:
        return None
    return gold.replace("(", r"\left(").replace(")", r"\right)") if gold.count("(") == gold.count(")") else None


def _full_stop(gold: str) -> str | None:
    return None if gold.rstrip().endswith((".", "!", "?")) else f"{gold}."


KEEPING: Mapping[str, Rewrite] = {
    "compact": _compact,
    "spaced": _spaced,
    "dfrac": _replaced(r"\\frac(?![A-Za-z])", r"\\dfrac"),
    "tfrac": _replaced(r"\\frac(?![A-Za-z])", r"\\tfrac"),
    "left and right": _sized,
    "thin spaces": _replaced(r"(?<=[0-9A-Za-z}])\s*([-+=])\s*(?=[0-9A-Za-z\\])", r"\\,\1\\,"),
    "other matrix": _matrix_kind,
    "display": _display,
    "dollars": lambda gold: None if "$" in gold or r"\(" in gold or r"\[" in gold else f"${gold}$",
    "full stop": _full_stop,
    "order of a list": _members(_swap, ordered=False),
}
"""Rewrites that keep the meaning: each must be accepted."""

CHANGING: Mapping[str, Rewrite] = {
    "digit + 1": _digit,
    "sign": _sign,
    "+ 1": _plus_one,
    "swap": _members(_swap, ordered=True),
    "drop": _members(lambda m: m[:-1] if len(m) > 2 or m[0] != m[-1] else None),
    "add": _members(lambda m: [*m, "7919"]),
    "duplicate": _members(lambda m: [*m, m[0]]),
    "bracket kind": _bracket_kind,
    "rows for columns": _transposed,
    "rows swapped": _rows_swapped,
    "inverted fraction": _inverted,
    "root dropped": _replaced(r"\\sqrt\s*\{((?!\s*[01]\s*\})[^{}]*)\}", r"(\1)", 1),
    "other variable": _other_variable,
}
"""Rewrites that change the meaning: none may be accepted."""


def check_golds(golds: Iterable[str], verifier: Verifier) -> Report:
    """Every rewrite of every gold answer, each compared once."""
    numbers = {True: 0, False: 0}
    wrong: dict[bool, list[Failure]] = {True: [], False: []}
    for gold in dict.fromkeys(golds):
        for keeps, rewrites in ((True, KEEPING), (False, CHANGING)):
            for name, rewrite in rewrites.items():
                text = rewrite(gold)
                if text is None or text == gold:
                    continue
                numbers[keeps] += 1
                verdict = verifier.check(gold, text)
                if verdict.correct is not keeps:
                    wrong[keeps].append(Failure(name, gold, text, f"{verdict.status}: {verdict.detail}"))
    return Report(numbers[True], numbers[False], tuple(wrong[True]), tuple(wrong[False]))


def check_pairs(golds: Sequence[str], n: int, verifier: Verifier, seed: int = 0) -> tuple[Failure, ...]:
    """Pairs among `n` random ones of different gold answers that are called equal, or end in a timeout or an error."""
    different = list({re.sub(r"\s", "", gold): gold for gold in golds}.values())
    draw, out = random.Random(seed), []
    for _ in range(n):
        gold, other = draw.sample(different, 2)
        verdict = verifier.check(gold, other)
        if verdict.correct or verdict.status.accident:
            out.append(Failure("another gold answer", gold, other, f"{verdict.status}: {verdict.detail}"))
    return tuple(out)
