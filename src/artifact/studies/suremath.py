"""SURE-Math, built and published: the pipeline of `suremath/` with real engines for generator, labeller and teacher.

    seeds → evolution → filters → labels → split → teacher's entropies → published folder

The generator is that of `configs/suremath/<name>.yaml`; the labeller, and the model whose entropies are published, is
the teacher of the run. Every stage resumes. What is built lies where the task of that name reads it (`hub.built_dir`);
who builds it for a tier that trains on it needs no data of that tier: prompts are tried on the curated problems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artifact.actors.checkpoints import check_model
from artifact.actors.frozen import FrozenEngines
from artifact.config import Config, load, load_tier
from artifact.paths import project_root, resolve_model
from artifact.phase1 import stream
from artifact.phase1.judge import EquivalenceJudge
from artifact.phase1.records import Annotation
from artifact.provenance import digest, file_hash
from artifact.records import Problem, Rollout, read_parquet
from artifact.studies import keys, store
from artifact.studies.annotate import clustering_settings, load_checkpoint, sampling_settings, used_judge
from artifact.studies.inputs import check_judge, inputs_over, rules_of, sampler_for, tokenizer_of
from artifact.studies.judging import make_judge
from artifact.suremath.build import build, make_generator
from artifact.suremath.generator import Generator
from artifact.suremath.labels import verify_samples
from artifact.suremath.lineage import CURATED, Evolved
from artifact.suremath.load import export
from artifact.suremath.publish import publish
from artifact.suremath.seeds import load_benchmarks, load_sources
from artifact.suremath.settings import SureMathSettings, load_settings
from artifact.tasks.benchmark import known_benchmarks
from artifact.tasks.hub import built_dir, local_file
from artifact.train.inputs import RunInputs
from artifact.train.rollouts import verify_groups


def dataset_key(config: Config, settings: SureMathSettings) -> str:
    """The key of a built dataset: its settings, the models that label and annotate, code and environment."""
    return digest(
        {
            "suremath": settings.model_dump(mode="json"),
            "sampling": sampling_settings(config),
            "generator_engine": config.as_role("generator").cluster.engine.model_dump(),
            "clustering": clustering_settings(config),
            "teacher": keys.model_hash(config.teacher_path),
            "generator": keys.model_hash(settings.generator.model) if settings.generator.model else None,
            "prompts": [file_hash(p) for p in sorted((keys.PACKAGE / "suremath" / "prompts").glob("*.txt"))],
            "source": keys.source_of("suremath"),
            "lock": keys.environment_hash(config.cluster.device),
        }
    )


def build_suremath(
    tier: str, name: str | None = None, overrides: dict[str, Any] | None = None, force: bool = False
) -> Path:
    """Build, annotate and publish SURE-Math by the settings `name` (default: those of the tier, `builder_of`).

    Returns the folder: `build/` holds every stage, `dataset/` the published form. At once if it is there.
    """
    tier = tier if name else builder_of(tier)
    settings, config = load_settings(name or tier), load(tier, overrides)
    folder = _built(settings, config, force)
    export(folder / "dataset", data_folder(settings))
    return folder


def builder_of(tier: str) -> str:
    """The tier that builds the SURE-Math of `tier`: the one it extends, where it has no settings of its own.

    So the pairs of a paper train on one dataset, whoever their teachers are.
    """
    own = project_root() / "configs" / "suremath" / f"{tier}.yaml"
    return tier if own.is_file() else load_tier(tier).base


def data_folder(settings: SureMathSettings) -> Path:
    """Where the task called like the dataset reads it."""
    return built_dir() / settings.name.replace("-", "_")


def trained_on(config: Config) -> SureMathSettings | None:
    """The settings of the dataset that runs of `config` train on; None where this project builds none for them."""
    builder = builder_of(config.tier)
    if not (project_root() / "configs" / "suremath" / f"{builder}.yaml").is_file():
        return None
    settings = load_settings(builder)
    return settings if settings.name == config.task.name else None


def generator_of(config: Config) -> str | None:
    """The model that writes the problems which runs of `config` train on, where one is to write them."""
    settings = unbuilt(config)
    return settings.generator.model if settings else None


def unbuilt(config: Config) -> SureMathSettings | None:
    """The settings of the dataset that runs of `config` train on, where it is to be built first; else None."""
    settings = trained_on(config)
    if settings is None or local_file(known_benchmarks()[settings.name].sources["train"], config.task.data_dir):
        return None
    return settings


def _built(settings: SureMathSettings, config: Config, force: bool) -> Path:
    key = dataset_key(config, settings)
    stated = settings.model_dump(mode="json")
    with store.result("suremath", key, config, force=force, settings=stated) as out:
        if out.finished:
            return out.folder
        named = {"teacher": config.teacher_path, "generator": settings.generator.model, "judge": used_judge(config)}
        used = {role: model for role, model in named.items() if model}
        for model in used.values():
            check_model(resolve_model(model))
        folder, watch = out.folder, store.Stopwatch()
        curated = [item.problem for item in load_sources(settings.curated.sources, CURATED).items]
        (inputs, started_with), a = inputs_over(config, curated), config.annotation
        asked = check_judge(config, inputs.train)
        with store.actors_of(config.as_role("teacher"), config.teacher_path):
            sampler = BoundSampler(config.as_role("teacher"), config.teacher_path, inputs)
            draw = _draws(config, inputs, sampler)

            def label(problems: Sequence[Problem]) -> list[list[Rollout]]:
                drawn = draw(problems, a.samples, "label")
                return verify_samples(problems, drawn, inputs.verify, rules_of(config.task))

            benchmarks, generator = load_benchmarks(settings.benchmarks), _generator(config, settings, inputs)
            judge, _ = make_judge(config)
            report = build(settings, generator, label, benchmarks, folder / "build", judge=judge)
            built, started = watch(), store.Stopwatch()
            training = problems_in(folder / "build", "train")
            annotations = annotate_problems(config, inputs, draw, judge, training, folder / "entropy")
            annotated = started()
        publish(folder / "build", folder / "dataset", settings, annotations, teacher=config.teacher_path, key=key)
        out.run_info["seconds"] |= {"build": built, "annotation": annotated}
        out.manifest |= {"name": settings.name, "teacher": config.teacher, "train": report.train, "test": report.test}
        out.manifest["start_up"] = started_with.to_json() | {"judge": [str(f) for f in asked]}
        out.manifest["models"] = {role: keys.model_identity(model) for role, model in used.items()}
    return out.folder


def problems_in(build_folder: Path, split: str) -> list[Problem]:
    """The problems of a finished build, without their lineage."""
    return [item.problem for item in read_parquet(store.checked(build_folder / f"{split}.parquet"), Evolved)]


def annotate_problems(
    config: Config,
    inputs: RunInputs,
    draw: Callable[..., Any],
    judge: EquivalenceJudge,
    problems: Sequence[Problem],
    folder: Path,
) -> list[Annotation]:
    """The teacher's annotation of each problem, as a stream of shards under `folder`."""
    a = config.annotation

    def sample(batch: Sequence[Problem]) -> Sequence[Sequence[Rollout]]:
        return verify_groups(batch, draw(batch, a.samples, "annotate"), inputs.verify)

    stream.draw(problems, sample, folder / "samples", batch=a.batch_prompts, what="entropies")
    stream.annotate_stream(
        problems,
        folder / "samples",
        folder / "shards",
        judge,
        batch=a.batch_prompts,
        n=a.samples,
        normaliser=a.normaliser,
        min_valid=a.min_valid,
    )
    return [x for p in sorted((folder / "shards").glob("*.parquet")) for x in read_parquet(p, Annotation)]


