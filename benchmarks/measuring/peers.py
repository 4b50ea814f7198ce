"""The same step by others, in a process of its own: TRL's trainer, and the loop a newcomer would write.

    python -m measuring.peers < JOB      one line of JSON, then one line for each repetition asked for

Each repetition starts from the same weights and answers with a line of JSON: its steps, measured, and its memory.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from measuring import ANSWER
from measuring.meter import Meter, memory_gib

Job = dict[str, Any]


def plain_loop(job: Job, meter: Meter) -> None:
    """`generate`, a forward pass of the teacher, forward KL over the whole vocabulary, backward, AdamW."""
    student, teacher = _network(job["student"]), _network(job["teacher"]).eval()
    optimiser = torch.optim.AdamW(student.parameters(), lr=job["lr"])
    meter.begin()
    for prompts in job["prompt_ids"]:
        rows = [ids for ids in prompts for _ in range(job["samples"])]
        with meter("rollout"):
            prompt_BT, mask_BT = _left_padded(rows, job["pad"])
            sampled_BT = student.generate(
                input_ids=prompt_BT,
                attention_mask=mask_BT,
                do_sample=True,
                temperature=job["temperature"],
                top_k=0,
                top_p=1.0,
                max_new_tokens=job["max_new_tokens"],
                eos_token_id=job["stop"],
                pad_token_id=job["pad"],
            )
        response_BT = sampled_BT[:, prompt_BT.shape[1] :]
        ended_BT = torch.isin(response_BT, torch.tensor(job["stop"])).cumsum(1)
        kept_BT = (ended_BT - torch.isin(response_BT, torch.tensor(job["stop"])).long()) == 0  # the first stop belongs
        whole_BT = torch.cat([mask_BT, kept_BT.long()], 1)
        keep = response_BT.shape[1] + 1
        with meter("teacher"), torch.no_grad():
            target_BTV = (
                teacher(sampled_BT, attention_mask=whole_BT, logits_to_keep=keep).logits[:, :-1].log_softmax(-1)
            )
        with meter("student"):
            logits_BTV = student(sampled_BT, attention_mask=whole_BT, logits_to_keep=keep).logits[:, :-1]
            kl_BT = (target_BTV.exp() * (target_BTV - logits_BTV.log_softmax(-1))).sum(-1)
            (kl_BT * kept_BT).sum().div(kept_BT.sum()).backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
        meter.end_step(prompt_tokens=int(mask_BT.sum()), response_tokens=int(kept_BT.sum()), rollouts=len(rows))


def trl_trainer(job: Job, meter: Meter) -> None:
    """TRL's `DistillationTrainer`, which samples by `generate`; all but that and the teacher's body is `student`."""
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import DistillationConfig, DistillationTrainer

    class Steps(TrainerCallback):
        """Ends a step of the meter where the trainer ends one of its own."""

        counts: dict[str, float]

        def on_step_end(self, *args: object, **kwargs: object) -> None:
            meter.end_step("student", **self.counts)

    rows = [{"prompt": m} for step in job["messages"] for m in step for _ in range(job["samples"])]
    steps, student, teacher = Steps(), _network(job["student"]), _network(job["teacher"])
    stop = torch.tensor(job["stop"])
    generate = student.generate

    def sample(*args: Any, **kwargs: Any) -> Tensor:
        with meter("rollout"):
            out_BT = generate(*args, **kwargs)
        given = kwargs.get("attention_mask", args[0] if args else None)
        response_BT = out_BT[:, given.shape[1] :]
        before_BT = torch.isin(response_BT, stop).cumsum(1) - torch.isin(response_BT, stop).long()
        steps.counts = {
            "prompt_tokens": int(given.sum()),
            "response_tokens": int((before_BT == 0).sum()),
            "rollouts": len(out_BT),
        }
        return out_BT

    student.generate = sample
    forward = teacher.base_model.forward

    def score(*args: Any, **kwargs: Any) -> Any:
        with meter("teacher"):
            return forward(*args, **kwargs)

    teacher.base_model.forward = score
    with tempfile.TemporaryDirectory() as folder:
        settings = DistillationConfig(
            output_dir=folder,
            per_device_train_batch_size=len(job["prompt_ids"][0]) * job["samples"],
            max_steps=len(job["prompt_ids"]),
            learning_rate=job["lr"],
            temperature=job["temperature"],
            max_completion_length=job["max_new_tokens"],
            beta=0.0,  # the forward KL
            shuffle_dataset=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
        )
        trainer = DistillationTrainer(
            model=student,
            teacher_model=teacher,
            args=settings,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(job["student"]),
            callbacks=[steps],
        )
        meter.begin()
        trainer.train()


SIDES = {"trl": trl_trainer, "generate": plain_loop}


def _network(path: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


def _left_padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, [B, T]."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(r)) + list(r) for r in rows])
    return ids, torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows])


def main() -> None:
    """Make repetitions of the job on the first line of the input, one for each line after it."""
    job = json.loads(sys.stdin.readline())
    torch.set_num_threads(1)
    for _ in iter(sys.stdin.readline, ""):
        torch.manual_seed(0)
        meter = Meter(time.process_time)
        SIDES[job["side"]](job, meter)
        gc.collect()
        answer = {"steps": meter.steps, "memory_gib": memory_gib([os.getpid()])}
        print(ANSWER + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
