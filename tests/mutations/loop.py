"""Mutants of the loop: order, seeds, cadence, ranks, the step, schedules, rollouts, the sync proof.

Those of the run's log stand in `studies.py`.
"""

from __future__ import annotations

from tests.mutations.mutant import Mutant

STUDENT, CALLS = ("train/test_student.py",), ("train/test_calls.py",)
ROLLOUTS, RANKS = ("train/test_rollouts.py",), ("train/test_two_ranks.py",)
ORDER = ("train/test_loop.py::test_every_pass_takes_each_problem_once_in_an_order_of_its_own",)
DRAWS = ("train/test_loop.py::test_draws_with_replacement_are_uniform_and_differ_from_step_to_step",)
FRESH = ("train/test_loop.py::test_each_step_trains_on_fresh_rollouts_of_its_own_prompts_and_policy",)
RESUME = ("train/test_loop.py::test_a_run_killed_between_checkpoints_ends_with_the_same_weights",)
CURVE = ("train/test_loop.py::test_the_curve_is_measured_when_asked_only",)
SHARES = ("train/test_loop.py::test_ranks_share_the_examples_and_the_denominators",)

MUTANTS = (
    # order of prompts
    Mutant("every pass in one order", "train/inputs.py", "[seed, 2**20 + i // problems]", "[seed, 2**20]", ORDER),
    Mutant(
        "the order is the same for every seed",
        "train/inputs.py",
        "[seed, 2**20 + i // problems]",
        "[2**20 + i // problems]",
        ORDER,
    ),
    Mutant(
        "a step begins where the last began",
        "train/inputs.py",
        "range(step * size, (step + 1) * size)",
        "range(step, step + size)",
        ORDER,
    ),
    Mutant("the same draw at every step", "train/inputs.py", "default_rng([seed, step])", "default_rng([seed])", DRAWS),
    Mutant(
        "the last problem is never drawn",
        "train/inputs.py",
        ".integers(0, problems, size)",
        ".integers(0, problems - 1, size)",
        DRAWS,
    ),
    Mutant(
        "draws with replacement are passes",
        "train/inputs.py",
        "if settings.train.with_replacement:",
        "if False:",
        DRAWS,
    ),
    # the loop
    Mutant(
        "the seed of a rollout forgets the step",
        "train/loop.py",
        "seed=(settings.seed, step),",
        "seed=settings.seed,",
        ("train/test_loop.py::test_an_unchanged_policy_asked_the_same_again_answers_anew",),
    ),
    Mutant(
        "a resumed run keeps its initial weights",
        "train/loop.py",
        'workers.load_checkpoint(log.checkpoints, f"step-{start}")',
        "pass",
        RESUME,
    ),
    Mutant(
        "a resumed run starts its steps anew",
        "train/loop.py",
        "log.progress(range(start, steps))",
        "log.progress(range(steps))",
        RESUME,
    ),
    Mutant("no first point of the curve", "train/loop.py", "if start == 0:", "if start:", CURVE),
    Mutant(
        "the curve one step early",
        "train/loop.py",
        "(step + 1) % settings.train.curve_every == 0:",
        "step % settings.train.curve_every == 0:",
        CURVE,
    ),
    Mutant(
        "the curve when nobody asked",
        "train/calls.py",
        "if settings.train.curve_every and inputs.curve:",
        "if inputs.curve:",
        CURVE,
    ),
    Mutant(
        "no checkpoint at the end",
        "train/loop.py",
        "settings.train.checkpoint_every == 0 or step + 1 == steps:",
        "settings.train.checkpoint_every == 0:",
        ("train/test_loop.py::test_checkpoints_come_as_often_as_asked_and_at_the_end",),
    ),
    Mutant(
        "ranks lose examples",
        "train/loop.py",
        "batch.examples[rank :: workers.ranks]",
        "batch.examples[rank :: workers.ranks + 1]",
        SHARES,
    ),
    Mutant(
        "denominators of the first rank's share",
        "train/loop.py",
        "denominators(batch.examples, settings.losses",
        "denominators(shards[0], settings.losses",
        SHARES,
    ),
    Mutant(
        "the reference is never asked",
        "train/loop.py",
        "if method.needs.reference else",
        "if False else",
        ("train/test_loop.py::test_the_reference_is_asked_where_the_method_needs_it",),
    ),
    Mutant(
        "engines hold the weights of the step before",
        "train/loop.py",
        "workers.sync_weights(step + 1)",
        "workers.sync_weights(step)",
        FRESH,
    ),
    Mutant(
        "episodes counted in steps",
        "train/loop.py",
        "step * settings.train.prompts_per_step // len(inputs.train)",
        "step // len(inputs.train)",
        FRESH,
    ),
    # what is asked, and what is logged
    Mutant("norms are due one step late", "train/calls.py", "step % every == 0", "(step + 1) % every == 0", CALLS),
    Mutant(
        "ranks merged without regard to tokens",
        "train/calls.py",
        'weights = [m.get(f"{component}/tokens", 1.0) for m in having]',
        "weights = [1.0 for m in having]",
        CALLS,
    ),
    Mutant(
        "shares of the loss averaged over ranks", "train/calls.py", 'component == "loss" or quantity', "quantity", CALLS
    ),
    Mutant(
        "accuracy over verified prompts",
        "train/calls.py",
        'metrics.get("verdict/correct", 0.0) / len(flat)',
        'metrics.get("verdict/correct", 0.0) / len(groups)',
        CALLS,
    ),
    Mutant(
        "accuracy of what is not wrong",
        "train/calls.py",
        'metrics.get("verdict/correct", 0.0) / len(flat)',
        '1 - metrics.get("verdict/wrong", 0.0) / len(flat)',
        CALLS,
    ),
    Mutant(
        "tool tokens are the policy's",
        "train/calls.py",
        "r.response_mask.count(False)",
        "r.response_mask.count(True)",
        CALLS,
    ),
    Mutant(
        "truncated counts the finished",
        "train/calls.py",
        'r.finish_reason == "length"',
        'r.finish_reason == "stop"',
        CALLS,
    ),
    Mutant(
        "a teacher's answers overlap",
        "train/calls.py",
        "completions[i * k : (i + 1) * k]",
        "completions[i : i + k]",
        CALLS,
    ),
    Mutant(
        "a teacher answers without its context",
        "train/calls.py",
        "self.inputs.encode(p, context)",
        'self.inputs.encode(p, "none")',
        CALLS,
    ),
    Mutant(
        "a teacher answers alike at every step",
        "train/calls.py",
        '"teacher answers", self.step)',
        '"teacher answers")',
        CALLS,
    ),
    Mutant(
        "mean log-probability over tool tokens",
        "records.py",
        "len(self.logprobs) if self.response_mask is None else sum(self.response_mask)",
        "len(self.logprobs)",
        ("test_records.py",),
    ),
    # the student's step
    Mutant(
        "the gradient of a rank is averaged away",
        "train/student.py",
        "self.engine.backward(outcome.loss * self.world_size)",
        "self.engine.backward(outcome.loss)",
        RANKS,
    ),
    Mutant("component norms of one rank", "train/gradients.py", "if self.world_size > 1:", "if False:", RANKS),
    Mutant(
        "component norms without their coefficients",
        "train/student.py",
        "separate.add(outcome.weighted_losses)",
        "separate.add({n: v / work.coefficients[n] for n, v in outcome.weighted_losses.items()})",
        STUDENT,
    ),
    Mutant(
        "component norms of the last micro-batch",
        "train/gradients.py",
        "self.sums[name] += flat",
        "self.sums[name] = flat",
        STUDENT,
    ),
    Mutant(
        "teacher rows by their place in the micro-batch",
        "train/student.py",
        "[teacher.get(i) for i in members]",
        "[teacher.get(i) for i in chosen]",
        STUDENT,
    ),
    Mutant(
        "reference by its place in the micro-batch",
        "train/student.py",
        "reference.get(i) for i in members]",
        "reference.get(i) for i in chosen]",
        STUDENT,
    ),
    Mutant(
        "micro-batches index all examples",
        "train/student.py",
        "members = [live[j] for j in chosen]",
        "members = list(chosen)",
        STUDENT,
    ),
    Mutant(
        "the step of another rate",
        "train/student.py",
        "learning_rate(self.optimiser, work.step, self.total_steps)",
        "learning_rate(self.optimiser, work.step + 1, self.total_steps)",
        STUDENT,
    ),
    Mutant("the rate is reported and not set", "train/student.py", 'group["lr"] = lr', "pass", STUDENT),
    Mutant(
        "the guard of the gradient is gone",
        "train/student.py",
        "        self._check_gradients(work.step, examples)\n",
        "",
        STUDENT,
    ),
    Mutant(
        "a rank with nothing to learn sends nothing",
        "train/student.py",
        "torch.tensor(max(own, 1), device=self.device)",
        "torch.tensor(own, device=self.device)",
        STUDENT,
    ),
    Mutant(
        "a rank makes only its own passes",
        "train/student.py",
        "dist.all_reduce(most, op=dist.ReduceOp.MAX)",
        "most = most.clone()",
        ("train/test_two_ranks.py",),
    ),
    Mutant(
        "a rank keeps its NaN to itself",
        "train/student.py",
        "            dist.all_reduce(norms)\n",
        "            norms = norms.clone()\n",
        ("train/test_two_ranks.py",),
    ),
    Mutant(
        "a pass without examples leaves the output head out",
        "train/objective.py",
        "outcome.loss + logprobs_TK.sum() * 0.0",
        "outcome.loss + logprobs_TK.detach().sum() * 0.0",
        STUDENT,
    ),
    Mutant(
        "the loss of the last micro-batch",
        "train/student.py",
        'metrics["loss"] += float',
        'metrics["loss"] = float',
        STUDENT,
    ),
    Mutant(
        "policy log-probabilities one token off",
        "train/student.py",
        "np.cumsum([len(r) for _, r in sequences])",
        "np.cumsum([len(r) + 1 for _, r in sequences])",
        STUDENT,
    ),
    Mutant(
        "an infinite gradient passes",
        "train/student.py",
        "norms.isfinite().tolist()",
        "norms.isnan().logical_not().tolist()",
        STUDENT,
    ),
    # the schedule
    Mutant(
        "warm-up one step late",
        "train/schedule.py",
        "o.lr * (step + 1) / warmup",
        "o.lr * step / warmup",
        ("train/test_schedule.py",),
    ),
    Mutant(
        "decay ends one step late",
        "train/schedule.py",
        "max(1, total_steps - 1 - warmup)",
        "max(1, total_steps - warmup)",
        ("train/test_schedule.py",),
    ),
    Mutant(
        "the final fraction is ignored",
        "train/schedule.py",
        "o.final_fraction + (1 - o.final_fraction) * shape",
        "shape",
        ("train/test_schedule.py",),
    ),
    # rollouts
    Mutant(
        "first_samples is 0 for all", "train/rollouts.py", "out.append(n * seen[problem_id])", "out.append(0)", ROLLOUTS
    ),
    Mutant(
        "rollouts numbered from 0 in every group",
        "train/rollouts.py",
        "first = 0 if first_sample is None else first_sample[i]",
        "first = 0",
        ROLLOUTS,
    ),
    Mutant(
        "the version of the first prompt",
        "train/rollouts.py",
        "-1 if policy_versions is None else policy_versions[i]",
        "-1 if policy_versions is None else policy_versions[0]",
        ROLLOUTS,
    ),
    Mutant("every response ends by itself", "train/rollouts.py", "c.finish_reason,\n", '"stop",\n', ROLLOUTS),
    Mutant(
        "the tool's mask is lost",
        "train/rollouts.py",
        "response_mask=None if c.mask is None else tuple(c.mask.tolist()),",
        "response_mask=None,",
        ROLLOUTS,
    ),
    Mutant(
        "the mask is turned round",
        "train/rollouts.py",
        "else tuple(c.mask.tolist())",
        "else tuple((~c.mask).tolist())",
        ROLLOUTS,
    ),
    Mutant(
        "golds once per problem",
        "train/rollouts.py",
        "for p, group in zip(problems, groups, strict=True) for _ in group]",
        "for p, group in zip(problems, groups, strict=True) for _ in groups[-1]]",
        ROLLOUTS,
    ),
    Mutant(
        "an evaluation is sampled with the loop's default",
        "train/rollouts.py",
        "prompts, k, temperature=temperature, top_p=top_p",
        "prompts, k, temperature=0.0, top_p=1.0",
        ROLLOUTS,
    ),
    Mutant("the seed is one of its parts", "train/rollouts.py", '"/".join(map(str, parts))', "str(parts[0])", ROLLOUTS),
    # the plain workers
    Mutant(
        "plain sampler: log-probabilities of the tempered policy",
        "train/local.py",
        "float(logits_V.log_softmax(-1)[token])",
        "float((logits_V / (temperature or 1) / 2).log_softmax(-1)[token])",
        ("train/test_local.py::test_samples_carry_their_log_probabilities_and_end_at_the_stop_token",),
    ),
    Mutant(
        "plain sampler: temperature ignored",
        "train/local.py",
        "(logits_V / temperature).softmax(-1)",
        "logits_V.softmax(-1)",
        ("train/test_local.py::test_first_tokens_are_drawn_in_proportion_to_the_tempered_probabilities",),
    ),
    Mutant(
        "plain sampler: one seed for a group",
        "train/local.py",
        "request_seed(seed, problem, first[i] + j)",
        "request_seed(seed, problem, first[i])",
        ("train/test_local.py::test_a_sample_depends_on_its_own_name_alone",),
    ),
    Mutant(
        "plain sampler: a stale version passes",
        "train/local.py",
        "if expect_version not in (None, self._version):",
        "if expect_version is not None and expect_version < self._version:",
        ("train/test_local.py::test_a_stale_version_and_a_cut_distribution_are_refused",),
    ),
    Mutant(
        "plain checkpoint without the optimiser",
        "train/local.py",
        '        self.student.engine.optimizer.load_state_dict(state["optimiser"])\n',
        "",
        ("train/test_local.py::test_a_checkpoint_goes_on_as_if_nothing_had_happened",),
    ),
    Mutant(
        "plain workers start from the trained weights",
        "train/local.py",
        "        self.network.load_state_dict(self._initial)\n",
        "",
        ("train/test_local.py::test_a_start_takes_the_initial_weights_up_again",),
    ),
    Mutant(
        "the reference trains along",
        "train/local.py",
        "FrozenModel(copy.deepcopy(network).requires_grad_(False))",
        "FrozenModel(network)",
        ("train/test_local.py::test_the_reference_stays_the_initial_student_and_teaches_where_there_is_no_teacher",),
    ),
    Mutant(
        "the gradient is not clipped",
        "train/local.py",
        "self.policy.parameters(), self.clip)",
        "self.policy.parameters(), 1e9)",
        ("train/test_local.py::test_the_gradient_is_clipped_to_the_settings",),
    ),
    # the sync proof
    Mutant(
        "sync: exactly the tolerance is refused",
        "train/sync_check.py",
        "if not found <= tolerance:",
        "if not found < tolerance:",
        ("train/test_sync_check.py",),
    ),
    Mutant(
        "sync: not a number passes",
        "train/sync_check.py",
        "if not found <= tolerance:",
        "if found > tolerance:",
        ("train/test_sync_check.py",),
    ),
    Mutant(
        "sync: the last sequence decides",
        "train/sync_check.py",
        "float(np.max([np.abs(x - y).max() for x, y in zip(a, b, strict=True)]))",
        "float([np.abs(x - y).max() for x, y in zip(a, b, strict=True)][-1])",
        ("train/test_sync_check.py",),
    ),
    Mutant(
        "sync: a smaller value is no difference",
        "train/sync_check.py",
        "np.abs(x - y).max()",
        "(x - y).max()",
        ("train/test_sync_check.py",),
    ),
    Mutant(
        "sync: only the first engine is proven",
        "train/sync_check.py",
        "source, *engines = measure()\n    lowest",
        "source, *engines = measure()[:2]\n    lowest",
        ("train/test_sync_check.py",),
    ),
)
