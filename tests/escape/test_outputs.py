"""Hostile strings through what is no page: LaTeX, figures, CSV, terminals; by decoders written against each format."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.table import Table
from tests.escape.payloads import HOSTILE

from artifact.escape import LATEX_DECLARED, csv_cell, figure_text, latex_text, one_line, terminal, visible
from artifact.report.outputs import csv_text, save_figure, save_table
from artifact.report.transcripts import print_transcripts

ROOT = Path(__file__).resolve().parents[2]
ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
WHOLE = [t for t in HOSTILE if "\ud800" not in t]  # a frame of text cannot hold half a pair

LATEX_SIGNS = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\&": "&",
    r"\%": "%",
    r"\$": "$",
    r"\#": "#",
    r"\_": "_",
    r"\{": "{",
    r"\}": "}",
}


LIGATURES = ("--", "<<", ">>", ",,", "''", "``", "?`", "!`")


def read_latex(source: str) -> str:
    """What LaTeX prints for `source`; an assertion fails at whatever is no plain character and no known sign."""
    out, rest = "", source
    while rest:
        if rest.startswith("{}") and out[-1:] + rest[2:3] in LIGATURES:
            rest = rest[2:]
        else:
            assert out[-1:] + rest[:1] not in LIGATURES, "LaTeX makes one sign of the two"
        sign = next((s for s in LATEX_SIGNS if rest.startswith(s)), "")
        assert sign or rest[0] not in "\\&%$#_{}~^\n\r", rest[:40]
        out, rest = out + LATEX_SIGNS.get(sign, rest[0]), rest[len(sign) or 1 :]
    return out


def test_what_is_unseen_is_written_out() -> None:
    assert visible("a\x1b[2J\u202eb\n\tc\r\nd\re\x00\ud800") == "a<U+001B>[2J<U+202E>b\n\tc\nd<U+000D>e<U+0000><U+D800>"
    assert one_line("a\nb\u2028c") == "a b<U+2028>c"
    assert visible("né 日本 x̂ 👩‍🔬 –") == "né 日本 x̂ 👩‍🔬 –"
    assert not any(ORDERS.search(visible(t)) for t in HOSTILE)
    assert all(visible(visible(t)) == visible(t) for t in HOSTILE)


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_prints_it(text: str) -> None:
    plain = one_line(text).replace("\t", " ")
    expected = "".join(c if c <= "ÿ" or c in LATEX_DECLARED + "‹›" else f"<U+{ord(c):04X}>" for c in plain)
    assert read_latex(latex_text(text)) == expected


def test_a_latex_table_keeps_its_rows(results: Path) -> None:
    frame = pd.DataFrame({"a": WHOLE, "b": WHOLE})
    path = save_table(frame, "hostile", tier="tiny", keys=[], caption=HOSTILE[132]).with_suffix(".tex")
    lines = path.read_text(encoding="utf-8").split("\n")
    rows = lines[lines.index(r"\endhead") + 1 : lines.index(r"\bottomrule")]
    assert len(rows) == len(frame) and all(row.endswith(r" \\") for row in rows)
    assert all(len(re.findall(r"(?<!\\)&", row)) == 1 for row in rows)
    assert not any(row.startswith(("[", "*")) for row in rows), "that is an argument of the row's end before it"


def test_the_report_declares_what_is_written_as_it_is() -> None:
    declared = re.findall(r"\\newunicodechar\{(.)\}", (ROOT / "paper" / "preamble.tex").read_text(encoding="utf-8"))
    assert sorted(declared) == sorted(LATEX_DECLARED)


def test_labels_of_a_figure_are_no_formulas(results: Path) -> None:
    texts = [t[:80] for t in WHOLE if len(t) < 400][::5]
    fig = Figure(figsize=(3, 3))
    axis = fig.subplots()
    axis.bar(texts, range(len(texts)))
    axis.set_title("$\\frac{1}{$ costs $5")
    axis.set_xlabel("$x$")
    axis.plot([0, 1], label="a $b$\x1b c")
    axis.legend()
    other = fig.add_axes((0.1, 0.1, 0.2, 0.2))
    other.set_xscale("log")
    other.set_xlim(1, 1000)
    save_figure(fig, "labels", pd.DataFrame({"x": [1]}), tier="tiny", keys=[], caption="c")
    fig.canvas.draw()
    drawn = [t for t in fig.findobj(Text) if t.get_text()]
    formulas = [t.get_text() for t in drawn if t._preprocess_math(t.get_text())[1]]
    assert formulas and all(t.startswith("$\\mathdefault{10^{") for t in formulas), "those of the logarithmic axis"
    shown = {t._preprocess_math(t.get_text())[0] for t in drawn}
    assert {"$x$", "$\\frac{1}{$ costs $5", "a $b$<U+001B> c"} <= shown
    assert {visible(t).replace("\\$", "$") for t in texts} <= {s.replace("\\$", "$") for s in shown}
    assert figure_text(figure_text("a$b")) == figure_text("a$b") == r"a\$b"


def test_a_spreadsheet_computes_nothing() -> None:
    computed = ["=1+1", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1"]
    assert [csv_cell(t) for t in computed] == [f"'{t}" for t in computed]
    assert [csv_cell(t) for t in ("-3", "+0.5", "-1e-5", "x=1", "", "a|b")] == ["-3", "+0.5", "-1e-5", "x=1", "", "a|b"]
    assert csv_cell(-3.5) == -3.5 and csv_cell(None) is None


def test_a_csv_file_keeps_its_rows_and_texts() -> None:
    text = csv_text(pd.DataFrame({"=n": range(len(WHOLE)), "text": WHOLE}))
    back = pd.read_csv(io.StringIO(text), keep_default_na=False, lineterminator="\n")
    assert list(back.columns) == ["'=n", "text"] and back["'=n"].tolist() == list(range(len(WHOLE)))
    expected = [csv_cell(t) for t in WHOLE]
    assert back["text"].tolist() == expected
    assert all(e.removeprefix("'") == t or "\0" in t for e, t in zip(expected, WHOLE, strict=True))


def test_a_terminal_obeys_nobody_but_the_program() -> None:
    out = io.StringIO()
    frame = pd.DataFrame(
        [
            dict.fromkeys(("problem_id", "source", "status", "question", "gold", "response", "extracted"), t)
            | {"rule": t, "detail": t, "sample": 0, "response_tokens": 1, "finish_reason": "stop"}
            for t in WHOLE
        ]
    )
    print_transcripts(frame, terminal(file=out, force_terminal=True, width=100, color_system="truecolor"))
    orders = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())  # the program's own colours
    assert not ORDERS.search(orders.replace("\n", ""))
    assert len(re.findall("^╭", orders, re.MULTILINE)) == len(re.findall("^╰", orders, re.MULTILINE)) == len(WHOLE)
    assert {len(line) for line in orders.splitlines() if line[:1] == "│" and line.isascii()} <= {100}


def test_a_table_on_a_terminal_keeps_its_rows() -> None:
    out = io.StringIO()
    table = Table("n", "text")
    texts = [t.replace("[", "(") for t in HOSTILE if "\n" not in visible(t) and len(t) < 300]
    for i, t in enumerate(texts):
        table.add_row(str(i), t)
    terminal(file=out, width=2000).print(table)
    lines = out.getvalue().split("\n")
    assert len(lines) == len(texts) + 5 and not ORDERS.search("".join(lines))


def test_an_error_message_does_not_act(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from artifact.cli import main
    from artifact.errors import ArtifactError

    def fail() -> None:
        raise ArtifactError("problem '\x1b]0;owned\x07' is wrong")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(SystemExit):
        main.main()
    assert capsys.readouterr().err == "error: problem '<U+001B>]0;owned<U+0007>' is wrong\n"


def test_the_log_of_a_notebook_holds_no_orders() -> None:
    from artifact.book.execute import Lines

    log, shown = io.StringIO(), io.StringIO()
    lines = Lines(log, shown)
    lines.write("10 %\r100 %\n\x1b[32mgreen\x1b[0m \x1b]0;x\x07\u202e\n")
    assert log.getvalue() == "100 %\ngreen <U+001B>]0;x<U+0007><U+202E>\n"
    assert not ORDERS.search(shown.getvalue().replace("\n", ""))
