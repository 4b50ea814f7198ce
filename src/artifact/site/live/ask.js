// Ask the models: greedy answers, the teachers' samples in classes, and a response token by token against a teacher.
"use strict";

Live.ask = {};

Live.ask.build = () => {
  const { problems, samples, temperature } = Live.world, families = [...new Set(problems.map((p) => p.family))];
  const options = families.map((family) => Live.h("optgroup", { label: family }, problems.filter((p) => p.family === family)
    .map((p) => Live.h("option", { value: p.id }, `${p.difficulty}: ${p.question}`))));
  const start = () => Live.ask.run();
  Live.show("ask-form",
    Live.h("label", { for: "pick" }, "A problem of the embedded world", Live.h("select", { id: "pick", onchange: Live.ask.pick },
      Live.h("option", { value: "" }, "my own, typed below"), options)),
    Live.h("label", { for: "question" }, "Question", Live.h("textarea", { id: "question", rows: 2, spellcheck: "false", oninput: Live.ask.typed })),
    Live.h("label", { for: "gold" }, "Right answer, if known", Live.h("input", { id: "gold", autocomplete: "off" })),
    Live.h("div", { class: "row" },
      Live.range("temperature", "Temperature of the teachers’ samples", { min: 0.1, max: 2, step: 0.1, value: temperature }, () => {}),
      Live.h("label", { for: "seed" }, "Seed", Live.h("input", { id: "seed", type: "number", min: 0, step: 1, value: 0 })),
      Live.h("button", { type: "button", id: "draw", onclick: Live.ask.draw }, "Draw a problem"),
      Live.h("button", { type: "button", id: "go", onclick: start }, `Answer, and sample ${samples} times`)),
    Live.h("p", { id: "unreadable", role: "alert" }));
  Live.at("pick").value = (problems.find((p) => p.difficulty === "hard") || problems[0]).id;
  Live.ask.pick();
};

// Another problem of the list, by chance.
Live.ask.draw = () => {
  const { problems } = Live.world;
  Live.at("pick").value = problems[Math.floor(Math.random() * problems.length)].id;
  Live.ask.pick();
  return Live.ask.run();
};

Live.ask.pick = () => {
  const problem = Live.world.problems.find((p) => p.id === Live.at("pick").value);
  Live.at("question").value = problem ? problem.question : "";
  Live.at("gold").value = problem ? problem.answer : "";
  Live.ask.typed();
};

// A typed question is a problem of its own, unless it is that of the list.
Live.ask.problem = () => {
  const question = Live.at("question").value, known = Live.world.problems.find((p) => p.question === question);
  return { ...(known || { id: question, question, solution: null }), answer: Live.at("gold").value.trim() };
};

Live.ask.typed = () => {
  const lost = [...new Set(Live.tokenizer.unreadable(Live.at("question").value))];
  if (!Live.world.problems.some((p) => p.question === Live.at("question").value)) Live.at("pick").value = "";
  Live.at("unreadable").textContent = lost.length
    ? `The models have no token for ${lost.map((t) => `“${Live.visible(t)}”`).join(", ")}; they read <|unk|> there. ` +
      "They know the words of the listed problems, digits and + - * / = ( ) x." : "";
};

const seconds = () => performance.now() / 1000;

// One run of all models on the question; a newer run ends an older one.
Live.ask.run = async () => {
  const run = (Live.ask.current = {}), stopped = () => Live.ask.current !== run;
  const problem = Live.ask.problem(), { samples, maxTokens, models } = Live.world;
  const temperature = Number(Live.at("temperature").value), seed = Number(Live.at("seed").value);
  const prompt = Live.tokenizer.prompt(problem.question);
  const answers = new Map(), clouds = new Map();
  let drawn = 0;
  Live.at("status").textContent = "reading the weights…";
  for (const { name } of models) await Live.model(name);
  const begin = seconds();
  for (const entry of models) {
    const model = await Live.model(entry.name), prompted = model.read(prompt);
    await Live.pause();
    if (stopped()) return;
    const settings = { maxTokens, stop: Live.tokenizer.eos };
    const response = Live.respond(model, prompted, settings);
    drawn += response.ids.length;
    answers.set(entry.name, { entry, ids: response.ids, text: Live.tokenizer.decode(response.ids) });
    Live.ask.showAnswers(answers, problem);
    if (entry.role !== "teacher") continue;
    const group = [];
    for (let n = 0; n < samples; n++) {
      const sampled = Live.respond(model, prompted,
        { ...settings, temperature, seed: Live.requestSeed(`('annotate', ${seed})`, problem.id, n) });
      group.push({ ...sampled, text: Live.tokenizer.decode(sampled.ids) });
      drawn += sampled.ids.length;
      Live.at("status").textContent = `${entry.label}: sample ${n + 1} of ${samples}`;
      await Live.pause();
      if (stopped()) return;
    }
    clouds.set(entry.name, { entry, group });
    Live.ask.showClouds(clouds, problem);
  }
  const took = seconds() - begin;
  Live.at("status").textContent =
    `${drawn} tokens of ${models.length} models in ${took.toFixed(1)} s: ${Math.round(drawn / took)} tokens a second`;
  Live.ask.showTokens(answers, prompt);
};

