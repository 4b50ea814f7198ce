"""The whole loop in one process, with nothing but torch: to debug a method, and to check the actors' path against.

    workers = LocalWorkers(policy, teacher, settings); train(settings, method, inputs, workers, workers, log, …)

The student is trained by plain AdamW, sampling is one forward pass per token, and a "weight sync" has nothing to do:
the sampler reads the weights that are trained. Left out: speed, and a teacher that answers by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from artifact.errors import ConfigError, StaleEngine
from artifact.records import Rollout
from artifact.train.examples import Example
from artifact.train.losses.lm_head import project
from artifact.train.objective import MicroBatch, Outcome, to_reference, to_score
from artifact.train.rollouts import Completion, Decode, Prompt, build_rollouts, by_length, first_samples, request_seed
from artifact.train.scoring import FrozenModel, TeacherScores
from artifact.train.settings import RunSettings
from artifact.train.student import Policy, Student, gradient_norms
from artifact.train.token_reading import Answer, Question, Reading, answers, frozen_readings
from artifact.train.workers import Handle, StepWork


class PlainEngine:
    """AdamW with gradient clipping, in the form in which `Student` drives an engine."""

    def __init__(self, policy: Policy, settings: RunSettings) -> None:
        o = settings.optimiser
        self.policy, self.clip = policy, o.clip
        self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            policy.parameters(), lr=o.lr, betas=o.betas, eps=o.eps, weight_decay=o.weight_decay
        )
        self._norm = 0.0

    def __call__(self, batch: MicroBatch) -> Outcome:
        outcome: Outcome = self.policy(batch)
        return outcome

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradient of `loss`."""
        loss.backward()

    def local_norms(self) -> Tensor:
        """The norm of each parameter's gradient."""
        return gradient_norms(self.policy)

    def step(self) -> None:
        """Clip, update, forget the gradient."""
        self._norm = float(torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.clip))
        self.optimizer.step()
        self.optimizer.zero_grad()

    def get_global_grad_norm(self) -> float:
        """The norm of the last step's gradient before clipping."""
        return self._norm


