"""Mutants of the site: rows that lead to the wrong runs, rollouts that say something else than what is stored."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

SOURCES, PAGES, WHY = ("site/test_sources.py",), ("site/test_pages.py",), ("site/test_why.py",)
CLAIMS = ("site/test_claims.py",)

MUTANTS = (
    Mutant(
        "site: a row leads to the runs of the other teacher too",
        "site/sources.py",
        'kept = [s for s in kept if s.teacher in (None, row["teacher"])]',
        "kept = [s for s in kept if s]",
        SOURCES,
    ),
    Mutant(
        "site: a difference leads to one of its two methods",
        "site/sources.py",
        'for c in ("cell", "reference_cell") if row.get(c)}',
        'for c in ("cell",) if row.get(c)}',
        SOURCES,
    ),
    Mutant(
        "site: sampled and greedy numbers have the same runs",
        "site/sources.py",
        'kept = [s for s in kept if (s.decoding or "greedy") == decoding]',
        "kept = [s for s in kept if decoding]",
        SOURCES,
    ),
    Mutant(
        "site: the weights of any annotation of the teacher will do",
        "site/rollouts.py",
        "if same and source.manifest",
        "if source.manifest",
        SOURCES,
    ),
    Mutant(
        "site: two configurations are one only with their keys in one order",
        "studies/training_queue.py",
        ", sort_keys=True)",
        ")",
        SOURCES,
    ),
    Mutant(
        "site: a cell leads to the runs of the row above",
        "site/outputs.py",
        "tuple(behind(row, known, by_label) for row in rows[:MOST_ROWS]),",
        "tuple(behind(row, known, by_label) for row in [rows[0], *rows[: MOST_ROWS - 1]][: len(rows)]),",
        PAGES,
    ),
    Mutant("site: text of a response is markup", "site/pages.py", "autoescape=True,", "autoescape=False,", PAGES),
    Mutant(
        "site: any folder is overwritten",
        "site/builder.py",
        "if out.exists() and (not out.is_dir()",
        "if False and (not out.is_dir()",
        PAGES,
    ),
    Mutant(
        "site: tokens stand below the response before theirs",
        "site/tokens.py",
        "pieces[places[drawn]] = ",
        "pieces[places[drawn] - 1] = ",
        WHY,
    ),
    Mutant(
        "site: a family shows the weight of all families",
        "site/families.py",
        "reader.family(number, row, known[who], everywhere)",
        "reader.family(number, row, everywhere, everywhere)",
        WHY,
    ),
    Mutant(
        "site: who is right with weights alone is right without them alone",
        "site/families.py",
        "WON, LOST = (False, True), (True, False)",
        "WON, LOST = (True, False), (False, True)",
        WHY,
    ),
    Mutant(
        "site: a family shows the answers of another",
        "site/families.py",
        'for i in answered if evaluated[i]["family"] == name}',
        'for i in answered if evaluated[i]["family"] >= name}',
        WHY,
    ),
    Mutant(
        "site: the light form has the curves too",
        "site/rollouts.py",
        "packed = write and (not self.light or what ==",
        "packed = write and (self.light or what ==",
        ("site/test_pages.py::test_the_light_form",),
    ),
    Mutant(
        "site: a claim leads to the runs of all claims",
        "site/claims.py",
        "for i, key in enumerate(keys) if key in j.keys]",
        "for i, key in enumerate(keys) if key]",
        CLAIMS,
    ),
    Mutant(
        "site: the rows of a claim's evidence are counted from one",
        "site/claims.py",
        "rows = tuple(map(int, rows_of(cells, tier).frame.index))",
        "rows = tuple(i + 1 for i in map(int, rows_of(cells, tier).frame.index))",
        CLAIMS,
    ),
)
