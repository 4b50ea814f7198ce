"""The models of the page against the library: tokens, log-probabilities, greedy answers, samples, classes, verdicts."""

from __future__ import annotations

import math

import pytest
import torch
from tests.site.live.conftest import Live

from artifact.phase1.clustering import cluster_answers
from artifact.phase1.entropy import entropy_weight, semantic_entropy
from artifact.phase1.judge import RulesJudge
from artifact.studies.inputs import verifier_for
from artifact.tasks.catalogue.tinymath import TinyMath
from artifact.tasks.extract import extract_answer
from artifact.train.rollouts import request_seed

TOLERANCE = 1e-4
GREEDY = """
    const model = await Live.model(a), out = [];
    const settings = { maxTokens: 120, stop: Live.tokenizer.eos };
    for (const prompt of b) out.push(Live.respond(model, model.read(prompt), settings));
    return out;
"""
SAMPLES = """
    const model = await Live.model(a), prompted = model.read(b);
    return c.map((seed) => {
        const r = Live.respond(model, prompted, { temperature: 0.7, maxTokens: 120, seed, stop: Live.tokenizer.eos });
        return { ...r, text: Live.tokenizer.decode(r.ids) };
    });
"""
ODD = (
    "",
    "What is 1/2+1/3?",
    "Zoe  has 12 apples.",
    "  x+x=é π 数学 \n\t",
    "a<|im_end|>b<|user|>",
    "\\boxed{\\boxed{3}} \\frac{1}{2}",
    "Solve 3x+4=19. Divide 100 by 7.",
    "anapples Apples APPLES xx",
)


def test_texts_have_the_librarys_tokens_and_come_back(live: Live) -> None:
    tokenizer = live.library.tokenizer
    found = live.call("return a.map((text) => Live.tokenizer.encode(text));", ODD)
    assert found == [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ODD]
    told = live.call("return a.map((ids) => Live.tokenizer.decode(ids));", found)
    assert told == [tokenizer.decode(ids, skip_special_tokens=True) for ids in found]


@pytest.mark.parametrize("context", ["none", "answer", "solution"])
def test_prompts_are_the_librarys(live: Live, context: str) -> None:
    problems = TinyMath().load("validation")[:100]
    asked = [(p.question, {"none": "", "answer": p.answer, "solution": p.solution}[context]) for p in problems]
    found = live.call("return a.map(([q, hint]) => Live.tokenizer.prompt(q, b, hint));", asked, context)
    assert found == [list(live.library.prompt(p, context)) for p in problems]


@pytest.mark.parametrize(
    ("name", "split", "size"),
    [
        ("m0-untrained", "curve", 400),
        ("m1-trained", "curve", 20),
        ("m2-a", "validation", 60),
        ("m3-b", "validation", 60),
    ],
)
def test_greedy_answers_and_log_probabilities(live: Live, name: str, split: str, size: int) -> None:
    """Each token of a response is the library's most likely one after those before it: it is the library's response."""
    prompts = [live.library.prompt(p) for p in TinyMath().load(split)[:size]]
    found = [r for i in range(0, size, 20) for r in live.call(GREEDY, name, prompts[i : i + 20])]
    rows = live.library.logits(name, [(p, r["ids"]) for p, r in zip(prompts, found, strict=True)])
    tokens = 0
    for response, logits in zip(found, rows, strict=True):
        ids = torch.tensor(response["ids"])
        assert logits.argmax(-1).tolist() == response["ids"]
        assert (response["finish"] == "stop") == (response["ids"][-1] == 2) and (len(ids) <= 120)
        of_tokens = logits.log_softmax(-1).gather(1, ids[:, None])[:, 0]
        assert (of_tokens - torch.tensor(response["logprobs"])).abs().max() <= TOLERANCE
        tokens += len(ids)
    assert tokens >= (2000 if size == 400 else 300)


@pytest.mark.parametrize("name", ["m0-untrained", "m1-trained", "m2-a", "m3-b"])
def test_whole_distributions(live: Live, name: str) -> None:
    pairs = [(live.library.prompt(p), live.library.response(p.solution or "")) for p in TinyMath().load("train")[:12]]
    body = """const model = await Live.model(a);
        return b.map(([p, r]) => model.score(p, r).map((z) => Array.from(Live.logSoftmax(z))));"""
    for found, logits in zip(live.call(body, name, pairs), live.library.logits(name, pairs), strict=True):
        assert (torch.tensor(found) - logits.log_softmax(-1)).abs().max() <= TOLERANCE


