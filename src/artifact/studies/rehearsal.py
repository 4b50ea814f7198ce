"""A tier of GPUs rehearsed on a processor: its own YAML and code, toy models and datasets under the names it reads.

A rehearsal lies in a folder of its own, which is a project root: copies of configurations and notebooks, a cache of the
hub with stand-ins, results. The tier keeps its name and everything it says, but for what `scaled` changes: the device,
lengths of responses by one factor, and numbers of steps and problems. Of the cells of a study that differ in numbers
alone, the first is trained (`firsts`). Ray counts as many GPUs as the tier has, so that placement, leases and their
order are the tier's. Nothing below the verb knows that it is a rehearsal.

Left out: what only a GPU can show (CUDA, NCCL, memory, engines over several devices, real weights).
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from artifact.children import run_side_by_side, run_to_end
from artifact.config import Config, ConfigError, Engine, apply_overrides, load, load_tier, read_extended, read_yaml
from artifact.errors import ArtifactError
from artifact.files import read_json, write_json
from artifact.paths import project_root
from artifact.provenance import digest, hardware, source_hash, stamp
from artifact.studies.claims import BROKEN
from artifact.studies.standin_data import datasets_of, put_datasets
from artifact.studies.standin_texts import texts_of
from artifact.studies.study import load_study, studies_made_on, study_names
from artifact.studies.suremath import builder_of
from artifact.suremath.settings import ProblemSource, SureMathSettings, load_settings
from artifact.tasks.benchmark import known_benchmarks
from artifact.tasks.text_task import text_sets
from artifact.worlds.standins.hub import put_model
from artifact.worlds.standins.language import answering, build_tokenizer, writing
from artifact.worlds.standins.networks import write_model

FACTOR = 128
"""A response may be so many times shorter than the tier's; prompts, and the room for them, keep their lengths."""

COPIED = ("configs", "notebooks", "requirements", "paper", "results/benchmarks", "results/gpu", "CITATION.cff")
"""What of the project a rehearsal reads beside the package."""


def scaled(config: Config) -> dict[str, Any]:
    """Dotted changes of a tier's settings: a processor instead of GPUs, short responses, few steps and problems."""
    budgets = {
        "sampling.max_new_tokens": config.sampling.max_new_tokens,
        "annotation.max_new_tokens": config.annotation.max_new_tokens,
        "evaluation.max_new_tokens": config.evaluation.max_new_tokens,
    }
    longest, cluster = max(budgets.values()), config.cluster
    changes: dict[str, Any] = {name: _shorter(value) for name, value in budgets.items()}
    changes["cluster.engine.max_model_len"] = cluster.engine.max_model_len - longest + _shorter(longest)
    changes |= {f"cluster.{name}": value for name, value in _FOR_A_PROCESSOR.items()}
    changes |= {f"cluster.engine.{name}": value for name, value in _in_one_process(cluster.engine).items()}
    for role, own in cluster.engines.items():
        width = own.tensor_parallel_size
        if width is not None:
            changes |= {
                f"cluster.engines.{role}.tensor_parallel_size": 1,
                f"cluster.engines.{role}.gpus": float(own.gpus or width),
            }
    return changes | _FEW


