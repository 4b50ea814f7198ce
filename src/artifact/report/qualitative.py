"""U-T3: problems with low and high semantic entropy, with the teacher's answer classes and the student's own answers.

Three groups: *sure and right*, *sure and wrong* (what entropy cannot see) and *unsure*. Nothing is chosen by hand: from
each group problems are drawn with a fixed seed, families taken in turn so that one family does not fill the table. Left
out: sampling the student; its answers are passed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from artifact.errors import ArtifactError
from artifact.escape import html_text
from artifact.phase1.records import Annotation
from artifact.report.text import number

GROUPS = ("sure and right", "sure and wrong", "unsure")

Answers = Mapping[str, tuple[str, bool]]
"""Problem id → (response text, whether it was verified correct)."""


def cluster_frame(annotation: Annotation) -> pd.DataFrame:
    """The answer classes of one problem, likeliest first: one row per answer form.

    Columns: problem_id, cluster (0 = likeliest), probability (of the class, Eq. 4; 0 where it is not counted), form
    (raw answer, "" for a response without one), count (samples of that form).
    """
    a = annotation
    order = sorted(range(len(a.cluster_probs)), key=lambda c: (-a.cluster_probs[c], c))
    rows = []
    for rank, c in enumerate(order):
        forms = Counter(s.strip() for s, k in zip(a.answers, a.cluster_ids, strict=True) if k == c)
        rows += [
            (a.problem_id, rank, a.cluster_probs[c], form, count)
            for form, count in sorted(forms.items(), key=lambda item: (-item[1], item[0]))
        ]
    return pd.DataFrame(rows, columns=["problem_id", "cluster", "probability", "form", "count"])


def _classes(annotation: Annotation) -> list[tuple[float, str]]:
    """(probability, `5 ×4, x=5 ×2`) of each class, likeliest first."""
    out = []
    for _, rows in cluster_frame(annotation).groupby("cluster", sort=True):
        forms = ", ".join(f"{form or 'no answer'} ×{n}" for form, n in zip(rows["form"], rows["count"], strict=True))
        out.append((float(rows["probability"].iloc[0]), forms))
    return out


def _record(records: Mapping[str, Annotation], problem_id: str) -> Annotation:
    if problem_id not in records:
        raise ArtifactError(f"problem {problem_id!r} has no annotation; pass those of the same teacher")
    return records[problem_id]


def group_of(frame: pd.DataFrame, *, correct: str, low: float, high: float) -> pd.Series:
    """The group of each problem, missing where it is in none: sure is H / log N ≤ low, unsure is ≥ high."""
    if not 0 <= low < high <= 1:
        raise ArtifactError(f"low = {low} and high = {high} must satisfy 0 ≤ low < high ≤ 1 (of H / log N)")
    right, sure = frame[correct].astype(bool), frame["normalised"] <= low
    group = pd.Series(pd.NA, index=frame.index, dtype="string")
    group[sure & right], group[sure & ~right], group[frame["normalised"] >= high] = GROUPS
    return group


def _draw(part: pd.DataFrame, count: int, seed: int) -> list[str]:
    """Ids of `count` problems at random, the families in turn; depends on the seed and the set of problems only."""
    rng = np.random.default_rng(seed)
    queues = [list(rng.permutation(sorted(rows["problem_id"]))) for _, rows in sorted(part.groupby("family"), key=str)]
    turns = [queue[i] for i in range(max(map(len, queues), default=0)) for queue in queues if i < len(queue)]
    return [str(i) for i in turns[:count]]


def examples(
    frame: pd.DataFrame,
    annotations: Sequence[Annotation],
    *,
    per_group: int = 3,
    low: float = 0.1,
    high: float = 0.7,
    correct: str = "majority_correct",
    before: Answers | None = None,
    after: Answers | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """The rows of U-T3 for one teacher, group by group.

    frame          `studies.results.annotation_frame`; `correct` names its label column, by default the verdict on the
                   majority answer, which is the answer that is shown
    annotations    the records behind it
    before, after  the student's greedy answers, before and after training; left out where None
    Columns: group, in_group (problems in the whole group), problem_id, difficulty, family, question, answer (gold),
    majority_answer, right, clusters (text), entropy (H / log N), weight, and with student answers before,
    before_correct, after, after_correct. A group without problems has no rows.
    Raises ArtifactError when a drawn problem has no annotation or, where given, no answer of the student.
    """
    records = {a.problem_id: a for a in annotations}
    groups, by_id = group_of(frame, correct=correct, low=low, high=high), frame.set_index("problem_id")
    rows = []
    for name in GROUPS:
        part = frame[(groups == name).fillna(False).astype(bool)]
        for problem_id in _draw(part, per_group, seed):
            r, classes = by_id.loc[problem_id], _classes(_record(records, problem_id))
            row = {
                "group": name,
                "in_group": len(part),
                "problem_id": problem_id,
                "difficulty": r["difficulty"],
                "family": r["family"],
                "question": r["question"],
                "answer": r["answer"],
                "majority_answer": r["majority_answer"],
                "right": bool(r[correct]),
                "clusters": "; ".join(f"{forms} (p = {p:.2f})" for p, forms in classes),
                "entropy": float(r["normalised"]),
                "weight": float(r["weight"]),
            }
            for column, answers in (("before", before), ("after", after)):
                if answers is not None:
                    if problem_id not in answers:
                        raise ArtifactError(
                            f"the student's answers ({column}) lack problem {problem_id!r}; let it answer the "
                            "training problems"
                        )
                    row[column], row[f"{column}_correct"] = answers[problem_id]
            rows.append(row)
    if not rows:
        raise ArtifactError(f"no problem has H / log N ≤ {low} or ≥ {high}; choose other bounds")
    return pd.DataFrame(rows)


def shorten(text: str, most: int = 90) -> str:
    """The text on one line, its middle left out beyond `most` characters: a response's end holds its answer."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    head = (most - 3) // 3
    return f"{line[:head]} … {line[-(most - 3 - head) :]}"


