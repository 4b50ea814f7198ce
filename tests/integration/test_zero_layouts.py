"""Two data-parallel ranks in both layouts, weights by both ways that a CPU has, learn what the plain loop learns.

The plain loop is one process of plain torch (`train/local.py`) that is given the rollouts the engines drew; that those
are of the student's own weights is proven as they are drawn. Colocated by `ipc`, scores too stay where the teacher of a
rank computed them. After test_zero.py, because it starts actors of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.actors import arrangement_rank
from tests.integration.conftest import SMALL
from tests.train.tiny import MemoryLog
from torch import Tensor

from artifact.config import Config, load
from artifact.errors import StaleEngine
from artifact.records import Rollout
from artifact.train.inputs import TeacherAnnotations
from artifact.train.loop import train

STEPS = 3
TOLERANCE = 2e-5
"""Largest difference of a weight: float32 sums in another order, over three steps that move weights by up to 3e-3."""

RUN = {
    **SMALL,
    "train.steps": STEPS,
    "train.checkpoint_every": STEPS,
    "cluster.student_workers": 2,
    "cluster.zero_stage": 2,
    "optimiser.micro_batch_tokens": 256,
    "optimiser.shared_prompts": False,
}


class Case(NamedTuple):
    """A run: its method, its layout, and the way of its weights."""

    method: str
    layout: str
    way: str


CASES = [
    Case("core", "separate", "gloo"),
    Case("core", "separate", "ipc"),
    Case("opd", "separate", "gloo"),
    Case("core", "colocated", "gloo"),
    Case("core", "colocated", "ipc"),
    Case("opd", "colocated", "ipc"),
]
METHODS = ("core", "opd")


def first_of(method: str) -> Case:
    """The case whose rollouts the plain loop is given."""
    return next(case for case in CASES if case.method == method)


@pytest.fixture(scope="module", autouse=True)
def _end_what_was_started() -> Iterator[None]:
    from artifact.actors import session

    yield
    session.stop()


def config_of(case: Case) -> Config:
    own = {"method": case.method, "cluster.layout": case.layout, "cluster.weight_transfer": case.way}
    return load("tiny", {**RUN, **own})


class Ran:
    """One run on actors: its log, what each rank said of each step, the way its weights went, and what it left."""

    def __init__(self, config: Config, world: Any, folder: Path) -> None:
        from safetensors.torch import load_file

        from artifact.actors import session
        from artifact.actors.team import RayWorkers
        from artifact.studies.inputs import sampler_for

        self.actors = session.open_actors(
            config, engines_for=config.models.student, student=True, teacher=True, reference=True
        )
        sampler = sampler_for(config, self.actors, config.models.student)
        workers = RayWorkers(config, self.actors, world, sampler.stop_token_ids, self_teacher=False)
        self.log, self.ranks = MemoryLog(folder), list[list[dict[str, float]]]()
        step = workers.step

        def told(*work: Any) -> list[dict[str, float]]:
            metrics = step(*work)
            self.ranks.append([dict(of_rank) for of_rank in metrics])
            return metrics

        workers.step = told  # type: ignore[method-assign]
        train(config.run_settings, config.make_method(), world, workers, sampler, self.log, TeacherAnnotations())
        self.transfer, self.scores_lent = workers.transfer, workers.scores_lent
        self.weights = load_file(folder / "weights" / "model.safetensors")


@pytest.fixture(scope="module")
def world(results: Path) -> Any:
    from artifact.studies.inputs import build_inputs

    return build_inputs(config_of(CASES[0]))


@pytest.fixture(scope="module")
def ran(world: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[Case, Ran]:
    """All of them; the actors of a layout serve all its cases, and end before those of the next are started."""
    from artifact.actors import session

    out: dict[Case, Ran] = {}
    for case in CASES:
        if out and case.layout != [*out][-1].layout:
            session.end_lane(0)
        out[case] = Ran(config_of(case), world, tmp_path_factory.mktemp("-".join(case)))
    return out


class Replay:
    """The rollouts of a run, step by step."""

    def __init__(self, steps: Sequence[Sequence[Sequence[Rollout]]]) -> None:
        self.steps = iter(steps)

    def sample(self, prompts: Any, n: int, **how: Any) -> list[tuple[Rollout, ...]]:
        groups = [tuple(group) for group in next(self.steps)]
        assert [g[0].problem_id for g in groups] == [problem for problem, _ in prompts]
        return groups


def learnt(
    world: Any, ran: dict[Case, Ran], method: str, folder: Path, *, rank: int | None = None
) -> dict[str, Tensor]:
    """What the plain loop learns of the rollouts of `method`: from all examples, or from those of one of two ranks."""
    from artifact.actors.checkpoints import load_network, load_tokenizer
    from artifact.paths import resolve_model
    from artifact.studies.inputs import stop_token_ids
    from artifact.train.local import LocalWorkers

    class Share(LocalWorkers):
        def teacher_scores(self, shards: Any, *, wait: bool = True) -> Any:
            return super().teacher_scores([shard[rank::2] for shard in shards], wait=wait)

        def reference_logprobs(self, shards: Any, *, wait: bool = True) -> Any:
            return super().reference_logprobs([shard[rank::2] for shard in shards], wait=wait)

        def step(self, work: Any, shards: Any, scores: Any, reference: Any) -> Any:
            return super().step(work, [shard[rank::2] for shard in shards], scores, reference)

    case = first_of(method)
    config = config_of(case)
    student, teacher = (load_network(resolve_model(m), "float32") for m in (config.models.student, config.teacher_path))
    workers = (LocalWorkers if rank is None else Share)(
        student,
        teacher.requires_grad_(False),
        config.run_settings,
        load_tokenizer(resolve_model(config.models.student)).batch_decode,
        stop_token_ids(config.models.student),
        world.vocabulary,
    )
    sampler, log = Replay(ran[case].log.groups), MemoryLog(folder)
    train(config.run_settings, config.make_method(), world, workers, sampler, log, TeacherAnnotations())  # type: ignore[arg-type]
    return torch.load(folder / "weights" / "weights.pt", weights_only=True)


@pytest.fixture(scope="module")
def plain(world: Any, ran: dict[Case, Ran], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What the plain loop has learnt, by method."""
    return {method: learnt(world, ran, method, tmp_path_factory.mktemp(f"plain-{method}")) for method in METHODS}


