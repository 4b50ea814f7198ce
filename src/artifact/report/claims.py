"""The papers' claims, typed: `paper/claims.yml`, each with the stored number that decides it and the rule.

A claim is said in our own words, with its figure and its place in the draft. `tiers` are where it can be judged: a
number of the papers only at the papers' settings. What a smaller tier can show of it are `mechanisms`, other sentences
with other tests, kept apart wherever either is shown. Contradictions of a draft with itself need no run.
Unknown keys are refused, and so is a figure that is judged and not said. Left out: judging (`claim_rules.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from artifact.config import ConfigError, Section, checked, read_yaml, tier_names
from artifact.paths import project_root

Scalar = bool | int | float | str
Kind = Literal["number", "ordering", "monotone", "ratio", "contradiction", "qualitative"]

DRAFTS = "drafts"
"""In place of a tier: what the drafts themselves say decides."""


class Cells(Section):
    """Rows and a column of a stored table or figure; `low` and `high` are the columns of the interval.

    Ids find rows (`cell`, `reference_cell`), never labels, which are only printed.
    """

    table: str | None = None
    figure: str | None = None
    where: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict, description="column → value, or values")
    column: str = "difference"
    low: str | None = None
    high: str | None = None
    spread: str | None = Field(None, description="column of an SD over seeds: the interval is ± 2 of it")
    sum: bool = Field(False, description="add the rows up to one number")
    awaits: str = Field("", description="why no notebook makes it yet, where none does")

    @model_validator(mode="after")
    def _one_place(self) -> Cells:
        if (self.table is None) == (self.figure is None):
            raise ValueError("evidence is a cell of a `table` or of a `figure`: name one of them")
        if (self.low is None) != (self.high is None):
            raise ValueError("`low` and `high` are the two ends of an interval: name both")
        if sum((self.low is not None, self.spread is not None, self.sum)) > 1:
            raise ValueError("an estimate has `low` and `high`, or a `spread`; a `sum` has none of them")
        return self

    @property
    def kind(self) -> Literal["table", "figure"]:
        return "table" if self.table is not None else "figure"

    @property
    def name(self) -> str:
        """The stored output it is read from."""
        return str(self.table or self.figure)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of numbers it reads."""
        return tuple(c for c in (self.column, self.low, self.high, self.spread) if c is not None)


class Product(Section):
    """A number that follows from the drafts' own: the product of these."""

    product: tuple[float, ...] = Field(min_length=1)


class Within(Section):
    """PASS where the stored number is `value` to within `tolerance`."""

    rule: Literal["within"]
    of: Cells
    value: float
    tolerance: float = Field(gt=0)


class Bound(Section):
    """PASS where the stored number, with its whole interval, lies `side` of `value`, in every row."""

    rule: Literal["bound"]
    of: Cells
    side: Literal["above", "below"]
    value: float


class Difference(Section):
    """PASS where the table of differences claims the `direction` in every row (`report/differences.py` says how)."""

    rule: Literal["difference"]
    of: Cells
    direction: Literal["higher", "lower"]


class Equivalent(Section):
    """PASS where the whole interval of a difference lies within ± `margin`, in every row."""

    rule: Literal["equivalent"]
    of: Cells
    margin: float = Field(gt=0)


class Monotone(Section):
    """PASS where the column goes one way `along` another; intervals decide of a step back."""

    rule: Literal["monotone"]
    of: Cells
    along: str
    direction: Literal["increasing", "decreasing"]


class Ratio(Section):
    """PASS where `of` / `over` is `value` to within the relative `tolerance`."""

    rule: Literal["ratio"]
    of: Cells | Product
    over: Cells | Product
    value: float = Field(gt=0)
    tolerance: float = Field(gt=0, lt=1)


class Stated(Section):
    """What a draft says in one place: a figure or a word."""

    says: float | str
    where: str


class Agree(Section):
    """PASS where a draft says the same in two places."""

    rule: Literal["agree"]
    first: Stated
    second: Stated


Rule = Annotated[Within | Bound | Difference | Equivalent | Monotone | Ratio | Agree, Field(discriminator="rule")]

RULES: dict[Kind, tuple[type[Section], ...]] = {
    "number": (Within, Equivalent, Bound),
    "ordering": (Difference,),
    "monotone": (Monotone,),
    "ratio": (Ratio, Bound),
    "contradiction": (Agree, Ratio),
    "qualitative": (Bound, Difference, Equivalent, Within, Monotone),
}
"""Which rules can decide a claim of each kind."""


