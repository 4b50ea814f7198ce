"""The whole matrix takes long: it runs where it is asked for by its marker."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `faults` unless `-m` names it."""
    if "faults" in (config.option.markexpr or ""):
        return
    for item in items:
        if item.get_closest_marker("faults") is not None:
            item.add_marker(pytest.mark.skip(reason="the whole fault matrix: python -m tests.faults"))
