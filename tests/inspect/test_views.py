"""Views of a stored run: what they show is what lies in its files, whatever is in a text stays text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from tests.inspect.world import HOSTILE, KEY, stored_annotation, stored_run

from artifact import inspect
from artifact.book.page import to_html
from artifact.config import load
from artifact.errors import ArtifactError
from artifact.inspect.collection import Rollouts
from artifact.inspect.opened import annotation_beside
from artifact.inspect.pairs import word_diff
from artifact.inspect.tokens import levels_of
from artifact.inspect.view import View, style_sheet
from artifact.records import Rollout, read_parquet
from artifact.train.token_records import TokenRecord


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A results folder with a recorded CORE run, its teacher's annotation, and one with another number of samples."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARTIFACT_RESULTS", str(folder))
        stored_run()
        stored_annotation()
        stored_annotation(4, "0000000000000000")
        yield folder


@pytest.fixture
def table(results: Path) -> Rollouts:
    return inspect.rollouts(KEY)


@pytest.fixture(scope="module")
def drawn(results: Path) -> list[Rollout]:
    return [r for path in sorted((results / "runs" / KEY / "rollouts").iterdir()) for r in read_parquet(path, Rollout)]


@pytest.fixture(scope="module")
def records(results: Path) -> list[TokenRecord]:
    paths = sorted((results / "runs" / KEY / "tokens").iterdir())
    return [r for path in paths for r in read_parquet(path, TokenRecord)]


def test_the_table_is_what_lies_in_the_files(table: Rollouts, drawn: list[Rollout]) -> None:
    assert len(table) == len(drawn) == 4 * 2 * 4
    frame = table.to_frame()
    assert frame["text"].tolist() == [r.text for r in drawn]
    assert frame["tokens"].tolist() == [len(r.response_ids) for r in drawn]
    assert frame["mean_logprob"].tolist() == pytest.approx([r.mean_logprob for r in drawn], abs=1e-6)
    assert frame["step"].tolist() == [r.policy_version for r in drawn]
    assert [shown.rollout for shown in table] == drawn and table[-1].rollout == drawn[-1]
    assert set(frame.loc[frame["problem_id"] == "p0", "weight"]) <= {0.667}
    assert frame.loc[frame["problem_id"] == "p3", "entropy"].isna().all()
    assert table.run.label == "core, teacher A, seed 0"


def test_filters_keep_what_fits_all_of_them(table: Rollouts, drawn: list[Rollout]) -> None:
    def ids(found: Rollouts) -> list[tuple[int, str, int]]:
        return [(s.step, s.problem.id, s.rollout.sample) for s in found]

    def expected(fits: object) -> list[tuple[int, str, int]]:
        return [(r.policy_version, r.problem_id, r.sample) for r in drawn if fits(r)]  # type: ignore[operator]

    assert ids(table.filter(verdict="wrong")) == expected(lambda r: not r.correct)
    assert ids(table.filter(family="b", difficulty="hard")) == expected(lambda r: r.problem_id in ("p1", "p3"))
    assert ids(table.filter(step=2, length=(3, None))) == expected(
        lambda r: r.policy_version == 2 and len(r.response_ids) >= 3
    )
    assert ids(table.filter(step=(1, 2))) == expected(lambda r: r.policy_version in (1, 2))
    assert ids(table.filter(entropy=(0.1, 0.5))) == expected(lambda r: r.problem_id == "p0")
    assert ids(table.filter(weight=(0.9, None))) == expected(lambda r: r.problem_id == "p1")
    assert ids(table.filter(text="ALERT(1)")) == expected(lambda r: "alert(1)" in r.text)
    assert ids(table.filter(problem="p0").filter(verdict="correct")) == expected(
        lambda r: r.problem_id == "p0" and r.correct
    )
    assert len(table.filter(recorded=False)) == 0 and len(table.filter(recorded=True)) == len(table)
    assert table.filter(step=99).to_html()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"verdict": "right"}, "verdict = 'right'; a verdict is correct, wrong"),
        ({"family": "z"}, "family = 'z': no rollout has it; these have a, b"),
        ({"problem": "p9"}, "problem = 'p9': no rollout has it; these have p0"),
    ],
)
def test_a_word_that_no_rollout_has_is_refused(table: Rollouts, asked: dict[str, str], message: str) -> None:
    with pytest.raises(ArtifactError, match=re.escape(message)):
        table.filter(**asked)  # type: ignore[arg-type]


def test_the_annotation_beside_a_run_is_clustered_as_the_run_says(results: Path) -> None:
    beside = annotation_beside(load("tiny"))
    assert beside is not None and beside.name == "00000000000a0000"
    assert annotation_beside(load("tiny", {"annotation.clustering": "exact"})) is None


def test_what_is_not_there_is_said(table: Rollouts, results: Path) -> None:
    with pytest.raises(ArtifactError, match="part = 'samples'; a run holds rollouts, curve, evaluation"):
        inspect.rollouts(KEY, "samples")  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="of kind 'annotations'"):
        inspect.rollouts("00000000000a0000")
    with pytest.raises(IndexError, match="rollout 3 of 0: loosen the filter"):
        table.filter(step=99)[3]
    with pytest.raises(ArtifactError, match="'p3' is not annotated for run"):
        inspect.cluster(KEY, "p3")
    with pytest.raises(ArtifactError, match=r"no pair of 'p0' at step 77; \(step, problem\) with pairs: \("):
        inspect.pairs(KEY, 77, "p0")
    with pytest.raises(ArtifactError, match="'p9' is in neither curve nor rollouts"):
        inspect.through_training(KEY, "p9")


def test_the_answer_is_marked_where_it_stands(table: Rollouts) -> None:
    shown = next(s for s in table if s.rollout.correct)
    before, answer, after = shown.pieces
    assert before + answer + after == shown.rollout.text and answer == shown.rollout.verdict.extracted  # type: ignore[union-attr]
    assert answer not in after and f'<mark class="answer">{answer}</mark>' in shown.to_html()


def test_tokens_are_the_records(table: Rollouts, records: list[TokenRecord]) -> None:
    seen = 0
    for shown in table:
        mine = [
            r
            for r in records
            if (r.step, r.problem_id, r.sample) == (shown.step, shown.problem.id, shown.rollout.sample)
            and r.role != "chosen"
        ]
        if not mine:
            continue
        frame, r = shown.to_frame(), mine[0]
        assert [t.role for t in shown.tokens] == [m.role for m in mine]
        assert frame["student_logprob"].tolist() == pytest.approx(r.student_logprobs)
        assert frame["teacher_logprob"].tolist() == pytest.approx(r.teacher_logprobs)
        assert frame["divergence"].tolist() == pytest.approx(r.divergence)
        assert frame["entropy"].tolist() == pytest.approx(r.teacher_entropy)
        assert frame["surprise"].tolist() == pytest.approx([-x for x in r.student_logprobs])
        if r.loss_weight is not None:
            pull = np.asarray(r.divergence) if r.role == "distil" else 1.0
            terms = np.abs(np.asarray(r.loss_weight) * pull)
            assert frame["share"].tolist() == pytest.approx((terms / terms.sum()).tolist())
        likeliest = shown.tokens[0].tokens[0].teacher_top
        assert len(likeliest) == 5 and likeliest[0][1] == pytest.approx(math.exp(r.teacher_top_logprobs[0]))  # type: ignore[index]
        assert [same for _, _, same in likeliest] == [i == r.response_ids[0] for i in r.teacher_top_ids[:5]]  # type: ignore[index]
        seen += 1
    assert seen > 20


def test_a_rollout_without_a_record_shows_what_its_engine_said(results: Path) -> None:
    shown = inspect.rollouts(KEY, "evaluation")[0]
    frame = shown.to_frame()
    assert frame["student_logprob"].tolist() == list(shown.rollout.logprobs)
    assert frame["teacher_logprob"].isna().all() and "divergence" not in frame
    assert "were not recorded" in shown.to_html()


def test_colour_grows_with_the_value() -> None:
    assert levels_of([0.0, 1.0, 4.0], "divergence").tolist() == [0, 4, 9]
    assert levels_of([0.0, 0.25], "divergence").tolist() == [0, 4], "small values stay pale: 1 nat is full colour"
    assert levels_of([0.1, 0.9], "share").tolist() == [3, 9]
    assert levels_of([0.0, math.inf, math.nan], "surprise").tolist() == [0, 0, 0]


def test_the_card_shows_classes_mass_and_judge(results: Path) -> None:
    card = inspect.cluster(KEY, "p0")
    assert card.classes == [(0.75, 4, "a ×3, (a) ×1"), (0.25, 4, f"{HOSTILE.strip()} ×4")]
    page = card.to_html()
    assert "weight w = <b>0.67</b>" in page and "1 decision of the judge (symbolic)" in page and "mean the same" in page
    assert "(wrong)" in inspect.cluster(KEY, "p1").to_html()
    assert card.to_frame()["count"].sum() == 8


def test_pairs_show_what_the_loss_saw(results: Path, records: list[TokenRecord]) -> None:
    rejected = [r for r in records if r.role == "rejected"]
    r = next(r for r in rejected if r.step > 0)
    found = inspect.pairs(KEY, r.step, r.problem_id)
    of_problem = [x for x in rejected if (x.step, x.problem_id) == (r.step, r.problem_id)]
    assert [p.rejected for p in found] == of_problem and all(p.chosen.example == p.rejected.example for p in found)
    frame = found.to_frame()
    assert frame["margin"].tolist() == [x.margin for x in of_problem]
    for row in frame.to_dict("records"):
        assert row["margin"] == pytest.approx(0.1 * (row["chosen_log_ratio"] - row["rejected_log_ratio"]), abs=1e-6)
    assert "margin" in found.to_html() and "rejected: own rollout" in found.to_html()
    one = next(
        s for s in inspect.rollouts(KEY).filter(step=r.step, problem=r.problem_id) if s.rollout.sample == r.sample
    )
    assert one.pairs is not None and len(one.pairs) == 1 and "Pairs" in one.to_html()


def test_words_that_both_texts_have_are_not_marked() -> None:
    left, right = word_diff("x=10; so 12", "x=11; so 12")
    assert left == [
        ("x", True),
        ("=", True),
        ("10", False),
        (";", True),
        (" ", True),
        ("so", True),
        (" ", True),
        ("12", True),
    ]
    assert [w for w, same in right if not same] == ["11"]


def test_one_problem_through_training_and_before_and_after(results: Path) -> None:
    curve = inspect.through_training(KEY, "p1").to_frame()
    assert curve["step"].tolist() == [0, 2, 4]
    assert inspect.through_training(KEY, "p4").to_frame()["step"].is_monotonic_increasing
    two = inspect.before_after(KEY, "p1")
    assert two.to_frame()["step"].tolist() == [0, 4]
    assert "".join(w for w, _ in two.words[0]) == two.to_frame()["text"][0]


class Elements(HTMLParser):
    """The elements, ids and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.for_: list[str] = []
        self.other: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name == "for" or (name == "href" and str(value).startswith("#")):  # both lead to an id of the page
                self.for_.append(str(value).removeprefix("#"))
            elif name in ("href", "src", "style") or name.startswith("on"):
                self.other.append((name, str(value)))


