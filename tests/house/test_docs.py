"""README and `docs/` say what is there: every path, verb and option they name exists, and the reading order leads."""

from __future__ import annotations

import ast
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer.main

from artifact.cli.main import app
from artifact.config import ConfigError, load, parse_overrides, tier_names
from artifact.studies.study import study_names
from artifact.train.methods.base import available

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "artifact"
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]

KEPT = ("benchmarks", "configs", "docs", "notebooks", "paper", "requirements", "src", "tests")
"""Folders of the repository; what lies below `results/`, `figures/`, `data/` and `models/` is made or fetched."""

NEW = {"mine", "likeliest", "NAME"}
"""Names that a reader of `docs/extending.md` gives to what is new."""

SCRIPT_OPTIONS = {"--quick"}
"""What `run_all.sh` knows and the verb behind it does not; `tests/house/test_run_all.py` runs it."""

MORE_THAN_ONE_FILE = re.compile(r"[<>*{]|NAME")
"""In a path: a placeholder or a pattern."""


def code(page: str) -> list[str]:
    """What a page says as code: the lines of its blocks, its inline code and the targets of its links."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", rest) + re.findall(r"\]\(([^)#\s]+)\)", rest)


def paths(page: str) -> set[str]:
    """The paths of this project that a page names: below a kept folder, or one of the package (`train/loop.py`)."""
    announced = set(re.findall(r"^New file `([^`]+)`:$", page, flags=re.MULTILINE))
    found = set()
    for text in code(page):
        for word in re.findall(r"[\w./<>*{}-]+", text):
            word = word.removeprefix("./").rstrip(".,/")
            below = word.split("/")[0] in KEPT and "/" in word
            if (below or re.fullmatch(r"\w[\w/-]*/\w+\.py", word)) and not MORE_THAN_ONE_FILE.search(word):
                found.add(word)
    return found - announced


def absent(page: str) -> list[str]:
    """The paths a page names that are nowhere: neither from the root, nor from the package, nor beside the page."""
    return sorted(p for p in paths(page) if not any((base / p).exists() for base in (ROOT, PACKAGE)))


def misplaced(page: str) -> list[str]:
    """The names that a page says are in a file and are not: `place` in `actors/placement.py`."""
    found = re.findall(r"`([\w.]+)`(?: and `(\w+)`)? in `([\w/]+\.py)`", page)
    said = [(name.split(".")[-1], path) for *names, path in found for name in names if name]
    return [n for n, path in said if not re.search(rf"(def|class) {n}\b", (PACKAGE / path).read_text(encoding="utf-8"))]


def commands(page: str) -> list[list[str]]:
    """The command lines of `artifact` and of `run_all.sh` in a page, split into words."""
    found = []
    for text in code(page):
        line = text.partition(" #")[0].strip()
        if re.match(r"(\./)?run_all\.sh( |$)", line) or re.match(r"artifact (?!—)", line):
            found.append(shlex.split(line.replace("<", "").replace(">", "")))
    return found


def faults(words: list[str]) -> list[str]:
    """What a command line names that is not there: a verb, an option, a tier, a study, a method."""
    program, *rest = words
    if program != "artifact":
        if rest[:1] == ["test"]:  # what follows is pytest's
            return []
        rest = ["run-all", *(word for word in rest if word not in SCRIPT_OPTIONS)]
    verb, *arguments = rest
    if verb == "--help":
        return []
    if verb not in VERBS:
        return [f"no verb {verb!r}"]
    options = {o for p in VERBS[verb].params for o in p.opts} | {"--help"}
    known = {"--tier": tier_names(), "--study": study_names(), "--method": available()}
    found = [f"{verb} has no option {a}" for a in arguments if a.startswith("--") and a not in options]
    for name, value in pairwise(arguments):
        for each in value.split(",") if "rehearse" in rest else [value]:  # one command rehearses several tiers
            if each not in {*known.get(name, (each,)), *NEW}:
                found.append(f"no {name.removeprefix('--')} {each!r}")
        if name == "--set":
            found += _refused(value)
    return found


def _refused(override: str) -> list[str]:
    """Why no configuration takes an override, or nothing."""
    try:
        load("tiny", parse_overrides([override]))
    except ConfigError as err:
        return [str(err)]
    return []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_path_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.parent != ROOT:
        text = re.sub(r"\]\((\w+\.md)\)", r"](docs/\1)", text)  # a link to the page beside it
    assert len(paths(text)) > 3 and absent(text) == []


def test_every_name_is_in_the_file_that_the_page_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert page.count("` in `") > 10 and misplaced(page) == []
    assert misplaced("`place` in `actors/placement.py`, `lace` and `train` in `train/loop.py`") == ["lace"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_exists(page: Path) -> None:
    found = commands(page.read_text(encoding="utf-8"))
    assert found and [f for words in found for f in faults(words)] == []


def test_what_is_not_there_would_be_found() -> None:
    page = "`train/lop.py` and `src/artifact/train/loop.py`, [a page](docs/no.md), `methods/<name>.py`\n"
    assert absent(page) == ["docs/no.md", "train/lop.py"]
    shell = """```bash
artifact annotate --set a.b=1
artifact plam
artifact plan --tear tiny --tier tyni  # why
./run_all.sh --onyl 3
./run_all.sh rehearse --tier paper,pper
```
"""
    assert [f for words in commands(shell) for f in faults(words)] == [
        "override 'a.b': unknown key 'a'; did you mean 'task'?",
        "no verb 'plam'",
        "plan has no option --tear",
        "no tier 'tyni'",
        "run-all has no option --onyl",
        "no tier 'pper'",
    ]


# The way from the README to the line of UOPD Eq. 7–9.


def reading_order() -> list[tuple[Path, str]]:
    """(file, the function or class named beside it) as the README lists them."""
    section = README.read_text(encoding="utf-8").partition("read these in this order:")[2].partition("\n\n")[0]
    steps = re.findall(r"^\d\. \[[^\]]+\]\(([^)]+)\)(?:, `(\w+)`)?", section, flags=re.MULTILINE)
    return [(ROOT / path, name) for path, name in steps]


def imports(path: Path) -> dict[str, str]:
    """Name → module, for everything a file imports from the package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {a.name: n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}


