"""Why weights help one family of problems and hurt another: a page for each teacher and family, `why/B-mod.html`.

Three things side by side: by how much the weights moved the accuracy (table `uopd_family_differences`), what phase 1
found of the teacher on that family (table `annotation_by_family`), and the responses themselves: the teacher's answers
to training prompts with their weight, the answers that differ after training, and the tokens of both runs on one
prompt. The runs are those of the lowest seed that both methods have; nothing is computed but counts.
Left out: tiers without these tables, which have no such pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifact.config import Config
from artifact.phase1.records import Annotation
from artifact.records import Rollout, RowGroups, Status, stream_parquet
from artifact.report.tables import BASE
from artifact.site.outputs import Outputs
from artifact.site.pages import Pages
from artifact.site.rollouts import Packer, annotation_of
from artifact.site.runs import Run
from artifact.site.sources import Source
from artifact.site.tokens import Recorded
from artifact.studies import store
from artifact.studies.results import asked_of

DIFFERENCES, PHASE_ONE = "uopd_family_differences", "annotation_by_family"
WEIGHTED, UNIFORM = "uopd-soft", "opd"
"""The cells that are compared: they differ in the weights alone."""

PROMPTS = 6
"""Training prompts that a page shows."""

ANSWERS = 12
"""Problems that a page lists of those that one of the methods alone answers right."""

CORRECT = Status.CORRECT.value

WON, LOST = (False, True), (True, False)
"""Who is right, (without weights, with weights), where weights change the answer."""

CASES = (
    ("right under both", (True, True)),
    ("right with weights alone", WON),
    ("right without weights alone", LOST),
    ("wrong under both", (False, False)),
)

GREEDY = "evaluation/*.greedy.parquet"


@dataclass(frozen=True)
class Answer:
    """What a model answered to a problem after training, and where its response is shown (None: not in this copy)."""

    status: str
    extracted: str
    page: str | None


@dataclass(frozen=True)
class Prompt:
    """A training prompt as the teacher answers it: answers by class as (answer, samples), the largest first."""

    problem: Mapping[str, Any]
    weight: float
    classes: tuple[tuple[str, int], ...]
    right: bool
    page: str | None


@dataclass(frozen=True)
class Family:
    """A family under a teacher.

    difference, low, high  of accuracy, weighted minus uniform, with its interval; a share
    teacher                the row of phase 1 on the family's training prompts
    row                    which row of the table of differences it is
    models                 the measured models in the order of their columns: the untrained one where it was measured on
                           the same problems, uniform, weighted
    counts                 (words, problems): of those that the two methods answer, who is right
    changed                (problem, an answer of each model) where one of the two is right and the other is not
    tokens                 (run, its recorded response) of one training prompt, for each method that recorded it
    """

    name: str
    teacher_name: str
    row: int
    difference: float
    low: float
    high: float
    verdict: str
    teacher: Mapping[str, Any]
    everywhere: Mapping[str, Any]
    models: tuple[Source, ...]
    counts: tuple[tuple[str, int], ...]
    changed: tuple[tuple[Mapping[str, Any], tuple[Answer, ...]], ...]
    prompts: tuple[Prompt, ...]
    tokens: tuple[tuple[Source, Recorded], ...]
    asked: Mapping[str, Any] | None

    @property
    def page(self) -> str:
        return f"why/{self.teacher_name}-{self.name}.html"

    @property
    def points(self) -> str:
        """`+14.6`, in points of a hundred."""
        return f"{100 * self.difference:+.1f}"

    @property
    def interval(self) -> str:
        return f"{100 * self.low:+.1f} to {100 * self.high:+.1f}"


def collect(outputs: Outputs, packer: Packer, runs: Sequence[Run]) -> list[Family]:
    """The families of a tier's tables that have runs behind them, in the order of the table."""
    differences, phase_one = outputs.named("table", DIFFERENCES), outputs.named("table", PHASE_ONE)
    if differences is None or phase_one is None:
        return []
    known = {(r["teacher"], r["group"]): r for r in phase_one.output.frame.to_dict("records")}
    behind = set(differences.output.keys)  # runs of other tasks have cells, teachers and seeds of the same names
    compared = [run for run in runs if run.source.kind != "runs" or run.source.key in behind]
    found = []
    for number, row in enumerate(differences.output.frame.to_dict("records")):
        who = row["teacher"], row["scope"]
        if (row["cell"], row["reference_cell"]) == (WEIGHTED, UNIFORM) and who in known and who[1] != "all":
            everywhere = known[who[0], "all"]
            reader = _Reader.of(who[0], packer, compared)
            if reader is not None:
                found.append(reader.family(number, row, known[who], everywhere))
    return found