def views(table: Rollouts, records: list[TokenRecord]) -> list[View]:
    hostile = table.filter(text="<script>", recorded=True)
    r = next(r for r in records if r.role == "rejected")
    problem = hostile[0].problem.id
    made: list[View] = [table, *list(hostile), inspect.cluster(KEY, "p0"), inspect.pairs(KEY, r.step, r.problem_id)]
    return [*made, inspect.through_training(KEY, problem), inspect.before_after(KEY, "p0")]


def test_every_view_keeps_text_as_text_and_needs_nothing_beside_it(
    table: Rollouts, records: list[TokenRecord], tmp_path: Path
) -> None:
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    hostile = 0
    for view in views(table, records):
        page = view.to_html(tmp_path / "page.html")
        assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
        found = Elements()
        found.feed(page)
        assert not {"script", "img", "iframe", "link", "object"} & set(found.tags) and found.other == []
        assert len(found.ids) == len(set(found.ids)) and set(found.for_) <= set(found.ids)
        assert "\u202e" not in page and "default-src 'none'" in page and "http" not in page.split("<main>")[1]
        hostile += escaped in page
        assert view._repr_html_().startswith("<style>") and len(view.to_frame()) > 0
    assert hostile >= 5


def test_two_views_on_one_page_are_two_groups_of_buttons(table: Rollouts) -> None:
    first, second = (re.findall(r'name="(av[\w-]+)"', table[0].fragment()) for _ in range(2))
    assert first and not set(first) & set(second)


