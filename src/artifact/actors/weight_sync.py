"""Weight sync: the student's parameters, given to every rollout engine after each optimiser step.

UOPD §3.3 and appendix A.3: a rank of the student sends, engines take, in a group *beside* the default one of each
process. Parameters travel in flat buckets. Left out: by what way a bucket travels (`transfer.py`), and who sends to
whom (`sync_groups.py`).

Two facts decide the form of the payload (vLLM 0.32): on CPU the engine has repacked its linear layers, so weights must
go through `reload_weights`; and with tied embeddings the output head keeps *old* weights unless `lm_head.weight` is
sent explicitly. A version counter would not notice: hence every sync is proven by fingerprints of every tensor, exact
in every dtype: what arrived is what was sent (`team.py`), and what the engine's layers use is what arrived, in whatever
way vLLM arranges it (`arrangement.py`). Log-probabilities say the same of the whole forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artifact.actors.transfer import Channel, Seat, open_channel, seat_of

if TYPE_CHECKING:
    import torch

    from artifact.actors.arrangement import Arrangement

BUCKET_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Spec:
    """Names, shapes and dtypes (torch names, e.g. `float32`) of the parameters, in the order they are sent."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters: what a sync sends to each engine."""
        import torch

        return sum(math.prod(s) * getattr(torch, d).itemsize for s, d in zip(self.shapes, self.dtypes, strict=True))

    def buckets(self) -> Iterator[list[int]]:
        """Indices of parameters that travel together: same dtype, at most `BUCKET_BYTES`."""
        import torch

        bucket: list[int] = []
        size = 0
        for i, (shape, dtype) in enumerate(zip(self.shapes, self.dtypes, strict=True)):
            nbytes = math.prod(shape) * getattr(torch, dtype).itemsize
            if bucket and (size + nbytes > BUCKET_BYTES or dtype != self.dtypes[bucket[0]]):
                yield bucket
                bucket, size = [], 0
            bucket.append(i)
            size += nbytes
        if bucket:
            yield bucket


def not_finite(actor: Any) -> str | None:
    """Run in a student by `__ray_call__`, before weights are sent: the first parameter with a NaN or an infinity.

    At ZeRO stage 3 a rank sees the share of each weight that it holds, so every rank is asked.
    """
    import torch

    with torch.no_grad():
        for name, tensor in actor.network.named_parameters():
            if not bool(torch.isfinite(getattr(tensor, "ds_tensor", tensor)).all()):
                return str(name)
    return None


def spec_of(named: Iterable[tuple[str, torch.Tensor]]) -> Spec:
    """The `Spec` of named tensors."""
    items = [(n, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in named]
    names, shapes, dtypes = zip(*items, strict=True)
    return Spec(names, shapes, dtypes)


def send(
    channel: Channel | None,
    named: list[tuple[str, torch.Tensor]],
    spec: Spec,
    whole: Callable[[list[torch.Tensor]], AbstractContextManager[None]],
) -> list[int]:
    """Send all parameters, bucket by bucket, each made whole by `whole`; without a channel take part in that.

    Returns the fingerprints of what was sent, in the order of `spec`; none without a channel.
    """
    import torch

    from artifact.train.fingerprint import fingerprint

    sent: list[int] = []
    for bucket in spec.buckets():
        tensors = [named[i][1] for i in bucket]
        with whole(tensors):
            if channel is not None:
                sent += map(fingerprint, tensors)
                channel.send(torch.cat([t.detach().reshape(-1) for t in tensors]))
    return sent


def receive(
    channel: Channel, spec: Spec, device: str, arrived: list[int] | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters in the order sent, one bucket in memory at a time.

    arrived  takes up the fingerprint of each
    """
    import torch

    from artifact.train.fingerprint import fingerprint

    for bucket in spec.buckets():
        sizes = [math.prod(spec.shapes[i]) for i in bucket]
        flat = channel.take(sum(sizes), getattr(torch, spec.dtypes[bucket[0]]), device)
        for i, piece in zip(bucket, flat.split(sizes), strict=True):
            if arrived is not None:
                arrived.append(fingerprint(piece))
            yield spec.names[i], piece.view(spec.shapes[i])


def with_explicit_head(state: Iterable[tuple[str, torch.Tensor]], tied: bool) -> list[tuple[str, torch.Tensor]]:
    """Named parameters with `lm_head.weight` sent beside the embedding it is tied to (see the module's opening)."""
    named = [(n, t) for n, t in state if not (tied and n == "lm_head.weight")]
    if tied:
        named.append(("lm_head.weight", dict(named)["model.embed_tokens.weight"]))
    return named


@dataclass(frozen=True)
class Received:
    """What a worker of an engine says of weights that it was given.

    arrived    the fingerprint of each tensor, in the order sent
    differing  tensors in whose place the engine uses anything else; unknown: those of which that is not known, by class
    """

    arrived: list[int]
    differing: list[str]
    unknown: dict[str, str]


class EngineExtension:
    """Mixed into vLLM's worker (`worker_extension_cls`): the receiving end, inside the worker process."""

    device: Any
    rank: int
    _arrangement: Arrangement | None = None

    def seat(self) -> Seat:
        """Where this worker's memory is."""
        return seat_of(self.device)

    def join_sync(
        self, host: str, port: int, first_rank: int, world_size: int, way: str, timeout_s: float, secret: str
    ) -> None:
        """Join the group as rank `first_rank` + the worker's own rank."""
        self._channel = open_channel(way, host, port, first_rank + self.rank, world_size, timeout_s, secret)

    def receive_weights(self, spec: Spec) -> Received:
        """Replace all weights by those that the group's sender is sending now."""
        arrived: list[int] = []
        taken = self._take(receive(self._channel, spec, str(self.device), arrived))
        return Received(arrived, taken.differing(), taken.unknown)

    def load_checkpoint_weights(self, path: str) -> Received:
        """Replace all weights by those of a Hugging Face checkpoint of the same architecture; BrokenModel for none."""
        from artifact.actors.checkpoints import sound_tensors

        tied = bool(self.model_runner.model_config.hf_config.tie_word_embeddings)  # type: ignore[attr-defined]
        taken = self._take(with_explicit_head(sound_tensors(path), tied))
        return Received([], taken.differing(), taken.unknown)

    def _take(self, named: Iterable[tuple[str, torch.Tensor]]) -> Arrangement:
        """Give the engine's model the tensors `named`; what they became."""
        from artifact.actors.arrangement import Arrangement

        model = self.get_model()  # type: ignore[attr-defined]
        if str(self.device) == "cpu":  # vLLM 0.32 packs experts for a CPU only where their layer has no kernel yet
            for layer in model.modules():
                if getattr(getattr(layer, "quant_method", None), "moe_kernel", None) is not None:
                    layer.quant_method.moe_kernel = None
        if self._arrangement is None:
            self._arrangement = Arrangement(model)
        self.reload_weights(weights_iterator=self._arrangement.watch(named))  # type: ignore[attr-defined]
        return self._arrangement
