// The rollouts of one stored result: filtered in the page, fifty at a time. `#run=<key>&verdict=wrong&family=eq&…`.
"use strict";
const PAGE = 50;
const FIELDS = ["part", "verdict", "difficulty", "family", "problem", "tokens", "text", "sort"];
const form = document.querySelector("form.filter");
const list = document.getElementById("rollouts");
const told = document.getElementById("told");
let data = null;
let shown = [];
let at = 0;

const unpacked = (pack, i, column) => pack.strings[pack.rows[column][i]] ?? "";

function rowsOf(pack, problems) {
  const { rows } = pack;
  const recorded = new Set(pack.tokens);
  return rows.problem.map((p, i) => {
    const problem = problems.items[p];
    const text = pack.strings[rows.text[i]];
    return {
      problem, text, part: rows.part[i], step: rows.step[i], sample: rows.sample[i], status: pack.statuses[rows.status[i]],
      extracted: rows.extracted[i] < 0 ? null : pack.strings[rows.extracted[i]], why: unpacked(pack, i, "why"),
      tokens: rows.tokens[i], logprob: rows.logprob[i], finish: pack.finishes[rows.finish[i]],
      weight: pack.weights?.[problem.id] ?? null, place: i, recorded: recorded.has(i), words: `${problem.question}\n${text}\n${problem.answer}`.toLowerCase(),
    };
  });
}

const ORDERS = {
  stored: (a, b) => a.place - b.place,
  longest: (a, b) => b.tokens - a.tokens,
  unlikeliest: (a, b) => a.logprob - b.logprob,
  unsure: (a, b) => (a.weight ?? 2) - (b.weight ?? 2),
};

function filter() {
  const want = Object.fromEntries(FIELDS.map((f) => [f, form.elements[f].value]));
  const words = want.text.toLowerCase();
  shown = data.all.filter(
    (r) =>
      (!want.part || r.part === Number(want.part)) && (!want.verdict || r.status === want.verdict) &&
      (!want.difficulty || r.problem.difficulty === want.difficulty) && (!want.family || r.problem.family === want.family) &&
      (!want.problem || r.problem.id === want.problem) && (!want.tokens || r.recorded) && (!words || r.words.includes(words)),
  );
  shown.sort(ORDERS[want.sort] ?? ORDERS.stored);
  at = 0;
  const state = new URLSearchParams({ run: data.pack.key });
  for (const f of FIELDS) if (want[f] && !(f === "sort" && want[f] === "stored")) state.set(f, want[f]);
  history.replaceState(null, "", `#${state}`);
  render();
}

function render() {
  const right = shown.filter((r) => r.status === "correct").length;
  const share = shown.length ? `, ${((100 * right) / shown.length).toFixed(1)} % correct` : "";
  told.textContent = `${shown.length.toLocaleString("en")} of ${data.all.length.toLocaleString("en")} rollouts${share}`;
  list.replaceChildren(...shown.slice(at, at + PAGE).map(card));
  const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1);
  document.querySelectorAll(".pager output").forEach((o) => (o.textContent = `page ${at / PAGE + 1} of ${last + 1}`));
  document.querySelectorAll("[data-go]").forEach((b) => (b.disabled = b.dataset.go < 0 ? at === 0 : at >= last * PAGE));
}

function card(r) {
  const gold = r.problem.answer;
  const summary = el("summary", {}, el("span", { class: r.status }, r.status), el("span", {}, r.problem.question),
    el("span", {}, `${r.extracted ?? "no answer"} | gold ${gold}`),
    el("span", { class: "soft" }, `${r.tokens} tokens${r.recorded ? " (shown)" : ""}${r.weight === null ? "" : `, w ${r.weight.toFixed(2)}`}`));
  const out = el("details", { class: "rollout" }, summary);
  out.addEventListener("toggle", () => { if (out.open && out.children.length === 1) out.append(body(r)); });
  return out;
}

function body(r) {
  const facts = [["extracted answer", r.extracted ?? "none"], ["gold answer", r.problem.answer], ["verdict", r.status], ["why", r.why || "–"],
    ["problem", `${r.problem.id} (${[r.problem.difficulty, r.problem.family].filter(Boolean).join(", ")})`],
    ["from", `${data.pack.parts[r.part]}${r.step < 0 ? "" : `, step ${r.step}`}, sample ${r.sample}`],
    ["tokens", `${r.tokens}, ended by ${r.finish}`], ["mean log-probability", r.logprob.toFixed(3)],
    ["weight w(x)", r.weight === null ? "this run weights no prompt" : r.weight.toFixed(4)]];
  const same = el("button", { type: "button" }, "all responses to this problem");
  same.addEventListener("click", () => { form.reset(); form.elements.problem.value = r.problem.id; filter(); });
  const tokens = r.recorded ? el("div", {}, el("h3", {}, "Its tokens"), el("p", {}, "Loading.")) : null;
  if (tokens) tokensOf(data.pack.key, r.place).then((made) => tokens.lastChild.replaceWith(made), (error) => { tokens.lastChild.textContent = error.message; });
  return el("div", {}, el("h3", {}, "Prompt"), el("pre", {}, r.problem.question), el("h3", {}, "Response"), el("pre", {}, r.text),
    tokens, el("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])), el("p", {}, same));
}

function choices(name, values) {
  const select = form.elements[name];
  select.replaceChildren(el("option", { value: "" }, "all"), ...values.map(([value, text]) => el("option", { value }, text)));
}

async function open() {
  const want = asked();
  const key = want.get("run");
  if (!/^[0-9a-zA-Z._-]+$/.test(key ?? "")) return fail("Choose a run: its page leads to its rollouts.");
  if (data?.pack.key === key) return;
  try {
    const loaded = await pack(`rollouts/${key}`);
    const problems = await pack(`problems/${loaded.problems}`);
    data = { pack: loaded, all: rowsOf(loaded, problems) };
  } catch (error) {
    return fail(`The rollouts of ${key} are not in this copy of the site (${error.message}). The full site has them: artifact site`);
  }
  document.getElementById("name").textContent = visible(data.pack.name);
  document.getElementById("run").href = `${root}run/${key}.html`;
  const used = (field) => [...new Set(data.all.map(field))].filter(Boolean).sort().map((v) => [v, v]);
  const parts = new Set(data.pack.rows.part);
  choices("part", data.pack.parts.map((part, i) => [String(i), part]).filter(([i]) => parts.has(Number(i))));
  choices("verdict", used((r) => r.status));
  choices("difficulty", used((r) => r.problem.difficulty));
  choices("family", used((r) => r.problem.family));
  form.elements.tokens.parentElement.hidden = data.pack.tokens.length === 0;
  for (const f of FIELDS) if (want.get(f)) form.elements[f].value = want.get(f);
  form.hidden = false;
  filter();
}

function fail(words) {
  form.hidden = true;
  list.replaceChildren();
  told.textContent = words;
}

form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(filter));
document.querySelectorAll("[data-go]").forEach((b) =>
  b.addEventListener("click", () => { at += PAGE * Number(b.dataset.go); render(); document.getElementById("top").scrollIntoView(); }));
addEventListener("hashchange", () => { if (asked().get("run") !== data?.pack.key) open(); });
open();
