"""The rollouts of a run as a table that is filtered, each a view of its own.

What a filter looks at lies in columns; a response's ids and log-probabilities are read when it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import pandas as pd

from artifact.errors import ArtifactError
from artifact.inspect.clusters import Cluster
from artifact.inspect.opened import Opened, opened
from artifact.inspect.pairs import Pairs, pairs_of
from artifact.inspect.tokens import Tokens
from artifact.inspect.view import View
from artifact.records import Problem, Rollout, RowGroups
from artifact.studies import store
from artifact.studies.results import split_of

Part = Literal["rollouts", "curve", "evaluation"]
PARTS: tuple[Part, ...] = ("rollouts", "curve", "evaluation")

Span = tuple[float | None, float | None]
"""Smallest and largest value that is kept; None = no bound."""

COLUMNS = ["problem_id", "sample", "text", "finish_reason", "policy_version", "status", "extracted", "detail", "rule"]
"""Columns of `Rollout` that are read for the table."""

FIRST = 50
"""Rows that a table shows; the rest is a filter away."""


def rollouts(run: Any, part: Part = "rollouts") -> Rollouts:
    """The responses of a finished run (its `RunInfo`, key or folder): of training, the curve, or the evaluation."""
    if part not in PARTS:
        raise ArtifactError(f"part = {part!r}; a run holds {', '.join(PARTS)}")
    found = opened(run)
    return Rollouts(found, part, _table(found, part))


def show(rollout: Shown | Rollouts, number: int = 0) -> Shown:
    """One rollout with all that is known of it: the view itself, or the `number`-th of a filtered table."""
    return rollout if isinstance(rollout, Shown) else rollout[number]


def _table(run: Opened, part: Part) -> pd.DataFrame:
    import pyarrow.compute as pc

    frames = []
    for path in store.files(run.folder, f"{part}/*.parquet"):
        groups = RowGroups(path, Rollout)
        for i in range(len(groups)):
            table = groups.table(i, [*COLUMNS, "response_ids", "logprobs"])
            frame = table.select(COLUMNS).to_pandas()
            frame["tokens"] = pc.list_value_length(table["response_ids"]).to_numpy()
            flat = pc.list_flatten(table["logprobs"]).to_numpy()
            owner = pc.list_parent_indices(table["logprobs"]).to_numpy()
            total = pd.Series(flat, dtype=float).groupby(owner).sum().reindex(range(len(frame)), fill_value=0.0)
            frame["mean_logprob"] = total.to_numpy() / frame["tokens"].clip(lower=1)
            split = {"rollouts": run.config.task.train_split, "curve": run.config.evaluation.curve}
            frame["split"] = split.get(part, split_of(path))
            frame["step"] = int(path.stem.split("-")[1]) if part == "curve" else frame["policy_version"]
            frame["file"], frame["group"], frame["row"] = path.name, i, range(len(frame))
            frames.append(frame)
    if not frames:
        raise ArtifactError(
            f"run {run.key} ({run.label}) holds no {part}: its method samples nothing, or train.curve_every is 0"
        )
    out = pd.concat(frames, ignore_index=True)
    facts = {i: p for split in out["split"].unique() for i, p in run.problems(split).items()}
    out["difficulty"] = [facts[i].difficulty for i in out["problem_id"]]
    out["family"] = [str(facts[i].meta.get("family", "")) for i in out["problem_id"]]
    out["question"], out["gold"] = (
        [facts[i].question for i in out["problem_id"]],
        [facts[i].answer for i in out["problem_id"]],
    )
    known = run.annotations
    out["entropy"] = [known[i].normalised if i in known else float("nan") for i in out["problem_id"]]
    out["weight"] = [known[i].weight if i in known else float("nan") for i in out["problem_id"]]
    recorded = set(run.records) if part == "rollouts" else set()
    out["recorded"] = [key in recorded for key in zip(out["step"], out["problem_id"], strict=True)]
    out["status"] = out["status"].fillna("unverified")
    return out


class Rollouts(View):
    """Responses of one run: a table, `.filter(…)` for fewer of them, `[i]` for one."""

    template: ClassVar[str] = "rollouts.html.jinja"

    def __init__(self, run: Opened, part: Part, frame: pd.DataFrame, filters: Sequence[str] = ()) -> None:
        self.run, self.part, self.frame, self.filters = run, part, frame.reset_index(drop=True), tuple(filters)
        self._held: tuple[tuple[str, int], Any] | None = None
        self.title = f"{len(frame):,} {part} of run {run.key}: {run.label}"

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[Shown]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Shown:
        if not -len(self) <= i < len(self):
            raise IndexError(f"rollout {i} of {len(self)}: loosen the filter ({', '.join(self.filters) or 'none'})")
        row = self.frame.iloc[i]
        table = self._read(str(row["file"]), int(row["group"])).slice(int(row["row"]), 1)
        problem = self.run.problems(row["split"])[row["problem_id"]]
        return Shown(self.run, self.part, int(row["step"]), Rollout.from_row(table.to_pylist()[0]), problem)

    def _read(self, file: str, group: int) -> Any:
        """A row group of a file; the one read last is kept, for whoever walks through the table."""
        if self._held is None or self._held[0] != (file, group):
            groups = RowGroups(store.file(self.run.folder, f"{self.part}/{file}"), Rollout)
            self._held = (file, group), groups.table(group)
        return self._held[1]

    def filter(
        self,
        *,
        verdict: str | None = None,
        difficulty: str | None = None,
        family: str | None = None,
        problem: str | None = None,
        step: int | Span | None = None,
        entropy: Span | None = None,
        weight: Span | None = None,
        length: Span | None = None,
        text: str | None = None,
        recorded: bool | None = None,
    ) -> Rollouts:
        """Those that fit all that is given.

        verdict  correct, wrong, unparsed, timeout, error; entropy: H / log N of the teacher on the problem; weight:
        1 − H / log N; length: response tokens; text: part of the response, in either case; recorded: tokens kept
        Spans are (smallest, largest), None for no bound. Raises ArtifactError for a word that no rollout has.
        """
        frame, said = self.frame, list(self.filters)
        keep = pd.Series(True, index=frame.index)
        words = {"status": ("verdict", verdict), "difficulty": ("difficulty", difficulty), "family": ("family", family)}
        for column, (name, word) in (words | {"problem_id": ("problem", problem)}).items():
            if word is not None:
                self._require(column, name, word)
                keep &= frame[column] == word
                said.append(f"{name} = {word}")
        spans = {
            "step": (step, step) if isinstance(step, int) else step,
            "entropy": entropy,
            "weight": weight,
            "tokens": length,
        }
        for column, span in spans.items():
            if span is not None:
                low, high = span
                keep &= frame[column].between(
                    -float("inf") if low is None else low, float("inf") if high is None else high
                )
                said.append(f"{column} {'…' if low is None else low} to {'…' if high is None else high}")
        if text is not None:
            keep &= frame["text"].str.contains(text, case=False, regex=False)
            said.append(f"text has {text!r}")
        if recorded is not None:
            keep &= frame["recorded"] == recorded
            said.append("tokens recorded" if recorded else "tokens not recorded")
        return Rollouts(self.run, self.part, frame[keep], said)

    def _require(self, column: str, name: str, word: str) -> None:
        there = self.frame[column].unique()
        if word not in there and column != "status":
            shown = ", ".join(sorted(map(str, there))[:12])
            raise ArtifactError(f"{name} = {word!r}: no rollout has it; these have {shown}")
        if column == "status" and word not in ("correct", "wrong", "unparsed", "timeout", "error", "unverified"):
            raise ArtifactError(f"verdict = {word!r}; a verdict is correct, wrong, unparsed, timeout or error")

    def to_frame(self) -> pd.DataFrame:
        """One row per response: step, problem, verdict, lengths, the teacher's entropy and weight, texts."""
        hidden = ["file", "group", "row", "split", "policy_version"]
        first = ["step", "problem_id", "sample", "difficulty", "family", "status", "extracted", "gold"]
        return self.frame[[*first, *(c for c in self.frame.columns if c not in {*first, *hidden})]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What the table shows: the first rows."""
        return self.frame.head(FIRST).to_dict("records")

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each verdict."""
        return {str(k): int(v) for k, v in self.frame["status"].value_counts().items()}


class Shown(View):
    """One response with all that is known of it."""

    template: ClassVar[str] = "rollout.html.jinja"

    def __init__(self, run: Opened, part: str, step: int, rollout: Rollout, problem: Problem) -> None:
        self.run, self.part, self.step, self.rollout, self.problem = run, part, step, rollout, problem
        self.title = f"{problem.id} #{rollout.sample}, step {step}, run {run.key}"

    @cached_property
    def tokens(self) -> list[Tokens]:
        """The response token by token, once for each role that was recorded; else as the engine saw it."""
        if self.part == "rollouts":
            mine = [
                r
                for r in self.run.records.get((self.step, self.problem.id), [])
                if r.sample == self.rollout.sample and r.response_ids == self.rollout.response_ids
            ]
            if mine:
                return [Tokens(self.run, r) for r in mine if r.role != "chosen"] or [Tokens(self.run, mine[0])]
        return [Tokens(self.run, self.rollout)]

    @property
    def cluster(self) -> Cluster | None:
        """The teacher's answers to the problem; None where it was not annotated."""
        found = self.run.annotations.get(self.problem.id)
        return None if found is None else Cluster(self.problem, found)

    @property
    def pairs(self) -> Pairs | None:
        """The preference pairs that hold the response; None without any."""
        found = pairs_of(self.run, self.step, self.problem, self.rollout.sample) if self.part == "rollouts" else None
        return found if found is not None and len(found) else None

    @property
    def pieces(self) -> tuple[str, str, str]:
        """The text before the extracted answer, the answer where it stands last, and the text after it."""
        text, verdict = self.rollout.text, self.rollout.verdict
        answer = verdict.extracted if verdict else None
        start = text.rfind(answer) if answer else -1
        if not answer or start < 0:
            return text, "", ""
        return text[:start], answer, text[start + len(answer) :]

    @property
    def prompt(self) -> str:
        """The prompt as the student read it, template and all."""
        return str(self.run.tokenizer.decode(list(self.rollout.prompt_ids), skip_special_tokens=False))

    def evidence(self, name: str) -> str:
        """Its tokens, the teacher's classes and its pairs alone, as a piece of a page (`View.fragment`)."""
        return self.fragment("evidence.html.jinja", name)

    def to_frame(self) -> pd.DataFrame:
        """The tokens of the response in its first role (`Tokens.to_frame`)."""
        return self.tokens[0].to_frame()
