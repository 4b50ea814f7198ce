// Elements from text. Whatever comes from data or from the reader becomes a text node, never markup.
"use strict";

// Text with its controls, line separators and direction marks written out.
Live.visible = (text) => String(text).replace(
  /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/g,
  (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

// An element: attributes by name, `on…` a listener, `vars` custom properties, null attributes left out.
Live.h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") Object.entries(value).forEach(([key, v]) => element.style.setProperty(key, v));
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().map((c) => (c instanceof Node ? c : document.createTextNode(Live.visible(c)))));
  return element;
};

Live.at = (id) => document.getElementById(id);

Live.show = (id, ...children) => Live.at(id).replaceChildren(...children.flat());

Live.table = (caption, head, rows) => Live.h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: 0 },
  Live.h("table", {}, Live.h("caption", {}, caption),
    Live.h("thead", {}, Live.h("tr", {}, head.map((text) => Live.h("th", { scope: "col" }, text)))),
    Live.h("tbody", {}, rows.map((row) => Live.h("tr", {}, row.map((cell, i) =>
      Live.h(i ? "td" : "th", i ? {} : { scope: "row" }, cell)))))));

// A labelled control: a <select> of [value, text] pairs, or a range with its value beside it.
Live.select = (id, label, pairs, onchange) => Live.h("label", { for: id, id: `${id}-field` }, label,
  Live.h("select", { id, onchange }, pairs.map(([value, text]) => Live.h("option", { value }, text))));

Live.range = (id, label, { min, max, step, value }, oninput) => {
  const shown = Live.h("output", { for: id }, String(value));
  const input = Live.h("input", { id, type: "range", min, max, step, value,
    oninput: () => { shown.textContent = input.value; oninput(); } });
  return Live.h("label", { for: id, id: `${id}-field` }, Live.h("span", {}, label, " ", shown), input);
};

// Lets the browser draw and listen before the next piece of work.
Live.pause = () => new Promise((resolve) => setTimeout(resolve, 0));

Live.mark = (status) => ({ correct: "✓ correct", wrong: "✗ wrong", unparsed: "∅ no answer", unknown: "? not known" }[status]);
