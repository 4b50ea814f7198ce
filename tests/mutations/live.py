"""Mutants of the models in a page: their forward pass, sampler, answers, losses and methods, and what is exported."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

DISTRIBUTIONS = ("site/live/test_live_models.py::test_whole_distributions",)
SAMPLES = ("site/live/test_live_models.py::test_samples_are_the_engines",)
OBJECTIVE = ("site/live/test_live_losses.py::test_the_objective_and_its_gradient",)

MUTANTS = (
    Mutant(
        "page: rotary positions turn the other way",
        "site/live/model.js",
        "x[from + d] = a * cos[d] - b * sin[d];",
        "x[from + d] = a * cos[d] + b * sin[d];",
        DISTRIBUTIONS,
    ),
    Mutant(
        "page: heads are not normalised",
        "site/live/model.js",
        "scale = this.scale(x.subarray(from, from + 2 * half));",
        "scale = 1;",
        DISTRIBUTIONS,
    ),
    Mutant(
        "page: bytes of weights in their own order",
        "site/live_weights.py",
        "reshape(-1, 4).T.tobytes()",
        "reshape(-1, 4).tobytes()",
        DISTRIBUTIONS,
    ),
    Mutant(
        "page: a token's seed from the upper word",
        "site/live/sampler.js",
        """    this.word();
    return this.word() & 0x7fffffff;""",
        """    const seed = this.word() & 0x7fffffff;
    this.word();
    return seed;""",
        SAMPLES,
    ),
    Mutant(
        "page: samples at temperature 1", "site/live/sampler.js", "Math.fround(temperature)", "Math.fround(1)", SAMPLES
    ),
    Mutant(
        "page: numbers compared by numerator",
        "site/live/answers.js",
        "a.top * b.bottom === b.top * a.bottom",
        "a.top === b.top",
        ("site/live/test_live_models.py::test_answers_of_other_forms",),
    ),
    Mutant(
        "page: classes weighed by their counts",
        "site/live/answers.js",
        "c.members.reduce((sum, n) => sum + share[n], 0) / total",
        "c.members.length / samples.length",
        ("site/live/test_live_models.py::test_classes_entropies_and_verdicts",),
    ),
    Mutant(
        "page: a divergence without the square of its temperature",
        "site/live/losses.js",
        "return ((own - x * total) / temperature) * temperature ** 2;",
        "return (own - x * total) / temperature;",
        OBJECTIVE,
    ),
    Mutant(
        "page: the tail has no gradient",
        "site/live/losses.js",
        'tail = support === "tail" ? slopes[ids.length] : 0',
        "tail = 0",
        OBJECTIVE,
    ),
    Mutant(
        "page: the rejected response is raised",
        "site/live/objective.js",
        '[e.rejected, -1, "rejected"]',
        '[e.rejected, 1, "rejected"]',
        OBJECTIVE,
    ),
    Mutant(
        "page: one own rollout is chosen for all",
        "site/live/methods.js",
        "from[r.sample % from.length]",
        "from[0]",
        OBJECTIVE,
    ),
    Mutant(
        "page: groups of one verdict come first",
        "site/live_world.py",
        "key=lambda g: not (g.correct and g.incorrect)",
        "key=lambda g: bool(g.correct and g.incorrect)",
        ("site/live/test_live_page.py::test_groups_are_spread_and_mixed_ones_come_first",),
    ),
)
