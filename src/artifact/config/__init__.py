"""The typed configuration: one model, read from `configs/tiers/<tier>.yaml`, changed only by dotted overrides.

Unknown keys are refused with the nearest right name; nothing is read from global state. A `Config` says everything a
run depends on besides its code and its input files, so its hash is part of the run's key (`studies/keys.py`). How a
file is read and its mistakes are told: `config/files.py`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from artifact.config.cluster import Cluster, Engine, Role, RoleEngine
from artifact.config.files import (
    apply_overrides,
    check_finite,
    checked,
    explain,
    named_file,
    parse_overrides,
    read_extended,
    read_yaml,
)
from artifact.config.not_run import refuse_what_was_not_run
from artifact.config.section import Section
from artifact.errors import ConfigError
from artifact.paths import project_root
from artifact.train.methods.base import Method, find_method
from artifact.train.settings import Losses, Optimiser, RunSettings, Sampling, Train

__all__ = [
    "Annotation",
    "Cluster",
    "Config",
    "ConfigError",
    "Engine",
    "Evaluation",
    "Models",
    "Role",
    "RoleEngine",
    "SampledEvaluation",
    "Section",
    "TaskSection",
    "Tier",
    "apply_overrides",
    "check_finite",
    "checked",
    "explain",
    "load",
    "load_tier",
    "named_file",
    "parse_overrides",
    "read_extended",
    "read_yaml",
    "tier_names",
]


class Models(Section):
    """Which checkpoints play which part: local folders relative to the project root, or hub ids."""

    student: str
    teachers: dict[str, str] = Field(description="name → checkpoint; `teacher` of the run picks one")
    judge: str | None = Field(None, description="equivalence judge for semantic clustering; None = symbolic only")
    dtype: Literal["float32", "bfloat16"] = "float32"

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """All of them: student, teachers, and the judge where there is one."""
        return (self.student, *self.teachers.values(), *filter(None, [self.judge]))


class TaskSection(Section):
    """Where problems come from and how they are prompted."""

    name: str
    train_limit: int | None = Field(None, ge=1, description="use only the first so many training problems")
    train_split: str = Field("train", description="split that is trained on, or a slice such as `train[:-500]`")
    template: str | None = Field(None, description="prompt template; None = the task's own")
    extraction_rules: tuple[str, ...] | None = Field(
        None, description="where an answer stands, in order of trial; None = as the prompt template asks for it"
    )
    calculator: bool = Field(False, description="close `<<expression=` by the computed value while generating")
    data_dir: str | None = Field(None, description="folder with local copies of the task's data; None = the usual ones")
    verifier_workers: int = Field(
        1, ge=1, description="processes in which answers are compared by algebra at once; verdicts are the same"
    )
    thinking: bool | None = Field(
        None, description="thinking mode; to be set where the chat template has a switch for it"
    )


class Annotation(Section):
    """Phase 1 of UOPD: semantic entropy of the teacher."""

    samples: int = Field(8, ge=2, description="N")
    draw: int | None = Field(None, ge=2, description="responses drawn a prompt, of which the first N count; None = N")
    temperature: float = Field(0.7, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_new_tokens: int = Field(ge=1)
    clustering: Literal["exact", "symbolic", "meaning", "llm", "nli"] = Field(
        "symbolic",
        description="who says that two answers are one; by mutual entailment `meaning`: the task's own truth, and "
        "`nli`: the cross-encoder `models.judge`",
    )
    normaliser: Literal["n", "n_valid"] = "n"
    min_valid: int = Field(0, ge=0)
    batch_prompts: int = Field(300, ge=1)
    seed: int = 0
    accept_poor_judge: bool = Field(False, description="cluster even with a judge that failed its calibration")

    @model_validator(mode="after")
    def _enough_is_drawn(self) -> Annotation:
        if self.draw is not None and self.draw < self.samples:
            raise ValueError(f"draw = {self.draw} responses per prompt cannot give N = samples = {self.samples}")
        return self


class SampledEvaluation(Section):
    """avg@k: k samples per problem (UOPD section 4.3), of the weights that a run left (`sampled_evaluation.py`)."""

    k: int = Field(16, ge=1)
    temperature: float = Field(1.2, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)
    limit: int | None = Field(None, ge=1, description="only the first so many problems of each final split; None = all")


class Evaluation(Section):
    """What is measured, on which split. Choosing settings uses `validation`, never `final`."""

    final: tuple[str, ...] = ("evaluation",)
    curve: str = "curve"
    validation: str = "validation"
    limit: int | None = Field(None, ge=1)
    max_new_tokens: int = Field(ge=1)
    sampled: SampledEvaluation | None = None


class Config(Section):
    """One run, completely: (tier, teacher, method, settings, seed)."""

    tier: str
    description: str = ""
    teacher: str = Field(description="key into models.teachers")
    method: str = "opd"
    method_options: dict[str, Any] = Field(default_factory=dict, description="options of the method, checked by it")
    seed: int = Field(0, ge=0)
    models: Models
    task: TaskSection
    cluster: Cluster
    sampling: Sampling
    losses: Losses
    optimiser: Optimiser
    train: Train
    annotation: Annotation
    evaluation: Evaluation

    @model_validator(mode="after")
    def _norms_need_whole_parameters(self) -> Config:
        if self.train.component_norms_every and self.cluster.zero_stage == 3:
            raise ValueError(
                "train.component_norms_every needs whole parameters on every rank; ZeRO stage 3 partitions them: set "
                "it to 0, or cluster.zero_stage to 2"
            )
        return self

    @model_validator(mode="after")
    def _was_run(self) -> Config:
        machine, calculator = self.cluster, self.task.calculator
        refuse_what_was_not_run(machine.device, machine.zero_stage, calculator, self.optimiser, self.train)
        return self

    @model_validator(mode="after")
    def _teacher_exists(self) -> Config:
        if self.teacher not in self.models.teachers:
            raise ValueError(f"teacher {self.teacher!r} is not one of models.teachers: {sorted(self.models.teachers)}")
        return self

    @model_validator(mode="after")
    def _a_colocated_device_has_one_of_each(self) -> Config:
        c, e, ranks = self.cluster, self.cluster.engine, self.cluster.student_workers
        if c.layout == "colocated" and (
            e.count != ranks
            or e.tensor_parallel_size > 1
            or e.gpus is not None
            or (c.gpus and (c.gpus != ranks or c.lanes > 1))
        ):
            raise ValueError(
                "cluster.layout = colocated puts one engine and one rank of the student on each device; here "
                f"engine.count = {e.count}, student_workers = {ranks}, gpus = {c.gpus}, lanes = {c.lanes}, "
                f"engine.tensor_parallel_size = {e.tensor_parallel_size}, engine.gpus = {e.gpus}: make the first three "
                "the same (gpus = 0 where none are counted), the next two 1, and leave the last out"
            )
        if c.layout == "colocated" and (self.train.stream or self.train.staleness):
            raise ValueError(
                "cluster.layout = colocated has engines sleep while others train, and train.stream and train.staleness "
                "have them sample meanwhile: set these to false and 0, or the layout to separate"
            )
        return self

    @model_validator(mode="after")
    def _each_role_has_sound_engines(self) -> Config:
        for role, own in self.cluster.engines.items():
            if role == "teacher" and own.max_model_len not in (None, self.cluster.engine.max_model_len):
                raise ValueError(
                    f"engines.teacher.max_model_len = {own.max_model_len}: the teacher answers the student's prompts, "
                    "of which too long ones are left out for both by cluster.engine.max_model_len: set that"
                )
            self.as_role(role)
        return self

    def as_role(self, role: Role) -> Config:
        """This configuration with the engines of `role` as `cluster.engine`; itself where the role has none."""
        own = self.cluster.engines.get(role)
        if own is None:
            return self
        cluster = self.cluster.model_dump(exclude={"engines"})
        cluster["engine"] |= own.model_dump(exclude_none=True)
        return self.model_copy(update={"cluster": Cluster.model_validate(cluster)})

    def measuring(self, model: str) -> Config:
        """This configuration with the engines that hold `model` when it is measured: the teacher's, where it is one
        and not the student.
        """
        folder = {
            m: (project_root() / m).resolve() for m in (model, self.models.student, *self.models.teachers.values())
        }
        teachers = {folder[m] for m in self.models.teachers.values()} - {folder[self.models.student]}
        return self.as_role("teacher") if folder[model] in teachers else self

    @property
    def run_settings(self) -> RunSettings:
        """What the loop, the methods and the losses read."""
        return RunSettings(
            self.sampling, self.losses, self.optimiser, self.train, self.seed, self.evaluation.max_new_tokens
        )

    def make_method(self) -> Method:
        """The method with its options checked; ConfigError names what is wrong and the nearest right name."""
        cls = find_method(self.method)
        options = checked(cls.Options, self.method_options, f"options of method {cls.name!r}")
        return cls(self.run_settings, options)

    @property
    def teacher_path(self) -> str:
        """Checkpoint of the run's teacher."""
        return self.models.teachers[self.teacher]

    @property
    def judge_path(self) -> str:
        """Checkpoint of the equivalence judge; ConfigError where the tier names none."""
        if self.models.judge is None:
            raise ConfigError(
                f"annotation.clustering = {self.annotation.clustering} needs a judge model, and tier {self.tier!r} "
                "names none: set models.judge to an instruction-tuned checkpoint (llm) or to a cross-encoder (nli), or "
                "annotation.clustering to symbolic"
            )
        return self.models.judge


