"""Combinations of settings that mean something and that no test has run: they are refused, each with what to set."""

from __future__ import annotations

from artifact.train.settings import Optimiser, Train


def refuse_what_was_not_run(device: str, zero_stage: int, calculator: bool, optimiser: Optimiser, train: Train) -> None:
    """Raise ValueError, naming the settings, for the first combination that was not run."""
    on_cpu = {
        "optimiser.shared_prompts": optimiser.shared_prompts,
        "train.stream": train.stream,
        "train.staleness": bool(train.staleness),
    }
    for name, wanted in on_cpu.items():
        if wanted and device != "cpu":
            raise ValueError(
                f"{name} has been run on CPU alone, and cluster.device = {device}: set it to "
                f"{0 if name == 'train.staleness' else 'false'}"
            )
    if train.stream and calculator:
        raise ValueError(
            "train.stream with task.calculator: a response with tool calls is drawn in rounds, and finished in the "
            "last one only; set one of the two to false"
        )
    if train.stream and zero_stage >= 2:
        raise ValueError(
            f"train.stream has been run at ZeRO stages 0 and 1 alone, and cluster.zero_stage = {zero_stage}: set it to "
            "1, or train.stream to false"
        )
