"""One live page of the models in the repository, opened once in a real browser, and the library's side of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tests.escape.browser import Page, opened, program
from transformers import AutoModelForCausalLM

from artifact.actors.checkpoints import load_tokenizer
from artifact.config import load
from artifact.paths import project_root
from artifact.records import Group, Problem, Rollout
from artifact.site.live_page import write_live_page
from artifact.studies.inputs import verifier_for
from artifact.tasks.catalogue.tinymath import TinyMath
from artifact.tasks.prompts import encode_prompt
from artifact.train.rollouts import Completion, build_rollouts, verify_groups

MODELS = project_root() / "models" / "tiny"
EOS = "<|im_end|>"


@dataclass(frozen=True)
class Library:
    """What transformers and the artifact say: float32 torch networks by the names that the page gives the models."""

    networks: dict[str, Any]
    tokenizer: Any

    def prompt(self, problem: Problem, context: str = "none") -> tuple[int, ...]:
        return encode_prompt(self.tokenizer, TinyMath().messages(problem, context))  # type: ignore[arg-type]

    def response(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text + EOS, add_special_tokens=False)["input_ids"])

    def logits(self, name: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[torch.Tensor]:
        """Logits_TV that predict each response token, one tensor per (prompt, response)."""
        found = []
        for start in range(0, len(pairs), 64):
            part = pairs[start : start + 64]
            width = max(len(p) + len(r) for p, r in part)
            ids = torch.zeros(len(part), width, dtype=torch.long)
            for row, (p, r) in zip(ids, part, strict=True):
                row[: len(p) + len(r)] = torch.tensor([*p, *r])
            with torch.no_grad():
                rows = self.networks[name](input_ids=ids, use_cache=False).logits
            found += [row[len(p) - 1 : len(p) + len(r) - 1] for row, (p, r) in zip(rows, part, strict=True)]
        return found


@dataclass(frozen=True)
class Live:
    """The open page: `value` of an expression there, the names of its models, its groups of rollouts."""

    browser: Page
    path: Path
    library: Library
    groups: list[Group]

    def value(self, expression: str) -> Any:
        return self.browser.value(expression)

    def call(self, body: str, *arguments: Any) -> Any:
        """The value that an asynchronous function of the page returns: `body` reads its arguments as a, b, c, d."""
        given = ",".join(json.dumps(a) for a in arguments)
        return self.value(f"window.asked = (async (a, b, c, d) => {{ {body} }})({given})")  # kept from collection


@cache
def _written(index: int) -> Problem:
    return TinyMath().load("train")[index]


def _group(library: Library, problem: Problem, texts: Sequence[str]) -> Group:
    """A group of hand-made rollouts with the library's verdicts; a text without its end of sequence was cut off."""
    ids = [library.response(t.removesuffix("…"))[: None if not t.endswith("…") else -1] for t in texts]
    made = [
        Completion(np.asarray(i), np.zeros(len(i)), "length" if t.endswith("…") else "stop")
        for i, t in zip(ids, texts, strict=True)
    ]
    prompt = (problem.id, library.prompt(problem))
    rollouts: Sequence[Rollout] = build_rollouts(
        [prompt], [made], lambda many: library.tokenizer.batch_decode(many, skip_special_tokens=True)
    )[0]
    verifier = verifier_for(("boxed",))
    verified = verify_groups([problem], [rollouts], lambda t, p: verifier.verify_batch(t, [q.answer for q in p]))[0]
    return Group(problem, prompt[1], verified)


def _groups(library: Library) -> list[Group]:
    """Groups with right and wrong rollouts, all right, and all wrong."""
    made = []
    for index, wrong in ((0, 2), (7, 0), (12, 3), (23, 1)):
        problem = _written(index)
        assert problem.solution
        box = problem.solution.rfind("{")
        off = [f"{problem.solution[: box + 1]}{n}}}" for n in ("901", "x=902", "1/903")][:wrong]
        if wrong == 3:
            off[2] = problem.solution[:box].removesuffix("\\boxed") + "…"
        right = [problem.solution, problem.solution.rpartition(";")[2], problem.solution, problem.solution]
        made.append(_group(library, problem, [*off, *right][:4] if wrong < 3 else [*off, "7+7=15;\\boxed{15}"]))
    return made


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    if program() is None:
        pytest.skip("no chromium on this machine to open the page in")
    folder = tmp_path_factory.mktemp("live")
    trained = folder / "trained"
    shutil.copytree(MODELS / "student", trained)
    rng = np.random.default_rng(0)
    moved = {
        k: v + rng.normal(0, 0.01, v.shape).astype(np.float32)
        for k, v in load_file(trained / "model.safetensors").items()
    }
    save_file(moved, trained / "model.safetensors", {"format": "pt"})
    students = {"untrained": MODELS / "student", "trained": trained}
    teachers = {"A": MODELS / "teacher-a", "B": MODELS / "teacher-b"}
    named = dict(
        zip(("m0-untrained", "m1-trained", "m2-a", "m3-b"), [*students.values(), *teachers.values()], strict=True)
    )
    networks = {n: AutoModelForCausalLM.from_pretrained(p, dtype=torch.float32).eval() for n, p in named.items()}
    library = Library(networks, load_tokenizer(str(MODELS / "student")))
    groups = _groups(library)
    path = write_live_page(folder / "page", students, teachers, groups, load("tiny"))
    with opened(folder / "profile") as browser:
        browser.call("Log.enable")
        browser.call("Emulation.setFocusEmulationEnabled", enabled=True)
        browser.open(path)
        found = Live(browser, path, library, groups)
        assert found.value("Live.ready") is not None
        yield found