def largest_gap(found: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((tensor - other[name]).abs().max()) for name, tensor in found.items())


@pytest.mark.parametrize("case", CASES, ids=", ".join)
def test_every_layout_and_way_learns_what_the_plain_loop_learns(
    case: Case, ran: dict[Case, Ran], plain: dict[str, dict[str, Tensor]]
) -> None:
    own, first = ran[case], ran[first_of(case.method)]
    assert own.transfer == case.way
    assert own.log.groups == first.log.groups, "the same rollouts, tokens and log-probabilities"
    assert all(torch.equal(own.weights[name], tensor) for name, tensor in first.weights.items())
    assert largest_gap(own.weights, plain[case.method]) < TOLERANCE
    assert all(row["sync/max_logprob_diff"] < 1e-4 for row in own.log.metrics)


@pytest.mark.parametrize("case", CASES, ids=", ".join)
def test_scores_pass_through_the_object_store_but_where_a_rank_has_its_teachers_memory(
    case: Case, ran: dict[Case, Ran]
) -> None:
    """A row is 8 bytes for each of its k tokens, and 4 for the entropy."""
    own, k = ran[case], config_of(case).losses.distil.top_k
    assert own.scores_lent == (case.layout == "colocated" and case.way == "ipc")
    assert case.method == "core" or all(row["teacher_tokens"] > 0 for row in own.log.metrics)
    for row in own.log.metrics:
        assert row["bytes/teacher"] == (0 if own.scores_lent else row["teacher_tokens"] * (8 * k + 4))


