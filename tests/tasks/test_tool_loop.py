"""The calculator in the generation loop: injection, boundaries, budgets and masks, on engines of token ids."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.actors.engine import Decoding, Request
from artifact.errors import Mismatch, StaleEngine
from artifact.tasks.calculator import calculate
from artifact.tasks.tool_loop import CalculatorTool, encode_marked, equals_token_ids, generate_with_tool, turn_seed

sys.path.insert(0, str(Path(__file__).parent))
from qwen3 import qwen3_tokenizer
from toy_engine import CHARACTERS, MERGED, ToyEngine, hashed, logprob_of, scripted, toy_tokenizer

TOKENIZER = toy_tokenizer()
TOOL = CalculatorTool(TOKENIZER)
ID = TOKENIZER.get_vocab()
EOS = ID["<|eos|>"]
PROMPT = (ID["a"], ID["b"])


def ids_of(*tokens: str) -> list[int]:
    """Ids of tokens; a string that is no token stands for its characters."""
    return [i for t in tokens for i in ([ID[t]] if t in ID else [ID[c] for c in t])]


def run(*tokens: str, budget: int = 100, tool: CalculatorTool = TOOL, logprobs: bool = True):
    """One response whose sampled tokens are `tokens` and then EOS; returns (text, completion, engine)."""
    engine = ToyEngine(scripted([PROMPT], [[*ids_of(*tokens), EOS]]))
    decoding = Decoding(0.7, 1.0, budget, (EOS,), logprobs)
    version, (out,) = generate_with_tool(engine.generate, [Request(PROMPT, 11)], decoding, tool)
    assert version == 7
    return TOKENIZER.decode(out.ids.tolist()), out, engine


def tool_text(out) -> str:
    return TOKENIZER.decode(out.ids[~out.mask].tolist())


def test_a_span_is_closed_by_its_value() -> None:
    text, out, _ = run("a", "<<", "48/2", "=", "24 eggs")
    assert text == "a<<48/2=24>>24 eggs<|eos|>"
    assert tool_text(out) == "24>>"
    assert TOKENIZER.decode(out.ids[out.mask].tolist()) == "a<<48/2=24 eggs<|eos|>"
    assert out.finish_reason == "stop" and out.turns == 2
    assert [(c.expression, c.outcome, c.value, c.position) for c in out.calls] == [("48/2", "computed", "24", 7)]
    assert out.ids[7 : 7 + 4].tolist() == ids_of("24", ">", ">") and not out.mask[7:11].any()


def test_masks_and_logprobs() -> None:
    _, out, _ = run("<<", "1/8", "=", "a", "<<", "2*3", "=", "b")
    expected = [logprob_of(i) if m else 0.0 for i, m in zip(out.ids.tolist(), out.mask.tolist(), strict=True)]
    assert out.logprobs.tolist() == expected
    assert (out.ids.dtype, out.logprobs.dtype, out.mask.dtype) == (np.int32, np.float32, np.bool_)
    assert tool_text(out) == "0.125>>6>>"
    _, silent, _ = run("<<", "1/8", "=", logprobs=False)
    assert silent.logprobs.tolist() == [0.0] * len(silent.ids)


def test_an_equals_sign_outside_a_span_only_costs_a_turn() -> None:
    text, out, _ = run("a", "=", "b<3", "=", "4>>", "=", "5")
    assert text == "a=b<3=4>>=5<|eos|>" and out.mask.all() and out.calls == ()
    assert out.turns == 4


@pytest.mark.parametrize(
    ("tokens", "text", "outcome"),
    [
        (["<<", "(1+1", ")="], "<<(1+1)=2>>", "computed"),  # a bracket merged with the sign
        (["<<", "1+", "2="], "<<1+2=3>>", "computed"),  # a digit merged with the sign
        (["<<3", "+1", "="], "<<3+1=4>>", "computed"),  # a digit merged with the opening
        (["<", "<", "3+1", "="], "<<3+1=4>>", "computed"),  # an opening in two tokens
        (["<<", "2-5", "=-"], "<<2-5=-3>>", "computed"),  # the value's own first character
        (["<<", "6*7", "=4"], "<<6*7=42>>", "computed"),
        (["<<", "8/2", "=4"], "<<8/2=4>>", "computed"),
        (["<<", "8/2", "= "], "<<8/2= 4>>", "computed"),
        (["<<", "3+2", "=5>>"], "<<3+2=5>>", ""),  # the policy closes the span itself: no call
        (["<<", "5-2", "=-"], "<<5-2=-", "merged"),  # the value does not begin with what was sampled
        (["<<", "8/2", "=="], "<<8/2==", "merged"),
        (["<<", "8/2", "=>"], "<<8/2=>", "merged"),
        (["<<", "3+3", "=5>>"], "<<3+3=5>>", ""),
        (["<<", "5/0", "="], "<<5/0=", "division_by_zero"),
        (["<<", "a+1", "="], "<<a+1=", "malformed"),
        (["<<", "="], "<<=", "malformed"),
        (["<<", "9" * 16, "="], f"<<{'9' * 16}=", "too_large"),
    ],
)
def test_token_boundaries_and_refusals(tokens: list[str], text: str, outcome: str) -> None:
    found, out, _ = run(*tokens)
    assert found == text + "<|eos|>"
    assert [str(c.outcome) for c in out.calls] == ([outcome] if outcome else [])
    sampled = [*ids_of(*tokens), EOS]
    assert out.ids[out.mask].tolist() == sampled, "what was sampled must not change"
    assert bool((~out.mask).any()) == (outcome == "computed" and text != "".join(tokens))


def test_a_line_break_after_the_sign_is_no_value() -> None:
    text, out, _ = run("<<", "8/2", "=\n", "a")
    assert text == "<<8/2=\na<|eos|>" and out.mask.all() and out.calls == ()


def test_a_refused_span_is_not_tried_again() -> None:
    text, out, _ = run("<<", "a", "=", "3+4", "=", "7>>", "<<", "3+4", "=")
    assert text == "<<a=3+4=7>><<3+4=7>><|eos|>"
    assert [str(c.outcome) for c in out.calls] == ["malformed", "computed"]


def test_a_span_ends_with_its_line_and_at_the_longest_expression() -> None:
    text, out, _ = run("<<", "3\n4", "=", "a")
    assert text == "<<3\n4=a<|eos|>" and out.calls == ()
    text, out, _ = run("<<", "1+" * 80 + "1", "=", "a", budget=400)
    assert tool_text(out) == "" and out.calls == ()


def test_budget_counts_tool_tokens() -> None:
    script = ("<<", "8/2", "=", "a")  # 5 sampled, 3 tool tokens, then a and EOS
    assert run(*script, budget=10)[0] == "<<8/2=4>>a<|eos|>"
    text, out, _ = run(*script, budget=9)
    assert text == "<<8/2=4>>a" and out.finish_reason == "length" and len(out.ids) == 9
    text, out, _ = run(*script, budget=8)
    assert text == "<<8/2=4>>" and out.finish_reason == "length" and [c.outcome for c in out.calls] == ["computed"]
    text, out, _ = run(*script, budget=7)
    assert text == "<<8/2=" and out.finish_reason == "length" and [c.outcome for c in out.calls] == ["no_budget"]
    text, out, _ = run(*script, budget=5)
    assert text == "<<8/2=" and out.finish_reason == "length" and out.calls == ()
    text, out, _ = run(*script, budget=3)
    assert text == "<<8/" and out.finish_reason == "length"


def test_a_shorter_budget_left_is_kept_in_a_batch() -> None:
    """The engine gets one budget a call; the response that has used more of its own is cut to what it has left."""
    prompts = [PROMPT, (ID["c"],)]
    scripts = [ids_of("<<", "8/2", "=", "a" * 50), ids_of("=", "b" * 50)]
    engine = ToyEngine(scripted(prompts, scripts))
    _, (first, second) = generate_with_tool(
        engine.generate, [Request(p, 1) for p in prompts], Decoding(0, 1, 20, (EOS,)), TOOL
    )
    assert len(first.ids) == len(second.ids) == 20
    assert first.finish_reason == second.finish_reason == "length"
    assert TOKENIZER.decode(first.ids.tolist()) == "<<8/2=4>>" + "a" * 12
    assert engine.calls[1][1].max_new_tokens == 19


def test_limits_on_calls_and_turns() -> None:
    two = CalculatorTool(TOKENIZER, max_calls=2)
    text, out, engine = run(*["<<", "1+1", "="] * 4, tool=two)
    assert text == "<<1+1=2>><<1+1=2>><<1+1=<<1+1=<|eos|>"
    assert len(out.calls) == 2 and out.turns == 3
    assert engine.calls[-1][1].stop_token_ids == (EOS,)
    text, out, _ = run(*["="] * 30, tool=CalculatorTool(TOKENIZER, max_turns=5))
    assert text == "=" * 30 + "<|eos|>" and out.turns == 5
    with pytest.raises(ValueError, match="max_turns"):
        CalculatorTool(TOKENIZER, max_turns=1)


def test_prompts_grow_by_what_was_appended_and_seeds_differ_by_turn() -> None:
    _, out, engine = run("<<", "8/2", "=", "a")
    first, second = (calls[0][0] for calls in engine.calls)
    assert first == Request(PROMPT, 11)
    assert second.prompt_ids == (*PROMPT, *out.ids[:8].tolist()) and second.seed == turn_seed(11, 1) != 11
    assert turn_seed(11, 0) == 11
    assert len({turn_seed(s, t) for s in range(50) for t in range(50)}) > 2400
    assert set(engine.calls[0][1].stop_token_ids) == {EOS, *TOOL.trigger_ids}


def test_a_batch_is_in_order_with_its_calls() -> None:
    prompts = [(ID[c],) for c in "abcd"]
    scripts = [[*ids_of(*["<<", "1+1", "="] * n), EOS] for n in (3, 0, 2)] + [[*ids_of("<<", "1/0", "="), EOS]]
    engine = ToyEngine(scripted(prompts, scripts))
    _, outs = generate_with_tool(engine.generate, [Request(p, 0) for p in prompts], Decoding(0, 1, 99, (EOS,)), TOOL)
    assert [len(o.calls) for o in outs] == [3, 0, 2, 1]
    assert [len(c[0]) for c in engine.calls] == [4, 3, 2, 1]  # finished responses are not submitted again
    assert [str(c.outcome) for o in outs for c in o.calls] == ["computed"] * 5 + ["division_by_zero"]
    assert generate_with_tool(engine.generate, [], Decoding(0, 1, 99, (EOS,)), TOOL) == (-1, [])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 90), st.integers(1, 6))
def test_every_sampled_token_is_the_policys_own_in_its_context(start: int, budget: int, calls: int) -> None:
    """Replay: a token under the mask is what the policy chooses after all ids before it; the others are the tool's."""
    choices = ids_of("<<", "<<", "=", "=", "=-", "=4", "2=", "4", "2", "-", "+", "*", "/", ">>", "a", "<|eos|>")
    policy = hashed(choices)
    prompt = (start,)
    tool = CalculatorTool(TOKENIZER, max_calls=calls, max_turns=40)
    _, (out,) = generate_with_tool(
        ToyEngine(policy).generate, [Request(prompt, start)], Decoding(0.7, 1, budget, (EOS,)), tool
    )
    ids = tuple(out.ids.tolist())
    assert len(ids) <= budget and len(out.calls) <= calls
    for t, (token, sampled) in enumerate(zip(ids, out.mask.tolist(), strict=True)):
        assert not sampled or policy((*prompt, *ids[:t]), 0) == token
    text = TOKENIZER.decode(list(ids))
    for call in out.calls:
        if call.outcome == "computed":
            assert f"<<{call.expression}=" in text and call.value == calculate(call.expression).value
    tool_tokens = [i for i, m in zip(ids, out.mask.tolist(), strict=True) if not m]
    assert set(TOKENIZER.decode(tool_tokens)) <= set("0123456789.->")
    assert out.finish_reason == ("stop" if ids and ids[-1] == EOS else "length")
    assert out.finish_reason == "stop" or len(ids) == budget or out.calls[-1].outcome == "no_budget"


