"""Prompt templates as text files: `templates/<name>.txt`, or any path that ends in `.txt`.

A file is a header of `key: value` lines and then sections, each opened by a line in brackets:

    answer: boxed                  how the response states its answer: boxed, hashes or any
    [system]                       text of a system message; all system sections are joined into one message
    [system if answer]             only under teacher context `answer` (likewise `solution`)
    [system if calculator]         only with the calculator tool
    [user] … [assistant] …         an exemplar; without the tool its `<<…>>` marks are removed
    [user]                         the last one holds {question}

`{question}`, `{answer}` and `{solution}` are replaced, once; other braces are text, so LaTeX needs no escapes.
Left out: tokens and the model's own chat format (`prompts.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from artifact.errors import ArtifactError
from artifact.records import Problem
from artifact.tasks.base import Context, Messages
from artifact.tasks.calculator import strip_marks

FOLDER = Path(__file__).with_name("templates")
ROLES = ("system", "user", "assistant")
CONDITIONS = ("", "answer", "solution", "calculator")
FORMS = ("boxed", "hashes", "any")

_SECTION = re.compile(r"\[(?P<role>[a-z]+)(?: if (?P<condition>[a-z]+))?\]")
_PLACEHOLDER = re.compile(r"\{(question|answer|solution)\}")


@dataclass(frozen=True, slots=True)
class TemplateSection:
    """One message of a template, and the condition under which it is used ("" = always)."""

    role: str
    condition: str
    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt template; `answer_form` is how it asks for the final answer."""

    name: str
    answer_form: str
    sections: tuple[TemplateSection, ...]

    @property
    def shots(self) -> int:
        """Number of exemplars."""
        return sum(s.role == "assistant" for s in self.sections)

    def messages(self, problem: Problem, context: Context = "none", calculator: bool = False) -> Messages:
        """The chat messages of one prompt. Raises ValueError where the context is unknown or its text is missing."""
        on = {"", context, "calculator" if calculator else ""}
        if context != "none" and context not in {s.condition for s in self.sections} - {"", "calculator"}:
            raise ValueError(
                f"unknown prompt context {context!r} of template {self.name!r}; add `[system if {context}]`"
            )
        values = {"question": problem.question, "answer": problem.answer, "solution": problem.solution}
        if context != "none" and not values[context]:
            raise ValueError(f"prompt context {context!r} needs a gold {context}, but problem {problem.id!r} has none")

        def fill(text: str) -> str:
            filled = _PLACEHOLDER.sub(lambda m: values[m.group(1)] or "", text)
            return filled if calculator else strip_marks(filled)

        used = [s for s in self.sections if s.condition in on]
        system = "\n\n".join(fill(s.text) for s in used if s.role == "system")
        turns = [{"role": s.role, "content": fill(s.text)} for s in used if s.role != "system"]
        return [{"role": "system", "content": system}, *turns] if system else turns


def template_names() -> list[str]:
    """Names of the templates that come with the package."""
    return sorted(p.stem for p in FOLDER.glob("*.txt"))


@lru_cache(maxsize=64)
def load_template(name: str) -> Template:
    """The template called `name`, or at the path `name` where that ends in `.txt`."""
    path = Path(name) if name.endswith(".txt") else FOLDER / f"{name}.txt"
    if not path.is_file():
        raise ArtifactError(
            f"no prompt template {name!r}; there are {', '.join(template_names())}, or give a .txt path"
        )
    return parse_template(path.stem, path.read_text(encoding="utf-8"))


def parse_template(name: str, text: str) -> Template:
    """The template written in `text`. Raises ArtifactError with the line that is wrong."""
    header: dict[str, str] = {}
    sections: list[tuple[str, str, list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if opened := _SECTION.fullmatch(line):
            role, condition = opened["role"], opened["condition"] or ""
            if role not in ROLES or condition not in CONDITIONS or (condition and role != "system"):
                raise ArtifactError(
                    f"template {name!r}, line {number}: {line!r}; roles are {', '.join(ROLES)}, and a system section "
                    f"may have `if` with {', '.join(CONDITIONS[1:])}"
                )
            sections.append((role, condition, []))
        elif sections:
            sections[-1][2].append(line)
        elif line.strip():
            key, colon, value = line.partition(":")
            if not colon or key.strip() != "answer" or value.strip() not in FORMS:
                raise ArtifactError(
                    f"template {name!r}, line {number}: {line!r}; the header is `answer: {'|'.join(FORMS)}`"
                )
            header[key.strip()] = value.strip()
    found = tuple(TemplateSection(role, condition, "\n".join(lines).strip()) for role, condition, lines in sections)
    turns = [s for s in found if s.role != "system"]
    if [s.role for s in turns] != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
        raise ArtifactError(f"template {name!r}: user and assistant sections must alternate and end with [user]")
    if [("{question}" in s.text) for s in turns] != [False] * (len(turns) - 1) + [True]:
        raise ArtifactError(f"template {name!r}: {{question}} must stand in the last [user] section and nowhere else")
    if "answer" not in header:
        raise ArtifactError(f"template {name!r}: the header line `answer: {'|'.join(FORMS)}` is missing")
    return Template(name, header["answer"], found)
