"""The responses of a stored result as one pack that a page filters: columns of numbers and a list of distinct strings.

The problems they answer are shared by all results of a task and split, so they are packs of their own. A response keeps
what a reader asks of it: text, verdict and why, extracted answer, tokens, mean log-probability, and the weight w(x)
that its run gave its prompt. Left out: tokens one by one (`tokens.py`; a pack says which of its responses have some).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from artifact.config import Config, TaskSection
from artifact.phase1.records import Annotation
from artifact.phase1.weights import weights_for
from artifact.provenance import text_hash
from artifact.records import Problem, Rollout, RowGroups, stream_parquet
from artifact.site.pages import Pages
from artifact.site.sources import Source
from artifact.site.tokens import Drawn, Recorded
from artifact.studies import keys, store
from artifact.studies.inputs import metric_of
from artifact.studies.results import asked_of, stored_problems

COLUMNS = [
    "problem_id",
    "sample",
    "response_ids",
    "logprobs",
    "text",
    "finish_reason",
    "policy_version",
    "response_mask",
]
COLUMNS += ["status", "extracted", "detail", "rule"]

PATTERNS = {
    "evaluation": "evaluation/*.parquet",
    "curve": "curve/*.parquet",
    "rollouts": "rollouts/*.parquet",
    "samples": "samples.parquet",
    "greedy": "greedy.parquet",
}
"""Part of a stored result (`results.WHAT`) → its files; the rollouts of a distance are one file of that name."""

PackTokens = Callable[[Source, Mapping[Drawn, int]], tuple[Recorded, ...]]
"""Packs what is recorded of the tokens of a result, given the places of its rollouts (`tokens.write_tokens`)."""


@dataclass(frozen=True)
class Part:
    """A part of a result as its page lists it: `evaluation, greedy`; `packed`: its responses are on the site."""

    name: str
    responses: int
    right: int
    total_tokens: int
    packed: bool

    @property
    def correct(self) -> str:
        return f"{100 * self.right / self.responses:.1f} %" if self.responses else "–"

    @property
    def tokens(self) -> str:
        return f"{self.total_tokens / self.responses:.1f}" if self.responses else "–"


class _Strings:
    """Distinct strings, each by its number."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.of.setdefault(text, len(self.of))


