"""The rollouts of each step: drawn when the step begins, or one step ahead, while the student trains on those before.

    staleness 0   rollouts of step t ~ π_t,            π_t the weights before step t: on-policy
    staleness 1   rollouts of step t ~ π_max(t−1, 0):  engines draw for step t + 1 while the student makes π_{t+1}

Sampling and training then take the time of the longer one, and not of both (one-step-off: Noukhovitch et al. 2024,
"Asynchronous RLHF", arXiv 2410.18252). What a rollout of an older policy means for the losses:

    policy gradient   ρ_t = p_S(y_t) / p_behaviour(y_t) takes the place of 1, with the log-probabilities that the
                      engine recorded when it drew: given its prefix, the mean of A ρ_t ∇ log p_S(y_t) is the on-policy
                      one. Prefixes stay those of the older policy, and the clip bounds how far either goes (Schulman
                      et al. 2017, Eq. 7; `losses/policy_gradient.py`). It needs p_behaviour at the temperature that
                      was sampled, which engines record at 1 alone: `methods/grpo.py` refuses others, and a KL term,
                      whose estimate is one for the student's own tokens
    distillation      nothing: the loss compares two distributions after *given* prefixes. That these were drawn one
                      update earlier changes over which prefixes it is averaged, as for any fixed sequences
    preference        nothing, as for imitation: a loss of given pairs and texts

Every rollout records the version that drew it. A checkpoint keeps the rollouts drawn for its step, whose policy is gone
by then, so that a run that goes on from it has them to the last bit. Left out: more than one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from artifact.errors import Mismatch
from artifact.records import Problem, Rollout
from artifact.train.inputs import RunInputs, prompt_order
from artifact.train.rollouts import Prompt, TrainingSampler
from artifact.train.settings import RunSettings
from artifact.train.workers import Log, Workers

Groups = list[tuple[Rollout, ...]]


class Drawing:
    """Draws the rollouts of `steps` steps, each when it is due; those before `start` are not asked for."""

    def __init__(
        self, settings: RunSettings, inputs: RunInputs, workers: Workers, sampler: TrainingSampler, steps: int
    ) -> None:
        self.settings, self.inputs, self.workers, self.sampler = settings, inputs, workers, sampler
        self.steps = steps
        self._under_way: Callable[[], Groups] | None = None
        self._ahead: Groups | None = None

    def problems(self, step: int) -> list[Problem]:
        """The training problems of `step`."""
        return [self.inputs.train[i] for i in prompt_order(len(self.inputs.train), self.settings, step)]

    def version(self, step: int) -> int:
        """The policy version that the rollouts of `step` are drawn with."""
        return max(0, step - self.settings.train.staleness)

    def _asked(self, step: int) -> tuple[list[Prompt], int, dict[str, Any]]:
        sampling = self.settings.sampling
        asked = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_new_tokens": sampling.max_new_tokens,
            "seed": (self.settings.seed, step),
            "expect_version": self.version(step),
        }
        return self.inputs.prompts(self.problems(step)), sampling.samples_per_prompt, asked

    def resume(self, log: Log, start: int) -> None:
        """Take up what a checkpoint of step `start` kept."""
        if not start or start == self.steps or not self.settings.train.staleness:
            return
        kept, k = log.ahead(start), self.settings.sampling.samples_per_prompt
        self._ahead = [tuple(kept[i : i + k]) for i in range(0, len(kept), k)]
        wanted = [p.id for p in self.problems(start)]
        if [g[0].problem_id for g in self._ahead] != wanted or len(kept) != k * len(wanted):
            raise Mismatch(
                f"the checkpoint of step {start} keeps {len(kept)} rollouts drawn ahead, not {k} for each of the "
                f"{len(wanted)} problems of that step: begin the run anew with --force"
            )

    def groups(self, step: int) -> Groups:
        """The rollouts of `step`; with staleness those of the next step are under way when this returns."""
        if not self.settings.train.staleness:
            prompts, n, asked = self._asked(step)
            groups = self.sampler.sample(prompts, n, **asked)
            self.workers.check_rollouts(groups)
            return groups
        if self._ahead is None:  # the first step: nothing has been trained that they could be older than
            prompts, n, asked = self._asked(step)
            self._ahead = self.sampler.sample(prompts, n, **asked)
            self.workers.check_rollouts(self._ahead)
        groups, self._ahead = self._ahead, None
        if step + 1 < self.steps:
            prompts, n, asked = self._asked(step + 1)
            self._under_way = self.sampler.begin(prompts, n, **asked)
        return groups

    def stream(self, step: int) -> Iterator[tuple[int, tuple[Rollout, ...]]]:
        """Index and rollouts of each problem of `step` in the order of `by_length`, as soon as that is known."""
        prompts, n, asked = self._asked(step)
        return self.sampler.stream(prompts, n, **asked)

    def collect(self) -> None:
        """Wait for what is under way: engines are to get new weights, and rollouts keep the ones they began with."""
        if self._under_way is not None:
            self._ahead, self._under_way = self._under_way(), None
            self.workers.check_rollouts(self._ahead, trained_since=True)

    def keep(self, log: Log, step: int) -> None:
        """Put the rollouts that are there for `step` beside its checkpoint."""
        if self._ahead is not None:
            log.keep_ahead(step, [r for group in self._ahead for r in group])

    def lags(self, step: int, groups: Sequence[Sequence[Rollout]]) -> dict[str, float]:
        """How many rollouts of `step` are how many versions old, `lag/<versions>`; {} where all are on-policy."""
        if not self.settings.train.staleness:
            return {}
        lags = [step - r.policy_version for group in groups for r in group]
        return {f"lag/{lag}": float(lags.count(lag)) for lag in (0, 1)}