class Tier(Section):
    """What the file of a tier says of the tier itself, beside the settings of its runs (`Config`)."""

    tier: str
    extends: str | None = Field(None, description="the tier whose settings hold where this file says nothing")
    seeds: int | None = Field(None, ge=1, description="seeds of each study that are run; null: all of them")
    note: str = Field(min_length=1, description="what its numbers are, stamped on every figure and table")
    learning_rates: Literal["chosen", "tier"] = Field(
        description="`chosen`: each cell's from configs/learning_rates; `tier`: optimiser.lr of this file for all"
    )
    leaves_out: dict[str, str] = Field(description="notebooks that it does not run, each with the reason; {} = none")

    @property
    def base(self) -> str:
        """The tier whose learning rates, and whose overrides in studies, hold for this one."""
        return self.extends or self.tier


def tier_names() -> tuple[str, ...]:
    """The tiers: the files of `configs/tiers`, in alphabetical order."""
    return tuple(sorted(path.stem for path in (project_root() / "configs" / "tiers").glob("*.yaml")))


def _tier_file(tier: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name of the tier's file, what it says of the tier, and the rest; ConfigError where its name is another."""
    path = named_file("tiers", tier, "tier")
    data = read_extended(path)
    if data.get("tier") != tier:
        raise ConfigError(f"{path.name}: tier = {data.get('tier')!r}; the file's name says {tier!r}: make them agree")
    said = {key: value for key, value in data.items() if key in Tier.model_fields}
    return path.name, said, {key: value for key, value in data.items() if key == "tier" or key not in said}


def load_tier(tier: str) -> Tier:
    """What `configs/tiers/<tier>.yaml` says of the tier; ConfigError as `named_file` and `checked`."""
    name, said, _ = _tier_file(tier)
    return checked(Tier, said, name)


def load(tier: str, overrides: dict[str, Any] | None = None) -> Config:
    """The configuration of `tier` with dotted `overrides` applied; ConfigError as `named_file` and `checked`."""
    name, said, settings = _tier_file(tier)
    checked(Tier, said, name)
    changes = overrides or {}
    if taken := sorted(Tier.model_fields.keys() & changes.keys()):
        raise ConfigError(f"override {taken[0]!r} is a fact of the tier; choose another with --tier or edit {name}")
    return checked(Config, apply_overrides(settings, changes), name, changes)
