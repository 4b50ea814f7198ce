"""Save and show in one call, for notebooks: what the page shows is the very file that was saved, stamp included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from artifact.report.outputs import save_figure, save_table

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

    from artifact.report.figures_se import Drawn


def show_figure(drawn: Drawn, name: str, *, width: int = 820, **facts: Any) -> Markdown:
    """`save_figure(figure, name, data, **facts)`, then the PNG, `width` pixels wide, with its caption below."""
    from IPython.display import Image, Markdown, display

    figure, data = drawn
    path = save_figure(figure, name, data, **facts)
    display(Image(filename=str(path), width=width, alt=facts["caption"]))
    return Markdown(f"*{facts['caption']}*")


def show_table(data: pd.DataFrame, name: str, **facts: Any) -> Markdown:
    """`save_table(data, name, **facts)` and the table as saved, caption and stamp line included."""
    from IPython.display import Markdown

    return Markdown(save_table(data, name, **facts).read_text(encoding="utf-8"))
