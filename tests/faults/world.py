"""A short run, stored as any other: the real store, log and loop around two networks of a few hundred weights.

Everything but what needs a cluster: `store.result`, `RunLog`, `train.loop.train`, evaluation files, and the readers of
a finished run. TensorBoard is left out; its files hold times and take no part in any comparison.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.train.tiny import STOP, Network, decode, inputs, settings

from artifact.config import load
from artifact.phase1 import stream
from artifact.provenance import vouch, vouched
from artifact.records import Problem, Rollout, write_parquet
from artifact.studies import store
from artifact.studies.runlog import RunLog
from artifact.studies.runner import RunInfo, rollouts_of
from artifact.train.inputs import TeacherAnnotations
from artifact.train.local import LocalWorkers
from artifact.train.loop import train
from artifact.train.methods.base import make
from artifact.train.rollouts import evaluate, verify_groups

KEY = "0123456789abcdef"
SPLIT = "evaluation"


class Log(RunLog):
    """A run's log without event files."""

    @property
    def tensorboard(self) -> Any:
        """Whoever asks for the writer gets the log itself."""
        return self

    def add_scalar(self, *event: object) -> None:
        """Nothing is drawn."""


def start(*, force: bool = False, key: str = KEY) -> Path:
    """Make the run, go on with it, or find it: what `artifact train` does. Returns its folder."""
    config = load("tiny", {"method": "opd"})
    with store.result("runs", key, config, force=force) as out:
        if not out.finished:
            s, world = (
                settings(train__steps=4, train__checkpoint_every=1, train__curve_every=2, seed=len(key)),
                inputs(),
            )
            workers = LocalWorkers(Network(), Network(seed=9), s, decode, [STOP])
            log = Log(out.folder, "run", progress=False)
            train(s, make("opd", s), world, workers, workers, log, TeacherAnnotations())
            problems = [*world.train, *(p for p in world.curve if p.id not in {q.id for q in world.train})]
            write_parquet(out.folder / "problems.parquet", problems, Problem)
            path = out.folder / "evaluation" / f"{SPLIT}.greedy.parquet"
            if not vouched(path):
                groups = evaluate(workers, problems, world.prompts(problems), world.verify, max_new_tokens=5, seed=0)
                write_parquet(path, (r for g in groups for r in g), Rollout)
                vouch(path)
            out.manifest |= {"method": "opd", "teacher": "A", "seed": 0}
    return out.folder


def sample(*, force: bool = False) -> Path:
    """A teacher's samples as a stream of shards: what `artifact annotate` stores first. Returns the folder."""
    config = load("tiny")
    with store.result("samples", KEY, config, force=force) as out:
        if not out.finished:
            s, world = settings(seed=5), inputs(train=7)
            workers = LocalWorkers(Network(), None, s, decode, [STOP])

            def ask(problems: Any) -> list[tuple[Rollout, ...]]:
                options: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 4, "seed": "samples"}
                return verify_groups(problems, workers.sample(world.prompts(problems), 2, **options), world.verify)

            sampled = stream.draw(world.train, ask, out.folder / "shards", batch=3)
            stream.join_shards(out.folder / "shards", out.folder / "samples.parquet", Rollout)
            out.run_info["seconds"]["sampling"] = sampled.pop("seconds")
            out.manifest["sampled"] = sampled
    return out.folder


def info_of(folder: Path) -> RunInfo:
    """The finished run as notebooks hold it."""
    manifest = store.finished(folder)
    return RunInfo("OPD", "opd", "A", 0, folder.name, folder, manifest, "opd")


def read_everything(folder: Path) -> None:
    """What figures, tables and later stages read of a run: every file, by its own reader."""
    from artifact.studies.keys import model_hash
    from artifact.studies.results import curve_frame, evaluation_frame, metrics_frame, transcripts

    info = info_of(folder)
    evaluation_frame([info])
    metrics_frame([info])
    curve_frame([info])
    list(rollouts_of(info))
    transcripts(folder, "evaluation")
    assert info.run_info["seconds"]["total"] >= 0
    (folder / "weights" / "config.json").is_file() and model_hash(str(folder / "weights"))
    store.files(folder, "weights/*")


def content(folder: Path) -> dict[str, Any]:
    """What must be the same whoever made the run, and after whatever: every file, metrics without their times."""
    out: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name == store.RUN_INFO:
            out[name] = sorted(json.loads(path.read_text()))
        elif name.endswith(".seconds"):
            out[name] = len(path.read_text().splitlines())
        elif name == "metrics.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            out[name] = [{k: v for k, v in row.items() if not k.startswith("seconds/")} for row in rows]
        else:
            out[name] = path.read_bytes()
    return out
