"""The start-up report: what stops a run stops it before any actor, what is left out is left out of every method alike.

Models are copies of the embedded ones with one thing made wrong; lengths are counted again, prompt by prompt.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from artifact.config import Config, load
from artifact.errors import ArtifactError, EmptyDataset, Mismatch
from artifact.paths import resolve_model
from artifact.phase1 import llm_judge, stream
from artifact.records import Problem, Rollout, Status, Verdict
from artifact.studies import annotate, runner, store
from artifact.studies import start_up as start_up_module
from artifact.studies.annotate import samples_key
from artifact.studies.inputs import build_inputs, evaluation_problems, problems_of, start_up, task_of, tokenizer_of
from artifact.studies.language_model import held_out_problems
from artifact.studies.start_up import CONTEXTS, Checkpoint, Measured, Reading, Report, examine, too_long
from artifact.tasks.base import register
from artifact.tasks.catalogue.tinymath import TinyMath
from artifact.tasks.checks import Kind
from artifact.tasks.prompts import encode_prompt, encode_prompts
from artifact.train.inputs import RunInputs
from artifact.worlds.tiny.tokenizer import CHAT_TEMPLATE

ROOM = 448
SMALL: dict[str, Any] = {"task.train_limit": 8, "evaluation.limit": 12, "annotation.samples": 4, "annotation.draw": 4}
LONG = "Ben has 7 pens, finds 9. How many pens?"


@pytest.fixture
def long_prompts() -> dict[str, Any]:
    """A task as the embedded one, but the third training problem has a long question and the fifth a long solution."""

    @register("long-prompts")
    class LongPrompts(TinyMath):
        def load(self, split: str) -> list[Problem]:
            found = super().load(split)
            if split == "train":
                found[2] = replace(found[2], question=LONG * 40)
                found[4] = replace(found[4], solution=";".join([found[4].solution or ""] * 40))
            return found

    return SMALL | {"task.name": "long-prompts"}


@pytest.fixture
def no_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for an actor fails."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("an actor was asked for")

    for module in (runner, annotate):
        monkeypatch.setattr(module, "open_actors", refuse)


def copy_of(model: str, folder: Path, change: Callable[[Path], None]) -> str:
    """A copy of a model's folder in which one thing was changed."""
    shutil.copytree(resolve_model(model), folder)
    change(folder)
    return str(folder)


