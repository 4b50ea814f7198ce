// Weights that came as text: base64 of gzip of the four byte planes of little-endian float32 numbers.
//
// Beside a page that was opened from a disk nothing can be fetched, so the weights of a model are a script that hands
// them to Live.receive. Byte k of every number lies in plane k, where equal exponents compress; every bit comes back.
"use strict";

Live.received = new Map();

Live.receive = (name, packed) => Live.received.set(name, packed);

// {config, tensors: {name: Float32Array}} of what Live.receive was given.
Live.unpack = async (packed) => {
  const text = atob(packed.planes);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / 4;
  const whole = new Uint8Array(planes.length);
  for (let i = 0; i < count; i++) for (let k = 0; k < 4; k++) whole[4 * i + k] = planes[k * count + i];
  const numbers = new Float32Array(whole.buffer);
  const tensors = {};
  let start = 0;
  for (const [name, size] of packed.tensors) {
    tensors[name] = numbers.subarray(start, start + size);
    start += size;
  }
  return { config: packed.config, tensors };
};

// The model `name`, its script loaded if need be; asked for twice it is made once.
Live.models = new Map();
Live.model = (name) => {
  const made = async () => new Live.Model(await Live.unpack(await Live.loaded(name)));
  if (!Live.models.has(name)) Live.models.set(name, made());
  return Live.models.get(name);
};

Live.loaded = (name) =>
  new Promise((resolve, reject) => {
    if (Live.received.has(name)) return resolve(Live.received.get(name));
    const script = document.createElement("script");
    script.src = Live.world.models.find((m) => m.name === name).file;
    script.onload = () => resolve(Live.received.get(name));
    script.onerror = () => reject(new Error(`the weights ${script.src} are not beside this page: copy its whole folder`));
    document.head.append(script);
  });
