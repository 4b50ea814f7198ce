// Text ↔ token ids, and the chat prompt: the tokenizer and template of the models beside the page.
//
// A word-level tokenizer: special tokens are cut out first, one match of the pattern is one token, and what the
// vocabulary does not hold is the unknown token. The template is [bos] ([role] content [eos])* [assistant].
"use strict";
globalThis.Live = globalThis.Live || {};

Live.Tokenizer = class {
  // settings: {vocabulary: [text by id], special: [texts], pattern, bos, eos, unknown, roles: {user, system, assistant},
  //            hints: {answer, solution}}, as written by live_world.py
  constructor(settings) {
    const escaped = settings.special.map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.settings = settings;
    this.vocabulary = settings.vocabulary;
    this.id = new Map(settings.vocabulary.map((text, id) => [text, id]));
    this.special = new RegExp(`(${escaped.join("|")})`, "u");
    this.pattern = new RegExp(settings.pattern, "gu");
    this.specialIds = new Set(settings.special.map((text) => this.id.get(text)));
    this.eos = this.id.get(settings.eos);
    this.unknown = this.id.get(settings.unknown);
  }

  // Token ids of a text.
  encode(text) {
    return this.pieces(text).map((piece) => this.id.get(piece) ?? this.unknown);
  }

  // The pieces of a text that no token says; they would be read as the unknown token.
  unreadable(text) {
    return this.pieces(text).filter((piece) => !this.id.has(piece));
  }

  pieces(text) {
    const parts = text.split(this.special).filter((part) => part !== "");
    return parts.flatMap((part) => (this.specialIds.has(this.id.get(part)) ? [part] : part.match(this.pattern) || []));
  }

  // Text of token ids, special tokens left out.
  decode(ids) {
    return ids.filter((id) => !this.specialIds.has(id)).map((id) => this.vocabulary[id]).join("");
  }

  // Ids of a prompt. context `none` shows the question, `answer` and `solution` reveal `hint` in a system message.
  prompt(question, context = "none", hint = "") {
    const { roles, bos, eos, hints } = this.settings;
    const system = context === "none" ? "" : roles.system + hints[context] + hint + eos;
    return this.encode(bos + system + roles.user + question + eos + roles.assistant);
  }

  // Ids of a response text, the end of sequence among them.
  response(text) {
    return [...this.encode(text), this.eos];
  }
};
