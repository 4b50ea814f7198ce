"""vLLM's worker for a CPU with a short way through the bookkeeping of a decode step.

What `lean_scheduler.py` saves in scheduling, `LeanRunner` saves around the forward pass. Of a `DecodeStep` it is known
that every row of the batch is one more token of the sequence it was before, so tokens and counters of all rows are
moved by one array operation each, where vLLM takes row by row what may have changed in it. And a seeded request's draws
are taken from its generator several at a time (`SeedsAhead`): a generator gives the same numbers in the same order,
however many it is asked for at once. Forward pass, logits and the choice of a token are vLLM's own calls on equal
numbers, and every other step is vLLM's own: what is drawn is the same bit for bit.

vLLM takes the worker by its engine argument `worker_cls`; what is overridden is not public, so all of it is written for
one version of vLLM, to which `lean_classes` in `engine.py` holds it, and comes and goes with the scheduler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.v1.outputs import LogprobsTensors, SamplerOutput
from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler, apply_top_k_top_p
from vllm.v1.sample.sampler import Sampler
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm.v1.worker.cpu_worker import CPUWorker

from artifact.actors.lean_scheduler import DecodeStep
from artifact.actors.weight_sync import EngineExtension

AHEAD = 32
"""Seeds that are drawn from a request's generator at once."""


class SeedsAhead(TopKTopPSampler):
    """vLLM's choice of tokens on a CPU, with the seeds of a request drawn `AHEAD` at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead: dict[torch.Generator, list[int]] = {}

    def forward_cpu(
        self, logits: Tensor, generators: dict[int, torch.Generator], k: Tensor | None, p: Tensor | None
    ) -> tuple[Tensor, None]:
        """The tokens drawn [B] from logits [B, V], of which the rows in `generators` have one of their own."""
        logits = apply_top_k_top_p(logits, k, p)
        seeds = torch.randint(0, 2**31, (len(logits),), dtype=torch.long)  # of requests without one
        if generators:
            seeds.numpy()[list(generators)] = [self._next(generator) for generator in generators.values()]
        return torch.ops._C.fused_gumbel_argmax(logits.to(torch.float32), seeds), None

    def _next(self, generator: torch.Generator) -> int:
        ahead = self._ahead.get(generator)
        if not ahead:
            drawn: list[int] = torch.randint(0, 2**31, (AHEAD,), generator=generator, dtype=torch.long).tolist()
            ahead = self._ahead[generator] = drawn[::-1]
        return ahead.pop()

    def forget(self, generator: torch.Generator | None) -> None:
        """The request of `generator` has ended."""
        if generator is not None:
            self._ahead.pop(generator, None)


class LeanSampler(Sampler):
    """vLLM's sampler on `seeds`; for a token's own log-probability it looks up no others."""

    def __init__(self, seeds: SeedsAhead) -> None:
        super().__init__()
        self.topk_topp_sampler = seeds

    @staticmethod
    def gather_logprobs(logprobs: Tensor, num_logprobs: int, token_ids: Tensor) -> LogprobsTensors:
        """Of the tokens [B] their log-probabilities [B, 1 + num_logprobs] and ranks [B]."""
        if num_logprobs:
            return Sampler.gather_logprobs(logprobs, num_logprobs, token_ids)
        ids_B1 = token_ids.unsqueeze(-1)
        own_B1 = logprobs.gather(-1, ids_B1)
        return LogprobsTensors(ids_B1.to(torch.int32), own_B1, (logprobs >= own_B1).sum(-1))


class LeanRunner(CPUModelRunner):
    """vLLM's model runner for a CPU, cheaper in the steps that `LeanScheduler` calls a `DecodeStep`."""

    def __init__(self, vllm_config: Any, device: torch.device) -> None:
        super().__init__(vllm_config, device)
        self.seeds = SeedsAhead()
        self.sampler = LeanSampler(self.seeds)

    def _update_states(self, scheduler_output: Any) -> Any:
        for request_id in scheduler_output.finished_req_ids:
            if (ended := self.requests.get(request_id)) is not None:
                self.seeds.forget(ended.generator)
        corrections = super()._update_states(scheduler_output)
        if isinstance(scheduler_output, DecodeStep):  # names to vLLM's method the sequences that got a block alone
            batch = self.input_batch
            n = batch.num_reqs
            np.subtract(batch.num_tokens_no_spec[:n], 1, out=batch.num_computed_tokens_cpu[:n])
        return corrections

    def _prepare_inputs(self, scheduler_output: Any, num_scheduled_tokens: np.ndarray) -> Any:
        if not isinstance(scheduler_output, DecodeStep):
            return super()._prepare_inputs(scheduler_output, num_scheduled_tokens)
        batch = self.input_batch
        n = batch.num_reqs
        computed, rows = batch.num_computed_tokens_cpu_tensor[:n], self.arange_np[: n + 1]
        self.input_ids.np[:n] = batch.token_ids_cpu[rows[:n], batch.num_computed_tokens_cpu[:n]]
        self.positions[:n] = computed
        self.query_start_loc.np[: n + 1] = rows
        self.query_start_loc.np[n + 1 :] = n
        for lengths in (self.seq_lens, self.optimistic_seq_lens_cpu):
            torch.add(computed, 1, out=lengths[:n])
            lengths[n:] = 0
        self.discard_request_mask.np[:n] = False
        table = batch.block_table[0]  # of the one group of caches there is
        block, offset = np.divmod(batch.num_computed_tokens_cpu[:n], table.block_size)
        table.slot_mapping.np[:n] = table.block_table.np[rows[:n], block].astype(np.int64) * table.block_size + offset
        return self.query_start_loc.gpu[:n], None, 1

    def _bookkeeping_sync(
        self,
        scheduler_output: Any,
        sampler_output: SamplerOutput,
        logits: Tensor | None,
        hidden_states: Tensor,
        num_scheduled_tokens: int,
    ) -> Any:
        if not isinstance(scheduler_output, DecodeStep):
            return super()._bookkeeping_sync(
                scheduler_output, sampler_output, logits, hidden_states, num_scheduled_tokens
            )
        batch, sampled_B1 = self.input_batch, sampler_output.sampled_token_ids
        n = batch.num_reqs
        rows, end = self.arange_np[:n], batch.num_tokens_no_spec[:n]
        batch.token_ids_cpu[rows, end] = sampled_B1[:, 0].numpy()
        batch.is_token_ids[rows, end] = True
        end += 1
        tokens = sampled_B1.tolist()
        for ids, drawn in zip(batch.req_output_token_ids, tokens, strict=True):
            ids += drawn
        logprobs = sampler_output.logprobs_tensors
        lists = None if logprobs is None else logprobs.tolists()
        return {}, None, lists, tokens, {}, batch.req_ids.copy(), batch.req_id_to_index.copy(), []


class LeanWorker(CPUWorker, EngineExtension):
    """vLLM's worker for a CPU, with a `LeanRunner`.

    `EngineExtension` is a base already: vLLM would refuse to mix it in where `CPUWorker` of the same process has it.
    """

    def init_device(self) -> None:
        super().init_device()
        self.model_runner = LeanRunner(self.vllm_config, torch.device("cpu"))
