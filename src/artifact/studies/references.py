"""The untrained student and the teacher, as studies say that they read them (`references`), measured before training;
and the teacher annotated a second time (`retests`).

Where devices are counted, the teacher's engines and those that train end each other (`actors/leases.py`): a notebook
that asked the teacher between two runs would have both started anew. Phase 1 has the teacher's engines up, so its
measurements come after phase 1, then those of the student, whose engines the runs go on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from artifact.actors.placement import counts_devices
from artifact.actors.session import serving
from artifact.config import Config, SampledEvaluation, load
from artifact.studies import store
from artifact.studies.runner import RunInfo, checkpoint_key, evaluate_checkpoint, reference_rows
from artifact.studies.sampled_evaluation import sampled_evaluations
from artifact.studies.study import load_study


class Reference(NamedTuple):
    """A model that no run makes, on the final splits: greedy, and by avg@k where `sampled` says how."""

    cell: str
    label: str
    model: str
    config: Config
    sampled: SampledEvaluation | None

    @property
    def keys(self) -> list[str]:
        """Those of its results."""
        ways = [None] if self.sampled is None else [None, self.sampled]
        return [checkpoint_key(self.config, self.model, way) for way in ways]

    def measure(self) -> list[RunInfo]:
        """Its results, made where they are not stored."""
        greedy = evaluate_checkpoint(self.config, self.model, self.label, self.cell)
        return [greedy, *(sampled_evaluations([greedy], self.sampled) if self.sampled else [])]


def references_of(studies: Sequence[str], tier: str, overrides: dict[str, Any] | None = None) -> list[Reference]:
    """The references that `studies` read and that are not stored, each once, frozen models first.

    None where no device is counted: engines stay there, and a notebook measures what it shows.
    """
    found: dict[str, Reference] = {}  # by the key of what is greedy
    for study in map(load_study, studies):
        if study.references is None:
            continue
        firsts: dict[str, Config] = {}
        for _, config in study.runs(tier, overrides):
            firsts.setdefault(config.teacher, config)
        for config in firsts.values():
            if not counts_devices(config.cluster):
                return []
            sampled = config.evaluation.sampled if study.references == "sampled" else None
            for cell, label, model in reference_rows(config):
                reference = Reference(cell, label, model, config, sampled)
                if found.setdefault(reference.keys[0], reference).sampled is None:
                    found[reference.keys[0]] = reference
    missing = [each for each in found.values() if not all(map(_stored, each.keys))]
    return sorted(missing, key=lambda each: serving(each.config, each.model), reverse=True)


def retests_of(studies: Sequence[str], tier: str, overrides: dict[str, Any] | None = None) -> list[Config]:
    """What phase 1 annotates again before training (`second_annotations`); nothing where no device is counted."""
    return [config for config in second_annotations(studies, tier, overrides) if counts_devices(config.cluster)]


def second_annotations(studies: Sequence[str], tier: str, overrides: dict[str, Any] | None = None) -> list[Config]:
    """What is annotated again with another seed, one configuration a teacher of the `studies` that read it."""
    chosen, found = [study for study in map(load_study, studies) if study.retests], []
    for teacher in dict.fromkeys(config.teacher for study in chosen for _, config in study.runs(tier, overrides)):
        own = {**(overrides or {}), "teacher": teacher}
        a = load(tier, own).annotation
        found.append(load(tier, {**own, "annotation.seed": a.seed + 1, "annotation.draw": a.samples}))
    return found


def _stored(key: str) -> bool:
    return store.read_manifest(store.folder_of("checkpoints", key)) is not None