def test_without_a_trigger_it_is_plain_generation() -> None:
    policy = hashed(ids_of("a", "b", "c", "d", "1", "2", "<|eos|>"))
    decoding = Decoding(0.7, 1.0, 40, (EOS,))
    requests = [Request((n,), n) for n in range(20)]
    _, plain = ToyEngine(policy).generate(requests, decoding)
    _, outs = generate_with_tool(ToyEngine(policy).generate, requests, decoding, TOOL)
    for a, b in zip(plain, outs, strict=True):
        assert a.ids.tolist() == b.ids.tolist() and a.finish_reason == b.finish_reason and b.mask.all()
        assert a.logprobs.tolist() == b.logprobs.tolist()


def test_contract_with_the_engine() -> None:
    decoding = Decoding(0, 1, 20, (EOS,))
    requests = [Request(PROMPT, 0)]
    changing = ToyEngine(scripted([PROMPT], [[*ids_of("<<", "1+1", "=", "a"), EOS]]))

    def drift(r, d):
        changing.version += 1
        return changing.generate(r, d)

    with pytest.raises(StaleEngine, match=r"\[8, 9\]"):
        generate_with_tool(drift, requests, decoding, TOOL)
    with pytest.raises(Mismatch, match="0 completions for 1 requests"):
        generate_with_tool(lambda r, d: (0, []), requests, decoding, TOOL)
    plain = ToyEngine(hashed(ids_of("a")))
    (two,) = plain.generate(requests, replace(decoding, max_new_tokens=2))[1]
    with pytest.raises(Mismatch, match="no stop token"):
        generate_with_tool(lambda r, d: (0, [replace(two, finish_reason="stop")]), requests, decoding, TOOL)
    with pytest.raises(Mismatch, match="2 tokens but 1 log-prob"):
        generate_with_tool(lambda r, d: (0, [replace(two, logprobs=two.logprobs[:1])]), requests, decoding, TOOL)


