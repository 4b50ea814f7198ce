"""What an evaluation would do, and what it refuses, before an engine starts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from artifact.config import ConfigError, load
from artifact.errors import ArtifactError, EmptyDataset, Mismatch
from artifact.evaluate.protocol import parse_protocol
from artifact.paths import project_root
from artifact.studies.benchmark_jobs import (
    LEAST_BUDGET,
    fit_engine,
    locate_model,
    named,
    parse_ks,
    prepare,
    protocols_for,
    start_up_checks,
)
from artifact.studies.benchmark_targets import Target
from artifact.tasks.hub import DataAbsent

STUDENT = "models/tiny/student"
ROWS = [
    {"question": "Zoe has 10 apples, finds 19. How many apples?", "answer": "10+19=29\n#### 29"},
    {"question": "Ben fills 3 bags of 2 books. How many books?", "answer": "3*2=6\n#### 6"},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two problems of the tiny world in GSM8K's format, and a template without words."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "test.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS), encoding="utf-8")
    (tmp_path / "bare.txt").write_text("answer: boxed\n\n[user]\n{question}\n", encoding="utf-8")
    return tmp_path


def job(data: Path, model: str = STUDENT, **options):
    options = {"data_dir": data, "template": str(data / "bare.txt"), "max_new_tokens": 120} | options
    return prepare(load("tiny"), {}, Target("gsm8k@mine", "test"), locate_model(model), **options)


def test_a_model_is_a_folder_a_run_or_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project_root()
    assert locate_model(STUDENT) == str(root / STUDENT) and named(str(root / STUDENT)) == STUDENT
    monkeypatch.chdir(root / "models")
    assert locate_model("tiny/student") == str(root / STUDENT)  # from where the command is given
    (tmp_path / "run" / "weights").mkdir(parents=True)
    (tmp_path / "run" / "weights" / "config.json").write_text("{}")
    assert locate_model(str(tmp_path / "run")) == str(tmp_path / "run" / "weights")
    assert locate_model("Qwen/Qwen3-1.7B") == "Qwen/Qwen3-1.7B"
    for wrong, said in (("models/nobody", "does not exist"), (str(tmp_path), "has no config.json"), ("~/x/y", "exist")):
        with pytest.raises(FileNotFoundError, match=said):
            locate_model(wrong)


def test_protocols_and_ks_of_a_tier() -> None:
    assert [p.name for p in protocols_for(load("tiny"), None)] == ["greedy"]
    greedy, sixteen = protocols_for(load("paper"), None)
    assert greedy.greedy and (sixteen.name, sixteen.temperature, sixteen.top_p) == ("avg16", 1.2, 0.95)
    hotter = load("paper", {"evaluation.sampled.temperature": 1.5})
    assert protocols_for(hotter, ["avg4", "avg4"]) == [parse_protocol("avg4", 1.5)]
    assert parse_ks(None, [greedy]) is None
    assert parse_ks(["8", "4", "8"], [greedy, sixteen]) == (4, 8)  # greedy has no use for them
    own = protocols_for(load("paper"), ["greedy", "avg4"], temperature=0.6, top_p=1.0)
    assert [(p.name, p.temperature, p.top_p) for p in own] == [("greedy", 0.0, 1.0), ("avg4", 0.6, 1.0)]
    with pytest.raises(ConfigError, match="are of sampled protocols"):
        protocols_for(load("tiny"), ["greedy"], top_p=0.9)
    with pytest.raises(ConfigError, match="'four' is no number"):
        parse_ks(["four"], [sixteen])
    for ks, protocols, remedy in ((["32"], [sixteen], "avg32"), (["4"], [greedy], "avg4")):
        with pytest.raises(ArtifactError, match=remedy):
            parse_ks(ks, protocols)


def test_a_file_of_ones_own(data: Path) -> None:
    from artifact.studies.inputs import rules_of

    own = job(data)
    assert [(p.question, p.answer) for p in own.problems] == [(ROWS[0]["question"], "29"), (ROWS[1]["question"], "6")]
    assert own.origin["gradable"] == 2 and own.origin["checked"] == [] and own.origin["template"] == "bare"
    assert own.origin["rows"] == "test.jsonl"  # no path of this machine in what is published
    assert own.config.task.extraction_rules is None  # not those of the tiny world
    assert rules_of(own.config.task) == ("boxed",)  # what its template asks for
    assert own.config.evaluation.max_new_tokens == 120 and own.config.models == load("tiny").models
    start_up_checks(own)
    short = job(data, limit=1, max_new_tokens=9)
    assert (len(short.problems), short.config.evaluation.max_new_tokens, short.origin["gradable"]) == (1, 9, 2)


def test_the_models_own_tokenizer_makes_the_prompts(data: Path) -> None:
    from artifact.studies.inputs import tokenizer_of

    own = job(data)
    text = tokenizer_of(own.model).decode(own.prompts[own.problems[0].id])
    assert text == f"<|bos|><|user|>{ROWS[0]['question']}<|im_end|><|assistant|>"
    assert own.inputs.prompts(own.problems) == list(own.prompts.items())


def test_the_tiers_own_task_keeps_its_settings() -> None:
    overrides = {"task.thinking": None, "evaluation.limit": 3}
    own = prepare(load("tiny", overrides), overrides, Target("tinymath", "curve"), locate_model(STUDENT))
    assert own.config.task.extraction_rules == ("boxed",) and len(own.problems) == 3
    assert own.config.evaluation.final == ("curve",) and own.origin["place"] == "package"


def test_the_engine_grows_to_what_is_needed(data: Path) -> None:
    own = job(data)
    assert fit_engine([own])[0].config == own.config
    long = replace(own, prompts={k: x * 18 for k, x in own.prompts.items()})
    longest = max(map(len, long.prompts.values()))
    [grown] = fit_engine([long])
    engine = grown.config.cluster.engine
    assert engine.max_model_len == 512 == -(-engine.max_model_len // 64) * 64 >= longest + 120 > 448  # 512 positions
    assert engine.max_num_batched_tokens == own.config.cluster.engine.max_num_batched_tokens
    assert fit_engine([long], fixed=["max_model_len", "max_num_batched_tokens"])[0].config == own.config


def test_what_does_not_fit_is_refused(data: Path) -> None:
    own = job(data, max_new_tokens=600)
    room = 512 - max(map(len, own.prompts.values()))
    with pytest.raises(Mismatch, match=f"512 positions: give --max-new-tokens {room} or less"):
        fit_engine([own])
    start_up_checks(fit_engine([job(data, max_new_tokens=room)])[0])
    own = {"cluster.engine.max_num_batched_tokens": load("tiny").cluster.engine.max_model_len}
    narrow = replace(job(data, max_new_tokens=room), config=load("tiny", own | {"evaluation.max_new_tokens": room}))
    with pytest.raises(ConfigError, match=r"is below engine\.max_model_len"):  # as the configuration itself would say
        fit_engine([narrow], fixed=["max_num_batched_tokens"])
    with pytest.raises(Mismatch, match="max_model_len"):
        start_up_checks(fit_engine([job(data, max_new_tokens=440)], fixed=["max_model_len"])[0])
    with pytest.raises(Mismatch, match="another text"):  # words that the tiny world does not have
        start_up_checks(
            prepare(
                load("tiny"),
                {},
                Target("gsm8k@mine", "test"),
                locate_model(STUDENT),
                data_dir=data,
                template=_with_words(data),
            )
        )


def _with_words(data: Path) -> str:
    rows = [{"question": "Which planet is the largest?", "answer": "#### 5"}]
    (data / "mine" / "test.jsonl").write_text(json.dumps(rows[0]) + "\n", encoding="utf-8")
    return str(data / "bare.txt")


def test_a_tiers_limit_and_budget_are_those_of_its_own_evaluation(data: Path) -> None:
    plain = load("tiny")
    tiny = plain.model_copy(
        update={"evaluation": plain.evaluation.model_copy(update={"limit": 1})}
    )  # as if in the file
    assert tiny.evaluation.max_new_tokens < LEAST_BUDGET == 512

    def sizes(name: str, split: str, overrides: dict | None = None, **options) -> tuple[int, int]:
        base = tiny if overrides is None else load("tiny", overrides)
        own = {} if name == "tinymath" else {"data_dir": data, "template": str(data / "bare.txt")}
        made = prepare(base, overrides or {}, Target(name, split), locate_model(STUDENT), **own, **options)
        return len(made.problems), made.config.evaluation.max_new_tokens

    assert sizes("tinymath", "evaluation") == (1, tiny.evaluation.max_new_tokens)
    assert sizes("gsm8k@mine", "test") == (2, 512)
    assert sizes("gsm8k@mine", "test", limit=1, max_new_tokens=40) == (1, 40)
    assert sizes("gsm8k@mine", "test", {"evaluation.limit": 1, "evaluation.max_new_tokens": 50}) == (1, 50)  # --set


def test_missing_and_empty_data(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataAbsent, match="does not exist"):
        job(data, data_dir=tmp_path / "nowhere")
    (data / "mine" / "test.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(EmptyDataset, match="no gradable problem"):
        job(data)
    shutil.rmtree(data / "mine")
    with pytest.raises(DataAbsent, match="mine/test"):
        job(data)


def test_a_tokenizer_that_cannot_prompt(data: Path, tmp_path: Path) -> None:
    bare = tmp_path / "base-model"
    shutil.copytree(project_root() / STUDENT, bare)
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(Mismatch, match=r"no chat template.*--prompt plain"):
        job(data, str(bare))
    plain = job(data, str(bare), prompt="plain")
    assert plain.prompt == "plain" and set(plain.prompts) == {p.id for p in plain.problems}
    with pytest.raises(Mismatch, match="another text"):  # the tiny world has no word for `Question:`
        start_up_checks(plain)
    with pytest.raises(Mismatch, match="no tokenizer of 'nobody/nothing'"):
        job(data, "nobody/nothing")
