"""One tensor-parallel worker of vLLM, a process of its own without Ray: real models that are given real weights.

    python -m tests.actors.arrangement_rank RANK WORLD_SIZE FOLDER PORT

`FOLDER/MODEL` are checkpoints, `FOLDER/MODEL-next` the weights they get later. Writes what this worker found to
`FOLDER/found-RANK-of-WORLD_SIZE.json`; `test_arrangement.py` reads it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

os.environ |= {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}

CASES = [
    ("tied", "float32"),
    ("tied", "bfloat16"),
    ("untied", "float32"),
    ("one-head", "float32"),
    ("biased", "float32"),
]


def opened(folder: Path, dtype: str, world_size: int) -> Any:
    """The model in `folder` as an engine's worker holds it, with its settings."""
    from vllm.config import set_current_vllm_config
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import get_model

    settings = EngineArgs(
        model=str(folder),
        dtype=dtype,  # type: ignore[arg-type]
        skip_tokenizer_init=True,
        enforce_eager=True,
        max_model_len=64,
        tensor_parallel_size=world_size,
        distributed_executor_backend="mp" if world_size > 1 else "uni",
    ).create_engine_config()
    with set_current_vllm_config(settings):
        return get_model(vllm_config=settings), settings


def given(model: Any, settings: Any, folder: Path, *, without: str = "") -> Any:
    """Give the model the weights in `folder`, by the way of a weight sync; what became of them."""
    from vllm.config import set_current_vllm_config
    from vllm.model_executor.model_loader.reload.inplace import reload_weights

    from artifact.actors.arrangement import Arrangement
    from artifact.actors.checkpoints import sound_tensors
    from artifact.actors.weight_sync import with_explicit_head

    tied = bool(settings.model_config.hf_config.tie_word_embeddings)
    named = [(n, t) for n, t in with_explicit_head(sound_tensors(str(folder)), tied) if n != without]
    arrangement = Arrangement(model)
    with set_current_vllm_config(settings):
        reload_weights(settings, model, arrangement.watch(iter(named)), None, True)
    return arrangement


def changed(model: Any, target: str, change: Callable[[torch.Tensor], None]) -> None:
    """Change what the layer of tensor `target` really uses, and pack it as vLLM does."""
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

    from artifact.actors.arrangement import Arrangement

    held = Arrangement(model).held[target]
    tensor = held.used().clone().contiguous()
    change(tensor)
    if held.parameter.numel() and "lm_head" not in target:
        held.parameter.copy_(tensor)
        return
    held.layer.weight = torch.nn.Parameter(tensor, requires_grad=False)
    dispatch_cpu_unquantized_gemm(held.layer, remove_weight="lm_head" not in target)


def next_up(row: int) -> Callable[[torch.Tensor], None]:
    """The last number of a row by one unit in the last place."""

    def change(tensor: torch.Tensor) -> None:
        at = tensor.view(-1, tensor.shape[-1])[row]
        at[-1:] = torch.nextafter(at[-1:], torch.full_like(at[-1:], 9.0))

    return change


def exchanged(tensor: torch.Tensor) -> None:
    """Two rows of a tensor, exchanged."""
    tensor[[0, 1]] = tensor[[1, 0]]


def padded(tensor: torch.Tensor) -> None:
    """A number in the last row, which pads the vocabulary."""
    tensor[-1, -1] = 0.5


def damages() -> Iterator[tuple[str, Callable[[torch.Tensor], None]]]:
    """Tensors of an engine, and how each is damaged."""
    layer = "model.layers.1."
    for row in (0, 17, -1):  # of q, k and v on one rank
        yield f"{layer}self_attn.qkv_proj.weight", next_up(row)
    for row in (0, -1):  # of gate and of up
        yield f"{layer}mlp.gate_up_proj.weight", next_up(row)
    yield f"{layer}mlp.gate_up_proj.weight", exchanged
    yield f"{layer}self_attn.o_proj.weight", next_up(3)
    yield f"{layer}mlp.down_proj.weight", next_up(0)
    yield "model.embed_tokens.weight", next_up(2)
    yield "lm_head.weight", next_up(2)
    yield "lm_head.weight", padded
    yield "model.norm.weight", next_up(0)


def found_in(folder: Path, name: str, dtype: str, world_size: int) -> dict[str, Any]:
    """What is seen of one model: as it should be, without one tensor, and after each damage."""
    model, settings = opened(folder / name, dtype, world_size)
    later = given(model, settings, folder / f"{name}-next")
    out: dict[str, Any] = {
        "targets": {target: [p.source for p in held.pieces] for target, held in later.held.items()},
        "shapes": {target: list(held.used().shape) for target, held in later.held.items()},
        "packed": sorted(target for target, held in later.held.items() if not held.parameter.numel()),
        "unknown": later.unknown,
        "differing": later.differing(),
        "damaged": [],
    }
    if (name, dtype) == ("tied", "float32"):
        for target, change in damages():
            changed(model, target, change)
            out["damaged"].append([target, later.differing()])
            later = given(model, settings, folder / f"{name}-next")
        out["repaired"] = later.differing()
        out["without the head"] = given(model, settings, folder / name, without="lm_head.weight").differing()
        part = "model.layers.0.self_attn.k_proj.weight"
        out["without a part"] = given(model, settings, folder / name, without=part).differing()
    return out


def gates(model: Any) -> list[str]:
    """The paths under which the gate of the first layer's experts stands in the model."""
    gate = model.get_submodule("model.layers.0.mlp.gate")
    return [path for path, layer in model.named_modules(remove_duplicate=False) if layer is gate]


def main(rank: int, world_size: int, folder: Path, port: int) -> None:
    """All cases, written down."""
    torch.set_num_threads(1)
    torch.accelerator.empty_cache = lambda: None  # vLLM's worker on a CPU does so too
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.distributed.parallel_state import init_distributed_environment, initialize_model_parallel

    with set_current_vllm_config(VllmConfig()):
        init_distributed_environment(world_size, rank, f"tcp://127.0.0.1:{port}", rank, backend="gloo")
        initialize_model_parallel(world_size)
    found = {f"{name} {dtype}": found_in(folder, name, dtype, world_size) for name, dtype in CASES}
    if world_size == 1:
        model, _ = opened(folder / "experts", "float32", 1)
        from artifact.actors.arrangement import Arrangement
        from artifact.actors.checkpoints import sound_tensors

        experts = Arrangement(model)
        for _ in experts.watch(sound_tensors(str(folder / "experts"))):
            pass
        found["experts"] = {"unknown": experts.unknown, "differing": experts.differing(), "gates": gates(model)}
        changed(model, "model.layers.0.mlp.gate.weight", next_up(0))
        found["experts"]["damaged"] = experts.differing()
    (folder / f"found-{rank}-of-{world_size}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
