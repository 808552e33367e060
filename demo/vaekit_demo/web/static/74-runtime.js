// The model itself, run by ONNX Runtime from what the page carries: blob addresses stand for files.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { site } = vk;
  const pause = () => new Promise((resolve) => setTimeout(resolve));
  const atOnce = 12; // milliseconds that what can wait may keep the page from drawing

  const address = (bytes) => URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
  const script = (bytes) =>
    new Promise((resolve, reject) => {
      const node = vk.h("script", { src: address(bytes), onload: resolve, onerror: reject });
      document.head.append(node);
    });

  // One thing at a time: what a hand waits for goes before what is drawn ahead.
  class Line {
    constructor() {
      Object.assign(this, { urgent: [], patient: [], running: false });
    }

    add(run, urgent) {
      return new Promise((resolve, reject) => {
        (urgent ? this.urgent : this.patient).push({ run, resolve, reject });
        if (!this.running) this.go();
      });
    }

    async go() {
      this.running = true;
      while (this.urgent.length || this.patient.length) {
        const waits = !this.urgent.length;
        const { run, resolve, reject } = waits ? this.patient.shift() : this.urgent.shift();
        await run().then(resolve, reject);
        if (waits) await pause();
      }
      this.running = false;
    }
  }

  class Runtime {
    constructor(ort, encoder, decoder) {
      Object.assign(this, { ort, encoder, decoder, line: new Line(), milliseconds: 1 });
    }

    feed(name, values, shape, contexts) {
      const tensor = (data, dims) => new this.ort.Tensor("float32", data, dims);
      const feeds = { [name]: tensor(values, [values.length / product(shape), ...shape]) };
      if (contexts[0]) feeds.c = tensor(Float32Array.from(contexts.flat()), [contexts.length, contexts[0].length]);
      return feeds;
    }

    // Data (n, …) one after the other, from codes and what each is told.
    async decode(codes, contexts, urgent) {
      const shape = site.content.latent_shape;
      const parts = [];
      for (let from = 0; from < codes.length; ) {
        const count = urgent ? codes.length : Math.max(1, Math.min(64, Math.floor(atOnce / this.milliseconds)));
        const some = codes.slice(from, from + count);
        const feeds = this.feed("z", Float32Array.from(some.flat()), shape, contexts.slice(from, from + count));
        parts.push(await this.line.add(() => this.timed(feeds, some.length), urgent));
        from += count;
      }
      if (parts.length === 1) return parts[0];
      const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
      parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
      return whole;
    }

    async timed(feeds, n) {
      const begin = performance.now();
      const { mean } = await this.decoder.run(feeds);
      this.milliseconds += 0.3 * ((performance.now() - begin) / n - this.milliseconds);
      return mean.data;
    }

    // The code of an example, and the deviations of its posterior where it has any.
    async encode(x, context) {
      const feeds = this.feed("x", x, site.content.info.shape, [context]);
      const { code, std } = await this.line.add(() => this.encoder.run(feeds), true);
      return { code: Array.from(code.data), sd: std ? Array.from(std.data) : null };
    }
  }
  const product = (numbers) => numbers.reduce((a, b) => a * b, 1);
  const files = ["ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm", "encode.onnx", "decode.onnx"];

  // Null where the page carries no model. Once it is there, what was blended is asked for anew.
  site.runtime = site.once(async () => {
    if (site.content.light) return null;
    const [main, glue, wasm, encode, decode] = await Promise.all(files.map(site.block));
    await script(main);
    const { ort } = window;
    Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: wasm.buffer, wasmPaths: { mjs: address(glue) } });
    ort.env.logLevel = "error";
    const open = (bytes) => ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    const runtime = new Runtime(ort, await open(encode), await open(decode));
    const { info, rows } = site.content;
    for (let i = 0; i < 4; i++) await runtime.decode([info.latent.start], [rows?.[0] ?? null], true); // the first are slow
    site.ready = runtime;
    files.forEach(site.dropBlock);
    vk.emit("sharper");
    return runtime;
  });
})();