def edit_json(name: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def write_template(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "chat_template.jinja").write_text(text)

    return change


def with_teacher(tmp_path: Path, change: Callable[[Path], None], **settings: Any) -> Config:
    return load(
        "tiny", SMALL | settings | {"models.teachers": {"A": copy_of("models/tiny/teacher-a", tmp_path / "t", change)}}
    )


# One rule for what is left out


@pytest.mark.parametrize(
    ("prompts", "solution", "why"),
    [
        ({"none": 60}, 0, ""),
        ({"none": 61}, 0, "prompt of 61 tokens (context 'none'), 60 fit beside the response"),
        ({"none": 50, "answer": 55, "solution": 61}, 9, "prompt of 61 tokens (context 'solution'), 60 fit"),
        ({"none": 50, "answer": 55, "solution": 0}, 50, ""),
        ({"none": 50}, 51, "prompt of 50 tokens and reference solution of 51, 100 fit"),
    ],
)
def test_the_rule(prompts: dict[str, int], solution: int, why: str) -> None:
    assert too_long(prompts, solution, budget=40, room=100).startswith(why) == bool(why) or not why
    assert bool(too_long(prompts, solution, budget=40, room=100)) == bool(why)


METHODS = ("uopd", "opd", "core", "grpo", "opsd")


def store_samples(config: Config) -> None:
    """Canned teacher samples where `draw_samples` would have put them."""

    def canned(problem: Problem) -> tuple[Rollout, ...]:
        correct = Verdict(Status.CORRECT, problem.answer)
        return tuple(Rollout(problem.id, i, (1, 2), (5, 6), (-0.5, -0.5), "", "stop", -1, correct) for i in range(4))

    world = build_inputs(config)
    with store.result("samples", samples_key(config, world), config) as out:
        if not out.finished:
            account = stream.draw(world.train, lambda ps: [canned(p) for p in ps], out.folder / "shards", batch=250)
            stream.join_shards(out.folder / "shards", out.folder / "samples.parquet", Rollout)
            out.run_info["seconds"]["sampling"] = account.pop("seconds")
            out.manifest["sampled"] = account


def test_every_method_trains_on_the_same_problems_and_a_restart_too(
    long_prompts: dict[str, Any], results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Old: phase 1 dropped the long problem, so UOPD ran where the others died at the step that met it, each time."""
    seen: dict[str, list[list[str]]] = {}
    killed: set[str] = set()

    def train(config: Config, method: Any, world: RunInputs, *rest: Any) -> dict[str, Any]:
        seen.setdefault(config.method, []).append([p.id for p in world.train])
        if config.method not in killed:
            killed.add(config.method)
            raise KeyboardInterrupt
        return {"seconds": {"total": 0.0}, "peak_memory_gib": {}}

    monkeypatch.setattr(runner, "_train_and_evaluate", train)
    everything = problems_of(load("tiny", long_prompts).task, "train", 8)
    kept = [p.id for i, p in enumerate(everything) if i not in (2, 4)]
    for method in METHODS:
        config = load("tiny", long_prompts | {"method": method})
        store_samples(config)
        with pytest.raises(KeyboardInterrupt):
            runner.run(config, progress=False)
        info = runner.run(config, progress=False)
        assert seen[method] == [kept, kept], method
        of_train = info.manifest["start_up"]["splits"][0]
        assert info.manifest["training_problems"] == 6 and of_train["problems"] == 8
        assert set(of_train["dropped"]) == {everything[2].id, everything[4].id}
    shown = capsys.readouterr().out
    assert shown.count("start-up: train: 6 problems trained on") == 1 and "2 left out" in shown
    made = store.finished(next((results / "annotations").glob("*/manifest.json")).parent)
    assert set(made["start_up"]["splits"][0]["dropped"]) == {everything[2].id, everything[4].id}


def test_lengths_are_those_of_the_prompts_that_are_fed(
    long_prompts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_up_module, "AT_ONCE", 7)
    config = load("tiny", long_prompts | {"task.train_limit": 40})
    tokenizer, task = tokenizer_of(config.models.student), task_of(config.task)
    budget = max(config.sampling.max_new_tokens, config.annotation.max_new_tokens)

    def fits(p: Problem) -> bool:
        lengths = [len(encode_prompt(tokenizer, task.messages(p, c))) for c in CONTEXTS]
        solution = len(tokenizer(p.solution, add_special_tokens=False)["input_ids"]) + 1
        return max(lengths) + budget <= ROOM and lengths[0] + solution <= ROOM

    world = build_inputs(config)
    assert list(world.train) == [p for p in problems_of(config.task, "train", 40) if fits(p)]
    assert len(world.train) == 38


def test_the_budget_of_phase_one_counts_for_methods_that_do_not_read_it(long_prompts: dict[str, Any]) -> None:
    config = load("tiny", SMALL | {"annotation.max_new_tokens": ROOM - 60})
    longest = {m: [p.id for p in build_inputs(config.model_copy(update={"method": m})).train] for m in ("opd", "uopd")}
    assert longest["opd"] == longest["uopd"] and 0 < len(longest["opd"]) < 8
    assert "annotation.max_new_tokens" in start_up(config).lines()[0]


def test_nothing_is_left_out_of_the_embedded_tier_and_the_report_is_made_once() -> None:
    config = load("tiny")
    report = start_up(config)
    assert not report.notable() and [f.dropped for f in report.fits] == [{}, {}, {}]
    assert [f.problems for f in report.fits] == [1000, 200, 1600]
    assert build_inputs(config).train == problems_of(config.task, "train", None)
    assert start_up(load("tiny", {"seed": 5, "optimiser.lr": 0.5, "method": "uopd"})) is report


def test_prompts_encoded_together_are_those_encoded_one_by_one() -> None:
    config = load("tiny", SMALL)
    tokenizer, task = tokenizer_of(config.models.student), task_of(config.task)
    asked = [task.messages(p, c) for p in problems_of(config.task, "train", 8) for c in CONTEXTS]
    assert encode_prompts(tokenizer, asked) == [encode_prompt(tokenizer, m) for m in asked]
    assert encode_prompts(tokenizer, []) == []


# Budgets of evaluation


@pytest.mark.usefixtures("no_actors")
@pytest.mark.parametrize("section", ["evaluation", "sampling", "annotation"])
def test_a_budget_as_large_as_the_engine_stops_before_any_actor(section: str, results: Path) -> None:
    """Old: `evaluation.max_new_tokens` 8192 = `max_model_len` 8192 passed, and step 0 raised in the sampler."""
    config = load("tiny", SMALL | {f"{section}.max_new_tokens": ROOM, "method": "uopd"})
    for start in (runner.run, annotate.annotate, runner.baselines):
        with pytest.raises(
            Mismatch, match=rf"fits: .*{section}\.max_new_tokens = {ROOM}, but .*max_model_len = {ROOM}"
        ):
            start(config)


def test_problems_of_evaluation_that_do_not_fit_are_left_out_of_every_measurement_and_counted() -> None:
    config = load("tiny", SMALL | {"evaluation.limit": 200, "evaluation.max_new_tokens": ROOM - 30})
    tokenizer, task = tokenizer_of(config.models.student), task_of(config.task)
    everything = problems_of(config.task, "evaluation", 200)
    fit = [p for p in everything if len(encode_prompt(tokenizer, task.messages(p))) <= 30]
    assert 0 < len(fit) < 200 and list(evaluation_problems(config, "evaluation")) == fit
    assert runner._final_problems(config) == fit
    told = start_up(config).to_json()["splits"][2]
    assert (told["split"], told["problems"], len(told["dropped"])) == ("evaluation", 200, 200 - len(fit))
    assert 0 < len(build_inputs(config).curve) < len(problems_of(config.task, config.evaluation.curve, 200))
    assert held_out_problems(config, 200) == everything, "of another budget, that of training"


def test_no_problem_has_a_weight(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "phase_one", lambda config, method: runner.TeacherAnnotations())
    with pytest.raises(EmptyDataset, match=r"none of the 8 training problems .* annotation.min_valid = 0"):
        runner.run(load("tiny", SMALL | {"method": "uopd"}), progress=False)


def test_a_context_that_a_method_needs_and_a_problem_lacks_stops_at_once(results: Path) -> None:
    """Old: self-distillation died at the first step that met a problem without a solution."""

    @register("half-solved")
    class HalfSolved(TinyMath):
        def load(self, split: str) -> list[Problem]:
            return [replace(p, solution=None) if i == 5 else p for i, p in enumerate(super().load(split))]

    solved = SMALL | {"task.name": "half-solved"}
    informed = {"method_options": {"teacher_context": "solution"}}
    for needy in ({"method": "opsd"}, {"method": "core"} | informed):
        with pytest.raises(Mismatch, match=r"1 of the 8 problems of 'train' have no prompt with context 'solution'"):
            build_inputs(load("tiny", solved | needy))
    contrast = {"method_options": {"teacher_context": "solution", "parts": "contrast"}}
    for content in ({"method": "opd"}, {"method": "core"}, {"method": "core"} | contrast):
        assert len(build_inputs(load("tiny", solved | content)).train) == 8
    for context, told in (("answer", []), ("solution_or_answer", ["prompts: 1 of the 8 problems of 'train' have no "])):
        config = load("tiny", solved | {"method": "opsd", "method_options": {"context": context}})
        assert len(build_inputs(config).train) == 8
        assert [line[: len(t)] for line, t in zip(start_up(config).notable(), told, strict=True)] == told


def test_a_task_that_reveals_nothing_has_no_informed_prompt() -> None:
    @register("tight-lipped")
    class TightLipped(TinyMath):
        def messages(self, problem: Problem, context: Any = "none") -> Any:
            return super().messages(problem)

    quiet = SMALL | {"task.name": "tight-lipped"}
    with pytest.raises(Mismatch, match="8 of the 8 problems of 'train' have no prompt with context 'solution'"):
        build_inputs(load("tiny", quiet | {"method": "opsd"}))
    assert len(build_inputs(load("tiny", quiet)).train) == 8


# Teacher against student


@pytest.mark.usefixtures("no_actors")
def test_a_teacher_of_another_chat_template_is_refused_with_both_templates(tmp_path: Path, results: Path) -> None:
    """Old: it was scored under the student's template, in silence."""
    config = with_teacher(
        tmp_path, write_template(CHAT_TEMPLATE.replace("{{ bos_token }}", "{{ bos_token + pad_token }}"))
    )
    for start in (runner.run, annotate.annotate, runner.baselines):
        with pytest.raises(Mismatch) as stopped:
            start(config)
        first = problems_of(config.task, "train", 8)[0].question
        assert f"'<|bos|><|user|>{first}<|im_end|><|assistant|>'" in str(stopped.value)
        assert f"'<|bos|><|pad|><|user|>{first}<|im_end|><|assistant|>'" in str(stopped.value)
        assert "foreign template" in str(stopped.value) and "use a teacher with" in str(stopped.value)


def test_a_template_that_differs_under_one_context_only_is_found(tmp_path: Path) -> None:
    changed = CHAT_TEMPLATE.replace("+ message['role'] +", "+ message['role'].replace('system', 'user') +")
    with pytest.raises(Mismatch, match="put 8 of 8 prompts differently"):
        build_inputs(with_teacher(tmp_path, write_template(changed)))


def test_a_template_that_is_written_differently_and_means_the_same_is_accepted(tmp_path: Path) -> None:
    config = with_teacher(tmp_path, write_template("{# another hand #}" + CHAT_TEMPLATE))
    assert "prompts: teacher and student put all 48 prompts alike" in start_up(config).notable()


@pytest.mark.usefixtures("no_actors")
def test_a_teacher_that_stops_elsewhere_is_refused(tmp_path: Path, results: Path) -> None:
    config = with_teacher(tmp_path, edit_json("generation_config.json", eos_token_id=[2, 0]))
    with pytest.raises(Mismatch, match=r"stops at \[2\] = .*teacher .* at \[0, 2\] = .*<\|pad\|>.*eos_token_id"):
        runner.run(config)


def test_a_padded_head_is_stored_shown_and_its_rows_are_not_scored(tmp_path: Path) -> None:
    config = with_teacher(tmp_path, edit_json("config.json", vocab_size=128))
    report = start_up(config)
    assert report.notable() == [
        "agreement: student has 76 rows, teacher 128; the teacher's top-k stops at the tokenizer's 76"
    ]
    assert any("128 rows, 52 padded" in line for line in report.to_json()["findings"])
    assert build_inputs(config).vocabulary == report.vocabulary == 76


def test_a_measured_checkpoint_is_checked_as_a_teacher_is(tmp_path: Path, results: Path) -> None:
    model = copy_of("models/tiny/student", tmp_path / "m", edit_json("generation_config.json", eos_token_id=[2, 0]))
    with pytest.raises(Mismatch, match="stops at"):
        runner.evaluate_checkpoint(load("tiny", SMALL), model, "m", "m")


# Every kind of finding acts


def world(template: str = CHAT_TEMPLATE, **changed: Any) -> Checkpoint:
    """The embedded student as `examine` sees it, with another template, other files or another tokenizer."""
    import copy

    from artifact.worlds.tiny.tokenizer import build_tokenizer

    tokenizer = copy.deepcopy(build_tokenizer())
    tokenizer.chat_template = template
    shape = SimpleNamespace(vocab_size=76, max_position_embeddings=512)
    return replace(Checkpoint("model", tokenizer, shape, {}), **changed)


def report_of(
    student: Checkpoint, teacher: Checkpoint | None = None, question: str = LONG, thinking: bool | None = None
) -> Report:
    problem = Problem("p", question, "16", "7+9=16;\\boxed{16}", "t", "easy", {})
    task = TinyMath()
    found = Measured((problem,), lambda c: [[task.messages(problem, c)]], dict.fromkeys(CONTEXTS, (30,)), (12,))
    reading = Reading("train", None, 100, "sampling.max_new_tokens", trained=True)
    return examine(
        student, teacher or replace(world(), name="teacher"), {reading: found}, max_model_len=ROOM, thinking=thinking
    )


def other_tokens() -> Checkpoint:
    made = world(config=SimpleNamespace(vocab_size=128, max_position_embeddings=512))
    made.tokenizer.add_tokens(["novel"])
    return made


def no_eos() -> Checkpoint:
    made = world()
    made.tokenizer.eos_token = None
    return made


SWITCH = "{% if enable_thinking %}{% endif %}" + CHAT_TEMPLATE

STOPS: dict[str, tuple[Callable[[], Report], str]] = {
    "vocabulary": (lambda: report_of(world(config=SimpleNamespace(vocab_size=70))), "the model has 70 rows"),
    "special tokens": (lambda: report_of(no_eos()), "no EOS token"),
    "round trip": (lambda: report_of(world(), question="Zaphod has 7 pens."), "verified on another text"),
    "template": (
        lambda: report_of(world(CHAT_TEMPLATE.replace("message['content'] +", "message['content'][1:] +"))),
        "drops or changes the question",
    ),
    "thinking": (lambda: report_of(world(SWITCH)), "set task.thinking to true or false"),
    "eos": (
        lambda: report_of(world(CHAT_TEMPLATE.replace("+ eos_token }}{% endfor", "+ pad_token }}{% endfor"))),
        "EOS is not reachable",
    ),
    "context": (
        lambda: report_of(world(config=SimpleNamespace(vocab_size=76, max_position_embeddings=400))),
        "exceeds the model's 400 positions",
    ),
    "agreement": (lambda: report_of(world(), other_tokens()), "different vocabularies"),
    "stop tokens": (lambda: report_of(world(), world(generation_config={"eos_token_id": [0]})), "at [0, 2]"),
    "prompts": (lambda: report_of(world(), world("{{ pad_token }}" + CHAT_TEMPLATE)), "foreign template"),
}
"""What stops a run, by the kind of the finding; that of a judge is tested below."""


def test_every_kind_of_finding_stops_a_run_or_is_stored() -> None:
    assert {*STOPS, "judge"} == set(get_args(Kind))
    for kind, (make, message) in STOPS.items():
        with pytest.raises(Mismatch) as stopped:
            make()
        assert message in str(stopped.value), kind
    fine = report_of(world(SWITCH, name="student"), world(SWITCH, name="teacher"), thinking=False)
    told = fine.to_json()["findings"]
    for kind in STOPS:
        assert [line for line in told if line.removeprefix("student: ").startswith(f"{kind}: ")], kind
    assert len(told) == len(fine.findings) and set(told) < set(fine.lines())


def test_all_that_must_stop_is_said_at_once() -> None:
    with pytest.raises(
        Mismatch, match=r"(?s)\d start-up checks failed:\n1\..*70 rows.*\n2\..*400 positions.*\n3\..*no EOS"
    ):
        report_of(
            world(config=SimpleNamespace(vocab_size=70, max_position_embeddings=400)), replace(no_eos(), name="teacher")
        )


# The judge of phase 1


def test_a_judge_that_cannot_be_asked_stops_before_the_teacher_is_sampled(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old: it was opened after the teacher's samples were drawn."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError("the teacher was sampled")

    monkeypatch.setattr(annotate, "draw_samples", refuse)
    llm = SMALL | {"annotation.clustering": "llm"}
    with pytest.raises(ArtifactError, match="needs a judge model"):
        annotate.annotate(load("tiny", llm))
    with pytest.raises(ArtifactError, match="no single token for 'yes'"):  # nor has the embedded world
        annotate.annotate(load("tiny", llm | {"models.judge": "models/tiny/student"}))


def test_questions_without_room_at_the_judge_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load("tiny", SMALL)
    tokenizer, shape = tokenizer_of(config.models.student), SimpleNamespace(max_position_embeddings=512)
    monkeypatch.setattr(llm_judge, "spellings", lambda tokenizer, word: [1])
    blank = tokenizer_of(config.models.student)
    empty = len(llm_judge.LLMJudge(tokenizer, None).prompt_ids(LONG, "", ""))  # type: ignore[arg-type]
    found = llm_judge.check_judge(blank, shape, [LONG, LONG * 3], empty + 1)
    assert [f.detail for f in found if f.notable] == [
        "1 of 2 questions are too long for it, so that their pairs stay undecided"
    ]
    assert not [f for f in llm_judge.check_judge(blank, shape, [LONG], empty + 1) if f.notable]
    with pytest.raises(Mismatch, match=f"room for none of 1 questions: the shortest prompt has {empty} tokens"):
        llm_judge.check_judge(blank, shape, [LONG], empty)