class LocalWorkers:
    """`Workers` and `Sampler` in one: a network that is trained, a teacher, and a frozen copy as reference.

    network         the student: a module with `model` (decoder) and `lm_head`, as transformers has them
    teacher         scores distillation; None = the student's own initial weights (self-distillation)
    decode          ids of several responses → texts
    stop_token_ids  end a response, and belong to it
    vocabulary      tokens that the tokenizer has; None = as many as the student's head has rows
    """

    ranks = 1

    def __init__(
        self,
        network: torch.nn.Module,
        teacher: torch.nn.Module | None,
        settings: RunSettings,
        decode: Decode,
        stop_token_ids: Sequence[int],
        vocabulary: int | None = None,
    ) -> None:
        self.network, self.settings, self.decode, self.stops = network, settings, decode, set(stop_token_ids)
        frozen = partial(FrozenModel, shared_prompts=settings.optimiser.shared_prompts)
        self.reference = frozen(copy.deepcopy(network).requires_grad_(False))  # type: ignore[arg-type]
        self.teacher = self.reference if teacher is None else frozen(teacher)  # type: ignore[arg-type]
        self._initial = copy.deepcopy(network.state_dict())
        self.vocabulary = self.reference.vocabulary if vocabulary is None else vocabulary
        self._version = self._parts = 0
        self.student: Student | None = None

    def start(self, total_steps: int) -> None:
        """The initial weights, a fresh optimiser, a schedule over `total_steps`."""
        self.network.load_state_dict(self._initial)
        o = self.settings.optimiser
        policy = Policy(self.network, self.settings.losses, o.gradient_checkpointing, o.shared_prompts)
        engine = PlainEngine(policy, self.settings)
        self.student = Student(policy, engine, self.settings.optimiser, self.settings.losses, total_steps)

    def sample(
        self,
        prompts: Sequence[Prompt],
        n: int,
        *,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        seed: object,
        logprobs: bool = True,
        expect_version: int | None = None,
    ) -> list[tuple[Rollout, ...]]:
        """n rollouts per prompt, each with a generator of its own; `top_p` below 1 is refused."""
        if top_p < 1.0:
            raise ConfigError(f"top_p = {top_p}: the plain sampler draws from the full distribution; set it to 1")
        if expect_version not in (None, self._version):
            raise StaleEngine(f"the sampler is at version {self._version}, the student at {expect_version}")
        first = first_samples([p for p, _ in prompts], n)
        groups = [
            [
                self._respond(ids, temperature, max_new_tokens, request_seed(seed, problem, first[i] + j))
                for j in range(n)
            ]
            for i, (problem, ids) in enumerate(prompts)
        ]
        versions = [self._version] * len(prompts)
        return build_rollouts(prompts, groups, self.decode, first_sample=first, policy_versions=versions)

    def begin(self, prompts: Sequence[Prompt], n: int, **asked: Any) -> Callable[[], list[tuple[Rollout, ...]]]:
        """`sample`, at once: the weights of this moment are those that are trained next."""
        groups = self.sample(prompts, n, **asked)
        return lambda: groups

    def stream(self, prompts: Sequence[Prompt], n: int, **asked: Any) -> Iterator[tuple[int, tuple[Rollout, ...]]]:
        """`sample`, and then one prompt after the other."""
        groups = dict(enumerate(self.sample(prompts, n, **asked)))
        yield from ((i, groups[i]) for i in by_length(groups))

    def _respond(self, prompt: Sequence[int], temperature: float, max_new_tokens: int, seed: int) -> Completion:
        generator, ids, logprobs = torch.Generator().manual_seed(seed), list(prompt), []
        with torch.no_grad():
            for _ in range(max_new_tokens):
                hidden = self.network.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1]  # type: ignore[operator]
                logits_V = project(hidden[None], self.network.lm_head.weight)[0].float()  # type: ignore[union-attr, arg-type]
                if temperature:
                    token = int(torch.multinomial((logits_V / temperature).softmax(-1), 1, generator=generator))
                else:
                    token = int(logits_V.argmax())
                ids.append(token)
                logprobs.append(float(logits_V.log_softmax(-1)[token]))
                if token in self.stops:
                    break
        finish = "stop" if ids[-1] in self.stops else "length"
        return Completion(np.asarray(ids[len(prompt) :], np.int32), np.asarray(logprobs, np.float32), finish)

    def teacher_scores(self, shards: Sequence[Sequence[Example]], *, wait: bool = True) -> list[Handle | None]:
        """The teacher's top-k of each shard's distillation examples, always there when this returns."""
        d, tokens = self.settings.losses.distil, self.settings.optimiser.micro_batch_tokens
        out: list[Handle | None] = []
        for shard in shards:
            wanted = to_score(shard)
            out.append(
                self.teacher.teacher_scores(
                    wanted, d.top_k, d.temperature, tokens, d.support == "tail", self.vocabulary
                )
                if wanted
                else None
            )
        return out

    def reference_logprobs(self, shards: Sequence[Sequence[Example]], *, wait: bool = True) -> list[Handle | None]:
        """log p_ref of each shard's preference and policy-gradient examples."""
        out: list[Handle | None] = []
        for shard in shards:
            wanted = to_reference(shard, self.settings.losses)
            out.append(self.reference.reference_logprobs(wanted) if wanted else None)
        return out

    def teacher_answers(
        self, prompts: Sequence[tuple[int, ...]], how: str, *, temperature: float, max_new_tokens: int, seed: int
    ) -> list[Completion]:
        """Refused: a teacher that answers needs a sampler of its own."""
        raise ConfigError(
            f"fallback {how!r} needs a teacher that answers; the plain loop has none: use fallback = skip"
        )

    def step(
        self,
        work: StepWork,
        shards: Sequence[Sequence[Example]],
        scores: Sequence[Handle | None],
        reference: Sequence[Handle | None],
    ) -> list[dict[str, float]]:
        """One optimiser step on the one shard."""
        assert self.student is not None, "start comes first"
        return [self.student.step(work, shards[0], scores[0], reference[0])]  # type: ignore[arg-type]

    def accumulate(
        self,
        work: StepWork,
        shards: Sequence[Sequence[Example]],
        scores: Sequence[Handle | None],
        reference: Sequence[Handle | None],
    ) -> None:
        """Add the gradient of a part of the step."""
        assert self.student is not None, "start comes first"
        self.student.accumulate(work, shards[0], scores[0], reference[0])  # type: ignore[arg-type]
        self._parts += 1

    def update(self, work: StepWork) -> list[dict[str, float]]:
        """Move the weights by the gradient of the step's parts."""
        assert self.student is not None, "start comes first"
        parts, self._parts = self._parts, 0
        return [self.student.update(work, parts)]

    def token_readings(self, questions: Sequence[Question], *, scorer: bool, reference: bool) -> list[Answer]:
        """What the trained network says of given responses, and with it the teacher and the reference if asked."""
        assert self.student is not None, "start comes first"
        d, tokens = self.settings.losses.distil, self.settings.optimiser.micro_batch_tokens
        scored = [q.scored for q in questions]
        scores: list[TeacherScores] = []
        teacher: list[Reading] | None = None
        if scorer:
            asked, tail = dict(enumerate(scored)), d.support == "tail"
            scores = [self.teacher.teacher_scores(asked, d.top_k, d.temperature, tokens, tail, self.vocabulary)]
            teacher = frozen_readings(self.teacher, scored, tokens, self.vocabulary)
        return answers(
            self.student.readings(questions, scores),
            teacher,
            self.reference.logprobs([q.sequence for q in questions], tokens) if reference else None,
        )

    def sync_weights(self, version: int) -> float:
        """The sampler reads the trained weights themselves: nothing to send, nothing to differ."""
        self._version = version
        return 0.0

    def check_rollouts(self, groups: Sequence[Sequence[Rollout]], *, trained_since: bool = False) -> None:
        """They come from the trained weights themselves: nothing to compare."""

    def save_checkpoint(self, folder: Path, tag: str) -> None:
        """Weights and optimiser state, in a folder named by the tag, as a run's log expects."""
        assert self.student is not None, "start comes first"
        (folder / tag).mkdir(parents=True, exist_ok=True)
        state = {"weights": self.network.state_dict(), "optimiser": self.student.engine.optimizer.state_dict()}
        torch.save(state, folder / tag / "state.pt")

    def load_checkpoint(self, folder: Path, tag: str) -> None:
        """Take up weights and optimiser state."""
        assert self.student is not None, "start comes first"
        state = torch.load(folder / tag / "state.pt", weights_only=True)
        self.network.load_state_dict(state["weights"])
        self.student.engine.optimizer.load_state_dict(state["optimiser"])

    def save_weights(self, folder: Path) -> None:
        """The current weights in one file."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.network.state_dict(), folder / "weights.pt")
