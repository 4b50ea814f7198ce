"""The task registry, the prompt forms of `tinymath`, and prompt tokenization."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import get_args

import pytest

from artifact.errors import ArtifactError
from artifact.records import Problem
from artifact.tasks import Context, Task, encode_prompt, get_task, load_problems, register, task_names
from artifact.worlds.tiny import chat
from artifact.worlds.tiny.splits import SplitError, load_split
from artifact.worlds.tiny.tokenizer import build_tokenizer


def test_problems_and_limit() -> None:
    task = get_task("tinymath")
    assert isinstance(task, Task)
    assert task.name == "tinymath"
    problems = task.load("curve")
    assert len(problems) == 400
    assert load_problems(task, "curve", limit=7) == problems[:7] == load_split("curve", 7)
    assert load_problems(task, "curve[-50:]", limit=3) == problems[350:353]
    assert all(p.task == "tinymath" for p in problems)
    with pytest.raises(SplitError, match=r"'dev'"):
        task.load("dev")


def test_prompt_forms() -> None:
    problem = Problem("p", "Solve x+1=6.", "5", "x=6-1;x=5;\\boxed{x=5}", "tinymath", "easy", {"family": "eq"})
    task, tokenizer = get_task("tinymath"), build_tokenizer()

    def text(context: Context) -> str:
        return tokenizer.decode(encode_prompt(tokenizer, task.messages(problem, context)))

    question = "<|user|>Solve x+1=6.<|im_end|><|assistant|>"
    assert text("none") == "<|bos|>" + question
    assert text("answer") == "<|bos|><|system|>Answer: 5<|im_end|>" + question
    assert text("solution") == "<|bos|><|system|>Solution: x=6-1;x=5;\\boxed{x=5}<|im_end|>" + question


def test_every_prompt_of_every_form_is_free_of_unknown_tokens() -> None:
    task, tokenizer = get_task("tinymath"), build_tokenizer()
    for context in get_args(Context):
        for problem in load_problems(task, "evaluation", limit=400):
            assert tokenizer.unk_token_id not in encode_prompt(tokenizer, task.messages(problem, context))


def test_contexts_are_stated_once() -> None:
    assert get_args(Context) == get_args(chat.Context)


def test_a_missing_solution_is_an_error() -> None:
    problem = Problem("p", "Solve x+1=6.", "5", None, "tinymath", "easy")
    with pytest.raises(ValueError, match=r"needs a gold solution.*Solve x\+1=6"):
        get_task("tinymath").messages(problem, "solution")
    with pytest.raises(ValueError, match=r"unknown prompt context 'hint'"):
        get_task("tinymath").messages(problem, "hint")


def test_registry_is_open_and_guards_its_names() -> None:
    @register("own")
    class Own:
        name = "own"

        def __init__(self, size: int = 1) -> None:
            self.size = size

        def load(self, split: str) -> list[Problem]:
            if split != "all":
                raise ArtifactError(f"no split {split!r}")
            return [Problem(f"own-{i}", "q", "1", None, "own", "easy") for i in range(self.size)]

        def messages(self, problem: Problem, context: Context = "none") -> list[dict[str, str]]:
            return [{"role": "user", "content": problem.question}]

    assert "own" in task_names()
    assert len(get_task("own", size=3).load("all")) == 3
    for limit in (None, 0, 2):
        for part in (slice(None), slice(None, -2), slice(1, None), slice(-2, None), slice(1, 3), slice(7, None)):
            text = "" if part == slice(None) else f"[{part.start or ''}:{part.stop or ''}]"
            found = load_problems(get_task("own", size=5), f"all{text}", limit)  # a task gets slices for free
            assert [p.id for p in found] == [f"own-{i}" for i in range(5)][part][:limit]
    for name in ("train", "all[1]", "all[1:2:3]", "all[a:]", "[1:2]"):
        with pytest.raises(
            ArtifactError, match=re.escape(repr(name))
        ):  # what is no slice is a name, for the task to know
            load_problems(get_task("own"), name)
    with pytest.raises(ArtifactError, match=r"'own'.*'colour'"):
        get_task("own", colour=1)
    with pytest.raises(ArtifactError, match=r"already registered"):
        register("own")(lambda: Own())
    with pytest.raises(ArtifactError, match=r"unknown task 'algebra'.*tinymath"):
        get_task("algebra")


def test_a_tokenizer_without_a_chat_template_is_refused() -> None:
    tokenizer = build_tokenizer()
    bare = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(ValueError, match=r"no chat template"):
        encode_prompt(bare, [{"role": "user", "content": "Solve x+1=6."}])


def test_importing_tasks_is_cheap() -> None:
    heavy = ("torch", "transformers", "sympy", "pyarrow")
    code = f"import sys, artifact.tasks; print([m for m in {heavy} if m in sys.modules])"
    env = {"PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"