def function(path: Path, name: str) -> str:
    """The source of one top-level function or class."""
    source = path.read_text(encoding="utf-8")
    nodes = [n for n in ast.parse(source).body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == name]
    assert len(nodes) == 1, f"{path.name} has no {name}"
    return ast.get_source_segment(source, nodes[0]) or ""


def test_the_reading_order_leads_from_file_to_file() -> None:
    order = reading_order()
    assert 2 <= len(order) <= 7 and all(path.is_file() for path, _ in order)
    for (path, _), (following, name) in pairwise(order):
        module = ".".join(following.relative_to(ROOT / "src").with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        imported = imports(path).get(name) == module and len(re.findall(rf"\b{name}\b", text)) > 1
        spoken = f"{following.stem}.{name}" in text or following.name in text
        assert imported or spoken, f"{path.name} does not name {following.name}"


def test_the_reading_order_ends_at_the_formula() -> None:
    named = {path.name: function(path, name) for path, name in reading_order() if name}
    steps = [path.name for path, _ in reading_order()]
    assert steps[-4:] == ["objective.py", "distillation.py", "divergence.py", "reduction.py"]
    assert {"distil_tokens(", "reduce("} <= set(re.findall(r"\b\w+\(", named["objective.py"]))
    assert "token_divergence(" in named["distillation.py"]
    assert "Distil: distil_loss," in (PACKAGE / "train" / "objective.py").read_text(encoding="utf-8")
    *_, divergence, reduction = [path.read_text(encoding="utf-8") for path, _ in reading_order()]
    assert "ℓ_t = −Σ_j p_T log p_S (Eq. 7)" in divergence and "-_expectation(p_t, log_s)" in named["divergence.py"]
    assert "Σ_s w_s (1/n_s) Σ_{t∈s} m_t u_t ℓ_t / N" in reduction and "UOPD Eq. 8-9" in reduction
    assert ".sum() / denominator" in named["reduction.py"]
