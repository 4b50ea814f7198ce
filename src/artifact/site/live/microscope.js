// The loss microscope: groups of rollouts, a method and its settings; the examples it makes, their weights, the loss, and
// at every token its share of the loss and the direction in which one step moves the logits.
"use strict";

Live.scope = { rows: new Map(), weights: new Map() };

// Which settings matter to which method.
const READS = {
  opd: ["k", "tau", "divergence", "support", "jsdbeta", "reduction"],
  uopd: ["k", "tau", "divergence", "support", "jsdbeta", "reduction", "weighting", "threshold"],
  core: ["alpha", "beta", "k", "tau", "divergence", "support", "jsdbeta", "reduction", "parts", "mix", "order", "context", "form"],
  grpo: [], negative: [], sft: ["reduction"],
  opsd: ["k", "tau", "divergence", "support", "jsdbeta", "reduction"],
  opposite: ["alpha", "k", "tau", "divergence", "support", "jsdbeta", "reduction"],
};
const READS_SOLUTION = { sft: true, opsd: true };
const LABELS = { opd: "OPD: every rollout, weight 1", uopd: "UOPD: weighted by the teacher’s certainty",
  core: "CORE: distil what is right, contrast what is wrong", grpo: "GRPO: policy gradient on verdicts",
  sft: "SFT: the reference solution", opsd: "OPSD: the student itself, reading the solution",
  opposite: "Opposite routing: distil what is wrong", negative: "Negative only: push wrong rollouts down" };

Live.scope.build = () => {
  const { world } = Live, draw = () => Live.scope.draw(), named = (role) => world.models.filter((m) => m.role === role).map((m) => [m.name, m.label]);
  const same = (...values) => values.map((v) => [v, v]);
  Live.scope.groups = [...world.groups];
  Live.show("scope-form",
    Live.h("div", { class: "row" },
      Live.select("student", "Student", named("student"), draw), Live.select("teacher", "Teacher", named("teacher"), draw),
      Live.select("method", "Method", Object.entries(LABELS), draw)),
    Live.h("div", { class: "row" },
      Live.range("alpha", "α, weight of distillation", { min: 0, max: 10, step: 0.1, value: 5 }, draw),
      Live.range("beta", "β of the contrast", { min: 0.02, max: 3, step: 0.02, value: 0.1 }, draw),
      Live.range("k", "k, teacher tokens kept", { min: 1, max: world.tokenizer.vocabulary.length, step: 1, value: world.topK }, draw),
      Live.range("tau", "τ, temperature of distillation", { min: 0.25, max: 4, step: 0.05, value: 1 }, draw),
      Live.range("threshold", "Threshold on H / log N", { min: 0, max: 1, step: 0.05, value: 0.5 }, draw)),
    Live.h("div", { class: "row" },
      Live.select("weighting", "Weighting", same("soft", "binary", "uniform"), draw),
      Live.select("parts", "Parts", same("both", "distil", "contrast"), draw),
      Live.select("mix", "Mix", same("weighted", "convex", "adaptive"), draw),
      Live.select("form", "Contrast", same("dpo", "simpo"), draw),
      Live.select("order", "Chosen first", [["reference", "reference solution"], ["own", "own correct rollout"]], draw),
      Live.select("context", "Teacher reads", [["none", "the question"], ["answer", "the answer too"], ["solution", "the solution too"]], draw),
      Live.select("divergence", "Divergence", same("forward_kl", "reverse_kl", "jsd"), draw),
      Live.range("jsdbeta", "β of jsd", { min: 0.05, max: 0.95, step: 0.05, value: 0.5 }, draw),
      Live.select("support", "Support", same("renorm", "tail", "raw"), draw),
      Live.select("reduction", "Reduction", same("sequence_mean", "token_mean"), draw)),
    Live.h("fieldset", {}, Live.h("legend", {}, "Groups of rollouts in the step"), Live.h("div", { id: "groups" }),
      Live.h("button", { type: "button", id: "fresh", onclick: Live.scope.fresh }, "Draw four rollouts of this student on the question above"),
      Live.h("p", { id: "fresh-told", role: "status" })));
  Live.at("method").value = "core";
  Live.scope.listGroups(new Set([0]));
};

