"""Loading checkpoints: Hugging Face's, the one way of student, scoring models and the loss lab, and DeepSpeed's.

A checkpoint is data: what is read from one is tensors and plain values, never code that is run.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artifact.errors import ArtifactError
from artifact.tasks.checks import check_head


def load_network(path: str, dtype: str, device: str = "cpu") -> Any:
    """The causal language model of the checkpoint at `path`, in `dtype` (a torch name), on `device`.

    Raises Mismatch where its output head is not what the chunked head assumes. Any: transformers does not say a type.
    """
    import torch
    from transformers import AutoModelForCausalLM

    network: Any = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    check_head(network)
    return network.to(device)


@contextmanager
def tensors_only() -> Iterator[None]:
    """Every `torch.load` inside reads tensors and plain values, whatever it is asked for: no pickle runs code.

    DeepSpeed asks for unrestricted pickles. Raises pickle.UnpicklingError for a file that holds anything else.
    """
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def load_deepspeed(engine: Any, folder: Path, tag: str) -> None:
    """Give a DeepSpeed engine the weights and optimiser state in `folder / tag`.

    Beside tensors the file may hold three records of DeepSpeed's own, without behaviour. Raises ArtifactError when the
    checkpoint is missing, torn, or holds anything else.
    """
    import torch
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    path, reason = None, "it is not there"
    try:
        if not any((folder / tag).glob("*.pt")):
            raise FileNotFoundError(reason)
        with tensors_only(), torch.serialization.safe_globals([LossScaler, ZeroStageEnum, fragment_address]):
            path, _ = engine.load_checkpoint(str(folder), tag=tag)
    except pickle.UnpicklingError:
        reason = "it is torn, or holds more than tensors and plain values"
    except (RuntimeError, EOFError, OSError) as err:
        reason = str(err).splitlines()[0]
    if path is None:
        raise ArtifactError(
            f"checkpoint {folder / tag} cannot be loaded ({reason}); run with --force to start the run again"
        )


def load_frozen(path: str, dtype: str, device: str = "cpu") -> Any:
    """The same without gradients, in evaluation mode."""
    return load_network(path, dtype, device).eval().requires_grad_(False)
