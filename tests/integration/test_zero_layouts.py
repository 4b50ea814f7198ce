"""Two data-parallel ranks in both layouts, weights by both ways that a CPU has, learn what the plain loop learns.

The plain loop is one process of plain torch (`train/local.py`) that is given the rollouts the engines drew; that those
are of the student's own weights is proven as they are drawn. After test_zero.py, because it starts actors of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
    "method": "core",
    "train.steps": STEPS,
    "train.checkpoint_every": STEPS,
    "cluster.student_workers": 2,
    "cluster.zero_stage": 2,
    "optimiser.micro_batch_tokens": 256,
    "optimiser.shared_prompts": False,
}
CASES = [(layout, way) for layout in ("separate", "colocated") for way in ("gloo", "ipc")]


@pytest.fixture(scope="module", autouse=True)
def _end_what_was_started() -> Iterator[None]:
    from artifact.actors import session

    yield
    session.stop()


def config_of(layout: str, way: str) -> Config:
    return load("tiny", {**RUN, "cluster.layout": layout, "cluster.weight_transfer": way})


class Ran:
    """One run on actors: its log, the way its weights went, and what it left."""

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
        self.log = MemoryLog(folder)
        train(config.run_settings, config.make_method(), world, workers, sampler, self.log, TeacherAnnotations())
        self.transfer = workers.transfer
        self.weights = load_file(folder / "weights" / "model.safetensors")


@pytest.fixture(scope="module")
def world(results: Path) -> Any:
    from artifact.studies.inputs import build_inputs

    return build_inputs(config_of("separate", "gloo"))


@pytest.fixture(scope="module")
def ran(world: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Ran]:
    """All four; the actors of a layout serve both ways, and end before those of the next are started."""
    from artifact.actors import session

    out = {}
    for layout, way in CASES:
        out[layout, way] = Ran(config_of(layout, way), world, tmp_path_factory.mktemp(f"{layout}-{way}"))
        if (layout, way) == CASES[1]:
            session.end_lane(0)
    return out


class Replay:
    """The rollouts of a run, step by step."""

    def __init__(self, steps: Sequence[Sequence[Sequence[Rollout]]]) -> None:
        self.steps = iter(steps)

    def sample(self, prompts: Any, n: int, **how: Any) -> list[tuple[Rollout, ...]]:
        groups = [tuple(group) for group in next(self.steps)]
        assert [g[0].problem_id for g in groups] == [problem for problem, _ in prompts]
        return groups


@pytest.fixture(scope="module")
def plain(world: Any, ran: dict[tuple[str, str], Ran], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What the plain loop has learnt from the same rollouts."""
    from artifact.actors.checkpoints import load_network, load_tokenizer
    from artifact.paths import resolve_model
    from artifact.studies.inputs import stop_token_ids
    from artifact.train.local import LocalWorkers

    config, folder = config_of(*CASES[0]), tmp_path_factory.mktemp("plain")
    student, teacher = (load_network(resolve_model(m), "float32") for m in (config.models.student, config.teacher_path))
    workers = LocalWorkers(
        student,
        teacher.requires_grad_(False),
        config.run_settings,
        load_tokenizer(resolve_model(config.models.student)).batch_decode,
        stop_token_ids(config.models.student),
        world.vocabulary,
    )
    sampler = Replay(ran[CASES[0]].log.groups)
    log = MemoryLog(folder)
    train(config.run_settings, config.make_method(), world, workers, sampler, log, TeacherAnnotations())  # type: ignore[arg-type]
    return torch.load(folder / "weights" / "weights.pt", weights_only=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: ", ".join(case))
def test_every_layout_and_way_learns_what_the_plain_loop_learns(
    case: tuple[str, str], ran: dict[tuple[str, str], Ran], plain: dict[str, Tensor]
) -> None:
    own, first = ran[case], ran[CASES[0]]
    assert own.transfer == case[1]
    assert own.log.groups == first.log.groups, "the same rollouts, tokens and log-probabilities"
    assert all(torch.equal(own.weights[name], tensor) for name, tensor in first.weights.items())
    gaps = {name: float((own.weights[name] - plain[name]).abs().max()) for name in own.weights}
    assert max(gaps.values()) < TOLERANCE, gaps
    assert all(row["sync/max_logprob_diff"] < 1e-4 for row in own.log.metrics)


def test_the_steps_moved_the_weights_by_far_more(plain: dict[str, Tensor]) -> None:
    from artifact.actors.checkpoints import load_network
    from artifact.paths import resolve_model

    start = load_network(resolve_model(config_of(*CASES[0]).models.student), "float32").state_dict()
    moved = max(float((plain[name] - tensor).abs().max()) for name, tensor in start.items())
    assert moved > 50 * TOLERANCE


def test_both_ranks_of_a_colocated_run_have_a_teacher_and_an_engine_that_sleeps(
    ran: dict[tuple[str, str], Ran],
) -> None:
    import ray

    from artifact.actors.engine import Decoding, Request
    from artifact.paths import resolve_model

    actors = ran["colocated", "ipc"].actors
    assert [len(of) for of in (actors.engines, actors.students, actors.teachers, actors.references)] == [2] * 4
    held = ray.get([teacher.ready.remote() for teacher in actors.teachers], timeout=60)
    config = config_of("colocated", "ipc")
    assert {path for paths in held for path in paths} == {resolve_model(config.teacher_path)}
    engine, asked = actors.engines[1], ([Request((5, 6), 1)], Decoding(1.0, 1.0, 2, (2,)))
    ray.get(engine.sleep.remote(), timeout=60)
    with pytest.raises(StaleEngine, match="the engine sleeps"):
        ray.get(engine.generate.remote(*asked), timeout=60)
    ray.get(engine.load_checkpoint.remote(resolve_model(config.models.student)), timeout=60)
    assert len(ray.get(engine.generate.remote(*asked), timeout=60)[1]) == 1, "weights have woken it"


def test_a_slice_of_a_fused_tensor_that_is_damaged_on_its_way_in_stops_the_run(
    ran: dict[tuple[str, str], Ran], world: Any
) -> None:
    """One number of the second layer's keys, in the real engine, after all fingerprints of what arrived were right."""
    import ray

    for module in (sys.modules[__name__], arrangement_rank):
        ray.cloudpickle.register_pickle_by_value(module)  # the actors know nothing of tests
    from artifact.actors.team import probe_sequences, start_student, sync_weights

    actors, config = ran["colocated", "ipc"].actors, config_of("colocated", "ipc")
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
