"""Start-up checks on teacher and student together: one vocabulary, one way to end a response, one prompt for both.

The student's tokenizer makes every prompt, and the teacher scores it: what the teacher's own tokenizer and template
would make of the same messages must be the same ids, or its scores are not its own. As in `checks.py` a Mismatch is
what stops the run, and a `Finding` what is stored with it. Left out: each of the two by itself (`checks.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from artifact.errors import Mismatch
from artifact.tasks.base import Messages
from artifact.tasks.checks import EXCHANGE, PROBES, Finding, around_difference, name_of, vocabulary_size


def check_agreement(
    student: Any, teacher: Any, student_config: Any = None, teacher_config: Any = None, probes: Sequence[str] = PROBES
) -> list[Finding]:
    """Teacher and student mean the same by every id, and cut the same text into the same tokens.

    Heads may be padded to different lengths: rows beyond the tokenizer have no meaning, and scoring stops before them.
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    if ours != theirs:
        differ = sorted({t for t, i in ours.items() if theirs.get(t) != i} | {t for t in theirs if t not in ours})
        token = differ[0]
        raise Mismatch(
            f"student {name_of(student)} ({len(ours)} tokens) and teacher {name_of(teacher)} ({len(theirs)} tokens) "
            f"have different vocabularies: {len(differ)} tokens differ, e.g. {token!r} is {ours.get(token)} and "
            f"{theirs.get(token)}; token-level distillation needs one tokenizer, choose a teacher of the same family"
        )
    for text in probes:
        a, b = (t.encode(text, add_special_tokens=False) for t in (student, teacher))
        if a != b:
            raise Mismatch(
                f"student and teacher share a vocabulary but cut {text!r} differently ({len(a)} and {len(b)} tokens): "
                "their merges or normalisers differ; use one tokenizer for both"
            )
    findings = [Finding("agreement", f"{len(ours):,} tokens mean the same to student and teacher")]
    if student_config is not None and teacher_config is not None:
        rows = int(student_config.vocab_size), int(teacher_config.vocab_size)
        if rows[0] != rows[1]:
            detail = (
                f"student has {rows[0]:,} rows, teacher {rows[1]:,}; the teacher's top-k stops at the tokenizer's "
                f"{vocabulary_size(student):,}"
            )
            findings.append(Finding("agreement", detail, notable=True))
    return findings


def check_endings(
    student: Any,
    teacher: Any,
    student_stops: Iterable[int],
    teacher_stops: Iterable[int],
    thinking: bool | None = None,
    exchange: tuple[str, str] = EXCHANGE,
) -> list[Finding]:
    """A response ends alike for teacher and student: the same stop ids, and the same one behind a turn."""
    stops = sorted(student_stops), sorted(teacher_stops)
    if stops[0] != stops[1]:
        named = [student.convert_ids_to_tokens(ids) for ids in stops]
        raise Mismatch(
            f"student {name_of(student)} stops at {stops[0]} = {named[0]}, teacher {name_of(teacher)} at {stops[1]} = "
            f"{named[1]}: a response that ends for one goes on for the other; give both the same eos_token_id in "
            "generation_config.json"
        )
    ends = turn_end(student, thinking, exchange), turn_end(teacher, thinking, exchange)
    if ends[0] != ends[1]:
        raise Mismatch(
            f"the chat template of student {name_of(student)} ends a turn with {ends[0]}, that of teacher "
            f"{name_of(teacher)} with {ends[1]}: the teacher would score an ending that it never writes; use a teacher "
            "with the student's chat template"
        )
    findings = [Finding("stop tokens", f"{stops[0]} for student and teacher")]
    if student.eos_token_id != teacher.eos_token_id:
        detail = f"eos_token differs, {student.eos_token!r} and {teacher.eos_token!r}; both stop generation"
        findings.append(Finding("stop tokens", detail, notable=True))
    return findings


def same_prompts(student: Any, teacher: Any) -> bool:
    """Whether two tokenizers make the same of every prompt by construction: one template, one set of special tokens,
    one way to cut text. False says nothing: compare what they make.
    """
    return all(
        look(student) == look(teacher)
        for look in (
            lambda t: t.chat_template,
            lambda t: t.special_tokens_map,
            lambda t: t.backend_tokenizer.to_str() if hasattr(t, "backend_tokenizer") else object(),
        )
    )


def check_prompts(
    student: Any,
    teacher: Any,
    conversations: Sequence[Messages],
    ours: Sequence[tuple[int, ...]],
    theirs: Sequence[tuple[int, ...]],
    thinking: bool | None = None,
) -> None:
    """The teacher's own chat template makes of every conversation the ids that it is given, the student's.

    Mismatch names both templates by what they make of the first conversation that differs.
    """
    differ = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
    if not differ:
        return
    mode = {} if thinking is None else {"enable_thinking": thinking}
    one, other = (
        str(t.apply_chat_template(conversations[differ[0]], add_generation_prompt=True, tokenize=False, **mode))
        for t in (student, teacher)
    )
    texts = around_difference(one, other)
    raise Mismatch(
        f"the chat templates of student {name_of(student)} and teacher {name_of(teacher)} put {len(differ)} of "
        f"{len(ours)} prompts differently, the first as {texts[0]!r} and {texts[1]!r}: the teacher would be scored "
        "under a foreign template, and its scores would not be its own; use a teacher with the student's chat "
        "template, or, where the teacher was trained with both, give both folders one chat_template"
    )


def turn_end(tokenizer: Any, thinking: bool | None = None, exchange: tuple[str, str] = EXCHANGE) -> int:
    """The id behind a response in the chat template; −1 where there is none, which `check_template` refuses."""
    question, response = exchange
    messages: Messages = [{"role": "user", "content": question}, {"role": "assistant", "content": response}]
    mode = {} if thinking is None else {"enable_thinking": thinking}
    whole = tokenizer.apply_chat_template(messages, tokenize=False, **mode)
    return next(iter(tokenizer.encode(whole.rpartition(response)[2], add_special_tokens=False)), -1)
