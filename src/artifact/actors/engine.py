"""One vLLM engine as a Ray actor: token ids in, token ids and log-probabilities out.

The engine never sees text. It stops at the end-of-sequence ids it is given, so EOS is a response token like any other
and is distilled. Log-probabilities are raw (temperature 1), whatever the sampling temperature. Every request carries
its own seed and engines are fed a fixed assignment of requests, which makes two cold runs on one machine bit-identical.
The paper's name for this actor is LLMRayActor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from artifact.actors.checkpoints import load_tokenizer
from artifact.actors.placement import Slot, distributed_backend, prepared_process, start_in_turn
from artifact.actors.transfer import Seat
from artifact.actors.weight_sync import Received, Spec
from artifact.errors import ArtifactError, StaleEngine
from artifact.tasks.tool_loop import CalculatorTool, generate_with_tool
from artifact.train.rollouts import Completion
from artifact.train.sync_check import check_held, check_known

LEAN_SCHEDULER_FOR = "0.32.0"
"""The version of vLLM whose scheduler and runner `lean_scheduler.py` and `lean_runner.py` take the place of."""

SAID_EVERY = 8
"""Tokens after which a stream says how far it is, where no response was finished meanwhile."""


@dataclass(frozen=True)
class Request:
    """What to sample: one response to `prompt_ids`, reproducible by `seed`."""

    prompt_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Decoding:
    """How to sample; temperature 0 is greedy. With `calculator`, `<<expression=` is closed by the computed value."""

    temperature: float
    top_p: float
    max_new_tokens: int
    stop_token_ids: tuple[int, ...]
    logprobs: bool = True
    calculator: bool = False


class RolloutEngine:
    """A vLLM engine holding one checkpoint of one architecture at a time."""

    def __init__(self, slot: Slot, model: str, dtype: str, settings: dict[str, Any]) -> None:
        with prepared_process(slot):
            from vllm import LLM

        extra: dict[str, Any] = {}
        if slot.device == "cpu":
            os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # vLLM would take its whole GiB instead
            extra["kv_cache_memory_bytes"] = int(settings["kv_cache_gib"] * 2**30)
            extra["enable_chunked_prefill"] = False  # a seeded request's prompt cannot be divided on CPU: vLLM crashes
        else:
            extra["gpu_memory_utilization"] = settings["gpu_memory_utilization"]
            extra["enable_sleep_mode"] = slot.sleeps
        if settings["tensor_parallel_size"] == 1:
            _be_a_group_of_one(slot.device)
        with start_in_turn(slot.device):
            self.llm = LLM(
                model=model,
                dtype=dtype,  # type: ignore[arg-type]  # a name from the configuration
                seed=0,
                skip_tokenizer_init=True,
                load_format="safetensors",
                trust_remote_code=False,
                enforce_eager=settings["enforce_eager"],
                max_model_len=settings["max_model_len"],
                max_num_seqs=settings["max_num_seqs"],
                max_num_batched_tokens=settings["max_num_batched_tokens"],
                **lean_classes(settings["scheduler"]),
                tensor_parallel_size=settings["tensor_parallel_size"],
                disable_log_stats=True,
                enable_prefix_caching=settings["prefix_cache"],
                worker_extension_cls="artifact.actors.weight_sync.EngineExtension",
                distributed_executor_backend="uni" if settings["tensor_parallel_size"] == 1 else "mp",
                **extra,
            )
        import torch

        torch.set_num_threads(slot.threads)  # vLLM's start-up changes it
        self.frees, self.asleep = slot.device != "cpu", False
        self.policy_version = -1
        self.model = self.checkpoint = model
        self.tool: CalculatorTool | None = None
        self.channel_id: str | None = None
        self.max_model_len = settings["max_model_len"]
        core: Any = self.llm.llm_engine.engine_core
        self.kept: dict[str, list[float]] = {}  # log-probabilities of responses, by the id of the request
        if settings["scheduler"] == "lean":
            self.kept = core.engine_core.scheduler.logprobs

    def ready(self) -> str:
        """The checkpoint the engine was last given; answers once the engine is up."""
        return self.checkpoint

    def generate(self, requests: list[Request], decoding: Decoding) -> tuple[int, list[Completion]]:
        """Sample one response per request; returns the policy version of the weights used, and completions in order."""
        if not decoding.calculator:
            return self._sample(requests, decoding)
        version, outputs = generate_with_tool(
            self._sample, requests, replace(decoding, calculator=False), self._calculator()
        )
        return version, [Completion(o.ids, o.logprobs, o.finish_reason, o.mask) for o in outputs]

    def _calculator(self) -> CalculatorTool:
        """The calculator over the tokenizer of the engine's architecture, made at first use."""
        if self.tool is None:
            self.tool = CalculatorTool(load_tokenizer(self.model))
        return self.tool

    def sleep(self) -> None:
        """Give the device's memory up, weights to the host, until weights come (`receive_weights`, `load_checkpoint`).

        On a CPU there is no such memory: vLLM ignores the request, and the engine does no more than refuse to work.
        """
        if not self.asleep and self.frees:
            self.llm.sleep(level=1)
        self.asleep = True

    def _wake(self) -> None:
        if self.asleep and self.frees:
            self.llm.wake_up()
        self.asleep = False

    def _must_be_awake(self) -> None:
        if self.asleep:
            raise StaleEngine(
                "the engine sleeps, for its device is the student's until the next weight sync, and was asked to work: "
                "sample before a step or after its weights have come, then start the run again"
            )

    def _sample(self, requests: list[Request], decoding: Decoding) -> tuple[int, list[Completion]]:
        self._must_be_awake()
        ids = self.llm.enqueue(*self._asked(requests, decoding), use_tqdm=False)
        outputs: list[Any] = self.llm.wait_for_completion(use_tqdm=False)  # in the order of `ids`
        return self.policy_version, [
            _completion(o.outputs[0], decoding.logprobs, self.kept.pop(request, None))
            for request, o in zip(ids, outputs, strict=True)
        ]

    def stream(
        self, requests: list[Request], decoding: Decoding
    ) -> Iterator[tuple[int, int, list[tuple[int, Completion]]]]:
        """What `generate` draws, as it is drawn: (policy version, least, [(index of the request, response), …]) each.

        least  tokens that each unfinished response has at least by now; that of a finished engine is its last

        The same requests are in the engine at the same time as in `generate`, so they get the same tokens. Says
        something when a response is finished, and every `SAID_EVERY` tokens.
        """
        ids = self.llm.enqueue(*self._asked(requests, decoding), use_tqdm=False)
        engine: Any = self.llm.llm_engine  # its own types leave open what kind of outputs it has
        under_way = {i: engine.output_processor.request_states[request] for i, request in enumerate(ids)}
        place = {state.external_req_id: i for i, state in under_way.items()}
        finished: list[tuple[int, Completion]] = []
        least = said = 0
        while under_way:
            for output in engine.step():
                i = place[output.request_id]
                del under_way[i]
                kept = self.kept.pop(ids[i], None)
                finished.append((i, _completion(output.outputs[0], decoding.logprobs, kept)))
            least = min((state.detokenizer.num_output_tokens() for state in under_way.values()), default=least)
            if finished or least >= said + SAID_EVERY:
                yield self.policy_version, least, finished
                finished, said = [], least

    @staticmethod
    def _asked(requests: list[Request], decoding: Decoding) -> tuple[list[Any], list[Any]]:
        """vLLM's prompts and sampling parameters of `requests`."""
        from vllm import SamplingParams

        def params(r: Request) -> SamplingParams:
            return SamplingParams(
                n=1,
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                max_tokens=decoding.max_new_tokens,
                seed=None if decoding.temperature == 0 else r.seed,
                logprobs=0 if decoding.logprobs else None,
                stop_token_ids=list(decoding.stop_token_ids),
                detokenize=False,
                flat_logprobs=decoding.logprobs,
                skip_clone=True,  # nobody else has them: vLLM need not copy each deeply
            )

        return [{"prompt_token_ids": list(r.prompt_ids)} for r in requests], [params(r) for r in requests]

    def score(self, sequences: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> list[np.ndarray]:
        """Raw log-probabilities of given responses, one float64 array per pair; used as sync proof."""
        from vllm import SamplingParams

        self._must_be_awake()
        params = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
        outputs = self.llm.generate(
            [{"prompt_token_ids": [*prompt, *response]} for prompt, response in sequences],  # type: ignore[arg-type]
            params,
            use_tqdm=False,
        )
        scores = []
        for (prompt, response), out in zip(sequences, outputs, strict=True):
            rows = out.prompt_logprobs[len(prompt) :]  # type: ignore[index]
            scores.append(np.array([row[t].logprob for row, t in zip(rows, response, strict=True)], dtype=np.float64))
        return scores

    def next_token_logprobs(self, prompts: list[tuple[int, ...]], token_ids: list[int]) -> np.ndarray:
        """Raw log-probabilities of `token_ids` as the next token after each prompt, float64 [P, C]; none is drawn."""
        from vllm import SamplingParams

        self._must_be_awake()
        params = SamplingParams(max_tokens=1, temperature=0, logprob_token_ids=list(token_ids), detokenize=False)
        outputs = self.llm.generate(
            [{"prompt_token_ids": list(p)} for p in prompts],  # type: ignore[arg-type]
            params,
            use_tqdm=False,
        )
        rows = [o.outputs[0].logprobs[0] for o in outputs]  # type: ignore[index]
        return np.array([[row[t].logprob for t in token_ids] for row in rows], dtype=np.float64)

    def seats(self) -> list[Seat]:
        """Where the memory of each of the engine's workers is."""
        found: list[Seat] = self.llm.collective_rpc("seat")
        return found

    def join_sync(
        self, host: str, port: int, rank: int, world_size: int, way: str, timeout_s: float, channel_id: str
    ) -> None:
        """Join the weight-sync group; the engine's workers take ranks from `rank` on."""
        self.llm.collective_rpc("join_sync", args=(host, port, rank, world_size, way, timeout_s, channel_id))
        self.channel_id = channel_id

    def sync_channel(self) -> str | None:
        """The id of the weight-sync group this engine belongs to."""
        return self.channel_id

    def receive_weights(self, spec: Spec, policy_version: int) -> list[list[int]]:
        """Receive the student's weights and forget every cached prefix computed with the old ones.

        Returns the fingerprints of what arrived, for each of the engine's workers. StaleEngine where a layer uses
        anything else than what arrived, or where that cannot be told.
        """
        self._wake()
        received: list[Received] = self.llm.collective_rpc("receive_weights", args=(spec,))
        what = f"weight sync {policy_version}"
        check_held([r.differing for r in received], what)
        check_known(received[0].unknown, what)
        self._forget_prefixes()
        self.policy_version, self.checkpoint = policy_version, "(student)"
        return [r.arrived for r in received]

    def load_checkpoint(self, path: str) -> None:
        """Take over the weights of another checkpoint of the same architecture.

        StaleEngine where a layer uses other weights. Of a layer of which that cannot be told (experts) nothing is said
        here: a frozen model is compared with a forward pass elsewhere as well.
        """
        self._wake()
        received: list[Received] = self.llm.collective_rpc("load_checkpoint_weights", args=(path,))
        check_held([r.differing for r in received], f"after loading {path}")
        self._forget_prefixes()
        self.policy_version, self.checkpoint = -1, path

    def _forget_prefixes(self) -> None:
        """Empty the prefix cache, which holds keys and values of the old weights; StaleEngine where vLLM refuses.

        The proof by scored prompts would not notice: prompt log-probabilities are computed without the cache.
        """
        if not self.llm.reset_prefix_cache():
            raise StaleEngine(
                "the engine refused to empty its prefix cache after new weights had arrived (a request is still "
                "running): rollouts would start from the old policy's prefixes; start the run again"
            )


def lean_classes(name: str) -> dict[str, Any]:
    """vLLM's arguments for what `cluster.engine.scheduler` names; ArtifactError where vLLM is another version."""
    if name == "vllm":
        return {}
    import vllm

    if vllm.__version__ != LEAN_SCHEDULER_FOR:
        raise ArtifactError(
            f"cluster.engine.scheduler = lean is written for vLLM {LEAN_SCHEDULER_FOR}, and this is vLLM "
            f"{vllm.__version__}: install the locked version, or set cluster.engine.scheduler = vllm"
        )
    from artifact.actors.lean_scheduler import LeanScheduler

    return {"scheduler_cls": LeanScheduler, "worker_cls": "artifact.actors.lean_runner.LeanWorker"}


def _be_a_group_of_one(device: str) -> None:
    """Form vLLM's process group before it does, over memory: its own would listen on every address of the machine."""
    import torch.distributed as dist

    if not dist.is_initialized():
        dist.init_process_group(distributed_backend(device), store=dist.HashStore(), rank=0, world_size=1)


def _completion(output: Any, with_logprobs: bool, kept: list[float] | None = None) -> Completion:
    """The response that vLLM's `output` is; its log-probabilities are `kept`, or in `output` itself."""
    ids = np.asarray(output.token_ids, dtype=np.int32)
    if not with_logprobs:
        kept = []
    elif kept is None:
        flat = output.logprobs  # FlatLogprobs: parallel lists, one slice per position; the sampled token comes first
        kept = [flat.logprobs[start] for start in flat.start_indices]
    logprobs = np.asarray(kept, dtype=np.float32)
    if output.finish_reason not in ("stop", "length"):
        raise ArtifactError(f"the engine ended a response with {output.finish_reason!r}; expected 'stop' or 'length'")
    return Completion(ids, logprobs, output.finish_reason)
