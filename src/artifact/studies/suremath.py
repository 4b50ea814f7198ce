"""SURE-Math, built and published: the pipeline of `suremath/` with real engines for generator, labeller and teacher.

    seeds → evolution → filters → labels → split → teacher's entropies → published folder

The generator is that of `configs/suremath/<name>.yaml`; the labeller, and the model whose entropies are published, is
the teacher of the run. Every stage resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artifact.actors.calls import call
from artifact.actors.checkpoints import check_model
from artifact.actors.session import open_actors, release_samplers
from artifact.config import Config, load
from artifact.paths import resolve_model
from artifact.phase1 import stream
from artifact.phase1.judge import EquivalenceJudge
from artifact.phase1.records import Annotation
from artifact.provenance import digest, file_hash
from artifact.records import Problem, Rollout, read_parquet
from artifact.studies import keys, store
from artifact.studies.annotate import clustering_settings, load_checkpoint, make_judge, sampling_settings, used_judge
from artifact.studies.inputs import build_inputs, check_judge, rules_of, sampler_for, start_up, tokenizer_of
from artifact.suremath.build import build, make_generator
from artifact.suremath.generator import Generator
from artifact.suremath.labels import verify_samples
from artifact.suremath.lineage import Evolved
from artifact.suremath.publish import publish
from artifact.suremath.seeds import load_benchmarks
from artifact.suremath.settings import SureMathSettings, load_settings
from artifact.train.inputs import RunInputs
from artifact.train.rollouts import verify_groups


def dataset_key(config: Config, settings: SureMathSettings) -> str:
    """The key of a built dataset: its settings, the models that label and annotate, code and environment."""
    return digest(
        {
            "suremath": settings.model_dump(mode="json"),
            "sampling": sampling_settings(config),
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
    """Build, annotate and publish SURE-Math by the settings `name` (default: those named like the tier).

    Returns the folder: `build/` holds every stage, `dataset/` the published form. At once if it is there.
    """
    settings, config = load_settings(name or tier), load(tier, overrides)
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
        inputs, a, asked = build_inputs(config), config.annotation, check_judge(config)
        with store.actors_of(0):
            sampler = BoundSampler(config, config.teacher_path, inputs)
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
            release_samplers(config)
        publish(folder / "build", folder / "dataset", settings, annotations, teacher=config.teacher_path, key=key)
        out.run_info["seconds"] |= {"build": built, "annotation": annotated}
        out.manifest |= {"name": settings.name, "teacher": config.teacher, "train": report.train, "test": report.test}
        out.manifest["start_up"] = start_up(config).to_json() | {"judge": [str(f) for f in asked]}
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
    """A sampler of one frozen checkpoint on engines it may share with others of its architecture (generator, judge).

    Before each draw the engines are asked what they hold, and given the checkpoint again where another took its place.
    """

    def __init__(self, config: Config, model: str, inputs: RunInputs) -> None:
        self.config, self.model, self.inputs, self.fresh = config, model, inputs, True
        self.actors = open_actors(config, engines_for=model, reference=True)
        self.sampler = sampler_for(config, self.actors, model)

    def sample(self, *arguments: Any, **options: Any) -> list[tuple[Rollout, ...]]:
        """As `train.rollouts.Sampler.sample`."""
        asked = [e.ready.remote() for e in self.actors.engines]
        held = call(asked, self.config.cluster.step_timeout_s, "asking engines for their checkpoint")
        if self.fresh or set(held) != {resolve_model(self.model)}:
            load_checkpoint(self.config, self.actors, self.model, self.inputs)
            self.fresh = False
        return self.sampler.sample(*arguments, **options)


def _generator(config: Config, settings: SureMathSettings, inputs: RunInputs) -> Generator:
    """The generator of the settings, with engines of its own where it is a language model."""
    model = settings.generator.model
    if model is None:
        return make_generator(settings)
    return make_generator(settings, sampler=BoundSampler(config, model, inputs), tokenizer=tokenizer_of(model))


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
