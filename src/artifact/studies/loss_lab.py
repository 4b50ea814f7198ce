"""A laboratory for losses: one hand-made group of rollouts, and the examples that every method makes of it.

A `Lab` holds a problem, its rollouts as token ids with real verdicts, and the frozen models; nothing here needs Ray or
a cluster. A method sees the group as it would in training. Left out: sampling of the group (its texts are written by
hand).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from artifact.actors.answering import answer
from artifact.actors.checkpoints import load_frozen, load_network
from artifact.config import Config, ConfigError
from artifact.errors import Mismatch
from artifact.paths import resolve_model
from artifact.records import Group, Problem, Rollout
from artifact.train.examples import Distil, Prefer
from artifact.train.inputs import RunInputs
from artifact.train.methods.base import Method, StepContext, available
from artifact.train.rollouts import Completion, build_rollouts, verify_groups
from artifact.train.scoring import FrozenModel

Decode = Callable[[Sequence[int]], str]

Variant = tuple[str, dict[str, Any]]
"""(method name, options)"""

ABLATIONS: dict[str, Variant] = {
    "core, distil only": ("core", {"parts": "distil"}),
    "core, contrast only": ("core", {"parts": "contrast"}),
    "core, teacher reads solution": ("core", {"teacher_context": "solution"}),
    "opsd, run's teacher": ("opsd", {"teacher": "teacher"}),
}
"""Forms of the shipped methods that differ in kind from the default ones."""


def variants(ablations: bool = True) -> dict[str, Variant]:
    """Every registered method with its default options, a user's own included; `ABLATIONS` beside their method."""
    out: dict[str, Variant] = {}
    for name in available():
        out[name] = (name, {})
        out |= {label: v for label, v in ABLATIONS.items() if ablations and v[0] == name}
    return out


@dataclass
class Lab:
    """One problem, one group, and the frozen models.

    network    the student in float32, as loaded: never changed
    frozen     any checkpoint of the configuration, for scoring in this process
    context    what methods may look at besides the group
    decode     token ids → text
    """

    config: Config
    group: Group
    network: Any
    frozen: Callable[[str], FrozenModel]
    context: StepContext
    decode: Decode
    names: dict[tuple[int, ...], str] = field(default_factory=dict)

    @property
    def vocabulary(self) -> int:
        """Rows of the student's head: a teacher's beyond them are padding, and are not scored."""
        return int(self.network.lm_head.weight.shape[0])

    def method(self, variant: Variant) -> Method:
        """The method of `variant`, its options checked."""
        return self.config.model_copy(update={"method": variant[0], "method_options": variant[1]}).make_method()

    def using(self, **changes: Any) -> Lab:
        """The same lab under a changed configuration: `teacher="B"`, or `losses=…` for another form of a loss."""
        return replace(self, config=self.config.model_copy(update=changes))


def open_lab(
    config: Config,
    inputs: RunInputs,
    problem: Problem,
    texts: Sequence[tuple[str, bool]],
    decode: Decode,
    *,
    weight: float = 0.5,
) -> Lab:
    """A lab on `problem` with the rollouts `texts`: (text, whether it ended), an unfinished one has no end of sequence.

    `weight` is the problem's uncertainty weight, as UOPD would read it from phase 1; the teacher draws four responses
    now, of which SeqKD reads the verified ones.

    Raises Mismatch when a text does not survive the tokenizer: its ids would not be the response that is shown.
    """

    @cache
    def frozen(path: str) -> FrozenModel:
        return FrozenModel(load_frozen(path, config.models.dtype))

    base = resolve_model(config.models.student)
    network = load_network(base, "float32").eval()
    network.config.use_cache = False
    prompt = (problem.id, inputs.encode(problem, "none"))
    ids = [inputs.encode_text(text) if ended else inputs.encode_text(text)[:-1] for text, ended in texts]
    for (text, _), response in zip(texts, ids, strict=True):
        if decode(response) != text:
            raise Mismatch(f"response {text!r} reads {decode(response)!r} after the tokenizer; write it otherwise")
    values = frozen(base).logprobs([(prompt[1], r) for r in ids])
    written = [
        Completion(np.asarray(r), v, "stop" if ended else "length")
        for r, v, (_, ended) in zip(ids, values, texts, strict=True)
    ]
    drawn = answer(
        frozen(resolve_model(config.teacher_path)),
        [prompt[1]] * 4,
        "generate",
        top_k=config.losses.distil.top_k,
        temperature=config.annotation.temperature,
        max_new_tokens=config.annotation.max_new_tokens,
        stop_token_ids=[inputs.encode_text("")[-1]],
        seed=0,
    )

    def rollouts(completions: Sequence[Completion], version: int) -> tuple[Rollout, ...]:
        built = build_rollouts([prompt], [completions], lambda many: list(map(decode, many)), policy_versions=[version])
        return verify_groups([problem], built, inputs.verify)[0]

    group, sampled = rollouts(written, 0), rollouts(drawn, -1)
    context = StepContext(0, inputs.encode, inputs.encode_text, {problem.id: weight}, {problem.id: sampled})
    names = {r.response_ids: f"teacher sample {i + 1}" for i, r in reversed(list(enumerate(sampled)))}
    reference = inputs.encode_text(problem.solution) if problem.solution else None
    names |= {reference: "reference"} if reference else {}
    names |= {r.response_ids: f"y{i}{' = reference' * (r.response_ids == reference)}" for i, r in enumerate(group, 1)}
    return Lab(config, Group(problem, prompt[1], group), network, frozen, context, decode, names)


