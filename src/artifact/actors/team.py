"""`train.workers.Workers` on Ray: student ranks, engines, teacher and reference, every call with a deadline.

Weight sync is proven each time: what arrived has the fingerprints of what was sent, and after the transfer both sides
score the same fixed tokens, because a version counter alone would say that all is well. The papers' driver is
VtDTrainerRay. Left out: opening the actors (`session.py`).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from artifact.actors.calls import call
from artifact.actors.memory import give_back_cached
from artifact.actors.object_store import bytes_per_token, pieces
from artifact.actors.session import Actors
from artifact.actors.sync_groups import form, groups_of, scores_are_lent
from artifact.actors.weight_sync import Spec, not_finite
from artifact.config import Config
from artifact.errors import ActorTimeout, NonFinite
from artifact.paths import resolve_model
from artifact.records import Rollout
from artifact.train.examples import Example, TokenPair
from artifact.train.inputs import RunInputs
from artifact.train.objective import to_reference, to_score
from artifact.train.rollouts import Completion
from artifact.train.sync_check import (
    check_arrived,
    check_ranks,
    check_sampled,
    check_weight_sync,
    diverged,
    first_rollouts,
)
from artifact.train.token_reading import Answer, Question, answers
from artifact.train.workers import Handle, StepWork


class RayWorkers:
    """The actors of one run under `config`.

    self_teacher    distillation is scored by the student's own initial weights instead of the run's teacher
    stop_token_ids  where a teacher's own answer ends
    transfer        the way by which weights go into the engines (`transfer.py`); empty before `start`
    scores_lent     each rank reads its teacher's scores in the teacher's memory (`lent_scores.py`); not so before it
    """

    def __init__(
        self, config: Config, actors: Actors, inputs: RunInputs, stop_token_ids: Sequence[int], *, self_teacher: bool
    ) -> None:
        self.config, self.actors, self.stop_token_ids = config, actors, tuple(stop_token_ids)
        self.base = resolve_model(config.models.student)
        self.scorer = self.base if self_teacher else resolve_model(config.teacher_path)
        self.ranks = len(actors.students)
        self.vocabulary = inputs.vocabulary
        self.probe = probe_sequences(inputs)
        self._spec: Spec | None = None
        self.transfer = ""
        self.scores_lent = False
        self._last: tuple[int, list[dict[str, float]]] | None = None  # step and metrics of the ranks
        self._parts: list[list[Any]] = []  # what was handed out of a step, by rank
        self._asleep = False

    def _call(self, refs: Any, what: str) -> Any:
        return call(refs, self.config.cluster.step_timeout_s, what)

    def start(self, total_steps: int) -> None:
        """Reset the student to the base weights, and form the weight-sync groups where they are not formed yet."""
        self._spec = start_student(self.actors, self.config, total_steps)
        self.transfer = form(self.actors, self.config.cluster)
        self.scores_lent = scores_are_lent(self.actors, self.config.cluster, self.transfer)
        self._take_back_scores()  # of a run that failed

    def teacher_scores(self, shards: Sequence[Sequence[Example]], *, wait: bool = True) -> list[Handle | None]:
        """The scorer's top-k of each shard's distillation examples of a weight other than 0: bounded objects."""
        self._take_devices()
        wanted = [to_score(shard) for shard in shards]
        scored = self._beside_each_rank(partial(self._scores, wait=wait, lent=self.scores_lent), wanted)
        return [tuple(found) or None for found in scored]

    def _beside_each_rank(self, work: Callable[[Any, int], Any], of_ranks: Sequence[Any]) -> list[Any]:
        """`work(of, rank)` of each rank; at the same time where every rank has a scorer of its own."""
        with ThreadPoolExecutor(len(self.actors.teachers) or 1) as pool:
            return list(pool.map(work, of_ranks, range(len(of_ranks))))

    def _take_devices(self) -> None:
        """Colocated engines sleep from here to the next weight sync, for their devices are the other roles'."""
        if self.config.cluster.layout == "colocated" and not self._asleep:
            self._call([e.sleep.remote() for e in self.actors.engines], "putting engines to sleep")
            self._asleep = True

    def _scores(
        self, wanted: dict[int, TokenPair], rank: int = 0, *, wait: bool = True, lent: bool = False
    ) -> list[Any]:
        """The scorer's top-k of `wanted`, of `rank`, as references to one object or several; `lent`: for it alone."""
        if not wanted:
            return []
        teacher = self.actors.teachers[rank % len(self.actors.teachers)]
        ask = teacher.lend_scores if lent else teacher.teacher_scores
        d, o = self.config.losses.distil, self.config.optimiser
        refs: list[Any] = []
        for piece in pieces(wanted, bytes_per_token(self.config, self.vocabulary)):
            refs.append(
                ask.remote(
                    self.scorer,
                    piece,
                    d.top_k,
                    d.temperature,
                    o.micro_batch_tokens,
                    d.support == "tail",
                    self.vocabulary,
                    o.shared_prompts,
                )
            )
            if wait:
                self._wait(refs[-1], "teacher scores")
        return refs

    def reference_logprobs(self, shards: Sequence[Sequence[Example]], *, wait: bool = True) -> list[Handle | None]:
        """log p_ref of each shard's preference and policy-gradient examples, in the object store."""
        self._take_devices()
        o, references = self.config.optimiser, self.actors.references
        out: list[Handle | None] = []
        for rank, shard in enumerate(shards):
            wanted = to_reference(shard, self.config.losses)
            ref = None
            if wanted:
                ref = references[rank % len(references)].reference_logprobs.remote(
                    self.base, wanted, o.micro_batch_tokens, o.shared_prompts
                )
            out.append(ref)
        for ref in filter(None, out if wait else ()):
            self._wait(ref, "reference log-probabilities")
        return out

    def _wait(self, ref: Any, what: str) -> None:
        """Until `ref` is there or its task failed (then whoever opens it says why); nothing is fetched."""
        import ray

        timeout = self.config.cluster.step_timeout_s
        if not ray.wait([ref], timeout=timeout, fetch_local=False)[0]:
            raise ActorTimeout(f"{what} did not finish within {timeout:.0f} s; raise cluster.step_timeout_s")

    def teacher_answers(
        self, prompts: Sequence[tuple[int, ...]], how: str, *, temperature: float, max_new_tokens: int, seed: int
    ) -> list[Completion]:
        """A fresh response of the scorer to each prompt."""
        ref = self.actors.teacher.answer.remote(
            self.scorer,
            prompts,
            how,
            top_k=self.config.losses.distil.top_k,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            stop_token_ids=self.stop_token_ids,
            seed=seed,
            vocabulary=self.vocabulary,
        )
        return self._call(ref, f"teacher answers ({how})")

    def step(
        self,
        work: StepWork,
        shards: Sequence[Sequence[Example]],
        scores: Sequence[Any],
        reference: Sequence[Handle | None],
    ) -> list[dict[str, float]]:
        """One optimiser step, a shard per rank."""
        self._take_devices()
        refs = self._handed("step", work, shards, scores, reference)
        return self._stepped(work, self._call(refs, f"optimiser step {work.step}"))

    def _take_back_scores(self) -> None:
        """Free what teachers have lent; not waited for, since a teacher does it before whatever it is asked next."""
        for teacher in self.actors.teachers:
            teacher.take_back_scores.remote()

    def _stepped(self, work: StepWork, metrics: list[dict[str, float]]) -> list[dict[str, float]]:
        assert self._spec is not None, "start comes first"
        if self.scores_lent:
            self._take_back_scores()
        metrics[0]["bytes/weights"] = float(self._spec.nbytes * len(self.actors.engines))  # of the sync that follows
        self._last = work.step, metrics
        return metrics

    def accumulate(
        self,
        work: StepWork,
        shards: Sequence[Sequence[Example]],
        scores: Sequence[Any],
        reference: Sequence[Handle | None],
    ) -> None:
        """Hand a part of the step to the ranks, which take it once its scores are there; nothing is waited for."""
        self._parts.append(self._handed("accumulate", work, shards, scores, reference))

    def _handed(
        self,
        what: str,
        work: StepWork,
        shards: Sequence[Sequence[Example]],
        scores: Sequence[Any],
        reference: Sequence[Handle | None],
    ) -> list[Any]:
        """`what` asked of every rank with its own shard; Ray opens scores and reference, arguments by themselves."""
        return [
            getattr(s, what).remote(work, list(shard), ref, *(sc or ()))
            for s, shard, sc, ref in zip(self.actors.students, shards, scores, reference, strict=True)
        ]

    def update(self, work: StepWork) -> list[dict[str, float]]:
        """End the step: wait for its parts, whose errors come first, and move the weights."""
        parts, self._parts = self._parts, []
        moved = [s.update.remote(work, len(parts)) for s in self.actors.students]
        gathered = [ref for part in parts for ref in part]
        found = self._call([*gathered, *moved], f"optimiser step {work.step}")
        metrics: list[dict[str, float]] = found[len(gathered) :]
        for i, came in enumerate(found[: len(gathered)]):
            rank = metrics[i % len(moved)]
            rank |= {name: rank.get(name, 0.0) + size for name, size in came.items()}
        return self._stepped(work, metrics)

    def token_readings(self, questions: Sequence[Question], *, scorer: bool, reference: bool) -> list[Answer]:
        """What the student says of given responses now, and with it the scorer and the reference if asked.

        Every rank of the student is asked, because each may hold a share of the weights. The scorer's top-k goes to
        the student without passing through this process.
        """
        self._take_devices()
        tokens, scored = self.config.optimiser.micro_batch_tokens, [q.scored for q in questions]
        scores: list[Any] = self._scores(dict(enumerate(scored))) if scorer else []
        students = [s.readings.remote(list(questions), *scores) for s in self.actors.students]
        own = self._call(students, "reading tokens (student)")[0]
        taught = referred = None
        if scorer:
            ref = self.actors.teacher.readings.remote(self.scorer, scored, tokens, self.vocabulary)
            taught = self._call(ref, "reading tokens (scorer)")
        if reference:
            ref = self.actors.reference.logprobs.remote(self.base, [q.sequence for q in questions], tokens)
            referred = self._call(ref, "reading tokens (reference)")
        return answers(own, taught, referred)

    def sync_weights(self, version: int) -> float:
        """Broadcast the student's weights into every engine, then prove that they arrived.

        Returns the largest |Δ log-prob| between student and engines on the probe, in nats. Raises StaleEngine above
        `cluster.sync_tolerance`.
        """
        assert self._spec is not None, "start comes first"
        last = "no step was made: the checkpoint it started from holds it"
        if self._last is not None:
            step, metrics = self._last
            last = f"it came with optimiser step {step}, learning rate {metrics[0].get('lr', math.nan):g}"
        if self._asleep:  # until weights come
            mine = (*self.actors.students, *self.actors.teachers, *self.actors.references)
            self._call([a.__ray_call__.remote(give_back_cached) for a in mine], "giving devices back to the engines")
            self._asleep = False
        return sync_weights(self.actors, self._spec, self.probe, version, self.config, last)

    def check_rollouts(self, groups: Sequence[Sequence[Rollout]], *, trained_since: bool = False) -> None:
        """Compare what the engines said of their own first samples with what the student says of them.

        The proof after a transfer scores given prompts; this one is of the path that samples, prefix cache and all.
        Where the student has been trained since, the engines score the tokens as given prompts: with the weights that
        the proof was about, and without the cache.
        """
        shown = first_rollouts(groups, len(self.actors.engines))
        if not shown:
            return
        pairs = [(r.prompt_ids, r.response_ids) for r in shown]
        if trained_since:
            engines = self.actors.engines
            asked = [engine.score.remote(pairs[k :: len(engines)]) for k, engine in enumerate(engines) if pairs[k:]]
            found = self._call(asked, "the proof of the first rollouts")
            expected = [found[i % len(engines)][i // len(engines)] for i in range(len(pairs))]
        else:
            ranks = [
                s.logprobs.remote(pairs) for s in self.actors.students
            ]  # all: each may hold a share of the weights
            expected = self._call(ranks, "the proof of the first rollouts")[0]
        check_sampled(shown, expected, self.config.cluster.sync_tolerance, exact=self.config.models.dtype == "float32")

    def save_checkpoint(self, folder: Path, tag: str) -> None:
        """Weights and optimiser state of every rank."""
        self._call([s.save_checkpoint.remote(str(folder), tag) for s in self.actors.students], "saving a checkpoint")

    def load_checkpoint(self, folder: Path, tag: str) -> None:
        """Take up weights and optimiser state on every rank."""
        self._call([s.load_checkpoint.remote(str(folder), tag) for s in self.actors.students], "loading the checkpoint")

    def save_weights(self, folder: Path) -> None:
        """The current weights as a Hugging Face checkpoint."""
        self._call([s.save_weights.remote(str(folder)) for s in self.actors.students], "saving the final weights")


def probe_sequences(inputs: RunInputs) -> list[TokenPair]:
    """Two fixed token sequences for the sync proof: training prompts, their first token given, the rest scored."""
    ids = [inputs.encode(p, "none") for p in inputs.train[:2]]
    return [(x[:1], x[1:]) for x in ids]


def start_student(actors: Actors, config: Config, total_steps: int) -> Spec:
    """Reset the student to the base weights; its ranks are a group then."""
    limit = config.cluster.start_timeout_s
    first = actors.students[0]
    host, port = call(first.address.remote(), limit, "asking the student for its address")
    secret = uuid.uuid4().hex
    call(
        [s.init_distributed.remote(host, port, len(actors.students), secret) for s in actors.students],
        limit,
        "forming the student group",
    )
    model = resolve_model(config.models.student)
    resets = [s.reset.remote(model, config.optimiser, config.losses, total_steps, config.seed) for s in actors.students]
    return call(resets, limit, "resetting the student")[0]


def sync_weights(
    actors: Actors, spec: Spec, probe: Sequence[TokenPair], version: int, config: Config, last: str = ""
) -> float:
    """Broadcast the student's weights into every engine, then prove that they arrived (`RayWorkers.sync_weights`).

    Raises NonFinite before anything is sent where a weight is not finite; `last` says when that can have happened.
    """
    limit = config.cluster.step_timeout_s
    ranks = [s.__ray_call__.remote(not_finite) for s in actors.students]
    bad = [name for name in call(ranks, limit, "looking at the student's weights") if name is not None]
    if bad:
        raise NonFinite(diverged(f"{bad[0]} is not finite before weight sync {version}", last))
    sent = [
        *(s.broadcast.remote(spec) for s in actors.students),
        *(e.receive_weights.remote(spec, version) for e in actors.engines),
    ]
    found = call(sent, limit, "weight sync")
    ranks, engines = found[: len(actors.students)], found[len(actors.students) :]
    groups = groups_of(config.cluster, len(ranks), len(engines))
    check_ranks(spec.names, [ranks[rank] for rank, _ in groups], f"weight sync {version}")
    for rank, takers in groups:
        arrived = [worker for i in takers for worker in engines[i]]
        check_arrived(spec.names, ranks[rank], arrived, f"weight sync {version}")

    def scored() -> list[list[np.ndarray]]:
        ranks = [s.logprobs.remote(probe) for s in actors.students]
        found = call([*ranks, *(e.score.remote(probe) for e in actors.engines)], limit, "the sync proof")
        return [found[0], *found[len(ranks) :]]  # the first rank has what all ranks have

    what, exact = f"after weight sync {version}", config.models.dtype == "float32"
    return check_weight_sync(scored, config.cluster.sync_tolerance, what, last, exact=exact)
