"""All parts together on a tiny causal model: one optimiser step against the papers' loops, however it is cut up."""

from __future__ import annotations

import math

import pytest
import torch

from artifact.train.losses.divergence import token_divergence
from artifact.train.losses.lm_head import log_probs_at
from artifact.train.losses.mix import mix_coefficients
from artifact.train.losses.nll import token_nll
from artifact.train.losses.preference import dpo, sequence_logprobs
from artifact.train.losses.reduction import reduce, reduce_pairs, step_denominator

V, H, K, EOS = 13, 4, 5, 0
PROMPT_LENGTHS = [3, 2, 4, 1]
LENGTHS = [2, 5, 1, 3]
WEIGHTS = [1.0, 0.25, 0.0, 0.8]  # UOPD prompt weights; one teacher is wholly unsure
MASKS = [[True, True], [True, True, False, True, True], [True], [True, False, True]]  # False = tool output
SPLITS = {1: [[0, 1, 2, 3]], 2: [[0, 1], [2, 3]], 4: [[0], [1], [2], [3]]}


class Model:
    """h_t = tanh of the running mean of token embeddings: causal, so row t knows tokens ≤ t only."""

    def __init__(self, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.embedding = torch.randn(V, H, generator=g, dtype=torch.float64).requires_grad_()
        self.head = (2.0 * torch.randn(V, H, generator=g, dtype=torch.float64)).requires_grad_()

    def hidden(self, tokens: list[int]) -> torch.Tensor:
        x = self.embedding[torch.tensor(tokens)]
        return torch.tanh(x.cumsum(0) / torch.arange(1, len(tokens) + 1)[:, None])

    def next_logprobs(self, prefix: list[int]) -> torch.Tensor:
        """log p(· | prefix), [V], the slow way: one prefix at a time."""
        return (self.head @ self.hidden(prefix)[-1]).log_softmax(-1)

    def parameters(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.embedding, self.head


def make_sequences() -> tuple[list[list[int]], list[list[int]]]:
    g = torch.Generator().manual_seed(9)
    prompts = [torch.randint(1, V, (n,), generator=g).tolist() for n in PROMPT_LENGTHS]
    responses = [[*torch.randint(1, V, (n - 1,), generator=g).tolist(), EOS] for n in LENGTHS]
    return prompts, responses


PROMPTS, RESPONSES = make_sequences()
STUDENT, TEACHER = Model(1), Model(2)


def predicting_rows(
    model: Model, members: list[int], responses: list[list[int]] = RESPONSES
) -> tuple[torch.Tensor, ...]:
    """hidden_TH, segment_T, targets_T of a micro-batch: rows |x|−1 … |x|+|y|−2 of each sequence, packed."""
    hidden, segment, target = [], [], []
    for s, i in enumerate(members):
        rows = model.hidden(PROMPTS[i] + responses[i])[len(PROMPTS[i]) - 1 : -1]
        hidden.append(rows)
        segment += [s] * len(rows)
        target += responses[i]
    return torch.cat(hidden), torch.tensor(segment), torch.tensor(target)


def teacher_top_k(members: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    hidden, _, _ = predicting_rows(TEACHER, members)
    top = (hidden @ TEACHER.head.T).log_softmax(-1).topk(K, dim=-1)
    return top.indices, top.values.detach()


def distil_share(members: list[int], mode: str, denominator: float) -> torch.Tensor:
    hidden, segment, _ = predicting_rows(STUDENT, members)
    ids, teacher_logprobs = teacher_top_k(members)
    student_logprobs = log_probs_at(hidden, STUDENT.head, ids, chunk_vocab=5).logprobs_TK
    loss = token_divergence(teacher_logprobs, student_logprobs).loss_T
    mask = torch.tensor([m for i in members for m in MASKS[i]])
    return reduce(
        loss, segment, torch.tensor([WEIGHTS[i] for i in members], dtype=torch.float64), mask, mode, denominator
    )


def papers_loop(mode: str) -> torch.Tensor:
    """UOPD Eq. 7-9 / CORE A.2, token by token and prefix by prefix, over the whole step."""
    total = torch.zeros((), dtype=torch.float64)
    for x, y, w, mask in zip(PROMPTS, RESPONSES, WEIGHTS, MASKS, strict=True):
        token_losses = []
        for t in range(len(y)):
            if not mask[t]:
                continue
            teacher = TEACHER.next_logprobs(x + y[:t]).detach()
            values, ids = teacher.topk(K)
            p = values.softmax(-1)
            student = STUDENT.next_logprobs(x + y[:t])
            token_losses.append(-sum(p[j] * student[ids[j]] for j in range(K)))
        if mode == "sequence_mean":
            total = total + w * sum(token_losses) / len(token_losses) / len(PROMPTS)
        else:
            total = total + w * sum(token_losses) / sum(map(sum, MASKS))
    return total


@pytest.mark.parametrize("mode", ["sequence_mean", "token_mean"])
@pytest.mark.parametrize("n_micro_batches", [1, 2, 4])
def test_micro_batches_sum_to_the_papers_loop(mode: str, n_micro_batches: int) -> None:
    denominator = step_denominator([sum(m) for m in MASKS], mode)
    shares = [distil_share(members, mode, denominator) for members in SPLITS[n_micro_batches]]
    gradients = [torch.autograd.grad(share, STUDENT.parameters()) for share in shares]
    expected = papers_loop(mode)
    assert sum(share.item() for share in shares) == pytest.approx(expected.item(), abs=1e-12)
    for i, theirs in enumerate(torch.autograd.grad(expected, STUDENT.parameters())):
        torch.testing.assert_close(sum(g[i] for g in gradients), theirs, rtol=0, atol=1e-12)


def test_micro_batch_means_would_be_wrong() -> None:
    """The defect this guards against: the mean of micro-batch means is another number and moves with the split."""
    values = []
    for split in SPLITS.values():
        lengths = [[sum(MASKS[i]) for i in members] for members in split]
        shares = [
            distil_share(m, "token_mean", step_denominator(n, "token_mean"))
            for m, n in zip(split, lengths, strict=True)
        ]
        values.append(sum(s.item() for s in shares) / len(split))
    assert max(values) - min(values) > 1e-2


def test_first_response_token_has_its_true_target() -> None:
    """Row 0 of a response is predicted from the prompt alone, on both sides; a shift by one shows up here."""
    for i in range(len(PROMPTS)):
        hidden, _, target = predicting_rows(STUDENT, [i])
        got = log_probs_at(hidden, STUDENT.head, target[:, None]).logprobs_TK[0, 0]
        torch.testing.assert_close(got, STUDENT.next_logprobs(PROMPTS[i])[RESPONSES[i][0]], rtol=0, atol=1e-12)
        ids, logprobs = teacher_top_k([i])
        expected = TEACHER.next_logprobs(PROMPTS[i]).topk(K)
        assert torch.equal(ids[0], expected.indices)
        torch.testing.assert_close(logprobs[0], expected.values.detach(), rtol=0, atol=1e-12)


def test_first_response_token_is_trained() -> None:
    """The loss of a response's first token reaches the student: a one-token response has no other."""
    hidden, _, _ = predicting_rows(STUDENT, [2])
    assert hidden.shape[0] == LENGTHS[2] == 1
    hidden = hidden.detach().requires_grad_()
    ids, teacher_logprobs = teacher_top_k([2])
    loss = token_divergence(teacher_logprobs, log_probs_at(hidden, STUDENT.head, ids).logprobs_TK).loss_T
    (gradient,) = torch.autograd.grad(loss.sum(), hidden)
    assert float(gradient.abs().max()) > 1e-3


def test_eos_is_included() -> None:
    """The sequence log-prob equals the loop that ends with EOS, and the NLL's gradient raises EOS at the last row."""
    for i, (x, y) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        assert y[-1] == EOS
        hidden, segment, target = predicting_rows(STUDENT, [i])
        logprobs = log_probs_at(hidden, STUDENT.head, target[:, None]).logprobs_TK[:, 0]
        mask = torch.ones(len(y), dtype=torch.bool)
        loop = sum(STUDENT.next_logprobs(x + y[:t])[y[t]].item() for t in range(len(y)))
        assert sequence_logprobs(logprobs, segment, 1, mask).item() == pytest.approx(loop, abs=1e-12)
        nll = reduce(token_nll(logprobs), segment, torch.ones(1), mask, "token_mean", float(len(y)))
        assert nll.item() == pytest.approx(-loop / len(y), abs=1e-12)


def test_one_head_pass_serves_all_components() -> None:
    """Teacher ids and the sampled token in one call give the values and gradients of two calls."""
    hidden, _, target = predicting_rows(STUDENT, [0, 1, 2, 3])
    ids, teacher_logprobs = teacher_top_k([0, 1, 2, 3])
    both = log_probs_at(hidden, STUDENT.head, torch.cat([ids, target[:, None]], dim=1), chunk_vocab=4).logprobs_TK
    one = token_divergence(teacher_logprobs, both[:, :K]).loss_T.sum() + 0.3 * token_nll(both[:, K]).sum()
    support = log_probs_at(hidden, STUDENT.head, ids).logprobs_TK
    sampled = log_probs_at(hidden, STUDENT.head, target[:, None]).logprobs_TK
    two = token_divergence(teacher_logprobs, support).loss_T.sum() + 0.3 * token_nll(sampled).sum()
    assert one.item() == pytest.approx(two.item(), abs=1e-12)
    gradients = [torch.autograd.grad(x, STUDENT.parameters(), retain_graph=True) for x in (one, two)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_components_keep_their_own_denominators() -> None:
    """CORE: 3 distilled rollouts and 1 preference pair. L = α · mean of 3 + mean of 1: neither dilutes the other."""
    alpha = 5.0
    distilled, chosen, rejected = [0, 1, 3], 1, 2
    coefficients = mix_coefficients("weighted", alpha=alpha)
    denominator = step_denominator([sum(MASKS[i]) for i in distilled], "sequence_mean")
    distil = distil_share(distilled, "sequence_mean", denominator)
    scores = []
    for model in (STUDENT, TEACHER):
        hidden, segment, target = predicting_rows(model, [chosen, rejected])
        logprobs = log_probs_at(hidden, model.head, target[:, None]).logprobs_TK[:, 0]
        scores.append(sequence_logprobs(logprobs, segment, 2, torch.ones_like(target, dtype=torch.bool)))
    policy, reference = scores
    pair = dpo(policy[:1], policy[1:], reference[:1], reference[1:])
    contrast = reduce_pairs(pair.loss_P, torch.ones(1), step_denominator([1], "sequence_mean"))
    total = coefficients.distil * distil + coefficients.contrast * contrast

    token_means = []
    for i in distilled:
        x, y = PROMPTS[i], RESPONSES[i]
        losses = []
        for t in [t for t in range(len(y)) if MASKS[i][t]]:
            values, ids = TEACHER.next_logprobs(x + y[:t]).detach().topk(K)
            losses.append(-(values.softmax(-1) * STUDENT.next_logprobs(x + y[:t])[ids]).sum().item())
        token_means.append(WEIGHTS[i] * sum(losses) / len(losses))

    def score(model: Model, i: int) -> float:
        x, y = PROMPTS[i], RESPONSES[i]
        return sum(model.next_logprobs(x + y[:t])[y[t]].item() for t in range(len(y)))

    margin = 0.1 * (
        score(STUDENT, chosen) - score(TEACHER, chosen) - score(STUDENT, rejected) + score(TEACHER, rejected)
    )
    expected = alpha * sum(token_means) / 3 + math.log1p(math.exp(-margin))
    assert total.item() == pytest.approx(expected, abs=1e-10)