class Mechanism(Section):
    """What a smaller tier can show of a claim: a sentence of its own, never a number of the papers."""

    says: str
    tiers: tuple[str, ...] = ("tiny",)
    test: Rule


class Claim(Section):
    """One claim of one draft."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9.]+)*$")
    paper: Literal["CORE", "UOPD", "both"]
    where: str = Field(min_length=1, description="section, table or figure of the draft")
    says: str = Field(min_length=1, description="the claim in our own words, with its figure")
    kind: Kind
    output: str = Field("", pattern=r"^([UC]-[A-Z]+\d+[ab]?)?$", description="id in the papers' list of outputs")
    tiers: tuple[str, ...] = ("paper",)
    test: Rule
    mechanisms: tuple[Mechanism, ...] = ()
    note: str = Field("", description="how the sentence was read, where it can be read in several ways")

    @model_validator(mode="after")
    def _judged_as_said(self) -> Claim:
        if not isinstance(self.test, RULES[self.kind]):
            names = ", ".join(r.__name__.lower() for r in RULES[self.kind])
            raise ValueError(f"a {self.kind} cannot be decided by the rule {self.test.rule!r}: use {names}")
        needs_no_run = not list(cells_of(self.test))
        if needs_no_run != (self.tiers == (DRAFTS,)):
            raise ValueError(f"tiers is [{DRAFTS}] where the drafts alone decide, and only there")
        for says, tiers, test in self.forms():
            if unknown := [t for t in tiers if t not in {*tier_names(), DRAFTS}]:
                raise ValueError(f"{unknown[0]!r} is no tier; the tiers are {', '.join(tier_names())}")
            if unsaid := [f for f in figures_of(test) if not is_said(f, says)]:
                raise ValueError(f"it is judged by {unsaid[0]}, which its words do not say: {says!r}")
        if both := set(self.tiers) & {tier for m in self.mechanisms for tier in m.tiers}:
            raise ValueError(f"tier {min(both)!r} judges the claim itself, not its mechanism")
        return self

    def forms(self) -> Iterator[tuple[str, tuple[str, ...], Rule]]:
        """Words, tiers and test of the claim itself, then of its mechanisms."""
        yield self.says, self.tiers, self.test
        yield from ((m.says, m.tiers, m.test) for m in self.mechanisms)


def cells_of(test: Rule) -> Iterator[Cells]:
    """The stored numbers that a test reads."""
    parts = (test.of, test.over) if isinstance(test, Ratio) else () if isinstance(test, Agree) else (test.of,)
    yield from (part for part in parts if isinstance(part, Cells))


def figures_of(test: Rule) -> tuple[float | str, ...]:
    """The figures and words by which a test decides: a sentence that is judged by them says them."""
    if isinstance(test, Agree):
        return test.first.says, test.second.says
    if isinstance(test, Equivalent):
        return ()  # how close "no loss" is was decided here, not by a draft
    return (test.value,) if isinstance(test, Within | Ratio) else ()


def is_said(figure: float | str, words: str) -> bool:
    """Whether a sentence says a word, or a number as itself or in percent: `8,800`, `0.7949`, `87 %`, `150×`."""
    if isinstance(figure, str):
        return figure.lower() in words.lower()
    numbers = {float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*(?:\.\d+)?", words)}
    return any(abs(n - x) < 1e-9 * max(1.0, abs(x)) for n in numbers for x in (figure, 100 * figure))


def claims_path() -> Path:
    """Where the claims are kept."""
    return project_root() / "paper" / "claims.yml"


def load_claims(path: Path | None = None) -> tuple[Claim, ...]:
    """The claims of `path` (default: `paper/claims.yml`). Raises ConfigError, which names the claim and the problem."""
    path = path or claims_path()
    data = read_yaml(path)
    if set(data) != {"claims"} or not isinstance(data["claims"], list):
        raise ConfigError(f"{path.name}: expected one key, `claims`, with a list; it has {', '.join(data) or 'none'}")
    claims = tuple(checked(Claim, item, f"{path.name}, {_named(item)}") for item in data["claims"])
    if twice := [i for i, n in Counter(c.id for c in claims).items() if n > 1]:
        raise ConfigError(f"{path.name}: there are two claims {twice[0]!r}; ids are distinct")
    return claims


def _named(item: object) -> str:
    return f"claim {item.get('id')!r}" if isinstance(item, dict) else f"{item!r}"
