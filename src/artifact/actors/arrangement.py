"""What an engine multiplies by, derived again from the student's tensors: fused, tied, padded, sharded or repacked.

vLLM does not keep the tensors it is given. With r the rank of a worker among w tensor-parallel ones:

| layer | its tensor | made of |
|---|---|---|
| `qkv_proj` | rows of q, k, v, one below the other | each part's r-th share; fewer key heads than ranks are repeated |
| `gate_up_proj` | rows of gate and up | each part's r-th share |
| other linear layers | rows, or columns before a sum over ranks | the r-th share |
| embedding, output head | rows of the vocabulary, then zeros up to a multiple of 64 | the r-th share, even if tied |
| norms | as they are | |

So for each tensor of the engine its fingerprint is summed from the slices of what arrived, each where it has to stand,
and compared with that of what the layer really uses: its `weight`, and on a CPU, where vLLM packs linear layers in a
form of their own and empties `weight`, the layer's product with the identity, which is exact: each sum has one term
that is not zero. Numbers below the smallest normal one count as zero on both sides, for a product may flush them, and
knows no zero with a sign. What class of layer is not in the table is not guessed: `unknown` names it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PLAIN = ("UnquantizedLinearMethod", "UnquantizedEmbeddingMethod")
"""The classes by which vLLM computes with the student's own numbers."""

WHOLE = ("RMSNorm", "LayerNorm")
"""The classes of layers whose tensors every rank keeps as they are."""


@dataclass(frozen=True)
class Piece:
    """A slice of one of the student's tensors, `length` (None: all) along `axis` from `start`, at an engine's `row`."""

    source: str
    axis: int
    start: int
    length: int | None
    row: int


@dataclass
class Held:
    """A tensor of the engine: its layer, what it is made of, and the fingerprint that follows from what arrived."""

    layer: Any
    name: str
    pieces: list[Piece]
    expected: int = 0
    arrived: set[str] = field(default_factory=set)

    @property
    def parameter(self) -> torch.Tensor:
        """As vLLM registers it; empty where the layer holds a packed form of it."""
        tensor: torch.Tensor = self.layer.get_parameter(self.name)
        return tensor.detach()

    def used(self) -> torch.Tensor:
        """What the layer computes with, in the student's order of rows and columns."""
        import torch
        from vllm.model_executor.layers.linear import LinearBase
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

        layer, own = self.layer, self.parameter
        multiplies = self.name == "weight" and isinstance(layer, (LinearBase, ParallelLMHead))
        if not (multiplies and hasattr(layer, "cpu_linear")):
            return own
        inputs = layer.embedding_dim if isinstance(layer, ParallelLMHead) else layer.input_size
        with torch.inference_mode():
            product: torch.Tensor = layer.quant_method.apply(
                layer, _identity(getattr(layer, "input_size_per_partition", inputs), own.dtype)
            )
        return product.T


