"""Engines that hold one frozen checkpoint whenever they are asked for.

They may share engines with other checkpoints of their architecture, and devices with all other frozen models (teacher,
judge, generator): so before each use they are opened again where their lease has ended, and given the weights again
where another checkpoint took their place.
"""

from __future__ import annotations

from collections.abc import Callable

from artifact.actors.calls import call
from artifact.actors.session import Actors, open_actors
from artifact.config import Config
from artifact.paths import resolve_model


class FrozenEngines:
    """The engines of `model` under `config`; `load` gives them its weights and proves that they arrived.

    `gap` is what the last `load` returned: the largest |Δ log-prob| in nats, None before the first, or without a proof.
    """

    def __init__(self, config: Config, model: str, load: Callable[[Actors], float | None]) -> None:
        self.config, self.model, self.load = config, model, load
        self.gap: float | None = None
        self._known: set[str] = set()  # ids of the engines that were given the weights by us

    def ready(self) -> Actors:
        """Actors whose engines hold the checkpoint, with a reference where weights are proven."""
        actors = open_actors(self.config, engines_for=self.model, reference=self.config.cluster.engine.prove_weights)
        asked = [e.ready.remote() for e in actors.engines]
        held = call(asked, self.config.cluster.step_timeout_s, "asking engines for their checkpoint")
        ids = {str(e) for e in actors.engines}
        if not ids <= self._known or set(held) != {resolve_model(self.model)}:
            self.gap, self._known = self.load(actors), ids
        return actors
