"""The rows that no run makes are measured once, before training, where measuring them later would end engines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from artifact.book.needs import studies_of
from artifact.book.notebooks import cell_source, discover, read_notebook
from artifact.config import Config, SampledEvaluation, load
from artifact.studies import references as module
from artifact.studies import store
from artifact.studies.references import Reference, references_of, retests_of
from artifact.studies.runner import checkpoint_key
from artifact.studies.study import load_study

COUNTED = {"cluster.gpus": 4, "cluster.lanes": 1, "task.train_limit": 20, "evaluation.limit": 5}
SAMPLED = COUNTED | {"evaluation.sampled": {"k": 4, "temperature": 1.2, "top_p": 0.95}}


def test_each_is_listed_once_and_frozen_models_first() -> None:
    """Both studies read the same two teachers; one of them reads samples as well."""
    config = load("tiny", SAMPLED)
    found = references_of(["uopd", "uopd_methods"], "tiny", SAMPLED)
    teachers = [config.models.teachers[name] for name in config.models.teachers]
    assert [each.model for each in found] == [*teachers, config.models.student]
    assert all(each.sampled == config.evaluation.sampled for each in found)
    assert [each.cell for each in found] == ["teacher", "teacher", "base"]
    greedy = references_of(["uopd"], "tiny", SAMPLED)
    assert [each.keys[0] for each in greedy] == [each.keys[0] for each in found]
    assert all(each.sampled is None and len(each.keys) == 1 for each in greedy)


def test_what_is_stored_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = references_of(["uopd_methods"], "tiny", SAMPLED)
    known = {first.keys[0]}
    monkeypatch.setattr(store, "read_manifest", lambda folder: {} if folder.name in known else None)
    assert len(references_of(["uopd_methods"], "tiny", SAMPLED)) == 1 + len(rest), "its samples are missing"
    known.add(first.keys[1])
    assert [each.keys for each in references_of(["uopd_methods"], "tiny", SAMPLED)] == [each.keys for each in rest]


def test_none_where_no_device_is_counted_or_no_study_reads_them() -> None:
    assert references_of(["uopd"], "tiny", {"task.train_limit": 20}) == []
    assert references_of(["uopd_samples"], "tiny", COUNTED) == []


def test_a_retest_is_what_the_notebook_asks_for() -> None:
    """Another seed, and as many samples as are clustered; a study's own settings are not those of the notebook."""
    found = retests_of(["uopd_samples", "uopd_samples"], "tiny", COUNTED)
    assert [c.teacher for c in found] == ["B"], "the teacher of the study"
    tier = load("tiny", COUNTED).annotation
    assert {(c.annotation.seed, c.annotation.draw) for c in found} == {(tier.seed + 1, tier.samples)}
    code = "\n".join(cell_source(c) for c in read_notebook(notebook_of("04"))["cells"])
    assert '"annotation.seed": config.annotation.seed + 1, "annotation.draw": n' in code
    assert retests_of(["uopd"], "tiny", COUNTED) == [] and retests_of(["uopd_samples"], "tiny") == []


def notebook_of(number: str) -> Any:
    return next(path for path in discover() if path.name.startswith(number))


def test_its_results_are_those_that_a_notebook_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """`baselines` and `sampled_evaluations` are asked with what is stored, and find what was measured here."""
    config, asked = load("tiny", SAMPLED), []

    def measured(config: Config, model: str, label: str, cell: str, *a: Any) -> Any:
        sampled = next((x for x in a if isinstance(x, SampledEvaluation)), None)
        asked.append(checkpoint_key(config, model, sampled))
        return SimpleNamespace(key=asked[-1], manifest={"kind": "checkpoints", "model": model})

    monkeypatch.setattr(module, "evaluate_checkpoint", measured)
    monkeypatch.setattr(
        module,
        "sampled_evaluations",
        lambda infos, sampled: [measured(config, info.manifest["model"], "", "", sampled) for info in infos],
    )
    reference = Reference("teacher", "Teacher", config.teacher_path, config, config.evaluation.sampled)
    assert [info.key for info in reference.measure()] == reference.keys == asked


def test_studies_say_what_their_notebooks_read() -> None:
    """A notebook that shows the teacher's row names a study that says so, and says "sampled" where it samples it."""
    read = 0
    for notebook in discover():
        code = "\n".join(cell_source(c) for c in read_notebook(notebook)["cells"] if c["cell_type"] == "code")
        if "in baselines(" not in code and ": baselines(" not in code:
            continue
        read += 1
        stated = {load_study(name).references for name in studies_of(notebook)}
        assert "greedy" in stated or "sampled" in stated, notebook.name
        assert "sampled" in stated or "sampled_evaluations(in_table" not in code, notebook.name
    assert read == 6
