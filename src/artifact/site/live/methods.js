// What methods make of groups of rollouts, as train/methods does: examples with weights, and a coefficient for each loss
// component. A group: {problem, rollouts: [{ids, sample, status}]}; responses are named by their token ids.
//
//   distil          {response, weight, teacher: teacher | self, context: none | answer | solution}
//   nll             {response, weight}
//   policy_gradient {response, weight: the advantage}
//   contrast        {chosen, rejected, weight}
//
// Left out: seqkd, which reads the teacher's stored samples, and a teacher that answers while the student trains.
"use strict";

Live.methods = {};

const flat = (groups, make) => groups.flatMap((group) => make(group, group.rollouts));
const correct = (group) => group.rollouts.filter((r) => r.status === "correct");
const incorrect = (group) => group.rollouts.filter((r) => r.status !== "correct");
const distil = (group, r, rest = {}) =>
  ({ component: "distil", group, response: r.ids, weight: 1, teacher: "teacher", context: "none", ...rest });
const imitate = (group, ids) => ({ component: "nll", group, response: ids, weight: 1 });

Live.methods.opd = (groups) => ({
  coefficients: { distil: 1 },
  examples: flat(groups, (group, rollouts) => rollouts.map((r) => distil(group, r))),
});

// weights: by problem id, those of `options.weighting` (soft | binary | uniform).
Live.methods.uopd = (groups, options, { weights }) => ({
  coefficients: { distil: 1 },
  examples: flat(groups, (group, rollouts) => rollouts.map((r) => distil(group, r, { weight: weights[group.problem.id] }))),
});

Live.methods.core = (groups, options, { tokenizer }) => {
  const { parts, alpha, mix, chosenOrder, context } = options;
  const candidates = (group) => {
    for (const source of chosenOrder) {
      if (source === "reference" && group.problem.solution) return [tokenizer.response(group.problem.solution)];
      const own = correct(group).map((r) => r.ids);
      if (source === "own" && own.length) return own;
    }
    return [];
  };
  const distilled = flat(groups, (group, rollouts) =>
    (context === "none" ? correct(group) : rollouts).map((r) => distil(group, r, { context })));
  const pairs = flat(groups, (group) => incorrect(group).flatMap((r) => {
    const from = candidates(group);
    return from.length
      ? [{ component: "contrast", group, chosen: from[r.sample % from.length], rejected: r.ids, weight: 1 }] : [];
  }));
  const right = groups.flatMap(correct).length / groups.flatMap((g) => g.rollouts).length;
  const mixed = mix === "adaptive" ? [right, 1 - right] : mix === "convex" ? [alpha, 1 - alpha] : [alpha, 1];
  const coefficients = { both: { distil: mixed[0], contrast: mixed[1] }, distil: { distil: 1 }, contrast: { contrast: 1 } };
  const taken = { both: [...distilled, ...pairs], distil: distilled, contrast: pairs };
  return { coefficients: coefficients[parts], examples: taken[parts] };
};

Live.methods.grpo = (groups) => ({
  coefficients: { policy_gradient: 1 },
  examples: flat(groups, (group, rollouts) => {
    const advantages = Live.advantages(rollouts.map((r) => (r.status === "correct" ? 1 : 0)));
    return rollouts.map((r, i) => ({ component: "policy_gradient", group, response: r.ids, weight: advantages[i] }));
  }),
});

Live.methods.sft = (groups, options, { tokenizer }) => ({
  coefficients: { nll: 1 },
  examples: groups.filter((g) => g.problem.solution).map((g) => imitate(g, tokenizer.response(g.problem.solution))),
});

Live.methods.opsd = (groups) => ({
  coefficients: { distil: 1 },
  examples: flat(groups, (group, rollouts) =>
    rollouts.map((r) => distil(group, r, { teacher: "self", context: "solution" }))),
});

Live.methods.opposite = (groups, { alpha }) => ({
  coefficients: { distil: alpha, nll: 1 },
  examples: [...flat(groups, (g) => incorrect(g).map((r) => distil(g, r))),
    ...flat(groups, (g) => correct(g).map((r) => imitate(g, r.ids)))],
});

Live.methods.negative = (groups) => ({
  coefficients: { policy_gradient: 1 },
  examples: flat(groups, (g) => incorrect(g).map((r) =>
    ({ component: "policy_gradient", group: g, response: r.ids, weight: -1 }))),
});
