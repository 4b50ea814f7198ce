"""No two rows of a figure look alike: over every study, every merged study, and with a cell that nobody drew before."""

from __future__ import annotations

from itertools import combinations

import pandas as pd
import pytest

from artifact.paths import project_root
from artifact.report.styles import METHODS, SAME_METHOD, SPARE, Look, label_styles, styles
from artifact.studies.study import load_study, study_names

MERGED = "sft seqkd opd uopd-soft opsd grpo core-distil core-contrast core"
"""Rows of the merged study of notebook 08."""

FIGURES = {name: [cell.id for cell in load_study(name).cells] for name in study_names()} | {
    "core-uopd_methods": MERGED.split()
}


def told_apart(looks: dict[str, Look]) -> None:
    for a, b in combinations(looks, 2):
        assert (looks[a].marker, looks[a].linestyle) != (looks[b].marker, looks[b].linestyle), f"{a}, {b}: colour alone"


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("added", [[], ["new-ablation"], [f"ablation-{i}" for i in range(6)]], ids=len)
def test_no_two_rows_look_alike_nor_differ_by_colour_alone(figure: str, added: list[str]) -> None:
    told_apart(styles(["base", "teacher", *FIGURES[figure], *added]))


def test_the_merged_rows_are_those_of_the_notebook() -> None:
    merging = [p for p in (project_root() / "notebooks").glob("*.ipynb") if "merge_studies(" in p.read_text()]
    assert [p.stem for p in merging] == ["08_core_training"] and MERGED in merging[0].read_text()


def test_the_rows_of_all_main_studies_in_one_figure() -> None:
    ids = dict.fromkeys(
        i for name in ("uopd", "uopd_methods", "uopd_controls", "core", "core_controls") for i in FIGURES[name]
    )
    told_apart(styles(ids))


def test_an_unknown_cell_never_gets_a_look_or_colour_of_a_method() -> None:
    fixed = {(look.marker, look.linestyle) for look in METHODS.values()}
    colours = {look.color for look in METHODS.values()}
    assert all((look.marker, look.linestyle) not in fixed and look.color not in colours for look in SPARE)
    told_apart({str(i): look for i, look in enumerate(SPARE)})
    assert len(colours) == len(METHODS)


def test_a_look_does_not_depend_on_company() -> None:
    assert (
        styles(["k-8", "uopd-soft", "k-2"])["uopd-soft"] == styles(["uopd-soft"])["uopd-soft"] == METHODS["uopd-soft"]
    )
    with pytest.raises(ValueError, match="split the figure"):
        styles([f"cell-{i}" for i in range(len(SPARE) + 1)])


def test_what_stands_for_a_method_has_its_look_but_never_beside_it() -> None:
    for cell, method in SAME_METHOD.items():
        assert styles([cell]) == {cell: METHODS[method]}
        both = styles([cell, method])
        assert both[method] == METHODS[method] and both[cell] == SPARE[0]


def test_the_id_decides_and_the_label_is_only_printed() -> None:
    frame = pd.DataFrame({"cell": ["opd", "core", "opd"], "label": ["Anything", "Else", "Anything"]})
    assert label_styles(frame) == {"Anything": METHODS["opd"], "Else": METHODS["core"]}
    with pytest.raises(ValueError, match="two cells are called 'Same' in one figure"):
        label_styles(frame.assign(label="Same"))
