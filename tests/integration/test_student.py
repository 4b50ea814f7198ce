"""The student actor outlives runs: what a run leaves behind in it."""

from __future__ import annotations

from typing import Any

from artifact.config import Config


def test_a_new_run_starts_after_the_weights_of_the_last_are_gone(config: Config, workers) -> None:
    """Automatic collection is off meanwhile: it would come some time, and by then several runs' weights are held."""
    import ray

    from artifact.actors.team import start_student
    from artifact.paths import resolve_model

    def old_weights_are_gone(actor: Any, *settings: Any) -> bool:
        import gc
        import weakref

        old = weakref.ref(next(actor.network.parameters()))
        gc.disable()
        try:
            actor.reset(*settings)
            return old() is None
        finally:
            gc.enable()

    start_student(workers, config, total_steps=4)
    settings = (resolve_model(config.models.student), config.optimiser, config.losses, 4, 0)
    assert ray.get(workers.students[0].__ray_call__.remote(old_weights_are_gone, *settings), timeout=120)
