// Final answers: where one stands in a response, which number it says, whether it is right, and semantic entropy.
//
// The answers of the embedded world are plain numbers (7, -3, 1/2, 0.5), perhaps with `x=` before or a unit after them;
// such answers are read as the library reads them (tasks/extract.py, tasks/answer_forms.py). Others are equal here only
// where their texts are; the library asks its judge and its algebra about them. `Live.number` says which they are.
"use strict";

const BOX = /\\boxed\{([^{}]*)\}/g;
const BETWEEN = /^[\s$,;&.]*$/;
const PLAIN = /^(?:([A-Za-z]) ?= ?)?([-+]?)(?:(\d+)\/(\d+)|(\d+)(?:\.(\d+))?|\.(\d+))(?: ?([A-Za-z]{3,}(?: [A-Za-z]+)*))?\.?$/;

// {text, start, end} of the last box (boxes joined by commas or nothing are one answer, a list); null without one.
Live.extract = (text) => {
  const boxes = [...text.matchAll(BOX)].filter((m) => m[1].trim());
  if (!boxes.length) return null;
  const last = boxes.pop(), found = [last[1].trim()], end = last.index + last[0].length;
  let start = last.index;
  for (const box of boxes.reverse()) {
    if (!BETWEEN.test(text.slice(box.index + box[0].length, start))) break;
    if (!Live.sameNumber(Live.number(box[1].trim()), Live.number(found[0]))) found.unshift(box[1].trim());
    start = box.index;
  }
  return { text: found.join(", "), start, end };
};

// {top, bottom (BigInt), unit, variable} of an answer that is plainly one number; null for any other.
Live.number = (answer) => {
  const m = PLAIN.exec(answer.replace(/\s+/g, " ").trim());
  if (!m) return null;
  const [, variable = "", sign, above, below, whole, decimals = "", bare, words = ""] = m;
  const digits = decimals || bare || "";
  let top = BigInt(above ?? (whole ?? "") + digits), bottom = BigInt(below ?? 10 ** 0);
  if (above === undefined) bottom = 10n ** BigInt(digits.length);
  if (bottom === 0n) return null;
  if (sign === "-") top = -top;
  return { top, bottom, variable, unit: words.toLowerCase().replace(/s$/, "") };
};

// Whether two readings are one number, with neither unit nor variable against it.
Live.sameNumber = (a, b) => {
  if (!a || !b) return false;
  const clash = (x, y) => x && y && x !== y;
  return !clash(a.unit, b.unit) && !clash(a.variable, b.variable) && a.top * b.bottom === b.top * a.bottom;
};

// correct, wrong or unparsed.
Live.verdict = (text, gold) => {
  const found = Live.extract(text);
  if (!found) return "unparsed";
  return found.text === gold || Live.sameNumber(Live.number(found.text), Live.number(gold)) ? "correct" : "wrong";
};

// Semantic entropy of N samples {text, logprobs} (UOPD Eq. 4–6; phase1/entropy.py):
// {ids: class of each sample, classes: [{answer, members, mass}], entropy (nats), weight, open}.
// open: answers that are no plain numbers, and so are compared as text alone.
Live.semanticEntropy = (samples) => {
  const answers = samples.map((s) => Live.extract(s.text)?.text ?? null);
  const classes = [];
  answers.forEach((answer, n) => {
    const known = answer === null ? null : classes.find((c) => c.answer !== null &&
      c.forms.some((form) => form === answer || Live.sameNumber(Live.number(form), Live.number(answer))));
    if (known) {
      known.members.push(n);
      known.forms.push(answer);
    } else classes.push({ answer, forms: [answer], members: [n] });
  });
  const mean = samples.map((s) => s.logprobs.reduce((a, b) => a + b, 0) / s.logprobs.length);
  const top = Math.max(...mean), share = mean.map((l) => Math.exp(l - top));
  const total = share.reduce((a, b) => a + b, 0), ids = new Array(samples.length);
  classes.forEach((c, i) => {
    c.mass = c.members.reduce((sum, n) => sum + share[n], 0) / total;
    c.members.forEach((n) => (ids[n] = i));
  });
  const entropy = Math.max(0, -classes.reduce((sum, c) => sum + c.mass * Math.log(c.mass), 0));
  const open = [...new Set(answers.filter((a) => a !== null && !Live.number(a)))];
  const weight = 1 - Math.min(1, entropy / Math.log(samples.length));
  return { ids, classes, entropy, weight, open };
};
