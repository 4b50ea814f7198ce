"""Token records of a run through real actors, and a question put to what it left: against transformers, to 1e-5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.integration.conftest import SMALL

from artifact import inspect
from artifact.actors.checkpoints import load_frozen
from artifact.config import load
from artifact.records import Rollout, read_parquet
from artifact.studies.runner import RunInfo, run
from artifact.train.token_records import TokenRecord

FEW = SMALL | {"train.steps": 2, "train.prompts_per_step": 6, "method": "core", "seed": 11, "teacher": "B"}


@dataclass
class Model:
    """A checkpoint, asked by one plain forward pass a sequence."""

    network: Any

    def rows(self, prompt: Any, response: Any) -> np.ndarray:
        with torch.no_grad():
            logits = self.network(input_ids=torch.tensor([[*prompt, *response]])).logits[0].double()
        return logits[len(prompt) - 1 : -1].log_softmax(-1).numpy()


def model(path: str | Path) -> Model:
    return Model(load_frozen(str(path), "float32"))


@pytest.fixture(scope="module")
def recorded(workers: Any, results: Path) -> RunInfo:
    return run(load("tiny", FEW | {"train.token_records.every": 1}), progress=False)


def records_of(info: RunInfo) -> list[TokenRecord]:
    return [r for path in sorted((info.folder / "tokens").iterdir()) for r in read_parquet(path, TokenRecord)]


def agree(found: Any, expected: np.ndarray) -> None:
    """To 1e-5 nats, and to float32's own spacing where a token is as good as impossible (log p below −10)."""
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5, rtol=2e-6)


def test_records_are_what_the_stored_weights_say(recorded: RunInfo) -> None:
    """Step 0, whose student is the stored base model; and the teacher at every step."""
    config = load("tiny", FEW)
    student, teacher = model(config.models.student), model(config.teacher_path)
    found = records_of(recorded)
    assert {r.step for r in found} == {0, 1} and {"distil", "chosen", "rejected"} <= {r.role for r in found}
    for r in found:
        p = teacher.rows(r.prompt_ids, r.response_ids)
        own = np.arange(len(p)), list(r.response_ids)
        agree(r.teacher_logprobs, p[own])
        agree(r.teacher_entropy, -(np.exp(p) * p).sum(-1))
        agree(np.reshape(r.teacher_top_logprobs, (-1, 5)), -np.sort(-p)[:, :5])
        support = np.argsort(-p)[:, : config.losses.distil.top_k]
        agree(r.teacher_mass, np.exp(np.take_along_axis(p, support, 1)).sum(-1))
        reference = student.rows(r.prompt_ids, r.response_ids)
        agree(r.reference_logprobs, reference[own])
        if r.step == 0:
            agree(r.student_logprobs, reference[own])
            agree(np.reshape(r.student_top_logprobs, (-1, 5)), -np.sort(-reference)[:, :5])
            on_support = np.take_along_axis(p, support, 1)
            q = np.take_along_axis(reference, support, 1)
            tilde = np.exp(on_support) / np.exp(on_support).sum(-1, keepdims=True)
            agree(r.divergence, (tilde * (np.log(tilde) - q)).sum(-1))


def test_records_of_later_steps_are_of_the_policy_that_sampled(recorded: RunInfo) -> None:
    drawn = {
        (r.policy_version, r.problem_id, r.sample): r
        for path in sorted((recorded.folder / "rollouts").iterdir())
        for r in read_parquet(path, Rollout)
    }
    later = [r for r in records_of(recorded) if r.step == 1 and r.sample is not None]
    assert later
    for r in later:
        rollout = drawn[r.step, r.problem_id, r.sample]  # type: ignore[index]
        assert rollout.response_ids == r.response_ids
        np.testing.assert_allclose(r.student_logprobs, rollout.logprobs, atol=2e-4)


def test_recording_changes_no_byte_of_the_run(recorded: RunInfo) -> None:
    silent = run(load("tiny", FEW | {"train.token_records.every": 0}), progress=False)
    told = {name: of["sha256"] for name, of in recorded.manifest["files"].items() if not name.startswith("tokens/")}
    assert told == {name: of["sha256"] for name, of in silent.manifest["files"].items()}
    assert "token_records" not in silent.manifest
    stated = recorded.manifest["token_records"]
    records = records_of(recorded)
    assert stated["responses"] == len(records) and stated["tokens"] == sum(len(r.response_ids) for r in records)


def test_a_question_is_put_to_the_weights_that_the_run_left(recorded: RunInfo) -> None:
    poked = inspect.poke(recorded, "Solve 3x+5=20.", "5", samples=2)
    student, teacher = model(recorded.folder / "weights"), model(load("tiny", FEW).teacher_path)
    assert len(poked.responses) == 2 and poked.cluster.annotation.n == FEW["annotation.samples"]
    for rollout, tokens in zip(poked.responses, poked.tokens, strict=True):
        own = np.arange(len(rollout.response_ids)), list(rollout.response_ids)
        frame = tokens.to_frame()
        agree(frame["student_logprob"], student.rows(rollout.prompt_ids, rollout.response_ids)[own])
        agree(frame["teacher_logprob"], teacher.rows(rollout.prompt_ids, rollout.response_ids)[own])
        assert rollout.verdict is not None and rollout.verdict.correct == (rollout.verdict.extracted in ("5", "x=5"))
    assert "Solve 3x+5=20." in poked.to_html()
    again = inspect.poke(recorded, "Solve 3x+5=20.", "5", samples=2)
    assert [r.response_ids for r in again.responses] == [r.response_ids for r in poked.responses]
    assert inspect.poke(recorded, "Solve 3x+5=20.", samples=1).to_frame()["status"].isna().all()
