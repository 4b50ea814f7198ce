"""The real Qwen3 tokenizer for tests, loaded once; skips where its folder is not named."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import pytest

MODEL_ROWS = 151_936
"""Rows of Qwen3's embeddings; its tokenizer has 151,669 tokens."""


@lru_cache(maxsize=1)
def _load(path: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path)


def qwen3_tokenizer() -> Any:
    """The tokenizer in `$ARTIFACT_QWEN3_TOKENIZER`."""
    path = os.environ.get("ARTIFACT_QWEN3_TOKENIZER")
    if not path:
        pytest.skip("set ARTIFACT_QWEN3_TOKENIZER to a folder with Qwen3's tokenizer.json and tokenizer_config.json")
    return _load(path)