def lineage_of(folder: Path) -> dict[str, Evolved]:
    """Every curated, seed and evolved problem of a build, by id: what a lineage tree is drawn from."""
    work = folder / "build" / "work"
    items = [e for path in sorted(work.rglob("*.parquet")) for e in _evolved(store.checked(path))]
    return {e.id: e for e in items}


def _evolved(path: Path) -> list[Evolved]:
    import pyarrow.parquet as pq

    return read_parquet(path, Evolved) if set(Evolved.COLUMNS) <= set(pq.read_schema(path).names) else []


class BoundSampler:
    """A sampler of one frozen checkpoint on devices it shares with others (`actors/frozen.py`)."""

    def __init__(self, config: Config, model: str, inputs: RunInputs) -> None:
        self.config, self.model = config, model
        self.engines = FrozenEngines(config, model, lambda actors: load_checkpoint(config, actors, model, inputs))

    def sample(self, *arguments: Any, **options: Any) -> list[tuple[Rollout, ...]]:
        """As `train.rollouts.Sampler.sample`."""
        return sampler_for(self.config, self.engines.ready(), self.model).sample(*arguments, **options)


def _generator(config: Config, settings: SureMathSettings, inputs: RunInputs) -> Generator:
    """The generator of the settings, with engines of its own where it is a language model."""
    model = settings.generator.model
    if model is None:
        return make_generator(settings)
    return make_generator(
        settings, sampler=BoundSampler(config.as_role("generator"), model, inputs), tokenizer=tokenizer_of(model)
    )


def _draws(config: Config, inputs: RunInputs, sampler: BoundSampler) -> Callable[..., list[tuple[Rollout, ...]]]:
    """draw(problems, n, purpose): unverified samples of the teacher, each a function of purpose, problem and number."""
    a = config.annotation

    def draw(problems: Sequence[Problem], n: int, purpose: str) -> list[tuple[Rollout, ...]]:
        return sampler.sample(
            inputs.prompts(problems),
            n,
            temperature=a.temperature,
            top_p=a.top_p,
            max_new_tokens=a.max_new_tokens,
            seed=("suremath", purpose, a.seed),
        )

    return draw
