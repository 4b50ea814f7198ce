// SURE-Math, problem by problem: found by words, difficulty or strategy; an entry shows its ancestors up to the seed.
"use strict";
const MOST = 40;
const form = document.querySelector("form.filter");
const list = document.getElementById("problems");
let all = [];
let byId = new Map();

function chain(item, depth = 0) {
  const parents = item.parents.map((id) => byId.get(id)).filter(Boolean);
  const words = `${item.strategy}, round ${item.round}${item.answer === null ? `; ${item.fate}` : `; answer ${item.answer}`}`;
  return el("li", {}, el("code", {}, item.id), ` (${words})`, item.question === null ? null : el("pre", {}, item.question),
    parents.length && depth < 12 ? el("ul", {}, ...parents.map((p) => chain(p, depth + 1))) : null);
}

function show() {
  const words = form.elements.text.value.toLowerCase();
  const found = all.filter((i) => i.question !== null && (!form.elements.strategy.value || i.strategy === form.elements.strategy.value) &&
    (!form.elements.difficulty.value || i.difficulty === form.elements.difficulty.value) && (!words || `${i.id}\n${i.question}`.toLowerCase().includes(words)));
  document.getElementById("told").textContent = `${found.length.toLocaleString("en")} published problems${found.length > MOST ? `, the first ${MOST}` : ""}`;
  list.replaceChildren(...found.slice(0, MOST).map((item) => {
    const out = el("details", { class: "rollout" }, el("summary", {}, el("span", {}, item.strategy), el("span", {}, item.question),
      el("span", {}, item.difficulty), el("span", {}, item.weight === null ? "no weight" : `w ${item.weight.toFixed(2)}`)));
    out.addEventListener("toggle", () => { if (out.open && out.children.length === 1) out.append(el("div", {}, el("h3", {}, "Where it comes from"), el("ul", {}, chain(item)))); });
    return out;
  }));
}

pack("lineage").then((items) => {
  all = items;
  byId = new Map(items.map((i) => [i.id, i]));
  for (const name of ["strategy", "difficulty"]) {
    const values = [...new Set(items.filter((i) => i.question !== null).map((i) => i[name]))].sort();
    form.elements[name].append(...values.map((v) => el("option", { value: v }, v)));
  }
  form.hidden = false;
  show();
}, (error) => { document.getElementById("told").textContent = error.message; });
form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