def refusal(lab: Lab, variant: Variant) -> str:
    """The words with which a method refuses its options; ValueError when it takes them."""
    try:
        lab.method(variant)
    except ConfigError as err:
        return str(err)
    raise ValueError(f"method {variant[0]!r} takes the options {variant[1]}: nothing was refused")


def group_table(group: Group) -> pd.DataFrame:
    """The group as a reader sees it: rollout, text, finish, verdict, extracted, tokens, log-probability (policy)."""
    return pd.DataFrame(
        [
            {
                "rollout": f"y{i + 1}",
                "text": r.text,
                "finish": r.finish_reason,
                "verdict": str(r.verdict.status) if r.verdict else "unverified",
                "extracted": r.verdict.extracted if r.verdict else None,
                "tokens": len(r.response_ids),
                "log-probability": sum(r.logprobs),
            }
            for i, r in enumerate(group.rollouts)
        ]
    )


def examples_table(lab: Lab, chosen: Mapping[str, Variant]) -> pd.DataFrame:
    """One row per example that every method of `chosen` makes of the group.

    Columns: method, component, coefficient, weight (of the example; an advantage for policy_gradient), response,
    rejected, scorer (teacher, self; empty where nothing is scored), reads (what the scorer reads besides the question),
    reads_gold.
    """
    problem, rows = lab.group.problem, []
    contexts = {lab.context.encode(problem, c): c for c in ("answer", "solution")}
    for label, variant in chosen.items():
        method = lab.method(variant)
        batch = method.batch([lab.group], lab.context)
        for example in batch.examples:
            scorer = reads = ""
            if isinstance(example, Distil):
                scorer = "self" if method.needs.self_teacher else "teacher"
                reads = contexts.get(example.teacher_prompt_ids or (), "question")
            rows.append(
                {
                    "method": label,
                    "component": example.component,
                    "coefficient": batch.coefficients[example.component],
                    "weight": float(example.weight),
                    "response": _name(lab, tuple(example.sequences[0][1])),
                    "rejected": _name(lab, example.rejected_ids) if isinstance(example, Prefer) else "",
                    "scorer": scorer,
                    "reads": reads,
                    "reads_gold": method.needs.gold,
                }
            )
    return pd.DataFrame(rows)


def compact(examples: pd.DataFrame) -> pd.DataFrame:
    """`examples_table` with the examples of one method, component and scorer in one row, weights in the same order."""
    keys, rows = ["method", "component", "coefficient", "scorer", "reads", "reads_gold"], []
    for values, group in examples.groupby(keys, sort=False):
        row = dict(zip(keys, values, strict=True))
        pairs = zip(group["response"], group["rejected"], strict=True)
        scorer = "" if not row["scorer"] else f"{row['scorer']}, reading the {row['reads']}"
        rows.append(
            {
                "method": row["method"],
                "component": row["component"],
                "coefficient": f"{row['coefficient']:g}",
                "responses": ", ".join(f"{c} ≻ {r}" if r else c for c, r in pairs),
                "weights": ", ".join(f"{w:.3g}" for w in group["weight"]),
                "scored by": scorer,
                "reads gold": "yes" if row["reads_gold"] else "no",
            }
        )
    return pd.DataFrame(rows)


def _name(lab: Lab, ids: tuple[int, ...]) -> str:
    """What a response is called in the tables; a text that no list knows is shown itself."""
    return lab.names.get(ids, lab.decode(ids))
