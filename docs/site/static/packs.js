// Data beside a page: `data/<name>.js` calls `artifactPack(name, base64 of gzip of JSON)`; `pack(name)` is a promise of it.
"use strict";
const waiting = new Map();
const root = document.documentElement.dataset.root;

function artifactPack(name, text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  new Response(plain).text().then(JSON.parse).then(waiting.get(name).resolve, waiting.get(name).reject);
}

function pack(name) {
  if (!waiting.has(name)) {
    const entry = {};
    entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    waiting.set(name, entry);
    const script = document.createElement("script");
    script.src = `${root}data/${name}.js`;
    script.onerror = () => entry.reject(new Error(`data/${name}.js is not here`));
    document.head.append(script);
  }
  return waiting.get(name).promise;
}

// An element with text (never markup) and children: el("a", { href: "x" }, "text", child).
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  made.append(...children.filter((c) => c !== null).map((c) => (c instanceof Node ? c : visible(String(c)))));
  return made;
}

// What no reader sees and a page would obey, as `<U+202E>`: as `artifact.escape.visible` writes it.
function visible(text) {
  return text
    .replaceAll("\r\n", "\n")
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]/g, (c, i) => {
      const code = c.charCodeAt(0);
      if (code >= 0xd800 && code <= 0xdbff && /[\udc00-\udfff]/.test(text[i + 1] ?? "")) return c;
      if (code >= 0xdc00 && code <= 0xdfff && /[\ud800-\udbff]/.test(text[i - 1] ?? "")) return c;
      return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
    });
}

// `#run=1a2b&family=eq` as a map, and back.
const asked = () => new URLSearchParams(location.hash.slice(1));
