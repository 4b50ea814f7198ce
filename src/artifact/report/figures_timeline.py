"""The timeline of a step as bars, a row per device; left out: what it rests on (`studies/simulator.py`)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from artifact.report.drawing import HATCHES, FigureAndData, canvas, legend_above
from artifact.report.styles import PALETTE

PHASES = ("rollout", "rest", "teacher", "student", "sync", "switch")
"""The phases of a simulated step, each with its colour and hatch."""


def timelines(frames: Mapping[str, pd.DataFrame]) -> FigureAndData:
    """Spans of one or more simulated steps, a panel each: how a panel is called → its frame (`Timeline.frame`).

    The numbers drawn: those of the frames under a column `step`, devices that do the same at the same time in one row.
    """
    data = pd.concat([merged(frame).assign(step=name) for name, frame in frames.items()], ignore_index=True)
    longest = float((data["from_s"] + data["lasts_s"]).max())
    rows = max(frame["device"].nunique() for _, frame in data.groupby("step"))
    with canvas(len(frames), 1, ratio=0.08 + 0.05 * rows, sharex=True) as (figure, axes):
        for axis, name in zip(axes[:, 0], frames, strict=True):
            of = data[data["step"] == name]
            devices = list(dict.fromkeys(of["device"]))
            for i, phase in enumerate(PHASES):
                for j, device in enumerate(devices):
                    spans = of[(of["device"] == device) & (of["phase"] == phase)]
                    axis.broken_barh(
                        list(zip(spans["from_s"], spans["lasts_s"], strict=True)),
                        (j - 0.4, 0.8),
                        facecolor=PALETTE[i % len(PALETTE)].color,
                        hatch=HATCHES[i % len(HATCHES)],
                        edgecolor="white",
                        linewidth=0.3,
                        label=phase if j == 0 else None,
                    )
            axis.set_yticks(range(len(devices)), devices)
            axis.invert_yaxis()
            axis.set_xlim(0, longest)
            axis.set_title(name)
        axes[-1, 0].set_xlabel("seconds, planned")
        legend_above(figure, axes[0, 0])
    return figure, data


def merged(frame: pd.DataFrame) -> pd.DataFrame:
    """The spans with devices that do the same at the same time under one name, `GPU 0 to GPU 3`."""
    spans = {
        device: tuple(of[["phase", "from_s", "lasts_s"]].round(9).itertuples(index=False, name=None))
        for device, of in frame.groupby("device", sort=False)
    }
    names: dict[str, str] = {}
    for known in dict.fromkeys(spans.values()):
        alike = [device for device, of in spans.items() if of == known]
        names |= dict.fromkeys(alike, alike[0] if len(alike) == 1 else f"{alike[0]} to {alike[-1]}")
    return frame.assign(device=frame["device"].map(names)).drop_duplicates(ignore_index=True)