@pytest.mark.parametrize("method", METHODS)
def test_the_work_of_both_ranks_arrives(
    method: str,
    world: Any,
    ran: dict[Case, Ran],
    plain: dict[str, dict[str, Tensor]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each colocated rank scored and trained on examples of its own, and neither's are what both together teach."""
    own = ran[Case(method, "colocated", "ipc")]
    for row, of_ranks in zip(own.log.metrics, own.ranks, strict=True):
        assert [rank["micro_batches"] > 0 for rank in of_ranks] == [True, True]
        scored = [rank.get("distil/tokens", 0.0) for rank in of_ranks]
        assert sum(scored) == row["teacher_tokens"] and (method == "core" or min(scored) > 0)
    for rank in range(2):
        alone = learnt(world, ran, method, tmp_path_factory.mktemp(f"rank-{rank}-{method}"), rank=rank)
        assert largest_gap(alone, plain[method]) > 20 * TOLERANCE


@pytest.mark.parametrize("method", METHODS)
def test_the_steps_moved_the_weights_by_far_more(method: str, plain: dict[str, dict[str, Tensor]]) -> None:
    from artifact.actors.checkpoints import load_network
    from artifact.paths import resolve_model

    start = load_network(resolve_model(config_of(CASES[0]).models.student), "float32").state_dict()
    assert largest_gap(start, plain[method]) > 50 * TOLERANCE


def test_both_ranks_of_a_colocated_run_have_a_teacher_and_an_engine_that_sleeps(ran: dict[Case, Ran]) -> None:
    import ray

    from artifact.actors.engine import Decoding, Request
    from artifact.paths import resolve_model

    case = Case("core", "colocated", "ipc")
    actors, config = ran[case].actors, config_of(case)
    assert [len(of) for of in (actors.engines, actors.students, actors.teachers, actors.references)] == [2] * 4
    held = ray.get([teacher.ready.remote() for teacher in actors.teachers], timeout=60)
    assert {path for paths in held for path in paths} == {resolve_model(config.teacher_path)}
    lent = [teacher.__ray_call__.remote(lambda actor: len(actor._lent)) for teacher in actors.teachers]
    assert ray.get(lent, timeout=60) == [0, 0], "what was lent is taken back"
    engine, asked = actors.engines[1], ([Request((5, 6), 1)], Decoding(1.0, 1.0, 2, (2,)))
    ray.get(engine.sleep.remote(), timeout=60)
    with pytest.raises(StaleEngine, match="the engine sleeps"):
        ray.get(engine.generate.remote(*asked), timeout=60)
    ray.get(engine.load_checkpoint.remote(resolve_model(config.models.student)), timeout=60)
    assert len(ray.get(engine.generate.remote(*asked), timeout=60)[1]) == 1, "weights have woken it"


def test_a_slice_of_a_fused_tensor_that_is_damaged_on_its_way_in_stops_the_run(
    ran: dict[Case, Ran], world: Any
) -> None:
    """One number of the second layer's keys, in the real engine, after all fingerprints of what arrived were right."""
    import ray

    for module in (sys.modules[__name__], arrangement_rank):
        ray.cloudpickle.register_pickle_by_value(module)  # the actors know nothing of tests
    from artifact.actors.team import probe_sequences, start_student, sync_weights

    case = Case("core", "colocated", "ipc")
    actors, config = ran[case].actors, config_of(case)
    spec = start_student(actors, config, total_steps=2)
    probe = probe_sequences(world)
    assert sync_weights(actors, spec, probe, 0, config) < 1e-4
    ray.get(actors.engines[1].__ray_call__.remote(damage_what_is_loaded), timeout=60)
    where = r"model\.layers\.1\.self_attn\.qkv_proj\.weight"
    with pytest.raises(StaleEngine, match=rf"weight sync 1: .* in 1 of its tensors, first '{where}'"):
        sync_weights(actors, spec, probe, 1, config)
    ray.get(actors.engines[1].__ray_call__.remote(damage_nothing_more), timeout=60)
    assert sync_weights(actors, spec, probe, 2, config) < 1e-4


def damage_what_is_loaded(engine: Any) -> None:
    """From here on each load leaves one number of a fused tensor one unit in the last place off."""
    from artifact.actors.weight_sync import EngineExtension

    worker = engine.llm.llm_engine.model_executor.driver_worker.worker
    assert isinstance(worker, EngineExtension)
    load = worker.reload_weights

    def loaded(**what: Any) -> None:
        load(**what)
        target = "model.layers.1.self_attn.qkv_proj.weight"
        arrangement_rank.changed(worker.get_model(), target, arrangement_rank.next_up(-20))

    worker.reload_weights = loaded


def damage_nothing_more(engine: Any) -> None:
    """Undo it."""
    del engine.llm.llm_engine.model_executor.driver_worker.worker.reload_weights