def _mark(correct: bool) -> str:
    return "right" if correct else "wrong"


def format_examples(table: pd.DataFrame) -> pd.DataFrame:
    """`examples` as a reader sees them, for `save_table(shown=…)`."""
    shown = pd.DataFrame(
        {
            "group": [f"{g} ({n})" for g, n in zip(table["group"], table["in_group"], strict=True)],
            "problem": [
                f"{shorten(q)} [{f}, {t}]"
                for q, f, t in zip(table["question"], table["family"], table["difficulty"], strict=True)
            ],
            "teacher's classes": [shorten(c, 160) for c in table["clusters"]],
            "majority": table["majority_answer"].where(table["majority_answer"] != "", "no answer"),
            "gold": table["answer"],
            "teacher": table["right"].map(_mark),
            "H / log N": [number(value, 2) for value in table["entropy"]],
            "w": [number(value, 2) for value in table["weight"]],
        }
    )
    for column in ("before", "after"):
        if column in table.columns:
            shown[f"student {column}"] = [
                f"{shorten(text, 60)} ({_mark(ok)})"
                for text, ok in zip(table[column], table[f"{column}_correct"], strict=True)
            ]
    return shown


_CARD = "border:1px solid #d0d0d0;border-radius:4px;padding:8px 12px;margin:8px 0;font-size:90%"
_BAR = "display:inline-block;height:0.8em;background:{color};width:{width:.0f}px;margin-right:6px"
_COLORS = {True: "#009E73", False: "#D55E00"}


def _student_html(row: Mapping[str, object], column: str) -> str:
    ok = bool(row[f"{column}_correct"])
    return (
        f"<div><b>student {column}</b> <span style='color:{_COLORS[ok]}'>{_mark(ok)}</span>: "
        f"<code>{html_text(str(row[column]))}</code></div>"
    )


def examples_html(table: pd.DataFrame, annotations: Sequence[Annotation]) -> str:
    """`examples` as static HTML: one card per problem, one bar per class (its probability), the student's full text."""
    records = {a.problem_id: a for a in annotations}
    parts = []
    for group, part in table.groupby("group", sort=False):
        parts.append(f"<h4>{html_text(str(group))} ({part['in_group'].iloc[0]} problems)</h4>")
        for row in part.to_dict("records"):
            bars = [
                f"<div><span style='{_BAR.format(color='#0072B2', width=200 * p)}'></span>{p:.2f}: "
                f"{html_text(forms)}</div>"
                for p, forms in _classes(_record(records, row["problem_id"]))
            ]
            student = "".join(_student_html(row, c) for c in ("before", "after") if c in table.columns)
            parts.append(
                f"<div style='{_CARD}'><div><b>{html_text(row['question'])}</b> "
                f"<span style='color:#777'>{html_text(row['family'])}, {html_text(row['difficulty'])}</span></div>"
                f"<div>gold <code>{html_text(row['answer'])}</code>; majority "
                f"<code>{html_text(row['majority_answer'] or 'no answer')}</code>, teacher "
                f"<span style='color:{_COLORS[row['right']]}'>{_mark(row['right'])}</span>; "
                f"H / log N = {row['entropy']:.2f}, w = {row['weight']:.2f}</div>{''.join(bars)}{student}</div>"
            )
    return "\n".join(parts)
