"""The object that a notebook opens first, without a runner: configuration, keys, and what is displayed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import IPython.display
import pandas as pd
import pytest
from matplotlib.figure import Figure

from artifact.config import ConfigError, load
from artifact.report.notebook import Notebook, table_html
from artifact.report.output_manifest import VARIABLE

DATA = pd.DataFrame({"x": [1, 2]})


@pytest.fixture
def displayed(results: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Every (data, metadata) that is displayed, in order."""
    seen: list[tuple[dict[str, str], dict[str, Any]]] = []
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(IPython.display, "display", lambda data, raw, metadata: seen.append((data, metadata)))
    return seen


@pytest.mark.parametrize("overrides", [{"train.steps": 3, "seed": 7}, ["train.steps=3", "seed=7"]])
def test_overrides_come_as_a_dictionary_or_as_a_list(overrides: Any) -> None:
    book = Notebook("tiny", overrides)
    assert book.config == load("tiny", {"train.steps": 3, "seed": 7})
    assert book.configured({"teacher": "B"}) == load("tiny", {"train.steps": 3, "seed": 7, "teacher": "B"})
    assert book.config.teacher != "B", "the notebook's own configuration stays"


def test_without_overrides_it_is_the_tier_and_a_mistake_is_named() -> None:
    assert Notebook("tiny").config == Notebook("tiny", {}).config == load("tiny")
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        Notebook("tiny", {"train.step": 3})


def test_the_figure_shown_is_the_file_saved(displayed: list[Any], results: Path, capsys: Any) -> None:
    book = Notebook("tiny")
    book.keys = ["k2", "k1"]
    figure = Figure(figsize=(2, 1))
    book.figure((figure, DATA), "dot", 'Say "why".', output="U-F2")
    (image, facts), (below, _) = displayed
    saved = results / "figures" / "tiny" / "dot.png"
    assert base64.b64decode(image["image/png"]) == saved.read_bytes()
    assert facts["image/png"] == {"width": 298, "alt": 'Say "why".'}
    assert "U-F2" in below["text/html"] and "Say &quot;why&quot;." in below["text/html"]
    assert json.loads(saved.with_suffix(".json").read_text())["keys"] == ["k1", "k2"]
    assert capsys.readouterr().out == ""


def test_keys_of_one_output_replace_those_of_the_notebook(displayed: list[Any], results: Path) -> None:
    book = Notebook("tiny")
    book.keys = ["k1"]
    folder = results / "tables" / "tiny"
    for name, keys in (("all", None), ("own", ["k9"]), ("none", [])):
        book.table(DATA, name, "A table.", keys=keys)
    found = {name: json.loads((folder / f"{name}.json").read_text())["keys"] for name in ("all", "own", "none")}
    assert found == {"all": ["k1"], "own": ["k9"], "none": []}
    assert [facts["artifact"]["anchor"] for _, facts in displayed] == ["table-all", "table-own", "table-none"]


def test_a_cell_is_neither_markup_nor_cut_short() -> None:
    text = "<script>1*2*3</script> & " + "long " * 40
    made = table_html(pd.DataFrame({"a<b": [text]}))
    assert f"<td>&lt;script&gt;1*2*3&lt;/script&gt; &amp; {'long ' * 40}</td>" in made
    assert '<th scope="col">a&lt;b</th>' in made