def write(pages: Pages, families: Sequence[Family], outputs: Outputs) -> None:
    """The list of families and a page for each."""
    differences, phase_one = outputs.named("table", DIFFERENCES), outputs.named("table", PHASE_ONE)
    pages.write("why.html", "why.html", families=families, differences=differences, phase_one=phase_one)
    for one in families:
        pages.write(one.page, "family.html", one=one, families=families, differences=differences, phase_one=phase_one)


def by_teacher(families: Sequence[Family]) -> dict[str, list[Family]]:
    """Teacher → its families."""
    out: dict[str, list[Family]] = {}
    for one in families:
        out.setdefault(one.teacher_name, []).append(one)
    return out


@dataclass(frozen=True)
class _Reader:
    """The runs of one teacher: untrained, uniform, weighted; its annotation; who of them has responses in this copy."""

    teacher: str
    packer: Packer
    runs: Mapping[str, Run]
    models: tuple[Source, ...]
    annotation: Source
    greedy: Mapping[str, Mapping[str, tuple[str, str]]]

    @classmethod
    def of(cls, teacher: str, packer: Packer, runs: Sequence[Run]) -> _Reader | None:
        """None where the teacher has no seed that both methods were trained with, or no annotation."""
        by_key = {run.source.key: run for run in runs}
        sources = [run.source for run in runs]

        def trained(cell: str) -> dict[int, Source]:
            mine = [s for s in sources if s.kind == "runs" and cell in s.cells and s.teacher == teacher]
            return {s.seed: s for s in mine if s.seed is not None}

        uniform, weighted = trained(UNIFORM), trained(WEIGHTED)
        if not (seeds := sorted(uniform.keys() & weighted.keys())):
            return None
        pair = uniform[seeds[0]], weighted[seeds[0]]
        annotation = annotation_of(Config.model_validate(pair[1].manifest["config"]), packer.annotations)
        if annotation is None:
            return None
        untrained = [s for s in sources if BASE in s.cells and s.decoding in ("", "greedy")]
        greedy = {s.key: greedy_answers(s) for s in (*untrained, *pair)}
        base = [s for s in untrained if greedy[s.key].keys() >= greedy[pair[1].key].keys()][:1]
        return cls(teacher, packer, by_key, (*base, *pair), annotation, greedy)

    def family(self, number: int, row: Mapping[str, Any], teacher: Mapping[str, Any], everywhere: Any) -> Family:
        name = str(row["scope"])
        evaluated = self._problems(self.models[-1], "evaluation")
        answered = [i for i in evaluated if all(i in self.greedy[s.key] for s in self.models)]
        asked = {i: evaluated[i] for i in answered if evaluated[i]["family"] == name}
        right = {i: tuple(self.greedy[s.key][i][0] == CORRECT for s in self.models[-2:]) for i in asked}
        counts = tuple((words, sum(case == who for who in right.values())) for words, case in CASES)
        won, lost = ([i for i, who in right.items() if who == case] for case in (WON, LOST))
        half = ANSWERS // 2
        listed = [*won[: max(half, ANSWERS - len(lost))], *lost[: max(half, ANSWERS - len(won))]]
        train = {i: p for i, p in self._problems(self.models[-1], "rollouts").items() if p["family"] == name}
        tokens = self._tokens(train)
        return Family(
            name,
            self.teacher,
            number,
            float(row["difference"]),
            float(row["low"]),
            float(row["high"]),
            str(row["verdict"]),
            teacher,
            everywhere,
            self.models,
            counts,
            tuple((asked[i], tuple(self._answer(s, i) for s in self.models)) for i in listed),
            tuple(self._prompts(train, {r.problem for _, r in tokens})),
            tokens,
            train[tokens[0][1].problem] if tokens else None,
        )

    def _problems(self, source: Source, what: str) -> Mapping[str, Mapping[str, Any]]:
        paths = store.files(source.folder, GREEDY if what == "evaluation" else "rollouts/*.parquet")
        return {
            i: problem
            for path in (paths if what == "evaluation" else paths[:1])
            for i, problem in self.packer.problems_of(source, *asked_of(source.manifest, what, path)).items()
        }

    def _answer(self, source: Source, problem: str) -> Answer:
        run = self.runs[source.key]
        part = next(i for i, p in enumerate(run.parts) if p.name.endswith(", greedy"))
        page = f"rollouts.html#run={source.key}&part={part}&problem={problem}" if run.parts[part].packed else None
        return Answer(*self.greedy[source.key][problem], page)

    def _tokens(self, problems: Mapping[str, Any]) -> tuple[tuple[Source, Recorded], ...]:
        """The first recorded response of each method to one prompt of the family: of the latest step that both have."""
        found: dict[tuple[int, str], dict[str, Recorded]] = {}
        pair = self.models[-2:]
        for source in pair:
            for r in self.packer.recorded.get(source.key, ()):
                if r.problem in problems:
                    found.setdefault((r.step, r.problem), {}).setdefault(source.key, r)
        if not found:
            return ()
        mine = max(found.items(), key=lambda item: (len(item[1]), item[0]))[1]
        return tuple((s, mine[s.key]) for s in pair if s.key in mine)

    def _prompts(self, problems: Mapping[str, Any], first: set[str]) -> list[Prompt]:
        """Training prompts with the teacher's answers: those whose tokens are shown, then in stored order."""
        path = store.file(self.annotation.folder, "annotations.parquet")
        annotated = {a.problem_id: a for a in stream_parquet(path, Annotation) if a.problem_id in problems}
        chosen = [*(i for i in annotated if i in first), *(i for i in annotated if i not in first)][:PROMPTS]
        samples = self.runs.get(str(self.annotation.manifest.get("samples")))
        where = f"rollouts.html#run={samples.source.key}" if samples is not None and samples.packed else None
        return [_prompt(problems[i], annotated[i], where and f"{where}&problem={i}") for i in chosen]


def greedy_answers(source: Source) -> dict[str, tuple[str, str]]:
    """Problem id → (verdict, extracted answer) of the greedy responses of a result on its final splits."""
    found: dict[str, tuple[str, str]] = {}
    for path in store.files(source.folder, GREEDY):
        groups = RowGroups(path, Rollout)
        for i in range(len(groups)):
            table = groups.table(i, ["problem_id", "status", "extracted"]).to_pydict()
            for problem, status, extracted in zip(*table.values(), strict=True):
                found[problem] = status or "unverified", extracted or "no answer"
    return found


def _prompt(problem: Mapping[str, Any], a: Annotation, page: str | None) -> Prompt:
    members: dict[int, list[str]] = {}
    for cluster, answer in zip(a.cluster_ids, a.answers, strict=True):
        members.setdefault(cluster, []).append(answer or "no answer")
    classes = sorted(((m[0], len(m)) for m in members.values()), key=lambda c: -c[1])
    return Prompt(problem, a.weight, tuple(classes), a.majority_correct == 1, page)
