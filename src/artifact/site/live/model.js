// The forward pass of a Qwen3 decoder, one token at a time with a key-value cache, in double precision on float32
// weights.
//
//   h ← h + W_o · attention(rope(norm(W_q n)), rope(norm(W_k n)), W_v n),   n = rmsnorm(h)
//   h ← h + W_down (silu(W_gate n) ⊙ W_up n),                              n = rmsnorm(h)
//   logits = E · rmsnorm(h), E the embedding (tied)
//
// Left out: batches, sliding windows, biases, scaled rotary positions; live_weights.py refuses models that have them.
"use strict";

Live.Model = class {
  constructor({ config, tensors }) {
    Object.assign(this, { config, tensors, half: config.head_dim / 2 });
    const at = (name, i) => tensors[`model.layers.${i}.${name}.weight`];
    this.embedding = tensors["model.embed_tokens.weight"];
    this.finalNorm = tensors["model.norm.weight"];
    this.layers = Array.from({ length: config.layers }, (_, i) => ({
      normIn: at("input_layernorm", i), q: at("self_attn.q_proj", i), k: at("self_attn.k_proj", i),
      v: at("self_attn.v_proj", i), o: at("self_attn.o_proj", i), qNorm: at("self_attn.q_norm", i),
      kNorm: at("self_attn.k_norm", i), normMlp: at("post_attention_layernorm", i), gate: at("mlp.gate_proj", i),
      up: at("mlp.up_proj", i), down: at("mlp.down_proj", i),
    }));
    this.rates = Float64Array.from({ length: this.half }, (_, i) => config.rope_theta ** (-i / this.half));
  }

  // An empty cache.
  start() {
    return { length: 0, keys: this.layers.map(() => []), values: this.layers.map(() => []) };
  }

  // A cache that goes on from `state` without touching it.
  fork(state) {
    const copy = (lists) => lists.map((list) => list.slice());
    return { length: state.length, keys: copy(state.keys), values: copy(state.values) };
  }

  // Logits (Float64Array of V) after `token`, which joins the cache. RangeError beyond the longest sequence.
  next(state, token) {
    const { hidden, heads, kv_heads: kvHeads, head_dim: dim, longest } = this.config;
    if (state.length >= longest) throw new RangeError(`the model reads at most ${longest} tokens`);
    const h = Float64Array.from(this.embedding.subarray(token * hidden, (token + 1) * hidden));
    const angles = this.rates.map((rate) => state.length * rate);
    const cos = angles.map(Math.cos), sin = angles.map(Math.sin);
    this.layers.forEach((layer, i) => {
      const n = this.norm(h, layer.normIn);
      const q = this.product(layer.q, n, heads * dim), k = this.product(layer.k, n, kvHeads * dim);
      for (let head = 0; head < heads; head++) this.place(q, head * dim, layer.qNorm, cos, sin);
      for (let head = 0; head < kvHeads; head++) this.place(k, head * dim, layer.kNorm, cos, sin);
      state.keys[i].push(k);
      state.values[i].push(this.product(layer.v, n, kvHeads * dim));
      this.add(h, this.product(layer.o, this.attend(q, state.keys[i], state.values[i]), hidden));
      const m = this.norm(h, layer.normMlp);
      const gate = this.product(layer.gate, m, this.config.intermediate);
      const up = this.product(layer.up, m, this.config.intermediate);
      for (let j = 0; j < gate.length; j++) gate[j] = (gate[j] / (1 + Math.exp(-gate[j]))) * up[j];
      this.add(h, this.product(layer.down, gate, hidden));
    });
    state.length += 1;
    return this.product(this.embedding, this.norm(h, this.finalNorm), this.config.vocabulary);
  }

  // The cache after `ids`, and the logits that follow the last of them.
  read(ids, state = this.start()) {
    let logits = null;
    for (const id of ids) logits = this.next(state, id);
    return { state, logits };
  }

  // Logits from which each token of `response` was to be drawn: row 0 follows the prompt alone. [T][V]
  score(prompt, response) {
    const { state, logits } = this.read(prompt);
    const rows = [logits];
    for (const id of response.slice(0, -1)) rows.push(this.next(state, id));
    return rows;
  }

  attend(q, keys, values) {
    const { heads, kv_heads: kvHeads, head_dim: dim } = this.config;
    const out = new Float64Array(heads * dim), scores = new Float64Array(keys.length);
    for (let head = 0; head < heads; head++) {
      const from = Math.floor((head * kvHeads) / heads) * dim, to = head * dim;
      let top = -Infinity, total = 0;
      for (let t = 0; t < keys.length; t++) {
        let score = 0;
        for (let d = 0; d < dim; d++) score += q[to + d] * keys[t][from + d];
        scores[t] = score / Math.sqrt(dim);
        top = Math.max(top, scores[t]);
      }
      for (let t = 0; t < keys.length; t++) total += scores[t] = Math.exp(scores[t] - top);
      for (let t = 0; t < keys.length; t++) {
        const share = scores[t] / total;
        for (let d = 0; d < dim; d++) out[to + d] += share * values[t][from + d];
      }
    }
    return out;
  }

  // RMS norm and rotary position of one head of `x`, in place: halves (a, b) → (a cos − b sin, b cos + a sin).
  place(x, from, weight, cos, sin) {
    const half = this.half, scale = this.scale(x.subarray(from, from + 2 * half));
    for (let d = 0; d < half; d++) {
      const a = x[from + d] * scale * weight[d], b = x[from + half + d] * scale * weight[half + d];
      x[from + d] = a * cos[d] - b * sin[d];
      x[from + half + d] = b * cos[d] + a * sin[d];
    }
  }

  scale(x) {
    let sum = 0;
    for (let d = 0; d < x.length; d++) sum += x[d] * x[d];
    return 1 / Math.sqrt(sum / x.length + this.config.epsilon);
  }

  norm(x, weight) {
    const scale = this.scale(x), out = new Float64Array(x.length);
    for (let d = 0; d < x.length; d++) out[d] = x[d] * scale * weight[d];
    return out;
  }

  // W x, W of shape [rows, x.length].
  product(weight, x, rows) {
    const out = new Float64Array(rows), columns = x.length;
    for (let r = 0, at = 0; r < rows; r++) {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += weight[at++] * x[c];
      out[r] = sum;
    }
    return out;
  }

  add(x, y) {
    for (let d = 0; d < x.length; d++) x[d] += y[d];
  }
};
