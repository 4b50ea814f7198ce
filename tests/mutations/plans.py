"""Mutants of plans: what would run, counted wrongly, or found out by asking where nobody may be asked."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

WHOLE = "studies/test_plan_whole.py::"

MUTANTS = (
    Mutant(
        "avg@k is counted for every problem",
        "studies/plan.py",
        "        count = min(count, limit)",
        "        pass",
        ("studies/test_plan.py::test_counts_of_the_uopd_study",),
    ),
    Mutant(
        "a plan looks into the hub",
        "studies/offline.py",
        "return not isinstance(task, FromSources) or at_hand(",
        "return True or at_hand(",
        (f"{WHOLE}test_no_network_is_asked",),
    ),
    Mutant(
        "a plan looks into the hub for texts",
        "tasks/text_task.py",
        "    def source_of(",
        "    def somewhere(",
        (f"{WHOLE}test_no_network_is_asked",),
    ),
    Mutant(
        "the cache of datasets is no place",
        "tasks/hub.py",
        "return bool(source.hub) and all(_cached(source, config) for config in source.configs)",
        "return False",
        ("tasks/test_hub.py::test_the_cache_of_datasets_is_read_without_a_network",),
    ),
    Mutant(
        "one of two configurations in the cache is enough",
        "tasks/hub.py",
        "return bool(source.hub) and all(",
        "return bool(source.hub) and any(",
        ("tasks/test_hub.py::test_the_cache_of_datasets_is_read_without_a_network",),
    ),
    Mutant(
        "SURE-Math: every proposal is kept",
        "suremath/settings.py",
        "min(evolved) if evolved",
        "max(evolved) if evolved",
        (f"{WHOLE}test_the_dataset_is_counted_by_its_settings_until_it_is_built",),
    ),
    Mutant(
        "SURE-Math: one round of each seed",
        "suremath/settings.py",
        "source.limit * self.evolution.rounds[source.difficulty]",
        "source.limit",
        (f"{WHOLE}test_the_dataset_is_counted_by_its_settings_until_it_is_built",),
    ),
    Mutant(
        "SURE-Math is planned though it is there",
        "studies/plan.py",
        "    settings = unbuilt(load(tier, overrides))\n",
        "    settings = unbuilt(load(tier))\n",
        (f"{WHOLE}test_a_dataset_that_is_there_is_not_planned",),
    ),
    Mutant(
        "every N draws samples of its own",
        "studies/plan.py",
        "digest([c.teacher_path, sampling_settings(c)])",
        "digest([c.teacher_path, c.annotation.model_dump()])",
        (f"{WHOLE}test_samples_that_are_clustered_in_part_are_drawn_once",),
    ),
    Mutant(
        "no retest is planned",
        "studies/plan.py",
        "[*_annotated(configs), *second_annotations([study], tier, overrides)]",
        "_annotated(configs)",
        (f"{WHOLE}test_samples_that_are_clustered_in_part_are_drawn_once",),
    ),
    Mutant(
        "the untrained student is measured for every teacher",
        "studies/plan.py",
        "stages.setdefault((model, stage.what, *settings), stage)",
        "stages.setdefault((model, config.teacher, stage.what, *settings), stage)",
        (f"{WHOLE}test_references_are_measured_once_each",),
    ),
    Mutant(
        "references of two studies are measured twice",
        "studies/plan.py",
        "    runs = union(studies, tier, overrides)\n",
        "    runs = [run for name in studies for run in load_study(name).runs(tier, overrides)]\n",
        (f"{WHOLE}test_what_two_studies_read_is_made_once",),
    ),
    Mutant(
        "what is unknown takes what is known with it",
        "studies/plan.py",
        "replace(stage, what=_lacks(stage), step=None)",
        'replace(stage, what="", step=None)',
        (f"{WHOLE}test_what_is_not_known_stands_apart_from_what_is",),
    ),
    Mutant(
        "the rows of a part count as the whole",
        "studies/offline.py",
        "source.hub_rows if source.hub else source.rows",
        "source.hub_rows or source.rows",
        (f"{WHOLE}test_what_is_not_known_stands_apart_from_what_is",),
    ),
    Mutant(
        "a model in the hub's cache is not here",
        "studies/offline.py",
        "or bool(snapshot(model, download=False))",
        "",
        (f"{WHOLE}test_a_model_in_the_hubs_cache_is_on_this_machine",),
    ),
    Mutant(
        "a dry run fetches models",
        "studies/training_queue.py",
        "    if lacks := dict.fromkeys(name for _, config in runs for name in absent(config)):",
        "    if lacks := dict[str, None]():",
        (f"{WHOLE}test_what_is_stored_is_told_without_fetching_anything",),
    ),
    Mutant(
        "a plan counts what is on this machine",
        "studies/offline.py",
        "        if stated is not None:\n",
        "        if stated is not None and not _at_hand(config.task, name):\n",
        (f"{WHOLE}test_a_count_is_the_same_where_the_data_is_and_where_it_is_not",),
    ),
)