Live.scope.listGroups = (chosen) => {
  Live.show("groups", Live.scope.groups.map((group, i) => Live.h("label", { class: "check" },
    Live.h("input", { type: "checkbox", name: "group", value: i, checked: chosen.has(i), onchange: () => Live.scope.draw() }),
    `${group.problem.question} `, Live.h("small", {}, `gold ${group.problem.answer}; ` +
      group.rollouts.map((r) => Live.mark(r.status)[0]).join(" ") + (group.rollouts[0].step >= 0 ? `; step ${group.rollouts[0].step}` : "; drawn here")))));
};

Live.scope.chosen = () => [...document.querySelectorAll("input[name=group]:checked")].map((box) => Live.scope.groups[box.value]);

// Four rollouts of the student on the question of the first part, as a new group.
Live.scope.fresh = async () => {
  const problem = Live.ask.problem();
  Live.at("fresh-told").textContent = problem.answer ? "" : "A method reads verdicts: give the right answer above first.";
  if (!problem.answer) return;
  const model = await Live.model(Live.at("student").value), prompted = model.read(Live.tokenizer.prompt(problem.question));
  const seed = `(${Live.at("seed").value}, 0)`, { maxTokens, rollouts, samplingTemperature: temperature } = Live.world;
  const drawn = Array.from({ length: rollouts }, (_, sample) => {
    const { ids } = Live.respond(model, prompted, { temperature, maxTokens, stop: Live.tokenizer.eos, seed: Live.requestSeed(seed, problem.id, sample) });
    return { ids, sample, step: -1, status: Live.verdict(Live.tokenizer.decode(ids), problem.answer) };
  });
  Live.scope.groups.push({ problem, rollouts: drawn });
  Live.scope.listGroups(new Set([Live.scope.groups.length - 1]));
  await Live.scope.draw();
};

// Logits of a model on a response, kept.
Live.scope.score = (name, model, context, group, ids) => {
  const key = `${name}|${context}|${Live.place(group, ids)}`;
  if (!Live.scope.rows.has(key)) {
    const hint = { none: "", answer: group.problem.answer, solution: group.problem.solution || "" }[context];
    Live.scope.rows.set(key, model.score(Live.tokenizer.prompt(group.problem.question, context, hint), ids));
  }
  return Live.scope.rows.get(key);
};

// {entropy, weight} of the teacher on a problem, from N samples as phase 1 draws them; kept.
Live.scope.certainty = (name, model, problem) => {
  const key = `${name}|${problem.id}`;
  if (!Live.scope.weights.has(key)) {
    const prompted = model.read(Live.tokenizer.prompt(problem.question)), { samples, maxTokens, temperature } = Live.world;
    const drawn = Array.from({ length: samples }, (_, n) => Live.respond(model, prompted, { temperature, maxTokens,
      stop: Live.tokenizer.eos, seed: Live.requestSeed("('annotate', 0)", problem.id, n) }));
    Live.scope.weights.set(key, Live.semanticEntropy(drawn.map((d) => ({ ...d, text: Live.tokenizer.decode(d.ids) }))));
  }
  return Live.scope.weights.get(key);
};

// The settings as the controls stand.
Live.scope.settings = () => {
  const value = (id) => Live.at(id).value, number = (id) => Number(value(id));
  const other = value("order") === "reference" ? "own" : "reference";
  return {
    method: value("method"),
    options: { alpha: number("alpha"), mix: value("mix"), parts: value("parts"), chosenOrder: [value("order"), other],
      context: value("context"), weighting: value("weighting"), threshold: number("threshold") },
    losses: { k: number("k"), temperature: number("tau"), divergence: value("divergence"), support: value("support"),
      beta: number("jsdbeta"), reduction: value("reduction"), dpoBeta: number("beta"), form: value("form"),
      lengthNormalised: false, samplingTemperature: Live.world.samplingTemperature },
  };
};

// The batch of a method on groups, and its objective.
Live.scope.compute = async (groups, { method, options, losses }, student, teacher) => {
  const initial = Live.world.models[0].name;
  const [s, t, r] = await Promise.all([student, teacher, initial].map(Live.model));
  const rows = {
    student: (...asked) => Live.scope.score(student, s, ...asked), teacher: (...asked) => Live.scope.score(teacher, t, ...asked),
    self: (...asked) => Live.scope.score(initial, r, ...asked), reference: (...asked) => Live.scope.score(initial, r, ...asked),
  };
  const weights = {};
  for (const { problem } of method === "uopd" ? groups : []) {
    const { weight } = Live.scope.certainty(teacher, t, problem);
    weights[problem.id] = { soft: weight, uniform: 1, binary: Number(1 - weight <= options.threshold) }[options.weighting];
    await Live.pause();
  }
  const batch = Live.methods[method](groups, options, { weights, tokenizer: Live.tokenizer });
  return { batch, ...Live.objective(batch, rows, losses) };
};

