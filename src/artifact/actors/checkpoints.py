"""Loading a Hugging Face checkpoint: the one way that student, scoring models and the loss lab share."""

from __future__ import annotations

from typing import Any

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


def load_frozen(path: str, dtype: str, device: str = "cpu") -> Any:
    """The same without gradients, in evaluation mode."""
    return load_network(path, dtype, device).eval().requires_grad_(False)