def _shorter(tokens: int) -> int:
    return max(tokens // FACTOR, 24)


def _in_one_process(engine: Engine) -> dict[str, Any]:
    if engine.tensor_parallel_size == 1:
        return {}
    return {"tensor_parallel_size": 1, "gpus": float(engine.gpus or engine.tensor_parallel_size)}


_FOR_A_PROCESSOR: dict[str, Any] = {
    "device": "cpu",
    "engine.threads": 1,
    "engine.kv_cache_gib": 0.1,
    "engine.max_num_seqs": 32,
    "engine.enforce_eager": True,
    "student_threads": 1,
    "teacher_threads": 1,
    "object_store_gib": 0.3,
}

_FEW: dict[str, Any] = {
    "task.train_limit": 16,
    "train.steps": 2,
    "train.prompts_per_step": 4,  # every second problem has a gold answer that stand-ins give (`standin_data`)
    "train.curve_every": 2,
    "train.checkpoint_every": 1,
    "train.token_records.prompts": 4,  # notebook 15 looks for a right response with tokens among them
    "annotation.accept_poor_judge": True,  # a stand-in judges nothing
    "evaluation.limit": 6,
    "evaluation.sampled.limit": 2,
}

_AT_MOST = {
    "task.train_limit": 16,
    "train.steps": 2,
    "train.prompts_per_step": 4,
    "train.episodes": 1,
    "sampling.samples_per_prompt": 4,
    "sampling.max_new_tokens": 32,
    "annotation.max_new_tokens": 32,
    "evaluation.max_new_tokens": 32,
    "evaluation.limit": 6,
}
"""Of what a study sets for a tier; its cells still vary it."""

_DRAWN = {"annotation.draw": 8}
"""Of what a cell sets: as many samples as the tiers draw, so that phase 1 samples once for all of them."""

_FEW_PROBLEMS: dict[str, Any] = {"curated.size": 30, "curated.test": 6, "curated.validation": 4, "evolution.size": 16}
"""So that those trained on hold evolved problems, which have no solution, and such as the teacher gets wrong."""


def prepare(tier: str, folder: Path) -> dict[str, str]:
    """Make `folder` the root of a rehearsal of `tier`; returns the environment in which it is one."""
    for name in COPIED:
        if (project_root() / name).is_dir():
            shutil.copytree(project_root() / name, folder / name, dirs_exist_ok=True)
        elif (project_root() / name).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project_root() / name, folder / name)
    builder = builder_of(tier)
    tiers = list(dict.fromkeys([builder, load_tier(tier).base, tier]))
    settings = _write_settings(builder, folder)
    for name in tiers:
        _write_tier(name, folder)
    studies = {name: read_yaml(project_root() / "configs" / "studies" / f"{name}.yaml") for name in study_names()}
    trained = firsts(studies.values())
    for name, study in studies.items():
        _write(folder / "configs" / "studies" / f"{name}.yaml", thinned(study, trained))
    hub = folder / "hub"
    put_models(hub / "hub", [load(name) for name in tiers], settings)
    read = _read_by(tiers)
    benchmarks = [b for name, b in known_benchmarks().items() if name in read]
    sets = [s for name, s in text_sets().items() if name in read]
    put_datasets(hub / "datasets", datasets_of(benchmarks, _sources(settings)) | texts_of(sets))
    own = {"ARTIFACT_ROOT": str(folder), "ARTIFACT_RESULTS": str(folder / "results"), "HF_HOME": str(hub)}
    own |= {"ARTIFACT_FIGURES": str(folder / "figures"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    unset = ("ARTIFACT_DATA", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "RAY_ADDRESS")
    return {name: value for name, value in os.environ.items() if name not in unset} | own


def _write_tier(tier: str, folder: Path) -> None:
    """The tier's own file with the changes of `scaled`; what it extends is scaled beside it."""
    path = Path("configs") / "tiers" / f"{tier}.yaml"
    data = apply_overrides(read_yaml(project_root() / path), scaled(load(tier))) | {"seeds": 1}
    _write(folder / path, data)


def firsts(studies: Iterable[dict[str, Any]]) -> set[str]:
    """The ids of the cells that are the first of their study among those that differ from them in numbers alone."""
    found = set()
    for study in studies:
        kinds: dict[str, str] = {}
        for cell in study["cells"]:
            parts = {name: part for name, part in cell.items() if name not in ("id", "label", "learning_rate")}
            kinds.setdefault(digest(_numberless(parts)), cell["id"])
        found |= set(kinds.values())
    return found


def thinned(study: dict[str, Any], trained: Collection[str]) -> dict[str, Any]:
    """The file of a study with the cells that are `trained` for it or another one, and few steps and problems."""
    tiers = {tier: _of_two_steps(_capped(settings, _AT_MOST)) for tier, settings in study.get("tiers", {}).items()}
    more = {cell: seeds for cell, seeds in study.get("more_seeds", {}).items() if cell in trained}
    cells = [_drawing_few(cell) for cell in study["cells"] if cell["id"] in trained]
    return study | {"cells": cells, "tiers": tiers, "more_seeds": more}


def _of_two_steps(settings: dict[str, Any]) -> dict[str, Any]:
    """Where a study counts episodes instead of steps, one is as long as the steps of the others."""
    if "train.episodes" not in settings:
        return settings
    return {"task.train_limit": _FEW["train.steps"] * _FEW["train.prompts_per_step"]} | settings


def _drawing_few(cell: dict[str, Any]) -> dict[str, Any]:
    return cell | {"overrides": _capped(cell["overrides"], _DRAWN)} if "overrides" in cell else cell


def _capped(settings: dict[str, Any], most: dict[str, int]) -> dict[str, Any]:
    return {name: min(value, most.get(name, value)) for name, value in settings.items()}


def _numberless(value: Any) -> Any:
    """`value` with every number in it replaced by nothing."""
    if isinstance(value, dict):
        return {name: _numberless(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_numberless(part) for part in value]
    return None if isinstance(value, int | float) and not isinstance(value, bool) else value


def _write_settings(builder: str, folder: Path) -> SureMathSettings | None:
    """SURE-Math's settings of the tier that builds it, at a small size; None where nobody does."""
    path = Path("configs") / "suremath" / f"{builder}.yaml"
    if not (project_root() / path).is_file():
        return None
    data = apply_overrides(read_extended(project_root() / path), _FEW_PROBLEMS)
    data.pop("extends", None)
    tokens = load_settings(builder).generator.max_new_tokens
    data["generator"] |= {"max_new_tokens": _shorter(tokens), "batch": 50}
    for source in [*data["curated"]["sources"], *data["seeds"]]:
        source["limit"] = min(source.get("limit") or 12, 12)
    _write(folder / path, data)
    return load_settings(builder)


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10**6), encoding="utf-8")


def put_models(cache: Path, configs: Sequence[Config], settings: SureMathSettings | None) -> None:
    """A stand-in for every model that the tiers name, and for the generator, in the cache of the hub at `cache`."""
    writers = [settings.generator.model] if settings and settings.generator.model else []
    answerers = [m for c in configs for m in (c.models.student, *c.models.teachers.values(), c.models.judge) if m]
    known, texts = read_yaml(project_root() / "configs" / "models.yaml"), _texts()
    for model in dict.fromkeys([*writers, *answerers]):
        if model not in known:
            raise ConfigError(f"model {model!r} is not in configs/models.yaml: a stand-in needs its widths; add them")
        stated = known[model]
        tokenizer, seed = build_tokenizer(stated["model_type"], texts), int(digest(model)[:8], 16)
        sure = 0.8 + 0.02 * (stated["num_hidden_layers"] // 12)  # the larger the surer
        chain = writing(["\n"]) if model in writers else answering(["\n"], sure)
        with tempfile.TemporaryDirectory() as scratch:
            write_model(Path(scratch), stated, tokenizer, chain, configs[0].models.dtype, seed)
            put_model(cache, model, Path(scratch))


def _texts() -> tuple[str, ...]:
    """What the stand-ins' tokenizer learns its merges from: the texts of all prompts."""
    package = Path(__file__).resolve().parents[1]
    return tuple(
        path.read_text(encoding="utf-8")
        for place in ("tasks/templates", "suremath/prompts", "phase1/prompts")
        for path in sorted((package / place).glob("*.txt"))
    )


def _read_by(tiers: Sequence[str]) -> set[str]:
    """The names of tasks and splits that a run of some study on the tiers trains or is measured on."""
    names: set[str] = set()
    for tier in tiers:
        for study in studies_made_on(tier):
            for _, config in load_study(study).runs(tier):
                names |= {config.task.name, config.evaluation.curve, *config.evaluation.final}
    return names


def _sources(settings: SureMathSettings | None) -> Iterator[ProblemSource]:
    if settings is not None:
        yield from (*settings.curated.sources, *settings.seeds, *settings.benchmarks)


def verb(environment: dict[str, str], *arguments: str) -> None:
    """One call of the command line within a rehearsal; ArtifactError where it fails, with the end of what it said."""
    command = [sys.executable, "-m", "artifact.cli.main", *arguments]
    code, said = run_to_end(command, environment, keep_errors=True)
    if code not in (0, 3):  # 3: numbers outside a reference of the same tier
        last = "\n".join(said.strip().splitlines()[-15:])
        what = f"`artifact {' '.join(arguments)}` (code {code})"
        raise ArtifactError(f"the rehearsal failed at {what}; its folder stays. It said:\n{last}")


def rehearse(tier: str, folder: Path, only: str | None = None) -> Path:
    """A tier, or its notebooks `only`, from SURE-Math's construction to the tables; returns the account of it.

    What an earlier attempt left in `folder` is found there, so a rehearsal may be made in several goes, and the
    SURE-Math that another tier has built beside it is taken over.
    """
    started, done = time.monotonic(), False
    environment = prepare(tier, folder)
    take_over(tier, folder)
    chosen = ["--only", only] if only else []
    try:
        verb(environment, "run-all", "--tier", tier, *chosen)
        done = True
    finally:
        verb(environment, "cluster", "stop")
        go = {"notebooks": only or "all", "done": done, "load_average": round(os.getloadavg()[2], 1)}
        go["source"] = source_hash()
        go["minutes"] = round((time.monotonic() - started) / 60, 1)
        path = _account(tier, folder / "results", go)
    return path


def in_order(tiers: Iterable[str]) -> list[str]:
    """`tiers`, each once, those that build a SURE-Math before those that only read it."""
    return sorted(dict.fromkeys(tiers), key=lambda tier: builder_of(tier) != tier)


def rehearse_side_by_side(tiers: Iterable[str], folder: Path, only: str | None, heard: Callable[[str], None]) -> None:
    """Several tiers, two at a time, each in a process, a cluster and a folder of its own: `folder`/TIER.

    One that reads the SURE-Math of another waits until that is built, and takes it over (`take_over`). Raises
    ArtifactError that names those that failed.
    """
    chosen = ["--only", only] if only else []
    verb_of = [sys.executable, "-m", "artifact.cli.main", "rehearse", "--tier"]
    commands = {tier: [*verb_of, tier, *chosen, "--folder", str(folder / tier)] for tier in in_order(tiers)}

    def ready(tier: str, ended: Collection[str]) -> bool:
        builder = builder_of(tier)
        alone = builder == tier or builder not in commands
        return alone or builder in ended or bool(_built(folder / builder))

    codes = run_side_by_side(commands, heard, ready=ready)
    if failed := [name for name, code in codes.items() if code]:
        raise ArtifactError(f"the rehearsal of {', '.join(failed)} failed; what it said stands above")


def take_over(tier: str, folder: Path) -> None:
    """Copy the SURE-Math that the rehearsal of another tier built beside `folder`; nothing where there is none.

    Where it is not the one that `tier` reads, that one is built.
    """
    if (builder := builder_of(tier)) != tier:
        for made in _built(folder.parent / builder):
            shutil.copytree(made, folder / "results" / "suremath" / made.name, dirs_exist_ok=True)


def _built(folder: Path) -> list[Path]:
    return [manifest.parent for manifest in folder.glob("results/suremath/*/manifest.json")]


def broken_claims(tier: str, results: Path) -> list[str]:
    """The papers' claims that notebook 14 could not judge, and why; empty where it was not rehearsed.

    Some lack what a rehearsal leaves out (a cell of a study, a filled bin); of any other, claim and output disagree.
    """
    path = results / "tables" / tier / "claims.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [f"{row['id']}: {row['numbers']}" for row in csv.DictReader(file) if row["verdict"] == BROKEN]


def _account(tier: str, results: Path, go: dict[str, Any]) -> Path:
    """What was rehearsed, and how long each go in this folder took on which machine, this one the last.

    Of a go also the code, and the machine's load average over its last fifteen minutes, its own actors included.
    """
    path = results / f"rehearsed.{tier}.json"
    goes = [*(read_json(path, "rehearse again")["goes"] if path.is_file() else []), go]
    account: dict[str, Any] = {"tier": tier, "goes": goes, "tokens_for_one": FACTOR}
    account["minutes"] = round(sum(each["minutes"] for each in goes), 1)
    executed = sorted(p.stem for p in (results / "notebooks" / tier).glob("*.ipynb"))
    account["notebooks"] = [name for name in executed if "." not in name]  # of others only a partial copy is there
    account["broken_claims"] = broken_claims(tier, results)
    for kind in ("suremath", "annotations", "runs"):
        made = [read_json(p, "rehearse again") for p in results.glob(f"{kind}/*/manifest.json")]
        account[kind] = sum(manifest["tier"] == tier for manifest in made)
    account |= {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "hardware": hardware()} | stamp()
    write_json(path, account)
    return path
