"""vLLM's scheduler with a short way through steps in which every running sequence draws its next token.

With a model of half a million parameters vLLM's own bookkeeping costs as much as the forward pass. Nearly every step of
a batch is a decode step: the same sequences as before, one token each. `LeanScheduler` makes such a step's
`SchedulerOutput` in one pass, asks vLLM's block manager only for the sequences whose last block is full, and keeps the
tokens and log-probabilities of a sequence until it ends: then they are handed over once, where vLLM hands over every
token by itself. `lean_runner.py` takes such a step. Every other one (a prompt enters, a block is missing and a sequence
must be preempted) is scheduled by vLLM's own method, from the same state: what is drawn is the same bit for bit.

vLLM takes it by its engine argument `scheduler_cls`; that interface is not public, so it is written for one version of
vLLM, which `lean_classes` in `engine.py` holds it to, and refuses engines with features it was not written for
(`_unhandled`). A request it does not know (`_plain`) is left to vLLM, and with it every step it is part of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.core.sched.interface import PauseState
from vllm.v1.core.sched.output import CachedRequestData, SchedulerOutput
from vllm.v1.core.sched.request_queue import SchedulingPolicy
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.core.sched.utils import check_stop, remove_all
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus

from artifact.errors import ArtifactError

HANDLED = frozenset(
    {"temperature", "top_p", "seed", "max_tokens", "logprobs", "flat_logprobs", "stop_token_ids"}
    | {"detokenize", "skip_clone", "output_kind"}
)
"""Sampling parameters a request may set; with any other away from its default the request is left to vLLM."""


@dataclass
class Held:
    """A sequence that has not ended, and what vLLM's front end has not been given of it."""

    request: Request
    stop_ids: frozenset[int | None]
    most_tokens: int  # prompt and response
    with_logprobs: bool
    logprobs: list[float] = field(default_factory=list)

    def keep(self, part: EngineCoreOutput) -> None:
        """Take over what vLLM would have handed over after one of its own steps."""
        if part.new_logprobs is not None:
            self.logprobs += part.new_logprobs.logprobs[:, 0].tolist()


class DecodeStep(SchedulerOutput):
    """A step in which each sequence of the batch draws one token; its cached requests are those that got a block.

    So only `LeanRunner` can take it (`lean_runner.py`).
    """


