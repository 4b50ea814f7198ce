"""What once kept the tiers of GPUs from running, put back one at a time, and what refuses it.

    python -m tests.mutations --only stoppers      # puts each back and runs its tests
    python -m tests.mutations.stoppers             # the table of docs/gpu.md

A tier of GPUs is not run where there is none, so what brings one to a halt has to be noticed on a processor.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutations.mutant import Mutant

TIERS, REHEARSAL = "studies/test_gpu_tiers.py::", "studies/test_rehearsal.py::"
BUILT_THERE = (f"{REHEARSAL}test_sure_math_is_built_from_its_sources_and_each_role_has_engines_of_its_own",)
STAND_INS = f"{REHEARSAL}test_stand_ins_reach_an_engine_whole_and_are_scored_unrounded"
WHOLE = ("actors/test_zero.py::test_saved_weights_and_sync_are_whole[1-stage 3, untied, all]",)
NAN = "actors/test_zero.py::test_a_gradient_of_nan_on_one_rank_stops_all_before_the_weights_are_touched"
LEASES = "actors/test_leases.py::"


@dataclass(frozen=True)
class Stopper:
    """One cause for which no run of a tier began or ended.

    meets    where a rehearsal of a tier, or the test of what it needs (`studies/test_rehearsal.py`), comes upon it
    mutants  each puts one part of it back
    """

    what: str
    meets: str
    mutants: tuple[Mutant, ...]


STOPPERS = (
    Stopper(
        "SURE-Math is read before it is built, or is not where the task reads it",
        "before an actor starts",
        (
            Mutant(
                "SURE-Math is built from itself",
                "studies/suremath.py",
                "inputs_over(config, curated), config.annotation",
                'inputs_over(config, problems_in(data_folder(settings), "train")), config.annotation',
                BUILT_THERE,
            ),
            Mutant(
                "nobody builds the dataset that a tier trains on",
                "studies/suremath.py",
                "if settings is None or local_file(",
                "if settings is not None or local_file(",
                (
                    f"{TIERS}test_one_dataset_for_all_pairs_built_before_it_is_read",
                    f"{REHEARSAL}test_its_folder_has_everything_that_the_tier_names",
                ),
            ),
            Mutant(
                "what is built is left where no task reads it",
                "studies/suremath.py",
                '    export(folder / "dataset", data_folder(settings))\n',
                "",
                (f"{TIERS}test_what_is_built_is_put_where_the_task_reads_it",),
            ),
            Mutant(
                "every pair of a paper has a SURE-Math of its own",
                "studies/suremath.py",
                "return tier if own.is_file() else load_tier(tier).base",
                "return tier",
                (f"{TIERS}test_one_dataset_for_all_pairs_built_before_it_is_read",),
            ),
            Mutant(
                "self-distillation asks solutions of problems that have none",
                "configs/studies/uopd_methods.yaml",
                "context: solution_or_answer",
                "context: solution",
                (f"{TIERS}test_no_method_asks_a_solution_of_problems_that_a_language_model_wrote",),
            ),
            Mutant(
                "the validation part is trained on",
                "suremath/split.py",
                "ids - test - validation)",
                "ids - test)",
                ("suremath/test_build.py::test_a_validation_part_is_held_out_like_the_test",),
            ),
        ),
    ),
    Stopper(
        "the proof of a sync refuses weights that are right, in half precision",
        "at the first weights of a run",
        (
            Mutant(
                "half precision has the tolerance of single precision",
                "configs/tiers/paper.yaml",
                "sync_tolerance: 0.2",
                "sync_tolerance: 0.05",
                (f"{TIERS}test_a_sync_in_half_precision_is_given_what_identical_weights_differ_by",),
            ),
            Mutant(
                "sync: in half precision one token decides",
                "train/sync_check.py",
                "gap = max_logprob_diff if exact else mean_logprob_diff",
                "gap = max_logprob_diff",
                ("train/test_sync_check.py::test_in_half_precision_the_mean_over_the_probe_is_held_to_the_tolerance",),
            ),
            Mutant(
                "sync: every policy is in single precision",
                "actors/team.py",
                'f"after weight sync {version}", config.models.dtype == "float32"',
                'f"after weight sync {version}", True',
                ("actors/test_team.py::test_in_half_precision_one_token_of_the_probe_may_differ_by_more",),
            ),
        ),
    ),
    Stopper(
        "an engine is not given the weights of a model of the hub",
        "as its stand-ins are loaded",
        (
            Mutant(
                "weight sync: a tied head is not sent",
                "actors/weight_sync.py",
                "    if tied:\n        named.append",
                "    if False:\n        named.append",
                (
                    "actors/test_checkpoints.py::test_an_engine_is_given_every_weight_of_a_hub_model_and_the_head",
                    STAND_INS,
                ),
            ),
            Mutant(
                "an engine is given the id of a model for its folder",
                "studies/annotate.py",
                "path, limit = resolve_model(model), config.cluster.step_timeout_s",
                "path, limit = model, config.cluster.step_timeout_s",
                ("actors/test_checkpoints.py::test_engines_are_given_the_folder_of_a_hub_model",),
            ),
        ),
    ),
    Stopper(
        "a response of evaluation fills the engine, so that no prompt fits beside it",
        "before an actor starts",
        (
            Mutant(
                "an engine as long as a response of evaluation",
                "configs/tiers/paper.yaml",
                "max_model_len: 10240",
                "max_model_len: 8192",
                (f"{TIERS}test_every_budget_leaves_room_for_a_prompt_in_the_engine_that_samples_it",),
            ),
            Mutant(
                "start-up looks at the budget of training alone",
                "studies/inputs.py",
                'Reading(split, e.limit, e.max_new_tokens, "evaluation.max_new_tokens") for split in splits',
                "Reading(split, e.limit, budgets[largest], largest) for split in splits",
                (
                    "studies/test_start_up.py::test_problems_of_evaluation_that_do_not_fit_are_left_out_of_every_"
                    "measurement_and_counted",
                    f"{REHEARSAL}test_its_folder_has_everything_that_the_tier_names",
                ),
            ),
        ),
    ),
    Stopper(
        "GPUs are not handed back from training to sampling, or by a request that failed",
        "as the teacher is sampled after a run",
        (
            Mutant(
                "leases: training leaves the devices to what sampled",
                "actors/leases.py",
                "opposed = _trains(members) if frozen else _samples(members) and not wanted & members",
                "opposed = frozen and _trains(members)",
                (f"{LEASES}test_sampling_ends_what_trained_and_training_what_sampled",),
            ),
            Mutant(
                "leases: sampling leaves the devices to what trained",
                "actors/leases.py",
                "if (opposed or free < needed) and _holder(group)",
                "if opposed and not frozen and _holder(group)",
                (f"{LEASES}test_sampling_ends_what_trained_and_training_what_sampled",),
            ),
            Mutant(
                "leases: what trained stays while there is room",
                "actors/leases.py",
                "opposed = _trains(members) if frozen else _samples(members) and not wanted & members",
                "opposed = not frozen and _samples(members) and not wanted & members",
                (f"{LEASES}test_sampling_ends_what_trained_and_training_what_sampled",),
            ),
            Mutant(
                "leases: a group of which a part is wanted stays",
                "actors/leases.py",
                "if group.lane != lane or members <= wanted:",
                "if group.lane != lane or wanted & members and not (frozen and _trains(members)):",
                (f"{LEASES}test_a_group_of_which_a_part_is_wanted_ends_where_the_rest_has_no_room",),
            ),
            Mutant(
                "a request that was not granted stays",
                "actors/reservation.py",
                "            if not keep:\n                remove_placement_group(group)",
                "            if not keep and lifetime is None:\n                remove_placement_group(group)",
                ("actors/test_reservation.py",),
            ),
        ),
    ),
    Stopper(
        "a student, or what stays beside it, does not fit into a device",
        "not at all: `artifact plan` and the start of a run on GPUs refuse it",
        (
            Mutant(
                "the papers' student keeps every activation",
                "configs/tiers/paper.yaml",
                "gradient_checkpointing: true",
                "gradient_checkpointing: false",
                (f"{TIERS}test_every_role_has_a_place_and_fits",),
            ),
            Mutant(
                "layers are never computed again",
                "train/student.py",
                "        if gradient_checkpointing:\n",
                "        if False:\n",
                ("train/test_gradient_checkpointing.py::test_only_the_inputs_of_layers_are_kept",),
            ),
            Mutant(
                "the third pair's student is whole on every GPU",
                "configs/tiers/paper-8b.yaml",
                "zero_stage: 3",
                "zero_stage: 0",
                (f"{TIERS}test_every_role_has_a_place_and_fits",),
            ),
            Mutant(
                "leases: a device keeps the models it held",
                "actors/scoring.py",
                "for other in [*self._models] if self.one_model else [path]:",
                "for other in [path]:",
                (f"{LEASES}test_a_scoring_actor_on_a_device_holds_one_model_at_a_time",),
            ),
        ),
    ),
    Stopper(
        "weights that ranks share are used, sent or saved by the share",
        "in the first step, sync or save of the third pair",
        (
            Mutant(
                "ZeRO: the head's weight is read outside its layer",
                "train/student.py",
                "return Outcome(*head(hidden_TH, share))",
                "return Outcome(*share(hidden_TH, head.weight))",
                WHOLE,
            ),
            Mutant(
                "ZeRO: a sync sends shares",
                "actors/weight_sync.py",
                "        with whole(tensors):\n",
                "        if True:\n",
                WHOLE,
            ),
            Mutant(
                "ZeRO: shares are saved",
                "actors/student.py",
                "                with self.engine.whole([tensor]):\n",
                "                if True:\n",
                WHOLE,
            ),
            Mutant(
                "ZeRO: gradients that are shared out are not looked at",
                "actors/sharding.py",
                "        if stage >= 2:\n            self._observe()",
                "        if False:\n            self._observe()",
                (f"{NAN}[1-stage 3, untied, all]",),
            ),
        ),
    ),
    Stopper(
        "a teacher's logits are rounded to half precision",
        "in the numbers of its stand-ins alone: it stops no run",
        (
            Mutant(
                "half-precision logits of the teacher",
                "train/scoring.py",
                "logits = project(hidden_TH[rows], weight_VH).float()",
                "logits = (hidden_TH[rows] @ weight_VH.T).float()",
                ("train/test_scoring.py::test_a_half_precision_model_is_scored_with_unrounded_logits", STAND_INS),
            ),
        ),
    ),
    Stopper(
        "all roles have the student's engines",
        "before an actor starts",
        (
            Mutant(
                "the generator samples on the student's engines",
                "studies/suremath.py",
                'sampler=BoundSampler(config.as_role("generator"), model, inputs)',
                "sampler=BoundSampler(config, model, inputs)",
                BUILT_THERE,
            ),
            Mutant(
                "a role has no engines of its own",
                "config/__init__.py",
                'cluster["engine"] |= own.model_dump(exclude_none=True)',
                "pass",
                (f"{TIERS}test_a_role_without_engines_of_its_own_has_the_students",),
            ),
            Mutant(
                "a generator of 72 billion parameters on one GPU",
                "configs/tiers/paper.yaml",
                "generator: {count: 1, tensor_parallel_size: 4,",
                "generator: {count: 1, tensor_parallel_size: 1,",
                (f"{TIERS}test_the_72b_generator_has_all_four_gpus_and_no_forward_pass_elsewhere",),
            ),
        ),
    ),
)

MUTANTS = tuple(mutant for stopper in STOPPERS for mutant in stopper.mutants)


def table() -> str:
    """Of each stopper: what puts it back, and the first test that is to turn red."""
    rows = ["| what stopped a tier | where a rehearsal meets it | put back as | what turns red |", "|---|---|---|---|"]
    for stopper in STOPPERS:
        for i, m in enumerate(stopper.mutants):
            what, meets = ("", "") if i else (stopper.what, stopper.meets)
            test = m.tests[0].partition("[")[0].replace("::", "`, `")
            rows.append(f"| {what} | {meets} | {m.name} (`{m.file}`) | `tests/{test}` |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
