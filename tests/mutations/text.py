"""Mutants of graded outcomes and of free text: scores, routing by rank, entailment, similarity, and the text world."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

METRICS, GRADING = ("tasks/test_metrics.py",), ("tasks/test_grading.py",)
FREE, WORLD = ("phase1/test_free_text.py",), ("worlds/test_text_world.py",)

MUTANTS = (
    Mutant("percentages are scores", "tasks/metrics.py", ".score / 100", ".score / 101", METRICS),
    Mutant("ROUGE is recall", "tasks/metrics.py", "[name].fmeasure", "[name].recall", METRICS),
    Mutant(
        "sentence BLEU without effective order",
        "tasks/metrics.py",
        "effective_order=True",
        "effective_order=False",
        METRICS,
    ),
    Mutant(
        "any number is a score",
        "tasks/metrics.py",
        "if not -ROUNDING <=",
        "if value == 2 and not -ROUNDING <=",
        METRICS,
    ),
    Mutant(
        "an empty response is only wrong",
        "tasks/grading.py",
        "Verdict(Status.UNPARSED, detail",
        "Verdict(Status.WRONG, detail",
        GRADING,
    ),
    Mutant("the threshold itself is wrong", "tasks/grading.py", "score >= self", "score > self", GRADING),
    Mutant("thinking is graded", "tasks/grading.py", '(final_segment(text) or "").strip()', "text.strip()", GRADING),
    Mutant(
        "GRPO takes the verdict where there is a score",
        "train/methods/grpo.py",
        "[mean if r.unjudged else r.reward for r in group.rollouts]",
        "[mean if r.unjudged else float(r.correct) for r in group.rollouts]",
        ("train/test_options.py",),
    ),
    Mutant(
        "the best alone is correct by rank",
        "train/routing.py",
        "if a > 0)",
        "if a == max(lead))",
        ("train/test_routing.py",),
    ),
    Mutant(
        "an accident has a rank",
        "train/routing.py",
        "[r for r in group.rollouts if not r.unjudged]",
        "list(group.rollouts)",
        ("train/test_routing.py",),
    ),
    Mutant("one direction is enough", "phase1/entailment.py", "if there and back else", "if there else", FREE),
    Mutant(
        "a premise entails what holds it", "phase1/entailment.py", "said <= given", "said >= given", FREE[:1] + WORLD
    ),
    Mutant(
        "the question is lost", "phase1/entailment.py", "[*contexts, *contexts]", '[""] * (2 * len(contexts))', FREE
    ),
    Mutant("likeness counts twice", "phase1/similarity.py", "np.log(s_NN @ q_N)", "np.log(s_NN @ s_NN @ q_N)", FREE),
    Mutant(
        "one direction of the metric",
        "phase1/similarity.py",
        "_one(metric, right, left)) / 2",
        "_one(metric, left, right)) / 2",
        FREE,
    ),
    Mutant(
        "no agreement of the verb",
        "worlds/text/translation.py",
        "or subject.plural != plural",
        "or not plural and plural",
        WORLD,
    ),
    Mutant(
        "a fact may be said twice",
        "worlds/text/summary.py",
        "if len(set(found)) == len(found) else None",
        "if found else None",
        WORLD,
    ),
    Mutant(
        "a summary keeps what was not asked for",
        "worlds/text/summary.py",
        "if f.relation in self.relations)",
        "if f.relation not in self.relations)",
        WORLD,
    ),
    Mutant(
        "facts in the order of the question",
        "worlds/text/summary.py",
        "for fact in sorted(facts, key=lambda f: f.place):",
        "for fact in facts:",
        WORLD,
    ),
    Mutant(
        "runs of the tier whose settings they take",
        "studies/study.py",
        'update={"tier": asked}',
        'update={"tier": tier}',
        ("studies/test_settings_of.py",),
    ),
    Mutant(
        "a notebook is fresh where borrowed settings changed",
        "book/notebooks.py",
        "for c in (config, *borrowed))\n",
        "for c in (config,))\n",
        ("studies/test_settings_of.py",),
    ),
    Mutant(
        "no AUROC where a teacher is only right counts as chance",
        "report/free_text.py",
        "ends = (math.nan,) * 3",
        "ends = (0.5, 0.5, 0.5)",
        ("report/test_free_text.py",),
    ),
    Mutant("words from anywhere", "worlds/text/instruction.py", "and set(lower) <= set(instruction.words)", "", WORLD),
    Mutant(
        "who reads the solution errs too",
        "worlds/text/corpus.py",
        "if kind < corpus.solution_share:",
        "if False:",
        WORLD,
    ),
    Mutant(
        "scores of all metrics in one mean",
        "evaluate/scores.py",
        '[*by, "rule"], sort=False',
        '[*by, "split"], sort=False',
        ("evaluate/test_scores.py",),
    ),
)
