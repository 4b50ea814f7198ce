"""A stored output is what was saved, or it is not given to anybody."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tests.escape.payloads import HOSTILE

from artifact.escape import one_line
from artifact.provenance import seal
from artifact.report import stored
from artifact.report.outputs import save_table

DATA = pd.DataFrame({"cell": ["opd", "core"], "label": ["OPD", "CORE"], "x": [1.5, 2.5]})


def saved() -> Path:
    return save_table(DATA, "numbers", tier="tiny", keys=["k"], caption="Two numbers.", output="C-T1").with_suffix("")


def test_a_table_is_read_back_with_its_ids_and_shown_without(results: Path) -> None:
    stem = saved()
    output = stored.read("table", "numbers", "tiny")
    assert output is not None and (output.keys, output.stamp["output"]) == (["k"], "C-T1")
    pd.testing.assert_frame_equal(output.frame, DATA)
    assert "opd" not in stem.with_suffix(".md").read_text() and "opd" not in stem.with_suffix(".tex").read_text()
    assert stored.read("figure", "numbers", "tiny") is None and stored.read("table", "others", "tiny") is None
    assert list(stored.stored("tiny")) == [("table", stem)] and list(stored.stored("cpu-llm")) == []


def restamped(stem: Path, **changed: object) -> None:
    """The stamp with other facts and a checksum that fits them."""
    path = stem.with_suffix(".json")
    path.write_text(json.dumps(seal(json.loads(path.read_text()) | changed)))


def test_what_was_printed_is_read_back_whatever_signs_are_in_it(results: Path) -> None:
    shown = pd.DataFrame({"a | b": ["1.5", *HOSTILE], "c": ["", *HOSTILE[::-1]]}, dtype=object)
    data = pd.DataFrame({"x": range(len(shown))})
    save_table(data, "numbers", tier="tiny", keys=[], caption="Hostile text.", shown=shown)
    output = stored.read("table", "numbers", "tiny")
    assert output is not None and list(output.printed.columns) == ["a | b", "c"]
    assert output.printed.to_numpy().tolist() == [[one_line(text) for text in row] for row in shown.to_numpy().tolist()]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda s: s.with_suffix(".csv").write_text("cell,label,x\nopd,OPD,9\n"), "numbers.csv was altered"),
        (lambda s: s.with_suffix(".csv").unlink(), "numbers.csv is missing"),
        (lambda s: s.with_suffix(".tex").write_text("another caption"), "numbers.tex was altered"),
        (lambda s: s.with_suffix(".svg").touch(), "numbers.svg is in no stamp"),
        (lambda s: s.with_suffix(".json").unlink(), "nothing vouches for it"),
        (lambda s: s.with_suffix(".json").write_text("{"), "is damaged"),
        (lambda s: s.with_suffix(".json").write_text("{}"), "holds no checksum of itself"),
        (lambda s: restamped(s, tier="paper"), "is the stamp of numbers of tier paper"),
        (lambda s: restamped(s, name="other"), "is the stamp of other of tier tiny"),
        (lambda s: restamped(s, note="the papers' settings"), 'says of its tier "the papers\' settings"'),
    ],
)
def test_whatever_was_changed_is_told(results: Path, damage: Callable[[Path], object], told: str) -> None:
    stem = saved()
    damage(stem)
    assert any(told in wrong for wrong in stored.faults(stem))
    with pytest.raises(stored.DamagedOutput, match="run its notebook again"):
        stored.read("table", "numbers", "tiny")


def test_the_stamp_vouches_for_itself(results: Path) -> None:
    path = saved().with_suffix(".json")
    for key, value in (("caption", "Three numbers."), ("keys", ["other"]), ("output", "U-T1")):
        facts = json.loads(path.read_text())
        path.write_text(json.dumps(facts | {key: value}))
        assert stored.faults(path.with_suffix("")) == ["numbers.json was altered"]
        saved()