def test_a_hundred_tokens_a_second(live: Live) -> None:
    """By the processor time of the page's thread, so that other work on the machine does not count."""
    live.browser.call("Performance.enable", timeDomain="threadTicks")

    def seconds() -> float:
        told = live.browser.call("Performance.getMetrics")["metrics"]
        return float(next(m["value"] for m in told if m["name"] == "TaskDuration"))

    prompts = [live.library.prompt(p) for p in TinyMath().load("curve")[:20]]
    for name in ("m0-untrained", "m2-a"):
        begin = seconds()
        drawn = sum(len(r["ids"]) for r in live.call(GREEDY, name, prompts))
        took = seconds() - begin
        assert took > 0 and drawn / took >= 100, f"{name}: {drawn / took:.0f} tokens a second"


def test_seeds_are_the_librarys(live: Live) -> None:
    parts = [["('annotate', 0)", p.id, str(j)] for p in TinyMath().load("train")[:20] for j in (0, 7)] + [["é" * 200]]
    found = live.call("return a.map((parts) => Live.requestSeed(...parts));", parts)
    assert found == [request_seed(*p) for p in parts]


def test_samples_are_the_engines(live: Live) -> None:
    """Each token is what vLLM's sampler draws from the library's logits with the seed of the response."""
    pytest.importorskip("vllm")
    import vllm._C  # noqa: F401

    for problem in TinyMath().load("train")[:6]:
        prompt, seeds = live.library.prompt(problem), [request_seed(("annotate", 0), problem.id, j) for j in range(8)]
        found = live.call(SAMPLES, "m3-b", prompt, seeds)
        rows = live.library.logits("m3-b", [(prompt, r["ids"]) for r in found])
        for response, logits, seed in zip(found, rows, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            for token, row in zip(response["ids"], logits, strict=True):
                of_token = torch.randint(0, 2**31, (1,), generator=generator, dtype=torch.long)
                assert int(torch.ops._C.fused_gumbel_argmax((row / 0.7)[None], of_token)) == token


def test_classes_entropies_and_verdicts(live: Live) -> None:
    verify = verifier_for(("boxed",)).verify_batch
    known = spread = 0
    for problem in TinyMath().load("validation")[:40]:
        seeds = [request_seed("classes", problem.id, j) for j in range(8)]
        drawn = live.call(SAMPLES, "m3-b", live.library.prompt(problem), seeds)
        texts = [r["text"] for r in drawn]
        found = live.call(
            "return [Live.semanticEntropy(a), a.map((r) => Live.verdict(r.text, b))];", drawn, problem.answer
        )
        classes, verdicts = found
        answers = [None if (e := extract_answer(t, ("boxed",))) is None else e.answer for t in texts]
        assert live.call("return a.map((t) => Live.extract(t)?.text ?? null);", texts) == answers
        assert verdicts == [str(v.status) for v in verify(texts, [problem.answer] * 8)]
        if classes["open"]:
            continue
        ids = cluster_answers(answers, RulesJudge()).cluster_ids
        mean = [sum(r["logprobs"]) / len(r["logprobs"]) for r in drawn]
        entropy = semantic_entropy(mean, ids)
        assert classes["ids"] == list(ids)
        assert math.isclose(classes["entropy"], entropy, abs_tol=1e-9)
        assert math.isclose(classes["weight"], entropy_weight(entropy, 8), abs_tol=1e-9)
        known += 1
        spread += entropy > 0
    assert known >= 36 and spread >= 10


def test_answers_of_other_forms(live: Live) -> None:
    """Equal where the library's keys say so; everything else is told as open, never merged."""
    forms = [
        "7",
        "7.",
        "-7",
        "x=7",
        "7 apples",
        "7 pens",
        "14/2",
        "7.0",
        "0.5",
        ".5",
        "1/2",
        "x=1/2",
        "1/0",
        "7+7",
        "1,5",
        "",
        "é",
    ]
    found = live.call(
        "return a.map((p) => a.map((q) => p === q || Live.sameNumber(Live.number(p), Live.number(q))));", forms
    )
    judge = RulesJudge()
    for p, row in zip(forms, found, strict=True):
        for q, same in zip(forms, row, strict=True):
            if p != q and same:
                assert judge.judge([(p, q)])[0].equivalent is True, (p, q)
    assert found[0][3] and found[0][6] and found[8][10] and found[9][11] and not found[4][5] and not found[0][2]
