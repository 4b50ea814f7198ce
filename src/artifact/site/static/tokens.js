// Recorded tokens of a response below it, as `artifact.inspect` shows them: `tokensOf(key, place)` is a promise of an element.
"use strict";
async function tokensOf(key, place) {
  const made = el("div", { class: "artifact-page" });
  made.innerHTML = (await pack(`tokens/${key}`))[place]; // markup of the site itself, in which text is escaped
  return made;
}

for (const where of document.querySelectorAll("[data-tokens]")) {
  const [key, place] = where.dataset.tokens.split(":");
  tokensOf(key, place).then((made) => where.replaceChildren(made), (error) => { where.textContent = error.message; });
}