def test_show_takes_a_view_or_a_table(table: Rollouts) -> None:
    assert inspect.show(table, 2).rollout == table[2].rollout
    one = table[1]
    assert inspect.show(one) is one


def test_the_page_of_a_notebook_keeps_a_view_with_its_buttons_and_style(table: Rollouts, tmp_path: Path) -> None:
    """And nothing else that could be typed into or sent, also where an output only says that it is a view."""
    view = next(s for s in table.filter(recorded=True) if s.pairs)
    forged = "<div class='artifact-view'><input name='q'><input type='text'><form action='x'><button>go</button></form>"
    outputs = [new_output("display_data", {"text/html": html}) for html in (view._repr_html_(), forged)]
    page = to_html(new_notebook(cells=[new_code_cell("0", outputs=outputs)]), tmp_path, "a")
    found, own = Elements(), Elements()
    found.feed(page)
    own.feed(view.fragment())
    assert found.tags.count("input") == own.tags.count("input") == page.count('type="radio"')
    assert set(own.for_) and len(own.for_) == len([f for f in found.for_ if f.startswith("av")])
    assert page.count(style_sheet()) == 1 and "form" not in found.tags
    plain = to_html(new_notebook(cells=[new_code_cell("0")]), tmp_path, "a")
    assert style_sheet() not in plain


def test_the_evidence_of_a_response_is_the_part_of_its_view_below_the_text(table: Rollouts) -> None:
    shown = table.filter(recorded=True)[0]
    piece = shown.evidence("x")
    assert piece == shown.evidence("x"), "the same bytes for the same response"
    assert 'name="avx-1-at"' in piece and 'name="avy-1-at"' in shown.evidence("y")
    own = shown.fragment()
    assert "<h4>Response</h4>" in own and "<h4>Response</h4>" not in piece
    assert own.count('class="t ') == piece.count('class="t ') > 0