Live.scope.draw = async () => {
  const run = (Live.scope.current = {}), settings = Live.scope.settings(), groups = Live.scope.chosen();
  const reads = READS[settings.method];
  for (const id of new Set(Object.values(READS).flat())) Live.at(`${id}-field`).hidden = !reads.includes(id);
  Live.at("jsdbeta-field").hidden ||= settings.losses.divergence !== "jsd";
  Live.at("threshold-field").hidden ||= settings.options.weighting !== "binary";
  const solution = READS_SOLUTION[settings.method] || (settings.method === "core" && settings.options.context === "solution");
  const refused = !groups.length ? "Choose a group of rollouts."
    : solution && groups.some((g) => !g.problem.solution) ? "This method reads reference solutions, and a chosen problem has none."
    : settings.method === "core" && settings.options.mix === "convex" && settings.options.alpha > 1
      ? "mix convex needs α ≤ 1: beyond it contrast would weigh 1 − α < 0 and training would maximise it." : "";
  if (refused) return Live.show("scope-out", Live.h("p", { role: "alert" }, refused));
  const found = await Live.scope.compute(groups, settings, Live.at("student").value, Live.at("teacher").value);
  if (Live.scope.current === run) Live.scope.show(found);
};

Live.scope.show = ({ batch, loss, components, tokens }) => {
  const signed = (x) => (x >= 0 ? "+" : "−") + Math.abs(x).toPrecision(3);
  const names = { distil: "distillation", nll: "log-likelihood", policy_gradient: "policy gradient", contrast: "contrast" };
  const sum = Object.entries(components).map(([name, value]) => `${batch.coefficients[name]} · ${names[name]} ${value.toFixed(4)}`).join(" + ");
  const beside = (e) => (e.rejected ? `preferred to ${Live.tokenizer.decode(e.rejected)}`
    : e.component === "distil" ? `${e.teacher}, reading ${e.context === "none" ? "the question" : `the ${e.context}`}` : "");
  const examples = batch.examples.map((e) => [names[e.component], e.weight.toFixed(3),
    Live.h("span", { class: "response" }, Live.tokenizer.decode(e.response || e.chosen)), beside(e)]);
  const steps = [...tokens.values()], most = Math.max(1e-12, ...steps.flatMap((s) => s.ids.map((id, t) => Math.abs(s.gradient[t][id]))));
  Live.show("scope-out",
    Live.h("p", { id: "loss" }, `L = ${loss.toFixed(5)}`, sum ? ` = ${sum}` : ""),
    Live.table("Examples of the step", ["Component", "Weight", "Response", "Scored by, or preferred to"], examples),
    steps.map((step) => Live.h("article", { class: "card" },
      Live.h("h3", {}, Live.tokenizer.decode(step.ids)),
      Live.h("p", {}, `${[...new Set(step.roles)].map((r) => names[r] || r).join(", ") || "no loss"}; adds ${step.loss.reduce((a, b) => a + b, 0).toFixed(5)} to L`),
      Live.strip("Response, coloured by the push on each token", step.ids.map((id, t) => {
        const push = step.gradient[t].map((g) => -g), order = Live.topk(push, push.length);
        const told = (ids) => ids.filter((v) => Math.abs(push[v]) > 1e-9).map((v) => `${Live.tokenText(v)}  ${signed(push[v])}`);
        return { text: Live.tokenText(id), heat: push[id] / most,
          rows: [["push on this token, −∂L/∂z", signed(push[id])], ["its part of L", signed(step.loss[t])],
            ...(step.divergence ? [["divergence", `${step.divergence[t].toFixed(3)} nats`]] : []),
            ["norm of ∂L/∂z", Math.hypot(...push).toPrecision(3)]],
          lists: [{ title: "Raised most", entries: told(order.slice(0, 5).filter((v) => push[v] > 0)) },
            { title: "Lowered most", entries: told(order.reverse().slice(0, 5).filter((v) => push[v] < 0)) }] };
      })))));
};
