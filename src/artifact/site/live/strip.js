// A response token by token: coloured by a number, read with mouse, touch or arrow keys.
"use strict";

// tokens: [{text, heat in [-1, 1], rows: [[name, value]], lists: [{title, entries: [text]}]}]
// One token is in the tab order; arrow keys, Home and End move; what is focused is told below the strip.
Live.strip = (label, tokens) => {
  const told = Live.h("div", { class: "told", "aria-live": "polite" }, "Choose a token: click, tap, or Tab and arrow keys.");
  const tell = (i) => {
    const token = tokens[i];
    buttons.forEach((b, j) => {
      b.tabIndex = i === j ? 0 : -1;
      b.setAttribute("aria-pressed", String(i === j));
    });
    told.replaceChildren(
      Live.h("strong", {}, `${i + 1}. “${token.text}”`),
      Live.h("dl", {}, token.rows.flatMap(([name, value]) => [Live.h("dt", {}, name), Live.h("dd", {}, value)])),
      Live.h("div", { class: "lists" }, token.lists.map((list) => Live.h("div", {},
        Live.h("p", {}, list.title), Live.h("ol", {}, list.entries.map((entry) => Live.h("li", {}, entry)))))));
  };
  const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  const buttons = tokens.map((token, i) => Live.h("button", {
    type: "button", class: token.heat < 0 ? "token down" : "token", tabindex: i ? -1 : 0, "aria-pressed": "false",
    "aria-label": `token ${i + 1}, ${token.text}, ${token.rows[0].join(" ")}`,
    vars: { "--heat": `${Math.round(100 * Math.min(1, Math.abs(token.heat)))}%` },
    onclick: () => tell(i),
    onfocus: () => tell(i),
    onkeydown: (event) => {
      if (!(event.key in move)) return;
      event.preventDefault();
      buttons[Math.max(0, Math.min(tokens.length - 1, i + move[event.key]))].focus();
    },
  }, token.text));
  return Live.h("div", { class: "strip" }, Live.h("div", { role: "group", "aria-label": label, class: "tokens" }, buttons), told);
};

// A token as it is shown: a space is seen, the end of sequence has its name.
Live.tokenText = (id) => Live.world.tokenizer.vocabulary[id].replace(/ /g, "␣");

// The `n` most likely tokens of log-probabilities, as text.
Live.likeliest = (logprobs, n = 5) =>
  Live.topk(logprobs, n).map((v) => `${Live.tokenText(v)}  ${(100 * Math.exp(logprobs[v])).toFixed(1)} %`);
