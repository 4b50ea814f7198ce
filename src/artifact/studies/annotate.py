"""Phase 1 of UOPD, stored: teacher samples, clusters and weights for a training set (Algorithm 1, lines 2–7).

Two results, each with its own key. *Samples* are the expensive part: teacher, sampling settings and problems decide
them. An *annotation* is made from samples; another N (a nested subset), judge or normaliser makes a new annotation from
the same samples.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from artifact.actors.calls import call
from artifact.actors.checkpoints import check_model
from artifact.actors.placement import counts_devices
from artifact.actors.session import Actors, open_actors
from artifact.actors.team import probe_sequences
from artifact.config import Config
from artifact.paths import resolve_model
from artifact.phase1 import stream
from artifact.phase1.judge import JudgeError
from artifact.phase1.records import Annotation
from artifact.phase1.stored import StoredSamples
from artifact.provenance import digest, file_hash
from artifact.records import Rollout
from artifact.studies import keys, store
from artifact.studies.driver_memory import require_memory
from artifact.studies.inputs import build_inputs, check_judge, judge_prompt, prompts_hash, sampler_for, start_up
from artifact.studies.judging import make_judge
from artifact.train.inputs import RunInputs
from artifact.train.rollouts import verify_groups
from artifact.train.sync_check import check_weight_sync


def sampling_settings(config: Config) -> dict[str, Any]:
    """The settings that decide the samples, apart from teacher and problems."""
    a = config.annotation
    return keys.settings(config, "task") | {
        "draw": a.draw or a.samples,
        "temperature": a.temperature,
        "top_p": a.top_p,
        "max_new_tokens": a.max_new_tokens,
        "batch_prompts": a.batch_prompts,
        "seed": a.seed,
        "engine": config.as_role("teacher").cluster.engine.model_dump(),
        "lanes": config.cluster.lanes,
        "dtype": config.models.dtype,
    }


def used_judge(config: Config) -> str | None:
    """The model that clusters, None where none does."""
    return config.models.judge if config.annotation.clustering in ("llm", "nli") else None


def clustering_settings(config: Config) -> dict[str, Any]:
    """The settings that decide what is made of the samples; for a model as judge also its rule and prompt."""
    a = config.annotation
    judge = used_judge(config)
    asked: dict[str, Any] = {} if judge is None else {"judge_rule": keys.source_of(f"{a.clustering} judge")}
    if a.clustering == "llm":
        asked["judge_prompt"] = file_hash(judge_prompt(config.task))
        asked["judge_engine"] = config.as_role("judge").cluster.engine.model_dump()
    return {
        "samples": a.samples,
        "clustering": a.clustering,
        "normaliser": a.normaliser,
        "min_valid": a.min_valid,
        "judge": keys.model_hash(judge) if judge else None,
        **asked,
    }


def samples_key(config: Config, inputs: RunInputs) -> str:
    """The key of a set of samples: teacher, settings, problems, code and environment."""
    return digest(
        {
            "sampling": sampling_settings(config),
            "prompts": prompts_hash(config, inputs, config.teacher_path),
            "teacher": keys.model_hash(config.teacher_path),
            "data": keys.data_hash(inputs.train),
            "source": keys.source_of("samples"),
            "lock": keys.environment_hash(config.cluster.device),
        }
    )


def annotation_key(config: Config, inputs: RunInputs) -> str:
    """The key of an annotation: its samples, and how they are clustered."""
    return digest(
        {
            "samples": samples_key(config, inputs),
            "clustering": clustering_settings(config),
            "source": keys.source_of("annotations"),
        }
    )


def draw_samples(config: Config, force: bool = False) -> Path:
    """Sample `config.teacher` on the training problems; returns the folder, at once if it is there."""
    inputs = build_inputs(config)
    key = samples_key(config, inputs)
    with store.result("samples", key, config, force=force, settings=sampling_settings(config)) as out:
        if out.finished:
            return out.folder
        folder = out.folder
        served = config.as_role("teacher")
        with store.actors_of(served, config.teacher_path):
            actors = open_actors(served, engines_for=config.teacher_path, reference=served.cluster.engine.prove_weights)
            gap = load_checkpoint(served, actors, config.teacher_path, inputs)
            a = config.annotation
            sampled = stream.draw(
                inputs.train,
                _teacher(served, inputs, actors, a.draw or a.samples, a.temperature),
                folder / "shards",
                batch=a.batch_prompts,
                what=f"samples of {config.teacher}",
            )
            greedy = stream.draw(
                inputs.train,
                _teacher(served, inputs, actors, 1, 0.0),
                folder / "greedy",
                batch=a.batch_prompts,
                what=f"greedy answers of {config.teacher}",
            )
        stream.join_shards(folder / "shards", folder / "samples.parquet", Rollout)
        stream.join_shards(folder / "greedy", folder / "greedy.parquet", Rollout)
        out.run_info["seconds"] |= {"sampling": sampled.pop("seconds"), "greedy": greedy.pop("seconds")}
        out.manifest |= {
            "teacher": config.teacher,
            "model": config.teacher_path,
            "models": {"teacher": keys.model_identity(config.teacher_path)},
            "sampled": sampled,
            "greedy": greedy,
            "load_max_logprob_diff": gap,
            "start_up": start_up(config).to_json(),
        }
    return out.folder


def annotate(config: Config, force: bool = False) -> Path:
    """Annotate the training problems with the uncertainty of `config.teacher`; returns the folder, at once if there."""
    inputs = build_inputs(config)
    key = annotation_key(config, inputs)
    settings = sampling_settings(config) | clustering_settings(config)
    with store.result("annotations", key, config, force=force, settings=settings) as out:
        if out.finished:
            _require_usable_judge(out, config)
            return out.folder
        require_memory(config, inputs.train)
        if config.annotation.clustering == "llm":  # before the teacher is sampled for hours
            check_model(resolve_model(config.judge_path))
        asked = check_judge(config, inputs.train)
        samples, a, folder = draw_samples(config, force), config.annotation, out.folder
        store.files(samples, "shards/*.parquet")  # checked as a whole, before the stream reads one after the other
        watch = store.Stopwatch()
        with store.actors_of(config, config.judge_path) if a.clustering == "llm" else nullcontext():
            judge, judge_report = make_judge(config)
            clustered = stream.annotate_stream(
                inputs.train,
                samples / "shards",
                folder / "shards",
                judge,
                batch=a.batch_prompts,
                n=a.samples,
                normaliser=a.normaliser,
                min_valid=a.min_valid,
            )
        stream.join_shards(folder / "shards", folder / "annotations.parquet", Annotation)
        out.run_info["seconds"] |= {
            "sampling": store.run_info(samples)["seconds"]["sampling"],
            "clustering": clustered.pop("seconds"),
            "total": watch(),
        }
        out.manifest |= {
            "teacher": config.teacher,
            "model": config.teacher_path,
            "models": {
                role: keys.model_identity(model)
                for role, model in (("teacher", config.teacher_path), ("judge", used_judge(config)))
                if model
            },
            "judge": judge_report,
            "samples": samples.name,
            "problems": len(inputs.train),
            "clustered": clustered,
            "dropped": clustered["dropped"],
            "start_up": start_up(config).to_json() | {"judge": [str(f) for f in asked]},
        }
    return out.folder


def _require_usable_judge(stored: store.Result, config: Config) -> None:
    """JudgeError where the judge of a stored annotation failed the calibration and that was not accepted."""
    judge = stored.manifest["judge"]
    if not judge.get("usable", True) and not config.annotation.accept_poor_judge:
        raise JudgeError(
            f"the stored annotation {stored.folder.name} was made by judge {judge['name']!r}, which "
            f"{'; '.join(judge['faults'])}: use a stronger judge or set annotation.accept_poor_judge"
        )


def samples_folder(annotation: Path) -> Path:
    """The folder of the samples an annotation was made from."""
    return store.folder_of("samples", store.finished(annotation)["samples"])


def teacher_samples(annotation: Path, n: int) -> StoredSamples:
    """The N verified responses of each problem behind an annotation, by problem id; read when they are asked for."""
    return StoredSamples(store.file(samples_folder(annotation), "samples.parquet"), n)


def load_checkpoint(config: Config, actors: Actors, model: str, inputs: RunInputs) -> float | None:
    """Give all engines the weights of `model` and prove that they arrived; returns the largest |Δ log-prob| in nats.

    None where `cluster.engine.prove_weights` is off. The reference forgets the model where its device is wanted.
    Raises StaleEngine when engine and transformers disagree about the checkpoint.
    """
    path, limit = resolve_model(model), config.cluster.step_timeout_s
    call([e.load_checkpoint.remote(path) for e in actors.engines], limit, f"loading {model} into the engines")
    if not config.cluster.engine.prove_weights:
        return None
    probe = probe_sequences(inputs)

    def scored() -> Any:
        return call(
            [actors.reference.logprobs.remote(path, probe), *(e.score.remote(probe) for e in actors.engines)],
            limit,
            "the checkpoint proof",
        )

    exact = config.models.dtype == "float32"
    gap = check_weight_sync(scored, config.cluster.sync_tolerance, f"after loading {model}", exact=exact)
    if counts_devices(config.cluster):
        call(actors.reference.release.remote(path), limit, f"releasing {model}")
    return gap


def _teacher(config: Config, inputs: RunInputs, actors: Actors, n: int, temperature: float) -> stream.Sample:
    """n verified responses of the teacher per problem; greedy at temperature 0."""
    a = config.annotation
    sampler = sampler_for(config, actors, config.teacher_path)
    purpose = ("annotate", a.seed) if temperature else ("evaluate", 0)

    def sample(problems: Any) -> list[tuple[Rollout, ...]]:
        groups = sampler.sample(
            inputs.prompts(problems),
            n,
            temperature=temperature,
            top_p=a.top_p if temperature else 1.0,
            max_new_tokens=a.max_new_tokens,
            seed=purpose,
        )
        return verify_groups(problems, groups, inputs.verify)

    return sample