class Arrangement:
    """The tensors of an engine's `model`, as they follow from those of the student that pass through `watch`.

    unknown  tensors of layers that are not in the table, with their classes: nothing is said about them
    """

    def __init__(self, model: torch.nn.Module) -> None:
        packed: Mapping[str, list[str]] = getattr(model, "packed_modules_mapping", {})
        self.held: dict[str, Held] = {}
        self.unknown: dict[str, str] = {}
        self._of: dict[str, list[tuple[Held, Piece]]] = {}
        for path, layer in model.named_modules(remove_duplicate=False):  # a tied head is a layer of its own
            above, _, last = path.rpartition(".")
            for name, _ in layer.named_parameters(recurse=False):
                cuts = cuts_of(layer, name)
                parts = packed.get(last, [last])
                if cuts is None or len(cuts) != len(parts):
                    self.unknown[f"{path}.{name}"] = type(layer).__name__
                    continue
                held = self.held[f"{path}.{name}"] = Held(layer, name, [])
                row = 0
                for part, (axis, start, length) in zip(parts, cuts, strict=True):
                    piece = Piece(".".join(filter(None, (above, part, name))), axis, start, length, row)
                    held.pieces.append(piece)
                    self._of.setdefault(piece.source, []).append((held, piece))
                    row += length or 0

    def watch(self, named: Iterable[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        """`named` on their way into the engine, each counted anew where it has to stand."""
        from artifact.train.fingerprint import fingerprint

        for held in self.held.values():
            held.expected, held.arrived = 0, set()
        dtypes = {id(held): held.parameter.dtype for held in self.held.values()}  # a reload takes them away meanwhile
        for name, tensor in named:
            for held, piece in self._of.get(name, ()):
                part = tensor.detach()
                if piece.length is not None:
                    part = part.narrow(piece.axis, piece.start, piece.length)
                part = part.to(dtypes[id(held)])
                held.expected += fingerprint(part, piece.row * math.prod(part.shape[1:]), tiny_is_zero=True)
                held.arrived.add(name)
            yield name, tensor

    def differing(self) -> list[str]:
        """Tensors in whose place the engine uses anything else than what arrived, or of which a part did not arrive.

        A layer may stand in the model under a second path, as the gate that experts hold too. No checkpoint has that
        name: the layer is looked at under the one that arrived. A tied head does arrive by its own.
        """
        from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

        from artifact.train.fingerprint import fingerprint

        arrived = {(id(held.layer), held.name) for held in self.held.values() if held.arrived}
        return [
            target
            for target, held in self.held.items()
            if (held.arrived or (id(held.layer), held.name) not in arrived)
            or isinstance(held.layer, VocabParallelEmbedding)
            if held.arrived != {piece.source for piece in held.pieces}
            or fingerprint(held.used(), tiny_is_zero=True) != held.expected % 2**64
        ]


@lru_cache(maxsize=4)
def _identity(n: int, dtype: torch.dtype) -> torch.Tensor:
    """The same for all layers of a width: making it takes longer than its product with a small layer."""
    import torch

    return torch.eye(n, dtype=dtype)


def cuts_of(layer: Any, name: str) -> list[tuple[int, int, int | None]] | None:
    """(axis, start, length) of the slice of each part that this worker holds as `layer`'s tensor `name`.

    Length None: all of it. None: how vLLM arranges this layer is not known here.
    """
    from vllm.model_executor.layers import linear, vocab_parallel_embedding

    if type(layer).__name__ in WHOLE:
        return [(0, 0, None)]
    if type(getattr(layer, "quant_method", None)).__name__ not in PLAIN or name not in ("weight", "bias"):
        return None
    if isinstance(layer, vocab_parallel_embedding.VocabParallelEmbedding):
        own = layer.shard_indices
        return None if own.num_added_elements else [(0, own.org_vocab_start_index, own.num_org_elements)]
    if isinstance(layer, linear.QKVParallelLinear):
        rank, beside = layer.tp_rank, layer.tp_rank // layer.num_kv_head_replicas
        heads = (rank, layer.num_heads), (beside, layer.num_kv_heads), (beside, layer.num_kv_heads)
        sizes = layer.head_size, layer.head_size, layer.v_head_size
        return [(0, r * n * size, n * size) for (r, n), size in zip(heads, sizes, strict=True)]
    if isinstance(layer, linear.MergedColumnParallelLinear):
        widths = [size // layer.tp_size for size in layer.output_sizes]
        return [(0, layer.tp_rank * width, width) for width in widths]
    if isinstance(layer, linear.ColumnParallelLinear):
        width = layer.output_size // layer.tp_size
        return [(0, layer.tp_rank * width, width)]
    if isinstance(layer, linear.RowParallelLinear):
        width = layer.input_size_per_partition
        return [(1, layer.tp_rank * width, width)] if name == "weight" else [(0, 0, None)]
    return [(0, 0, None)] if isinstance(layer, linear.ReplicatedLinear) else None
