"""Stored responses on a terminal: question, gold answer, response, what was extracted, and the verdict.

The frame is that of `studies/results.transcripts`. Left out: notebooks, which show the frame itself.
"""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from artifact.escape import one_line, visible

COLOURS = {"correct": "green", "wrong": "red"}


def print_transcripts(frame: pd.DataFrame, console: Console) -> None:
    """One panel per response; texts of models are neither read as markup nor obeyed by the terminal."""
    for row in frame.to_dict("records"):
        colour = COLOURS.get(row["status"], "yellow")
        title = f"{row['problem_id']} #{row['sample']} · {row['source']} · {row['status']}"
        body = Text()
        for name in ("question", "gold", "response", "extracted"):
            body.append(f"{name}\n", style="bold")
            body.append(f"{'–' if pd.isna(row[name]) else visible(str(row[name]))}\n\n")
        why = visible(", ".join(str(x) for x in (row["rule"], row["detail"]) if x))
        body.append("verdict\n", style="bold")
        body.append(f"{row['status']}" + (f" ({why})" if why else ""), style=colour)
        body.append(f"\n{row['response_tokens']} tokens, finish reason {row['finish_reason']}", style="dim")
        console.print(Panel(body, title=Text(one_line(title)), title_align="left", border_style=colour))
