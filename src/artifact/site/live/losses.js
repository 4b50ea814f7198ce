// The losses of train/losses with their derivatives, per token, on logits. All gradients are ∂/∂z of the student's
// logits z (Float64Array of V); log p_τ = log softmax(z / τ), so ∂ log p_τ(v) / ∂z_u = (1{u = v} − p_τ(u)) / τ.
"use strict";

// The k most likely ids of a row of log-probabilities.
Live.topk = (logprobs, k) => Array.from(logprobs.keys()).sort((a, b) => logprobs[b] - logprobs[a] || a - b).slice(0, k);

const logSumExp = (values) => {
  const top = Math.max(...values);
  return top === -Infinity ? top : top + Math.log(values.reduce((sum, v) => sum + Math.exp(v - top), 0));
};

// Σ_j a_j b_j, where an entry of probability a_j = 0 adds 0 whatever b_j is.
const expectation = (a, b) => a.reduce((sum, p, j) => sum + (p > 0 ? p * b[j] : 0), 0);

// Divergence of one token on the teacher's top-k (losses/divergence.py: the formulas and the meaning of the names).
// settings: {k, temperature, divergence: forward_kl | reverse_kl | jsd, support: renorm | tail | raw, beta}
// {loss (times τ²), divergence, gradient, ids}: what is to be minimised, what is to be reported, ∂loss/∂z, the support.
Live.divergence = (teacherLogits, studentLogits, { k, temperature, divergence: kind, support, beta }) => {
  const teacher = Live.logSoftmax(teacherLogits, temperature), student = Live.logSoftmax(studentLogits, temperature);
  const ids = Live.topk(teacher, k), inside = new Set(ids);
  const outside = (logprobs) => logSumExp(Array.from(logprobs).filter((_, v) => !inside.has(v)));
  let t = ids.map((v) => teacher[v]);
  const s = ids.map((v) => student[v]);
  if (support === "tail") t.push(outside(teacher)), s.push(outside(student));
  if (support === "renorm") t = t.map(((total) => (l) => l - total)(logSumExp(t)));
  const p = t.map(Math.exp), q = s.map(Math.exp);
  let loss, value, slopes; // slopes: ∂loss/∂s_j
  if (kind === "forward_kl") {
    loss = -expectation(p, s);
    value = loss + expectation(p, t);
    slopes = p.map((x) => -x);
  } else if (kind === "reverse_kl") {
    loss = value = expectation(q, s.map((l, j) => l - t[j]));
    slopes = q.map((x, j) => (x > 0 ? x * (s[j] - t[j] + 1) : 0));
  } else {
    const m = p.map((x, j) => beta * x + (1 - beta) * q[j]), logM = m.map(Math.log);
    const apart = (l) => l.map((x, j) => x - logM[j]);
    loss = value = beta * expectation(p, apart(t)) + (1 - beta) * expectation(q, apart(s));
    slopes = q.map((x, j) => (x > 0 ? (1 - beta) * x * (s[j] - logM[j]) : 0)); // what m adds cancels
  }
  const total = slopes.reduce((a, b) => a + b, 0), tail = support === "tail" ? slopes[ids.length] : 0;
  const tailMass = support === "tail" ? q[ids.length] : 1;
  const gradient = student.map((l, v) => {
    const x = Math.exp(l), own = inside.has(v) ? slopes[ids.indexOf(v)] : tailMass > 0 ? (tail * x) / tailMass : 0;
    return ((own - x * total) / temperature) * temperature ** 2;
  });
  return { loss: loss * temperature ** 2, divergence: value, gradient, ids };
};

// ∂ log p_T(token) / ∂z, the direction in which one token gains.
Live.towards = (logits, token, temperature = 1) =>
  Live.logSoftmax(logits, temperature).map((l, v) => ((v === token ? 1 : 0) - Math.exp(l)) / temperature);

// −log σ(margin − γ) of a pair and its derivative by the margin (losses/preference.py).
Live.logistic = (margin, gamma = 0) => {
  const x = gamma - margin;
  return { loss: Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), slope: -1 / (1 + Math.exp(-x)) };
};

// Advantages of a group's rewards, divided by their standard deviation (losses/policy_gradient.py); 0 where all agree.
Live.advantages = (rewards) => {
  const mean = rewards.reduce((a, b) => a + b, 0) / rewards.length;
  const deviation = Math.sqrt(rewards.reduce((sum, r) => sum + (r - mean) ** 2, 0) / (rewards.length - 1));
  return rewards.map((r) => (deviation > 0 ? (r - mean) / deviation : 0));
};
