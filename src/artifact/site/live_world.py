"""What the models beside a page read and are asked: tokenizer, template, problems, and groups of rollouts, as JSON.

`live/tokenizer.js` implements one form of tokenizer and one chat template, those of the embedded world; any other is
refused here, before a page could read text otherwise than the library does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from artifact.config import TaskSection
from artifact.errors import Mismatch
from artifact.records import Group, Problem, Rollout, read_parquet
from artifact.studies import store
from artifact.studies.results import stored_problems
from artifact.worlds.tiny.chat import chat_messages
from artifact.worlds.tiny.tokenizer import CHAT_TEMPLATE


def tokenizer_settings(tokenizer: Any) -> dict[str, Any]:
    """Vocabulary, pattern, special tokens and template pieces of `tokenizer`, as `live/tokenizer.js` reads them.

    Raises Mismatch for a tokenizer or template of another form. Any: transformers does not say a type.
    """
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    splits = core["pre_tokenizer"] or {}
    form = {
        "model": core["model"]["type"],
        "normalizer": core["normalizer"],
        "pre_tokenizer": [splits.get(key) for key in ("type", "behavior", "invert")],
        "decoder": core["decoder"],
        "chat_template": tokenizer.chat_template,
    }
    known = {
        "model": "WordLevel",
        "normalizer": None,
        "pre_tokenizer": ["Split", "Isolated", False],
        "decoder": {"type": "Fuse"},
        "chat_template": CHAT_TEMPLATE,
    }
    for part, wanted in known.items():
        if form[part] != wanted:
            raise Mismatch(
                f"tokenizer {tokenizer.name_or_path}: its {part} is {str(form[part])[:80]!r}, and the page reads text "
                f"by {str(wanted)[:80]!r} alone; models of the tiny tier have it"
            )
    vocabulary = sorted(core["model"]["vocab"], key=core["model"]["vocab"].__getitem__)
    return {
        "vocabulary": vocabulary,
        "special": [token["content"] for token in core["added_tokens"]],
        "pattern": splits["pattern"]["Regex"],
        "bos": tokenizer.bos_token,
        "eos": tokenizer.eos_token,
        "unknown": tokenizer.unk_token,
        "roles": {role: f"<|{role}|>" for role in ("system", "user", "assistant")},
        "hints": {kind: chat_messages("", kind, "")[0]["content"] for kind in ("answer", "solution")},
    }


def problem_row(problem: Problem) -> dict[str, Any]:
    """A problem as the page lists it."""
    return {
        "id": problem.id,
        "question": problem.question,
        "answer": problem.answer,
        "solution": problem.solution,
        "difficulty": problem.difficulty,
        "family": problem.meta.get("family", ""),
    }


def group_row(group: Group) -> dict[str, Any]:
    """A group of rollouts as the page lists it: token ids and verdicts; what models say of them it computes itself."""
    return {
        "problem": problem_row(group.problem),
        "rollouts": [
            {
                "ids": list(r.response_ids),
                "sample": r.sample,
                "step": r.policy_version,
                "status": str(r.verdict.status) if r.verdict else "unparsed",
            }
            for r in group.rollouts
        ],
    }


def stored_groups(folder: Path, count: int) -> list[Group]:
    """`count` groups of training rollouts of the finished run in `folder`, its first ones of each kind of problem.

    Groups with right and wrong rollouts come first: they are where methods differ. Raises DamagedFile as `store.files`.
    """
    manifest = store.finished(folder)
    task = TaskSection.model_validate(manifest["config"]["task"])
    problems = stored_problems(folder, task, task.train_split)
    found: dict[tuple[int, str], list[Rollout]] = {}
    for path in store.files(folder, "rollouts/*.parquet"):
        for r in read_parquet(path, Rollout):
            found.setdefault((r.policy_version, r.problem_id), []).append(r)
    groups = (Group(problems[p], rollouts[0].prompt_ids, tuple(rollouts)) for (_, p), rollouts in found.items())
    return spread(groups, count)


def spread(groups: Iterable[Group], count: int) -> list[Group]:
    """`count` of `groups`, in turns over families and difficulties, those with right and wrong rollouts first."""
    kinds: dict[tuple[str, str], list[Group]] = {}
    ordered: Sequence[Group] = sorted(groups, key=lambda g: not (g.correct and g.incorrect))
    for g in ordered:
        kinds.setdefault((g.problem.meta.get("family", ""), g.problem.difficulty), []).append(g)
    turns = [(i, kind) for kind, members in kinds.items() for i in range(len(members))]
    chosen = sorted(turns, key=lambda turn: turn[0])[:count]
    return [kinds[kind][i] for i, kind in chosen]
