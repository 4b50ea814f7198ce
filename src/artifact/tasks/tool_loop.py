r"""Generation with a calculator: `<<48/2=` is closed by `24>>`, in batch, over any engine of token ids.

Generation runs in turns. In each turn every unfinished response is continued by one call of `generate`, which also
stops at any token that contains `=`. Where such a token closes `<<expression=`, the tool's tokens (`value>>`) are
appended and the response goes on from there; otherwise it simply goes on. What the policy sampled is never decoded and
encoded again: the response is the concatenation of sampled ids and tool ids, and the mask says which is which.

    mask_T = True for tokens the policy sampled, False for tool tokens; log-prob 0.0 stands at tool tokens.

A token may hold more than `=`. What stands before it belongs to the expression (`4=`). What stands behind it (`=-`) is
kept: the tool adds the rest of `value>>` where that fits, and leaves the span to the policy where it does not
(`merged`).

Left out: the engine. CORE section 4.1.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifact.errors import Mismatch, StaleEngine
from artifact.tasks.calculator import MARK, MAX_CHARS, calculate

Generate = Callable[[list[Any], Any], tuple[int, Sequence[Any]]]
"""(requests, decoding) → (policy version, completions in order, each with `ids`, `logprobs`, `finish_reason`)"""

OPEN, CLOSE = "<<", ">>"

_TAIL = MAX_CHARS + 8  # tokens decoded to find an open span; a token of arithmetic has at least one character


class CallOutcome(enum.StrEnum):
    """How one use of the tool ended. Tool tokens were appended for `COMPUTED` only."""

    COMPUTED = "computed"
    MALFORMED = "malformed"
    DIVISION_BY_ZERO = "division_by_zero"
    TOO_LARGE = "too_large"
    MERGED = "merged"  # the token with `=` already holds something that the value does not begin with
    NO_BUDGET = "no_budget"  # the value does not fit into what is left of the response


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One `<<expression=`: the index of the response token behind it, the expression, its outcome and value."""

    position: int
    expression: str
    outcome: CallOutcome
    value: str = ""


@dataclass(frozen=True)
class ToolCompletion:
    """One response: ids_T int32, raw log-probs_T float32 (0.0 on tool tokens), mask_T bool, `stop` or `length`."""

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    mask: NDArray[np.bool_]
    finish_reason: str
    calls: tuple[ToolCall, ...] = ()
    turns: int = 1


@dataclass
class _State:
    """A response in the making."""

    request: Any
    budget: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    mask: list[bool] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    turns: int = 0
    finish_reason: str = ""

    @property
    def left(self) -> int:
        return self.budget - len(self.ids)

    def append(self, ids: Sequence[int], logprobs: Sequence[float], sampled: bool) -> None:
        self.ids += ids
        self.logprobs += logprobs
        self.mask += [sampled] * len(ids)


class CalculatorTool:
    """Finds open `<<expression=` spans in response ids and says which tokens the tool appends.

    max_calls  uses of the tool in one response; after them the policy goes on alone
    max_turns  continuations of one response; bounds the cost of a response that is full of `=`
    """

    def __init__(self, tokenizer: Any, max_calls: int = 32, max_turns: int = 128) -> None:
        if max_calls < 1 or max_turns < 2:
            raise ValueError(f"CalculatorTool needs max_calls >= 1 and max_turns >= 2, got {max_calls} and {max_turns}")
        self.tokenizer, self.max_calls, self.max_turns = tokenizer, max_calls, max_turns
        self.trigger_ids = equals_token_ids(tokenizer)
        probe = "<<1+1="
        joined = self.decode([*self.encode(probe), *self.encode("2>>")])
        if joined != probe + "2>>":
            raise Mismatch(
                f"tokenizer {tokenizer.name_or_path!r} turns {probe!r} followed by the tool's '2>>' into {joined!r}: "
                "appended tool tokens would change the text; use a byte-level tokenizer or run without the calculator"
            )

    def encode(self, text: str) -> list[int]:
        """Token ids of `text` alone, without special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """The exact text of `ids`."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def answer(self, ids: Sequence[int]) -> tuple[ToolCall | None, list[int]]:
        """The tool's reaction to a response that ends in a token with `=`: the call (None = no open span) and its ids.

        Only the first `=` of a span is a call, so a span that was refused once is the policy's own affair.
        """
        text = self.decode(ids[-_TAIL:])
        _, opened, span = text.rpartition(OPEN)
        if not opened or CLOSE in span or "\n" in span:
            return None, []
        expression, equals, behind = span.partition("=")
        if not equals or len(behind) >= len(self.decode(ids[-1:])):  # the first `=` stands in an earlier token
            return None, []
        result = calculate(expression)
        outcome = CallOutcome(result.outcome.value)
        if outcome is not CallOutcome.COMPUTED:
            return ToolCall(len(ids), expression, outcome), []
        closed, begun = result.value + CLOSE, behind.strip(" ")
        if not closed.startswith(begun):
            return ToolCall(len(ids), expression, CallOutcome.MERGED, result.value), []
        return ToolCall(len(ids), expression, outcome, result.value), self.encode(closed[len(begun) :])


