"""Mutants of token records and of the views: which token, whose numbers, and text that acts."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

RECORDS, VIEWS = ("train/test_token_records.py",), ("inspect/test_views.py",)
POKE = ("inspect/test_poke.py",)

MUTANTS = (
    Mutant(
        "tokens recorded after the step",
        "train/loop.py",
        "        if records_are_due(settings, step):",
        "        if records_are_due(settings, step + 1):",
        RECORDS,
    ),
    Mutant(
        "the entropy of tokens without its sign", "train/token_reading.py", "torch.special.entr(", "(-1) * (", RECORDS
    ),
    Mutant(
        "masked tokens carry loss in the records",
        "train/token_records.py",
        'np.where(mask, values["loss_weight"] * scale, 0.0)',
        'values["loss_weight"] * scale',
        RECORDS,
    ),
    Mutant(
        "a record forgets the coefficient of its component",
        "train/token_records.py",
        "coefficients.get(component, 0.0) / denominators[component]",
        "1.0 / denominators[component]",
        RECORDS,
    ),
    Mutant(
        "equal rollouts are one in the records",
        "train/token_records.py",
        'queue[0] if role == "chosen" else queue.popleft()',
        "queue[0]",
        RECORDS,
    ),
    Mutant(
        "chosen and rejected are taken for one another in a record",
        "train/token_records.py",
        '("chosen", "rejected").index(role)',
        '("rejected", "chosen").index(role)',
        RECORDS,
    ),
    Mutant("views obey the text of models", "inspect/view.py", "autoescape=True", "autoescape=False", VIEWS),
    Mutant(
        "views obey marks that nobody sees",
        "inspect/view.py",
        "visible(value) if type(value) is str else value",
        "value",
        VIEWS,
    ),
    Mutant(
        "any annotation of the teacher is shown beside a run",
        "inspect/opened.py",
        'if same and (settings["task"], clustered) == wanted',
        'if same and settings["task"] == wanted[0]',
        VIEWS,
    ),
    Mutant(
        "a filter that keeps what fits anything",
        "inspect/collection.py",
        "keep &= frame[column] == word",
        "keep |= frame[column] == word",
        VIEWS,
    ),
    Mutant(
        "views of two responses on one page share their buttons",
        "inspect/view.py",
        "number=name or next(_NUMBER)",
        "number=next(_NUMBER)",
        VIEWS,
    ),
    Mutant(
        "a question to the teacher goes to the student's engines",
        "inspect/live.py",
        'served = {student: config, teacher: config.as_role("teacher")}',
        "served = {student: config, teacher: config}",
        POKE,
    ),
    Mutant(
        "the judge of a question takes devices that another uses",
        "inspect/live.py",
        "        card = annotate(problem, drawn[teacher], make_judge(config)[0], normaliser=a.normaliser)\n",
        "    card = annotate(problem, drawn[teacher], make_judge(config)[0], normaliser=a.normaliser)\n",
        POKE,
    ),
)