def test_trigger_tokens_are_exactly_those_with_the_sign() -> None:
    assert sorted(TOKENIZER.convert_ids_to_tokens(list(equals_token_ids(TOKENIZER)))) == sorted(
        t for t in (*MERGED, *CHARACTERS) if "=" in t
    )


def test_reference_solutions_are_masked_alike() -> None:
    ids, mask = encode_marked(TOOL, "a<<48/2=24>>24 eggs <<24+8=32>>b")
    sampled = [i for i, m in zip(ids, mask, strict=True) if m]
    assert TOKENIZER.decode(list(ids)) == "a<<48/2=24>>24 eggs <<24+8=32>>b"
    assert TOKENIZER.decode(sampled) == "a<<48/2=24 eggs <<24+8=b"
    assert encode_marked(TOOL, "no mark") == (tuple(TOOL.encode("no mark")), (True,) * 7)


def test_with_the_tokenizer_of_qwen3() -> None:
    tokenizer = qwen3_tokenizer()
    tool = CalculatorTool(tokenizer)
    assert 600 < len(tool.trigger_ids) < 700 and tokenizer.convert_tokens_to_ids("=") in tool.trigger_ids
    eos = tokenizer.eos_token_id
    text = "Mira has 6 * $15 = $<<6*15=90>>90. She spends <<90-48=42>>42 dollars.\n#### 42"
    ids, mask = encode_marked(tool, text)
    script = [i for i, m in zip(ids, mask, strict=True) if m]
    prompt = tuple(tokenizer.encode("Question"))
    engine = ToyEngine(scripted([prompt], [[*script, eos]]))
    _, (out,) = generate_with_tool(engine.generate, [Request(prompt, 0)], Decoding(0.7, 1, 200, (eos,)), tool)
    assert out.ids.tolist() == [*ids, eos] and out.mask.tolist() == [*mask, True]
    assert tokenizer.decode(out.ids[~out.mask].tolist()) == "90>>42>>"
    for tokens, value in ((["<<", "2", "-", "5", "=-"], "3>>"), (["<<", "(", "1", "+", "1", ")="], "2>>")):
        sampled = [*tokenizer.convert_tokens_to_ids(tokens), eos]
        assert None not in sampled
        engine = ToyEngine(scripted([prompt], [sampled]))
        _, (out,) = generate_with_tool(engine.generate, [Request(prompt, 0)], Decoding(0.7, 1, 200, (eos,)), tool)
        assert tokenizer.decode(out.ids[~out.mask].tolist()) == value
        assert out.ids[out.mask].tolist() == sampled