@dataclass
class Packer:
    """Writes packs of rollouts.

    annotations  the stored ones, from which weights are taken
    light        greedy answers and rollouts of training alone are packed
    recorded     of each result that was packed, whose tokens the site shows
    """

    pages: Pages
    annotations: list[Source]
    tokens: PackTokens = lambda source, places: ()
    light: bool = False
    recorded: dict[str, tuple[Recorded, ...]] = field(default_factory=dict)
    _problems: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    _weights: dict[str, Mapping[str, float]] = field(default_factory=dict)

    def pack(self, source: Source, write: bool) -> list[Part]:
        """The parts of the responses of `source`, none where it holds none; with `write` their pack is written."""
        strings, statuses, finishes = _Strings(), _Strings(), _Strings()
        rows: dict[str, list[Any]] = {
            name: [] for name in "part step problem sample text status extracted why tokens logprob finish".split()
        }
        parts: list[Part] = []
        problems: dict[str, dict[str, Any]] = {}
        trained: dict[Drawn, int] = {}
        for what, pattern in PATTERNS.items():
            found = store.files(source.folder, pattern) or (
                store.files(source.folder, "rollouts.parquet") if what == "rollouts" else []
            )
            paths = [found] if what == "rollouts" and found else [[path] for path in found]
            for together in paths:
                task, split = asked_of(source.manifest, what, together[0])
                problems |= self.problems_of(source, task, split)
                name = _part_name(what, together[0].stem)
                first = len(rows["step"])
                packed = write and (not self.light or what == "rollouts" or together[0].stem.endswith("greedy"))
                kept = rows if packed else None
                part = self._columns(name, len(parts), together, what, kept, (strings, statuses, finishes))
                parts.append(part)
                if packed and what == "rollouts":
                    drawn = zip(rows["step"][first:], rows["problem"][first:], rows["sample"][first:], strict=True)
                    trained = {which: place for place, which in enumerate(drawn, start=first)}
        if any(part.packed for part in parts):
            ids = {i: number for number, i in enumerate(dict.fromkeys(rows["problem"]))}
            items = [problems[i] for i in ids]
            name = text_hash("\0".join(ids))
            if not (self.pages.out / "data" / "problems" / f"{name}.js").is_file():
                self.pages.pack(f"problems/{name}", {"items": items})
            rows["problem"] = [ids[i] for i in rows["problem"]]
            weights = self._weights_of(source)
            self.recorded[source.key] = self.tokens(source, trained)
            value = {
                "key": source.key,
                "name": source.name,
                "parts": [p.name for p in parts],
                "problems": name,
                "statuses": list(statuses.of),
                "finishes": list(finishes.of),
                "strings": list(strings.of),
                "rows": rows,
                "weights": {i: round(w, 4) for i in ids if (w := weights.get(i)) is not None} if weights else None,
                "tokens": [r.place for r in self.recorded[source.key]],
            }
            self.pages.pack(f"rollouts/{source.key}", value)
        return parts

    def problems_of(self, source: Source, task: TaskSection, split: str) -> dict[str, dict[str, Any]]:
        """The problems of a split by id, as a page needs them."""
        name = "" if store.files(source.folder, "problems.parquet") else f"{task.model_dump_json()}\0{split}"
        if name and name in self._problems:
            return self._problems[name]
        found = {i: _shown(p) for i, p in stored_problems(source.folder, task, split).items()}
        if name:
            self._problems[name] = found
        return found

    def _columns(
        self,
        name: str,
        number: int,
        paths: list[Any],
        what: str,
        rows: dict[str, list[Any]] | None,
        words: tuple[_Strings, ...],
    ) -> Part:
        """Count what a part's files hold, and append it to `rows` where they are given."""
        strings, statuses, finishes = words
        responses = right = tokens = 0
        for path in paths:
            groups = RowGroups(path, Rollout)
            for i in range(len(groups)):
                table = groups.table(i, COLUMNS)
                at = {
                    c: table.column(c).to_pylist()
                    for c in COLUMNS
                    if c not in ("response_ids", "logprobs", "response_mask")
                }
                lengths, means = _lengths_and_means(table)
                n = table.num_rows
                responses, tokens = responses + n, tokens + int(lengths.sum())
                right += sum(s == "correct" for s in at["status"])
                if rows is None:
                    continue
                step = int(path.stem.split("-")[1]) if what == "curve" else -1
                rows["part"] += [number] * n
                rows["step"] += at["policy_version"] if what == "rollouts" else [step] * n
                rows["problem"] += at["problem_id"]
                rows["sample"] += at["sample"]
                rows["text"] += map(strings, at["text"])
                rows["status"] += [statuses(s or "unverified") for s in at["status"]]
                rows["extracted"] += [-1 if e is None else strings(e) for e in at["extracted"]]
                why = (": ".join(filter(None, pair)) for pair in zip(at["rule"], at["detail"], strict=True))
                rows["why"] += map(strings, why)
                rows["tokens"] += lengths.tolist()
                rows["logprob"] += [round(v, 3) for v in means.tolist()]
                rows["finish"] += map(finishes, at["finish_reason"])
        return Part(name, responses, right, tokens, rows is not None)

    def _weights_of(self, source: Source) -> Mapping[str, float]:
        """w(x) by problem of a run that weights its prompts, by its method's own scheme; empty where it does not."""
        if source.kind != "runs" or not source.manifest["needs"]["uncertainty"]:
            return {}
        config = Config.model_validate(source.manifest["config"])
        annotation = annotation_of(config, self.annotations)
        if annotation is None:
            return {}
        weighting = config.make_method().weighting()
        name = f"{annotation.key}{weighting}"
        if name not in self._weights:
            path = store.file(annotation.folder, "annotations.parquet")
            metric = None
            if weighting.scheme == "similarity":
                trained = stored_problems(source.folder, config.task, config.task.train_split)
                metric = metric_of(config.task, trained.values())
            self._weights[name] = weights_for(weighting, stream_parquet(path, Annotation), metric)
        return self._weights[name]


def annotation_of(config: Config, annotations: list[Source]) -> Source | None:
    """The annotation of phase 1 that a run of `config` reads: of its teacher and task, with its settings.

    The last made where one was made again under other code.
    """
    a = config.annotation
    wanted = a.model_dump(mode="json") | {"draw": a.draw or a.samples} | keys.settings(config, "task")
    fits = []
    for source in annotations:
        stated = source.manifest["settings"]
        same = all(stated[name] == value for name, value in wanted.items() if name in stated)
        if same and source.manifest["model"] == config.teacher_path:
            fits.append(source)
    return max(fits, key=lambda s: str(store.run_info(s.folder)["finished"]), default=None)


def _part_name(what: str, stem: str) -> str:
    if what == "curve":
        return f"curve, step {int(stem.split('-')[1])}"
    if what == "rollouts":
        return "rollouts of training"
    return {"samples": "samples of the teacher", "greedy": "greedy answers of the teacher"}.get(
        what, stem.replace(".", ", ")
    )


def _shown(p: Problem) -> dict[str, Any]:
    family = str(p.meta.get("family", ""))
    return {"id": p.id, "question": p.question, "answer": p.answer, "difficulty": p.difficulty, "family": family}


def _lengths_and_means(table: Any) -> tuple[np.ndarray, np.ndarray]:
    """Response tokens of each row of a table of rollouts, and their mean log-probability (`Rollout.mean_logprob`)."""
    column = table.column("logprobs").combine_chunks()
    ends = np.asarray(column.offsets)
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(column.values, dtype=np.float64))])
    lengths = np.diff(ends)
    chosen = lengths.copy()
    for i, mask in enumerate(table.column("response_mask").to_pylist()):
        if mask is not None:
            chosen[i] = sum(mask)
    total = sums[ends[1:]] - sums[ends[:-1]]
    return lengths, np.divide(total, chosen, out=np.zeros(len(total)), where=chosen > 0)
