"""What a language-model judge said on the calibration set, recorded: its rates can be seen without the model.

`data/readings_<name>.json` holds, for each pair, the probability mass that the model put on *yes* and on *no* in both
directions, with the checkpoint, engine and prompt of the recording. The verdicts are made from it by the judge's own
rule (`llm_judge.verdict_of`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artifact.files import read_json
from artifact.phase1.judge import JudgeError, Judgement, RecordedJudge
from artifact.phase1.llm_judge import Reading, verdict_of

DATA = Path(__file__).with_name("data")


def recording(name: str) -> dict[str, Any]:
    """A recording with where it comes from; JudgeError lists those there are."""
    path = DATA / f"readings_{name}.json"
    if not path.is_file():
        known = sorted(p.stem.removeprefix("readings_") for p in DATA.glob("readings_*.json"))
        raise JudgeError(f"no recorded judge {name!r}; there are: {', '.join(known)}")
    return dict(read_json(path, "restore it from the repository"))


def recorded_judge(name: str) -> RecordedJudge:
    """A judge that replays the recording `name` on the pairs of the calibration set."""
    data = recording(name)
    judgements, questions = [], []
    for row in data["pairs"]:
        reading = Reading(tuple(row["yes"]), tuple(row["no"]))
        verdict = verdict_of(reading)
        judgements.append(Judgement(row["left"], row["right"], verdict, data["judge"], reading.probability))
        questions.append(row["question"])
    return RecordedJudge(judgements, name=f"{data['judge']} (recorded)", contexts=questions)
