"""The models in a page: student, trained students and teachers as JavaScript, and the loss microscope over rollouts.

    page = write_live_page(folder, students, teachers, groups, config)

writes one folder that opens from disk: `index.html`, a style sheet, scripts without a framework (`live/`), one script
of weights a model (`live_weights.py`), and one of everything else they need (`live_world.py`). The page fetches nothing
and sends nothing, and its policy forbids both. What it computes is held to the library in `tests/site`.

Left out: models of another architecture or tokenizer than the embedded ones, which are refused; top-p sampling.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artifact.actors.checkpoints import load_tokenizer
from artifact.config import Config, load
from artifact.errors import ConfigError, Mismatch
from artifact.files import folder_atomically, write_text
from artifact.paths import resolve_model
from artifact.records import Group
from artifact.site.live_weights import weights_script
from artifact.site.live_world import group_row, problem_row, stored_groups, tokenizer_settings
from artifact.studies import store
from artifact.studies.inputs import problems_of
from artifact.studies.runner import key_of
from artifact.studies.study import load_study

PARTS = Path(__file__).parent / "live"
SCRIPTS = (
    "tokenizer.js",
    "weights.js",
    "model.js",
    "sampler.js",
    "answers.js",
    "losses.js",
    "methods.js",
    "objective.js",
    "world.js",
    "dom.js",
    "strip.js",
    "ask.js",
    "microscope.js",
    "main.js",
)
"""In the order in which the page loads them; `world.js` is written here, the others lie in `live/`."""

MOST_BYTES = 10_000_000
"""A page of more is refused: it is meant to be handed on with a paper."""

PROBLEMS = 60
"""Problems of the final evaluation to pick from: three of each family and difficulty."""

GROUPS = 12
"""Groups of stored rollouts that the microscope offers."""

SHOWN = {"OPD": ("uopd", "opd"), "UOPD": ("uopd", "uopd-soft"), "CORE": ("core", "core")}
"""Trained students of the page: name → (study, cell) whose run with the lowest seed it is."""


def write_live_page(
    folder: Path,
    students: Mapping[str, str | Path],
    teachers: Mapping[str, str | Path],
    groups: Sequence[Group],
    config: Config,
) -> Path:
    """Write the page into `folder`, in place of what was there; returns its `index.html`.

    students, teachers  name → model folder; the first student is the untrained one, the reference of preference pairs
    groups              rollouts for the microscope (`stored_groups`); it can draw more itself
    config              of the tier: its task gives the problems, its settings what is drawn and scored

    Raises ConfigError without a student or a teacher, for a folder that holds something else, and where the page would
    exceed `MOST_BYTES`; BrokenModel and Mismatch for models that it could not compute.
    """
    if not students or not teachers:
        raise ConfigError(
            f"a live page of {len(students)} students and {len(teachers)} teachers shows nothing: give one of each"
        )
    if folder.exists() and not (folder / "world.js").is_file():
        raise ConfigError(f"{folder} is there and no live page, and would be replaced: name a folder of its own")
    named = [("student", *item) for item in students.items()] + [("teacher", *item) for item in teachers.items()]
    models = []
    weights = {}
    for i, (role, label, path) in enumerate(named):
        name = f"m{i}-" + re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
        models.append({"name": name, "label": label, "role": role, "file": f"weights/{name}.js"})
        weights[name] = weights_script(name, resolve_model(str(path)))
    world = {**_settings(config), "models": models, "groups": [group_row(g) for g in groups]}
    world["tokenizer"] = _one_tokenizer([resolve_model(str(path)) for _, _, path in named])
    texts = {name: (PARTS / name).read_text(encoding="utf-8") for name in SCRIPTS if name != "world.js"}
    texts["world.js"] = f'"use strict";\n\nLive.world = {json.dumps(world)};\n'
    texts["live.css"] = (PARTS / "live.css").read_text(encoding="utf-8")
    tags = "\n".join(f'<script src="{name}"></script>' for name in SCRIPTS)
    texts["index.html"] = (PARTS / "index.html").read_text(encoding="utf-8").replace("SCRIPTS", tags)
    texts |= {f"weights/{name}.js": script for name, script in weights.items()}
    size = sum(len(text.encode()) for text in texts.values())
    if size > MOST_BYTES:
        raise ConfigError(
            f"the live page of {len(named)} models has {size:,} bytes, more than the {MOST_BYTES:,} it may have: give "
            "it fewer models"
        )
    with folder_atomically(folder) as partial:
        for name, text in texts.items():
            write_text(partial / name, text)
    return folder / "index.html"


def _one_tokenizer(folders: Sequence[str]) -> dict[str, Any]:
    """The tokenizer of all models; Mismatch where two differ: token ids of one would mean something else to another."""
    found = [tokenizer_settings(load_tokenizer(folder)) for folder in folders]
    for folder, settings in zip(folders, found, strict=True):
        if settings != found[0]:
            raise Mismatch(
                f"tokenizers of {folders[0]} and {folder} differ, and all models of a page share one: leave one out"
            )
    return found[0]


def _settings(config: Config) -> dict[str, Any]:
    """Problems to pick from, and what is drawn and scored by default."""
    return {
        "problems": [problem_row(p) for p in problems_of(config.task, config.evaluation.final[0], PROBLEMS)],
        "samples": config.annotation.samples,
        "temperature": config.annotation.temperature,
        "maxTokens": config.annotation.max_new_tokens,
        "rollouts": config.sampling.samples_per_prompt,
        "samplingTemperature": config.sampling.temperature,
        "topK": config.losses.distil.top_k,
    }


def live_page_of(tier: str, folder: Path, teacher: str | None = None) -> Path:
    """The page of a tier's stored runs under one teacher (default: the tier's own); returns its `index.html`.

    Students that were not trained yet are left out; without any run the untrained one and the teachers remain, and the
    microscope draws its rollouts itself.
    """
    config = load(tier, {"teacher": teacher} if teacher else {})
    runs = {name: run for name in SHOWN if (run := _stored_run(tier, config.teacher, *SHOWN[name])) is not None}
    students = {"student, untrained": config.models.student}
    for name, run in runs.items():
        students[f"student, {name} (teacher {config.teacher})"] = str(store.checked(run / "weights"))
    own_first = sorted(config.models.teachers.items(), key=lambda item: item[0] != config.teacher)
    teachers = {f"teacher {name}": path for name, path in own_first}
    first = next(iter(runs.values()), None)
    return write_live_page(folder, students, teachers, stored_groups(first, GROUPS) if first else [], config)


def _stored_run(tier: str, teacher: str, study: str, cell: str) -> Path | None:
    """The finished run of the lowest seed of a cell; None where there is none."""
    configs = [c for found, c in load_study(study).runs(tier) if found.id == cell and c.teacher == teacher]
    folder = store.folder_of("runs", key_of(min(configs, key=lambda c: c.seed)))
    return folder if store.read_manifest(folder) is not None else None