const judged = (text, gold) => (gold ? Live.verdict(text, gold) : Live.extract(text) ? "unknown" : "unparsed");

Live.ask.showAnswers = (answers, problem) => {
  const rows = [...answers.values()].map(({ entry, text }) => {
    const found = Live.extract(text);
    const shown = found ? [text.slice(0, found.start), Live.h("mark", {}, text.slice(found.start, found.end)), text.slice(found.end)] : [text];
    const status = judged(text, problem.answer);
    return [entry.label, Live.h("span", { class: "response" }, shown), found ? found.text : "none",
      Live.h("span", { class: status }, Live.mark(status))];
  });
  Live.show("answers", Live.table("Greedy answers", ["Model", "Response", "Answer", "Verdict"], rows));
};

Live.ask.showClouds = (clouds, problem) => {
  Live.show("clouds", [...clouds.values()].map(({ entry, group }) => {
    const found = Live.semanticEntropy(group), order = [...found.classes].sort((a, b) => b.mass - a.mass);
    return Live.h("article", { class: "card", id: `cloud-${entry.name}` },
      Live.h("h3", {}, entry.label),
      Live.h("p", {}, `${group.length} samples, answer classes: ${found.classes.length}. H = ${found.entropy.toFixed(3)} nats, ` +
        `w = 1 − H / log ${group.length} = ${found.weight.toFixed(3)}.`),
      found.open.length ? Live.h("p", {}, `Compared as text alone, being no plain numbers: ${found.open.join(", ")}. The library asks its judge about them.`) : "",
      Live.h("ol", { class: "classes" }, order.map((c) => {
        const status = c.answer === null ? "unparsed" : problem.answer ? Live.verdict(`\\boxed{${c.answer}}`, problem.answer) : "unknown";
        return Live.h("li", {},
          Live.h("span", { class: "bar", vars: { "--mass": `${100 * c.mass}%` } }),
          Live.h("strong", {}, c.answer === null ? "no answer" : c.answer), ` p(c) = ${c.mass.toFixed(3)}, `,
          Live.h("span", { class: status }, Live.mark(status)),
          Live.h("details", {}, Live.h("summary", {}, `${c.members.length} of ${group.length} samples`),
            Live.h("ul", {}, c.members.map((n) => Live.h("li", { class: "response" }, group[n].text)))));
      })));
  }));
};

Live.ask.showTokens = (answers, prompt) => {
  const all = [...answers.values()], teachers = all.filter((a) => a.entry.role === "teacher");
  const pairs = (list) => list.map(({ entry }) => [entry.name, entry.label]);
  const draw = async () => {
    const { entry, ids } = answers.get(Live.at("whose").value), teacher = Live.at("against").value;
    const own = (await Live.model(entry.name)).score(prompt, ids), told = (await Live.model(teacher)).score(prompt, ids);
    const kl = [];
    const tokens = ids.map((id, t) => {
      const s = Live.logSoftmax(own[t]), p = Live.logSoftmax(told[t]);
      kl.push(p.reduce((sum, l, v) => sum + Math.exp(l) * (l - s[v]), 0));
      return { text: Live.tokenText(id), heat: Math.min(1, kl[t] / 2),
        rows: [["KL(teacher ‖ student)", `${kl[t].toFixed(3)} nats`], ["log p, student", s[id].toFixed(3)],
          ["log p, teacher", p[id].toFixed(3)], ["entropy, student", `${Live.entropy(s).toFixed(3)} nats`],
          ["entropy, teacher", `${Live.entropy(p).toFixed(3)} nats`]],
        lists: [{ title: "Student would say", entries: Live.likeliest(s) }, { title: "Teacher would say", entries: Live.likeliest(p) }] };
    });
    const mean = kl.reduce((a, b) => a + b, 0) / kl.length;
    Live.show("tokens", Live.strip("Response, coloured by KL", tokens),
      Live.h("p", { class: "legend" }, `Mean KL over the response: ${mean.toFixed(3)} nats, whole vocabulary, temperature 1. Colour is full at 2 nats.`));
  };
  Live.show("tokens-form", Live.h("div", { class: "row" },
    Live.select("whose", "Response of", pairs(all), draw), Live.select("against", "Teacher", pairs(teachers), draw)));
  return draw();
};