class LeanScheduler(Scheduler):
    """vLLM's scheduler, cheaper in decode steps; ArtifactError for an engine with features it does not handle.

    logprobs  of each sequence that has ended, by its request's id, for whoever asked for it to take: vLLM's front end
              would make an entry of every token by itself
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        unhandled = _unhandled(self)
        if unhandled:
            raise ArtifactError(
                f"the lean scheduler does not handle {', '.join(unhandled)}: set cluster.engine.scheduler = vllm"
            )
        self._held: dict[str, Held] = {}
        self.logprobs: dict[str, list[float]] = {}

    def add_request(self, request: Request) -> None:
        super().add_request(request)
        params = request.sampling_params
        if params is not None and _plain(request):
            self._held[request.request_id] = Held(
                request,
                stop_ids=frozenset({*(params.stop_token_ids or ()), params.eos_token_id}),
                most_tokens=min(self.max_model_len, request.num_prompt_tokens + request.max_tokens),
                with_logprobs=params.logprobs is not None,
            )

    def finish_requests(self, request_ids: Any, finished_status: RequestStatus) -> list[Request]:
        ended = super().finish_requests(request_ids, finished_status)
        for request in ended:
            self._held.pop(request.request_id, None)
        return ended

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        ids = [request.request_id for request in self.running]
        needs_block = self._only_decodes(ids)
        if needs_block is None:
            return super().schedule(throttle_prefills)
        self.current_step += 1
        grown: dict[str, tuple[list[int], ...]] = {}
        for request in needs_block:
            blocks = self.kv_cache_manager.allocate_slots(request, 1)
            assert blocks is not None, "fewer free blocks than counted"
            grown[request.request_id] = blocks.get_block_ids()
        step = DecodeStep(
            scheduled_new_reqs=[],
            scheduled_cached_reqs=CachedRequestData(
                req_ids=list(grown),
                resumed_req_ids=set(),
                new_token_ids=[],
                all_token_ids={},
                new_block_ids=list(grown.values()),
                num_computed_tokens=[request.num_computed_tokens for request in needs_block],
                num_output_tokens=[request.num_output_tokens for request in needs_block],
            ),
            num_scheduled_tokens=dict.fromkeys(ids, 1),
            total_num_scheduled_tokens=len(ids),
            scheduled_spec_decode_tokens={},
            scheduled_encoder_inputs={},
            finished_req_ids=self.finished_req_ids,
            free_encoder_mm_hashes=[],
            preempted_req_ids=self.reset_preempted_req_ids,
            ec_manager_metadata=self.encoder_cache_manager.get_manager_metadata(),
        )
        for request in self.running:
            request.num_computed_tokens += 1
            request.num_in_flight_tokens += 1
        self.prev_step_scheduled_req_ids = set(ids)
        self.finished_req_ids, self.reset_preempted_req_ids = set(), set()
        return step

    def _only_decodes(self, ids: list[str]) -> list[Request] | None:
        """Which running sequences need a new block, or None where the step is more than one token for each of them."""
        if (
            not ids
            or len(self._held) != len(self.requests)
            or self._pause_state != PauseState.UNPAUSED
            or ((self.waiting or self.kv_holding_waiting) and len(ids) < self.max_num_active_reqs)
            or len(ids) > self.max_num_scheduled_tokens
            or not self.prev_step_scheduled_req_ids.issuperset(ids)
            or any(r.num_computed_tokens + 1 != r.num_tokens for r in self.running)
        ):
            return None
        size = self.block_size
        needs_block = [request for request in self.running if request.num_computed_tokens % size == 0]
        free = self.kv_cache_manager.block_pool.get_num_free_blocks()
        return needs_block if len(needs_block) <= free else None

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        scheduled = scheduler_output.num_scheduled_tokens
        if len(self._held) != len(self.requests) or not self.requests.keys() >= scheduled.keys():
            handed_over = super().update_from_output(scheduler_output, model_runner_output)
            for client in handed_over.values():
                client.outputs = [whole for part in client.outputs if (whole := self._until_whole(part))]
            return handed_over
        tokens, rows = model_runner_output.sampled_token_ids, model_runner_output.req_id_to_index
        lists = model_runner_output.logprobs
        logprobs = lists.logprobs[:, 0].tolist() if lists else []
        ended, outputs = set(), []
        for request_id, count in scheduled.items():
            held, row = self._held[request_id], rows[request_id]
            request = held.request
            request.num_in_flight_tokens -= count
            if not tokens[row]:  # a part of a prompt
                continue
            (token,) = tokens[row]
            request.append_output_token_ids(token)
            if held.with_logprobs:
                held.logprobs.append(logprobs[row])
            if token in held.stop_ids or request.num_tokens >= held.most_tokens:
                check_stop(request, self.max_model_len)
                self._free_request(request)
                ended.add(request)
                outputs.append(self._whole(request_id))
        self.running = remove_all(self.running, ended)
        return {0: EngineCoreOutputs(outputs=outputs)} if outputs else {}

    def _until_whole(self, part: EngineCoreOutput) -> EngineCoreOutput | None:
        """What to hand over for one output of vLLM's own step: nothing before the sequence has ended."""
        held = self._held.get(part.request_id)
        if held is None:
            return part
        held.keep(part)
        return self._whole(part.request_id) if part.finished else None

    def _whole(self, request_id: str) -> EngineCoreOutput:
        """All of a sequence that has ended, as if its tokens had been drawn in one step."""
        held = self._held.pop(request_id)
        if held.with_logprobs:
            self.logprobs[request_id] = held.logprobs
        return EngineCoreOutput(
            request_id=request_id,
            new_token_ids=list(held.request.output_token_ids),
            finish_reason=held.request.get_finished_reason(),
            stop_reason=held.request.stop_reason,
        )


_DEFAULTS = SamplingParams(watermarking=False)  # what the engine makes of a request that does not ask for it


def _plain(request: Request) -> bool:
    """Whether a request is one this scheduler handles: token ids in, token ids out at the end, one log-prob at most."""
    params = request.sampling_params
    return (
        params is not None
        and params.output_kind == RequestOutputKind.FINAL_ONLY
        and params.logprobs in (None, 0)
        and all(
            getattr(params, name) == getattr(_DEFAULTS, name)
            for name in params.__struct_fields__
            if name not in HANDLED and not name.startswith("_")
        )
        and request.prompt_embeds is None
        and request.lora_request is None
        and request.pooling_params is None
        and request.structured_output_request is None
        and request.trace_headers is None
        and not request.mm_features
        and not request.resumable
        and not request.abort_immediately
    )


def _unhandled(scheduler: Scheduler) -> list[str]:
    """Features of an engine that the short way leaves out, in words; empty where it may be taken."""
    config, cache = scheduler.vllm_config, scheduler.kv_cache_config
    features = {
        "asynchronous scheduling": config.scheduler_config.async_scheduling,
        "the second model runner": scheduler.use_v2_model_runner,
        "several devices": config.parallel_config.world_size > 1,
        "prefix caching": scheduler.cache_config.enable_prefix_caching,
        "caches other than of full attention": len(cache.kv_cache_groups) != 1
        or not isinstance(cache.kv_cache_groups[0].kv_cache_spec, FullAttentionSpec),
        "caches set to zero": scheduler.needs_kv_cache_zeroing,
        "LoRA": scheduler.lora_config,
        "speculation": config.speculative_config,
        "connectors": scheduler.connector or scheduler.ec_connector or scheduler.aux_output_connector,
        "priorities": scheduler.policy != SchedulingPolicy.FCFS,
        "pooling": config.model_config.runner_type != "generate",
        "encoders": scheduler.is_encoder_decoder or config.model_config.supports_multimodal_inputs,
        "sampling masks": scheduler.return_sampling_mask,
        "statistics": scheduler.log_stats,
        "several front ends": scheduler.finished_req_ids_dict is not None,
    }
    return [name for name, used in features.items() if used]
