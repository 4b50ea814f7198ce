"""Losses as pure functions on tensors: no model, no optimiser, no communication.

All response tokens of a micro-batch lie in one packed matrix, without padding. Row t is the hidden state that
*predicts* response token t, so the first row of a sequence belongs to the last prompt token, and the last row predicts
EOS.

    lm_head.py         hidden states → log-probabilities at chosen ids, without the [T, V] logits
    divergence.py      teacher against student on the teacher's top-k (UOPD Eq. 7, CORE 3.3)
    preference.py      DPO and SimPO (CORE 3.3)
    policy_gradient.py GRPO
    nll.py             negative log-likelihood (SFT, SeqKD)
    token_weights.py   optional per-token weights
    reduction.py       per-token losses → a share of the optimiser step's loss (UOPD Eq. 8-9)
    mix.py             coefficients of distillation and contrast (CORE 3.4)
    diagnostics.py     what to log beside the loss
    finite.py          the guard against NaN and infinity

Shape suffixes: T packed response tokens, S sequences of the micro-batch, P preference pairs, K support (top-k) entries,
V vocabulary, H hidden, G groups of rollouts. `segment_T` holds the sequence index of each row. Logarithms are natural.
"""
