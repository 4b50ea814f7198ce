// The list of runs, narrowed to those behind a row of a table (`#of=table-x:3`), and two of them side by side (`#compare=a,b`).
"use strict";
const PANELS = [["curve", "accuracy on the curve split"], ["rollout_accuracy", "accuracy of the rollouts"], ["loss", "loss"],
  ["distil/divergence", "KL to the teacher, distilled tokens"], ["grad_norm", "gradient norm"], ["response_tokens", "response tokens a step"]];
const WIDTH = 360, HEIGHT = 190, EDGE = 44;

const number = (x) => (x === 0 ? "0" : Math.abs(x) >= 1000 ? Math.round(x).toLocaleString("en") : x.toPrecision(3));

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// One panel: each line is [[x, y], …]; axes from the smallest to the largest value.
function drawn(title, lines) {
  const points = lines.flat();
  const [x0, x1] = [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))];
  const [y0, y1] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
  const x = (v) => EDGE + ((WIDTH - EDGE - 10) * (v - x0)) / (x1 - x0 || 1);
  const y = (v) => HEIGHT - 24 - ((HEIGHT - 40) * (v - y0)) / (y1 - y0 || 1);
  const text = (at, down, words, anchor) => svg("text", { x: at, y: down, "text-anchor": anchor }, words);
  const paths = lines.map((line, i) =>
    svg("path", { class: i ? "second" : "first", d: line.map((p, j) => `${j ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("") }));
  const axes = [svg("path", { class: "axis", d: `M${EDGE} 12V${HEIGHT - 24}H${WIDTH - 8}` })];
  const marks = [text(EDGE - 4, y(y1) + 4, number(y1), "end"), text(EDGE - 4, y(y0) + 4, number(y0), "end"),
    text(x(x0), HEIGHT - 8, `step ${x0}`, "start"), text(x(x1), HEIGHT - 8, String(x1), "end")];
  const ends = lines.map((line) => `from ${number(line[0][1])} to ${number(line.at(-1)[1])}`).join("; ");
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${ends}` }, ...axes, ...paths, ...marks);
  return el("figure", {}, picture, el("figcaption", {}, el("small", {}, title)));
}

function panels(runs) {
  const found = PANELS.map(([name, title]) => [title, runs.map((r) => r.series[name]).filter((line) => line?.length > 1)]);
  return found.filter(([, lines]) => lines.length === runs.length).map(([title, lines]) => drawn(title, lines));
}

async function curves() {
  for (const place of document.querySelectorAll("[data-curves]")) {
    const run = (await pack("runs"))[place.dataset.curves];
    place.replaceChildren(...(run ? panels([run]) : []));
  }
}

async function narrow() {
  const table = document.getElementById("runs");
  if (!table) return;
  const want = asked();
  const about = document.getElementById("about");
  let keys = null, only = "";
  about.replaceChildren();
  if (want.get("of")) {
    const [name, row] = want.get("of").split(":");
    const found = (await pack("behind"))[name];
    if (found) {
      const [words, filter] = found.about[row] ?? ["", ""];
      keys = new Set(row === undefined ? found.keys : (found.rows[row] ?? []).map((i) => found.keys[i]));
      only = filter;
      about.append(el("p", { class: "tier" }, "Behind ", el("a", { href: found.page }, found.title), words ? `, row "${words}"` : "", ` stand ${keys.size} stored results. `,
        el("a", { href: "runs.html" }, "Show all runs")));
    }
  }
  const words = document.getElementById("find").value.toLowerCase();
  let n = 0;
  for (const row of table.tBodies[0].rows) {
    row.hidden = (keys !== null && !keys.has(row.dataset.key)) || !row.textContent.toLowerCase().includes(words);
    n += row.hidden ? 0 : 1;
    const link = row.querySelector("a.rollouts");
    if (link) link.href = `rollouts.html#run=${row.dataset.key}${only ? `&${only}` : ""}`;
  }
  document.getElementById("told").textContent = `${n} of ${table.tBodies[0].rows.length} stored results`;
}

async function compare() {
  const place = document.getElementById("compared");
  if (!place) return;
  const keys = (asked().get("compare") ?? "").split(",");
  const all = await pack("runs");
  place.replaceChildren();
  if (keys.length !== 2 || !keys.every((k) => Object.hasOwn(all, k))) return;
  const [a, b] = keys.map((k) => all[k]);
  const names = [...new Set([...Object.keys(a.settings), ...Object.keys(b.settings)])];
  const differ = names.filter((n) => JSON.stringify(a.settings[n]) !== JSON.stringify(b.settings[n]));
  const rows = [...a.facts.map(([name, value], i) => [name, value, b.facts[i][1]]),
    ...differ.map((n) => [n, JSON.stringify(a.settings[n]) ?? "–", JSON.stringify(b.settings[n]) ?? "–"])];
  const link = (k, i) => el("th", { scope: "col" }, el("a", { href: `run/${k}.html`, class: i ? "second" : "first" }, all[k].name));
  place.append(el("h2", {}, "Two runs side by side"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "comparison" }, el("table", {}, el("thead", {}, el("tr", {}, el("td", {}, ""), ...keys.map(link))),
      el("tbody", {}, ...rows.map((r) => el("tr", {}, el("th", { scope: "row" }, r[0]), el("td", {}, r[1]), el("td", {}, r[2])))))),
    el("p", { class: "soft" }, "Solid: the first run. Dashed: the second."), el("div", { class: "curves" }, ...panels([a, b])));
  place.scrollIntoView();
}

function chosen() {
  const boxes = [...document.querySelectorAll("input[name=compare]:checked")];
  document.getElementById("compare").disabled = boxes.length !== 2;
  return boxes.map((b) => b.value);
}

document.getElementById("find")?.addEventListener("input", narrow);
document.getElementById("compare")?.addEventListener("click", () => { location.hash = `compare=${chosen().join(",")}`; });
document.querySelectorAll("input[name=compare]").forEach((b) => b.addEventListener("change", chosen));
addEventListener("hashchange", () => { narrow(); compare(); });
curves();
narrow();
compare();
