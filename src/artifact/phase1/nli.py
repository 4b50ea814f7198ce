"""A cross-encoder trained on natural language inference says what entails what (Kuhn, Gal, Farquhar 2023, section 4).

Premise and hypothesis are each the question followed by an answer, as in the paper; the premise entails the hypothesis
where *entailment* is the likeliest label. Both directions are asked by `entailment.EntailmentJudge`. It runs in the
calling process, on a processor: such a model is small beside a teacher. A pair that is longer than the model reads is
not cut off but undecided, and counted. Left out: whether it is any good (`judge_calibration.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artifact.errors import Mismatch
from artifact.phase1.entailment import Entails
from artifact.phase1.judge import Pair

BATCH = 32


def entailment_label(labels: dict[int, str], name: str) -> int:
    """The number of the label *entailment*, in whatever case. Raises Mismatch where there is not exactly one."""
    found = [number for number, label in labels.items() if label.lower() == "entailment"]
    if len(found) != 1:
        raise Mismatch(
            f"the judge {name!r} has the labels {', '.join(labels.values())}: not one of them is 'entailment' alone. "
            "annotation.clustering = nli needs a cross-encoder trained on natural language inference"
        )
    return found[0]


def entails_by(model: Any, tokenizer: Any, name: str) -> Entails:
    """Entailment as a loaded sequence classifier sees it. Mismatch for labels without *entailment*."""
    import torch

    wanted = entailment_label(dict(model.config.id2label), name)
    room = min(int(model.config.max_position_embeddings), int(tokenizer.model_max_length))

    def entails(pairs: Sequence[Pair], questions: Sequence[str]) -> list[bool | None]:
        said = [
            (f"{q} {left}".strip(), f"{q} {right}".strip()) for (left, right), q in zip(pairs, questions, strict=True)
        ]
        lengths = [len(ids) for ids in tokenizer(*map(list, zip(*said, strict=True)))["input_ids"]] if said else []
        out: list[bool | None] = [None] * len(said)
        fits = sorted((i for i, n in enumerate(lengths) if n <= room), key=lambda i: (lengths[i], i))
        for start in range(0, len(fits), BATCH):
            chosen = fits[start : start + BATCH]
            batch = tokenizer(
                *map(list, zip(*(said[i] for i in chosen), strict=True)), padding=True, return_tensors="pt"
            )
            with torch.inference_mode():
                best = model(**batch).logits.argmax(dim=-1).tolist()
            for i, label in zip(chosen, best, strict=True):
                out[i] = label == wanted
        return out

    return entails