def equals_token_ids(tokenizer: Any) -> tuple[int, ...]:
    """Ids of all tokens of `tokenizer` whose text contains `=`; Mismatch when there is none."""
    special = set(tokenizer.all_special_ids)
    candidates = [i for token, i in tokenizer.get_vocab().items() if "=" in token or "0x3D" in token]  # or as a byte
    texts = tokenizer.batch_decode(
        [[i] for i in candidates], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    found = tuple(sorted(i for i, text in zip(candidates, texts, strict=True) if "=" in text and i not in special))
    if not found:
        raise Mismatch(f"no token of {tokenizer.name_or_path!r} contains '=': the calculator could never be called")
    return found


def turn_seed(seed: int, turn: int) -> int:
    """The seed of one continuation: the request's own for the first, then a hash, so that turns share no noise."""
    if turn == 0:
        return seed
    digest = hashlib.blake2b(f"{seed}/{turn}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def generate_with_tool(
    generate: Generate, requests: Sequence[Any], decoding: Any, tool: CalculatorTool
) -> tuple[int, list[ToolCompletion]]:
    """One response per request, with the tool's tokens in it; returns the policy version and completions in order.

    `decoding.max_new_tokens` bounds sampled and tool tokens together. Raises StaleEngine where the policy version
    changes between turns, and Mismatch where the engine breaks the contract of `Generate`.
    """
    eos = frozenset(decoding.stop_token_ids)
    stops = tuple(sorted({*eos, *tool.trigger_ids}))
    states = [_State(request, decoding.max_new_tokens) for request in requests]
    versions: set[int] = set()
    while active := [s for s in states if not s.finish_reason]:
        with_tool = [s for s in active if len(s.calls) < tool.max_calls and s.turns < tool.max_turns - 1]
        alone = [s for s in active if len(s.calls) >= tool.max_calls or s.turns >= tool.max_turns - 1]
        for group, stop_ids in ((with_tool, stops), (alone, tuple(eos))):
            if not group:
                continue
            turns = [
                replace(s.request, prompt_ids=(*s.request.prompt_ids, *s.ids), seed=turn_seed(s.request.seed, s.turns))
                for s in group
            ]
            longest = max(s.left for s in group)
            version, outputs = generate(turns, replace(decoding, stop_token_ids=stop_ids, max_new_tokens=longest))
            versions.add(version)
            if len(versions) > 1:
                raise StaleEngine(f"the engine changed policy versions {sorted(versions)} within one response")
            if len(outputs) != len(group):
                raise Mismatch(f"the engine returned {len(outputs)} completions for {len(group)} requests")
            for state, output in zip(group, outputs, strict=True):
                _advance(state, output, eos, stop_ids, decoding.logprobs, tool)
    return next(iter(versions), -1), [
        ToolCompletion(
            np.asarray(s.ids, np.int32),
            np.asarray(s.logprobs, np.float32),
            np.asarray(s.mask, bool),
            s.finish_reason,
            tuple(s.calls),
            s.turns,
        )
        for s in states
    ]


def _advance(
    state: _State, output: Any, eos: frozenset[int], stops: Sequence[int], with_logprobs: bool, tool: CalculatorTool
) -> None:
    """Append one turn's sampled tokens to `state`, then the tool's, and settle whether the response is finished."""
    ids = [int(i) for i in output.ids[: state.left]]
    logprobs = [float(x) for x in output.logprobs[: len(ids)]] if with_logprobs else [0.0] * len(ids)
    if len(logprobs) != len(ids):
        raise Mismatch(f"the engine returned {len(ids)} tokens but {len(logprobs)} log-probabilities")
    cut = len(output.ids) > len(ids)
    state.append(ids, logprobs, sampled=True)
    state.turns += 1
    if not cut and ids and ids[-1] in eos:
        state.finish_reason = "stop"
        return
    if cut or output.finish_reason == "length" or not state.left:
        state.finish_reason = "length"
        return
    if not ids or ids[-1] not in stops:
        raise Mismatch(f"the engine stopped at token {ids[-1:]}, which is no stop token of this turn")
    call, tool_ids = tool.answer(state.ids)
    if call is None:
        return
    if len(tool_ids) > state.left:
        call, tool_ids, state.finish_reason = replace(call, outcome=CallOutcome.NO_BUDGET), [], "length"
    state.calls.append(call)
    state.append(tool_ids, [0.0] * len(tool_ids), sampled=False)
    if not state.left:
        state.finish_reason = "length"


def encode_marked(tool: CalculatorTool, text: str) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Ids and mask of a *given* text with `<<expression=value>>` marks, such as a reference solution.

    The pieces are encoded one by one, so the tokens are those a rollout with the tool has, and `value>>` is masked.
    """
    ids: list[int] = []
    mask: list[bool] = []
    start = 0
    for match in MARK.finditer(text):
        for piece, sampled in ((text[start : match.start(2)], True), (text[match.start(2) : match.end()], False)):
            encoded = tool.encode(piece)
            ids += encoded
            mask += [sampled] * len(encoded)
        start = match.end()
    rest = tool.encode(text[start:])
    return (*ids, *rest), (*mask, *[True] * len(rest))
