// The loss of one optimiser step on given examples, and what each response token adds to it (train/objective.py).
//
//   L = Σ_c coefficient_c · L_c,   each L_c over its own denominator:
//   distil, nll, policy_gradient   1/N Σ_s w_s · mean_t ℓ_t, or Σ_s w_s Σ_t ℓ_t over the number of tokens (token_mean)
//   contrast                       1/P Σ_p −log σ(β [(s_S(c) − s_ref(c)) − (s_S(r) − s_ref(r))])
//
// The policy gradient is that of rollouts which the student itself drew (ratio 1), at the temperature of the sampler.
"use strict";

// rows: {student, teacher, self, reference}: (prompt context, group, response ids) → logits [T][V]
// settings: {k, temperature, divergence, support, beta, reduction, dpoBeta, form: dpo | simpo, lengthNormalised,
//            samplingTemperature}
// {loss, components: {name: L_c}, tokens}: tokens holds for each (problem, response), under `Live.place`,
// {group, ids, loss: [T], gradient: [T][V], divergence: [T], roles: [names]}.
Live.objective = (batch, rows, settings) => {
  const components = {}, tokens = new Map();
  const at = (group, ids) => {
    const place = Live.place(group, ids);
    if (!tokens.has(place)) {
      const zero = () => new Float64Array(ids.length);
      tokens.set(place, { group, ids, loss: zero(), divergence: null, roles: [],
        gradient: ids.map(() => new Float64Array(Live.world.tokenizer.vocabulary.length)) });
    }
    return tokens.get(place);
  };
  const add = (entry, t, loss, factor, gradient) => {
    entry.loss[t] += loss;
    for (let v = 0; v < gradient.length; v++) entry.gradient[t][v] += factor * gradient[v];
  };
  for (const [component, coefficient] of Object.entries(batch.coefficients)) {
    const examples = batch.examples.filter((e) => e.component === component);
    if (!examples.length) continue;
    const length = examples.reduce((sum, e) => sum + (e.response?.length ?? 1), 0);
    const tokenMean = settings.reduction === "token_mean" && component !== "contrast" && component !== "policy_gradient";
    const denominator = tokenMean ? length : examples.length;
    components[component] = 0;
    for (const e of examples) {
      if (component === "contrast") {
        components.contrast += Live.pair(e, rows, settings, denominator, coefficient, at, add);
        continue;
      }
      const entry = at(e.group, e.response), z = rows.student("none", e.group, e.response);
      const share = (tokenMean ? e.weight : e.weight / e.response.length) / denominator;
      const teacher = component === "distil" ? rows[e.teacher](e.context, e.group, e.response) : null;
      entry.roles.push(component);
      if (teacher) entry.divergence = new Float64Array(e.response.length);
      e.response.forEach((id, t) => {
        let loss, gradient, factor = coefficient * share;
        if (teacher) {
          ({ loss, gradient, divergence: entry.divergence[t] } = Live.divergence(teacher[t], z[t], settings));
          loss *= share;
        } else {
          const temperature = component === "nll" ? 1 : settings.samplingTemperature;
          gradient = Live.towards(z[t], id, temperature);
          loss = component === "nll" ? -Live.logSoftmax(z[t])[id] * share : -share;
          factor = -factor;
        }
        components[component] += loss;
        add(entry, t, coefficient * loss, factor, gradient);
      });
    }
  }
  const loss = Object.entries(components).reduce((sum, [name, value]) => sum + batch.coefficients[name] * value, 0);
  return { loss, components, tokens };
};

// One response of one problem.
Live.place = (group, ids) => `${group.problem.id}|${ids.join(",")}`;

// A preference pair's share of L_contrast; half of it is told at the tokens of each of its two responses, by length.
Live.pair = (e, rows, settings, denominator, coefficient, at, add) => {
  const normalised = settings.lengthNormalised || settings.form === "simpo";
  const logits = (who, ids) => rows[who]("none", e.group, ids);
  const score = (who, ids) => {
    const sum = logits(who, ids).reduce((total, z, t) => total + Live.logSoftmax(z)[ids[t]], 0);
    return normalised ? sum / ids.length : sum;
  };
  const ahead = (ids) => score("student", ids) - (settings.form === "simpo" ? 0 : score("reference", ids));
  const margin = settings.dpoBeta * (ahead(e.chosen) - ahead(e.rejected));
  const { loss, slope } = Live.logistic(margin, settings.form === "simpo" ? settings.dpoBeta / 2 : 0);
  const share = (e.weight * loss) / denominator;
  for (const [ids, sign, role] of [[e.chosen, 1, "chosen"], [e.rejected, -1, "rejected"]]) {
    const entry = at(e.group, ids);
    entry.roles.push(role);
    const factor = (coefficient * e.weight * slope * settings.dpoBeta * sign) / (denominator * (normalised ? ids.length : 1));
    logits("student", ids).forEach((z, t) =>
      add(entry, t, (coefficient * share) / 2 / ids.length, factor, Live.towards(z, ids[t])));
  }
  return share;
};
