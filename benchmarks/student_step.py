"""Processor seconds of student and teacher in a step: equal sequences computed once, and prompts shared.

One step's examples of CORE, plain distillation and GRPO on the embedded pair: 32 prompts x 4 rollouts of the student,
verified and scored. *Apart* are the same examples with the repeats of a sequence told apart by a token of their prompt,
so that nothing is equal and every shape stays; *once* is what the artifact does; *shared* computes each prompt once as
well (`optimiser.shared_prompts`). All are timed by processor time in turns, on one thread, and what is printed is the
median of the ratios: once to apart, shared to once. The head, the losses and AdamW are in the student's time.

    python benchmarks/student_step.py --repeats 9
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from artifact.actors.answering import answer
from artifact.actors.checkpoints import load_frozen, load_network
from artifact.actors.shared_prompts import share_prompts
from artifact.config import Config, load
from artifact.paths import resolve_model
from artifact.records import Group
from artifact.studies.inputs import build_inputs, stop_token_ids
from artifact.train.examples import Example, TokenPair
from artifact.train.local import LocalWorkers
from artifact.train.methods.base import StepContext, no_teacher_at_hand
from artifact.train.objective import denominators
from artifact.train.packing import distinct
from artifact.train.rollouts import build_rollouts, verify_groups
from artifact.train.scoring import FrozenModel
from artifact.train.workers import StepWork

METHODS = ("core", "opd", "grpo")


class Bench:
    """The embedded pair, and `prompts` groups of rollouts of its student."""

    def __init__(self, prompts: int) -> None:
        self.config: Config = load("tiny", {"train.curve_every": 0})
        self.inputs = build_inputs(self.config)
        self.networks = [resolve_model(m) for m in (self.config.models.student, self.config.teacher_path)]
        problems, k = self.inputs.train[:prompts], self.config.sampling.samples_per_prompt
        encoded = [(p.id, self.inputs.encode(p, "none")) for p in problems]
        sampling = self.config.sampling
        completions = answer(
            FrozenModel(load_frozen(self.networks[0], "float32")),
            [ids for _, ids in encoded for _ in range(k)],
            "generate",
            top_k=1,
            temperature=sampling.temperature,
            max_new_tokens=sampling.max_new_tokens,
            stop_token_ids=stop_token_ids(self.config.models.student),
            seed=0,
            vocabulary=self.inputs.vocabulary,
        )
        drawn = [completions[i * k : (i + 1) * k] for i in range(len(problems))]
        groups = verify_groups(problems, build_rollouts(encoded, drawn, self.inputs.decode), self.inputs.verify)
        self.groups = [Group(p, x, g) for p, (_, x), g in zip(problems, encoded, groups, strict=True)]

    def examples(self, method: str) -> tuple[list[Example], dict[str, float]]:
        """A step's examples of `method` and the coefficients of their losses."""
        inputs = self.inputs
        context = StepContext(0, inputs.encode, inputs.encode_text, {}, {}, inputs.mask_text, no_teacher_at_hand)
        batch = load("tiny", {"train.curve_every": 0, "method": method}).make_method().batch(self.groups, context)
        return list(batch.examples), dict(batch.coefficients)

    def workers(self, shared_prompts: bool) -> LocalWorkers:
        """A fresh student with plain AdamW, and the teacher."""
        student, teacher = load_network(self.networks[0], "float32"), load_frozen(self.networks[1], "float32")
        settings = self.config.run_settings
        settings = replace(settings, optimiser=replace(settings.optimiser, shared_prompts=shared_prompts))
        if shared_prompts:
            student, teacher = share_prompts(student), share_prompts(teacher)
        stops, vocabulary = stop_token_ids(self.config.models.student), self.inputs.vocabulary
        workers = LocalWorkers(student, teacher, settings, self.inputs.decode, stops, vocabulary)
        workers.start(1000)
        return workers


def apart(examples: Sequence[Example], vocabulary: int | None) -> list[Example]:
    """The same examples, of the same shapes, of which no two share a sequence."""
    assert vocabulary is not None  # `build_inputs` says it
    seen: Counter[tuple[Any, ...]] = Counter()
    out = []
    for e in examples:
        repeat = max(seen[s] for s in e.sequences)
        seen.update({s: repeat + 1 - seen[s] for s in e.sequences})
        prompt = list(e.prompt_ids)
        for at in range(len(prompt)):  # the number of the repeat, one digit a token
            repeat, digit = divmod(repeat, vocabulary)
            prompt[at] = (prompt[at] + digit) % vocabulary
        out.append(replace(e, prompt_ids=tuple(prompt)))
    return out


def timed(call: Callable[..., Any], *arguments: object) -> tuple[float, Any]:
    """Processor seconds of this process in `call(*arguments)`, and what it gives."""
    start = time.process_time()
    found = call(*arguments)
    return time.process_time() - start, found


def sequences(examples: Sequence[Example]) -> list[TokenPair]:
    """What the student computes, repeats included."""
    return [s for e in examples for s in e.sequences]


def tokens(once: Sequence[TokenPair]) -> tuple[int, int]:
    """Tokens of the distinct sequences, and with each prompt counted once."""
    responses = sum(len(r) for _, r in once)
    return sum(len(p) for p, _ in once) + responses, sum(len(p) for p in {p for p, _ in once}) + responses


def against(times: dict[str, list[float]], name: str, base: str) -> str:
    """Median seconds of `name` and its ratio to `base`, pair by pair; the first pair warms up."""
    ratio = statistics.median(a / b for a, b in zip(times[name][1:], times[base][1:], strict=True))
    return f"{name} {statistics.median(times[name][1:]):.3f} s, {ratio:.2f} of {base}"


def main() -> None:
    """Print a line per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=32, help="prompts of the step (default 32)")
    parser.add_argument("--repeats", type=int, default=9, help="pairs of steps that are timed (default 9)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(arguments.prompts)
    for method in METHODS:
        once, coefficients = bench.examples(method)
        several = apart(once, bench.inputs.vocabulary)
        assert len(distinct(sequences(several))[0]) == len(sequences(several))
        forms = {
            "apart": (several, bench.workers(False)),
            "once": (once, bench.workers(False)),
            "shared": (once, bench.workers(True)),
        }
        teacher: dict[str, list[float]] = {name: [] for name in forms}
        student: dict[str, list[float]] = {name: [] for name in forms}
        for step in range(arguments.repeats + 1):
            for name, (examples, workers) in forms.items():
                spent, scores = timed(workers.teacher_scores, [examples])
                reference = workers.reference_logprobs([examples])
                of_step = denominators(examples, bench.config.losses, bench.config.sampling.max_new_tokens)
                work = StepWork(step, coefficients, of_step)
                teacher[name].append(spent)
                student[name].append(timed(workers.step, work, [examples], scores, reference)[0])
        of_once = distinct(sequences(once))[0]
        print(
            f"{method}: {len(sequences(once))} sequences, {len(of_once)} of them distinct, of {tokens(of_once)[0]} "
            f"tokens, {tokens(of_once)[1]} with each prompt once; "
            + "; ".join(
                f"{what} {against(times, 'once', 'apart')}, {against(times, 'shared', 'once')}"
                for what, times in (("student", student), ("teacher", teacher))
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
