// Greedy and sampled responses, with the seeds and the random numbers of the library's engine on a CPU.
//
//   seed of a response  the first 31 bits of BLAKE2b-32 of "purpose/problem/sample"       (train/rollouts.py)
//   seed of a token     the next 31 bits of a Mersenne Twister with that seed             (torch.randint)
//   noise               g_v = −log(−log u_v), u_v from SplitMix64(seed of the token, v)   (vLLM's sampler on a CPU)
//   token               argmax_v z_v / T + g_v
//
// So a response is the engine's, token by token, wherever both models give the same logits up to rounding. Other numbers
// draw the plain loop (train/local.py: torch.multinomial) and vLLM on a GPU. Left out: top-p and top-k.
"use strict";

// log softmax(z / τ), Float64Array.
Live.logSoftmax = (logits, temperature = 1) => {
  const scaled = logits.map((z) => z / temperature), top = Math.max(...scaled);
  const log = top + Math.log(scaled.reduce((sum, z) => sum + Math.exp(z - top), 0));
  return scaled.map((z) => z - log);
};

Live.entropy = (logprobs) => -logprobs.reduce((sum, l) => sum + (l === -Infinity ? 0 : Math.exp(l) * l), 0);

Live.argmax = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

// Mersenne Twister MT19937 (Matsumoto & Nishimura 1998). Of the 64 bits that torch takes for a number below 2^31 the
// second word holds the lower ones.
Live.Random = class {
  constructor(seed) {
    this.words = new Uint32Array(624);
    this.words[0] = seed;
    for (let i = 1; i < 624; i++) {
      const before = this.words[i - 1] ^ (this.words[i - 1] >>> 30);
      this.words[i] = Math.imul(1812433253, before) + i;
    }
    this.at = 624;
  }

  word() {
    const w = this.words;
    if (this.at === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (w[i] & 0x80000000) | (w[(i + 1) % 624] & 0x7fffffff);
        w[i] = w[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.at = 0;
    }
    let y = w[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  // A number below 2^31.
  seed() {
    this.word();
    return this.word() & 0x7fffffff;
  }
};

// The finishing steps of SplitMix64 (Steele, Lea & Flood 2014), and its increment.
const mixed = (z) => {
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
};
const STEP = 0x9e3779b97f4a7c15n;

// Gumbel noise of each of `size` tokens for one draw.
Live.noise = (seed, size) => {
  const key = mixed(BigInt(seed));
  return Float64Array.from({ length: size }, (_, v) => {
    const bits = mixed(BigInt.asUintN(64, key + BigInt(v + 1) * STEP)) >> 11n;
    return -Math.log(-Math.log((Number(bits) + 0.5) / 9007199254740992));
  });
};

// One token of softmax(z / T), T > 0; the single precision is the engine's.
Live.draw = (logits, temperature, random) => {
  const noise = Live.noise(random.seed(), logits.length);
  return Live.argmax(noise.map((g, v) => Math.fround(Math.fround(logits[v]) / Math.fround(temperature)) + g));
};

// A response that follows a prompt: {ids, logprobs (temperature 1), finish: stop | length}. Greedy at temperature 0.
// prompted: what Model.read(prompt) gave; it can be used again.
Live.respond = (model, prompted, { temperature = 0, seed = 0, maxTokens = 120, stop }) => {
  const state = model.fork(prompted.state), random = new Live.Random(seed), ids = [], logprobs = [];
  let logits = prompted.logits;
  while (ids.length < maxTokens) {
    const token = temperature > 0 ? Live.draw(logits, temperature, random) : Live.argmax(logits);
    ids.push(token);
    logprobs.push(Live.logSoftmax(logits)[token]);
    if (token === stop) return { ids, logprobs, finish: "stop" };
    if (ids.length < maxTokens) logits = model.next(state, token);
  }
  return { ids, logprobs, finish: "length" };
};

// The seed of a request, from the parts that name it.
Live.requestSeed = (...parts) => {
  const bytes = Live.blake2b(new TextEncoder().encode(parts.join("/")), 4);
  return (((bytes[0] & 0x7f) << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0;
};

// BLAKE2b of `message` (RFC 7693), without a key, of `size` bytes.
Live.blake2b = (message, size) => {
  const mask = (1n << 64n) - 1n;
  const start = [
    0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
    0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
  ];
  const order = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4], [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13], [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11], [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5], [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
  ];
  const rounds = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15],
    [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];
  const turned = (x, by) => ((x >> by) | (x << (64n - by))) & mask;
  const h = start.slice();
  h[0] ^= 0x01010000n ^ BigInt(size);
  const blocks = Math.max(1, Math.ceil(message.length / 128));
  const padded = new Uint8Array(blocks * 128);
  padded.set(message);
  const view = new DataView(padded.buffer);
  for (let block = 0; block < blocks; block++) {
    const m = Array.from({ length: 16 }, (_, i) => view.getBigUint64(block * 128 + 8 * i, true));
    const v = [...h, ...start];
    v[12] ^= BigInt(Math.min(message.length, (block + 1) * 128));
    if (block === blocks - 1) v[14] ^= mask;
    for (let round = 0; round < 12; round++) {
      rounds.forEach(([a, b, c, d], i) => {
        const [x, y] = [m[order[round % 10][2 * i]], m[order[round % 10][2 * i + 1]]];
        v[a] = (v[a] + v[b] + x) & mask;
        v[d] = turned(v[d] ^ v[a], 32n);
        v[c] = (v[c] + v[d]) & mask;
        v[b] = turned(v[b] ^ v[c], 24n);
        v[a] = (v[a] + v[b] + y) & mask;
        v[d] = turned(v[d] ^ v[a], 16n);
        v[c] = (v[c] + v[d]) & mask;
        v[b] = turned(v[b] ^ v[c], 63n);
      });
    }
    for (let i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
  }
  return Array.from({ length: size }, (_, i) => Number((h[i >> 3] >> BigInt(8 * (i & 7))) & 255n));
};
