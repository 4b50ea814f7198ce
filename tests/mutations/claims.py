"""Mutants of the claims and of the reproduction report: verdicts too kind, evidence and references taken on trust."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

RULES = ("report/test_claims.py",)
PLANTED = "book/test_claims.py::test_a_planted_error_is_found"
COMPARED = ("report/test_reproduction.py::test_each_value_has_its_class",)

MUTANTS = (
    Mutant(
        "a claim passes where one of its rows does",
        "report/claim_rules.py",
        "return max(verdicts, key=(PASS, WITHIN, FAIL).index)",
        "return min(verdicts, key=(PASS, WITHIN, FAIL).index)",
        RULES,
    ),
    Mutant(
        "a bound holds for the estimate alone",
        "report/claim_rules.py",
        "if rows.intervals is None else worst > 0",
        "if rows.intervals is None else sign * (x - test.value) > 0",
        RULES,
    ),
    Mutant(
        "the other direction is no failure",
        "report/claim_rules.py",
        "FAIL if claimed == other or best < 0 else WITHIN",
        "WITHIN",
        RULES,
    ),
    Mutant(
        "a series may fall as often as it rises",
        "report/claim_rules.py",
        "FAIL if beyond or 2 * len(against) > pairs else",
        "FAIL if beyond else",
        RULES,
    ),
    Mutant(
        "a claim need not say what it is judged by",
        "report/claims.py",
        "if unsaid := [f for f in figures_of(test) if not is_said(f, says)]:",
        "if unsaid := [f for f in figures_of(test) if False]:",
        RULES,
    ),
    Mutant(
        "a stamp vouches for itself whatever it says",
        "report/stored.py",
        "if seal(facts) != facts else []",
        "if False else []",
        ("report/test_stored.py",),
    ),
    Mutant(
        "numbers of another tier are read",
        "report/stored.py",
        'if (facts["name"], facts["tier"]) != (stem.name, stem.parent.name):',
        'if facts["name"] != stem.name:',
        ("report/test_stored.py",),
    ),
    Mutant(
        "a run of another tier stands behind a number",
        "studies/claims.py",
        "if of in tier_names() and load_tier(of).base != load_tier(tier).base:",
        "if False:",
        (f"{PLANTED}[a run of another tier]",),
    ),
    Mutant(
        "a page of old claims is current",
        "book/claims.py",
        'if output is not None and output.path.with_suffix(".csv").read_text(encoding="utf-8") != made:',
        "if False:",
        (f"{PLANTED}[an old page]",),
    ),
    Mutant(
        "a caption of a notebook is taken on trust",
        "book/claims.py",
        'if (facts["output"], facts["caption"]) != (said["output"], said["caption"]):',
        "if False:",
        (f"{PLANTED}[a caption of the notebook]",),
    ),
    Mutant(
        "what is outside its interval is within",
        "report/reproduction.py",
        "(WITHIN if low <= x <= high else OUTSIDE)",
        "(WITHIN if low <= x else OUTSIDE)",
        COMPARED,
    ),
    Mutant(
        "another number of problems is a value like any",
        "report/reproduction.py",
        "if column in DESIGN:",
        "if False:",
        COMPARED,
    ),
    Mutant(
        "the reference is taken on trust",
        "report/reference.py",
        "if name not in there or account",
        "if False and account",
        ("report/test_reproduction.py::test_a_reference_is_not_changed_by_hand",),
    ),
    Mutant(
        "of several splits a claim sees one series",
        "report/claim_rules.py",
        'several = "split" in rows.frame and rows.frame["split"].nunique() > 1',
        "several = False",
        RULES,
    ),
    Mutant(
        "nobody says of which split a number is",
        "report/claim_rules.py",
        'splits = list(rows.frame["split"]) if "split" in rows.frame else []',
        "splits = []",
        RULES,
    ),
    Mutant(
        "an empty bin is judged like any",
        "report/claim_rules.py",
        "filled = frame[frame[counted] != 0]",
        "filled = frame",
        RULES,
    ),
)
