// What every panel uses: calls, pictures, shared state, small pieces of page.
(() => {
  "use strict";
  if (window.vaekit) return;

  const vk = (window.vaekit = {
    models: [],
    chosen: null,
    panels: {},
    stats: { requests: 0, pictures: 0, latencies: [] },
  });

  vk.latency = (milliseconds) => {
    vk.stats.latencies.push(milliseconds);
    if (vk.stats.latencies.length > 2000) vk.stats.latencies.splice(0, 1000);
  };

  // Events.
  const listeners = new Map();
  vk.on = (name, listener, signal) => {
    if (!listeners.has(name)) listeners.set(name, new Set());
    listeners.get(name).add(listener);
    signal?.addEventListener("abort", () => listeners.get(name).delete(listener));
  };
  vk.emit = (name, detail) => [...(listeners.get(name) ?? [])].forEach((listener) => listener(detail));

  // The place in latent space is shared: what one panel moves, the others show.
  const places = new Map();
  vk.place = (model) => {
    if (!places.has(model)) places.set(model, { z: null, y: null, example: null });
    return places.get(model);
  };
  vk.move = (model, change, origin) => {
    Object.assign(vk.place(model), change);
    vk.emit("place", { model, origin });
  };
  vk.choose = (model) => {
    if (!model || model === vk.chosen) return;
    vk.chosen = model;
    vk.emit("model", model);
  };

  // Bytes.
  vk.bytes = (text) => {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  };
  vk.base64 = (bytes) => {
    if (bytes.toBase64) return bytes.toBase64();
    let binary = "";
    for (let i = 0; i < bytes.length; i += 32768) binary += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(binary);
  };
  vk.floats = (text) => new Float32Array(vk.bytes(text).buffer);
  vk.shorts = (text) => (text ? new Uint16Array(vk.bytes(text).buffer) : null);
  vk.integers = (text) => (text ? new Int32Array(vk.bytes(text).buffer) : null);

  // Words and numbers.
  vk.number = (value, digits = 2) => {
    const text = Math.abs(value) >= 1e5 ? value.toExponential(1) : value.toFixed(digits);
    return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "\u2212");
  };
  vk.rounded = (z) => Array.from(z, (value) => Math.round(value * 1e5) / 1e5);
  vk.seed = () => Math.floor(Math.random() * 2 ** 31);
  vk.dot = (a, b) => {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
    return sum;
  };
  // A code brought to where codes can be, as the server does it; what lies along the directions that are held stays, as far
  // as that can be.
  vk.within = (info, z, held = []) => {
    let from = 0;
    const moved = info.latent.blocks.flatMap((block) => {
      const part = (values) => Array.from(values.slice(from, from + block.size));
      const own = held.map(part).filter((direction) => Math.hypot(...direction) > 0.999);
      const values = part(z);
      from += block.size;
      if (block.support === "sphere" || block.support === "ball") return round(block, values, own);
      return block.support === "simplex" ? rows(block, values, own) : values;
    });
    const { bounds } = info.latent; // beyond which there are no pictures
    return bounds ? moved.map((value, i) => Math.min(Math.max(value, bounds[i][0]), bounds[i][1])) : moved;
  };
  const length = (values) => Math.max(Math.hypot(...values), 1e-9);
  const scaled = (values, factor) => values.map((value) => value * factor);
  const minus = (values, others) => values.map((value, i) => value - others[i]);
  const along = (values, directions) =>
    directions.reduce(
      (sum, direction) => {
        const share = vk.dot(values, direction);
        return sum.map((value, i) => value + share * direction[i]);
      },
      values.map(() => 0),
    );
  const round = ({ size, support, radius }, z, held) => {
    if (support === "ball" && length(z) <= radius) return z;
    if (held.length === size) return scaled(z, radius / length(z));
    let kept = along(z, held);
    let rest = minus(z, kept);
    kept = scaled(kept, Math.min(1, (radius * 0.999) / length(kept)));
    if (length(rest) <= 1e-6) {
      const other = z.map((_, i) => 1 + i / Math.max(1, size - 1)); // where nothing says which way to go
      rest = minus(other, along(other, held));
    }
    const left = Math.sqrt(radius ** 2 - vk.dot(kept, kept)) / length(rest);
    return kept.map((value, i) => value + left * rest[i]);
  };
  const rows = ({ size, classes }, z, held) => {
    const moved = [];
    for (let from = 0; from < size; from += classes) {
      const row = z.slice(from, from + classes).map((value) => Math.max(0, value));
      const fixed = row.map((_, i) => held.some((direction) => direction[from + i] > 0.999));
      const total = (of) => row.reduce((sum, value, i) => sum + (fixed[i] === of ? value : 0), 0);
      const free = fixed.filter((one) => !one).length;
      const kept = total(true) / Math.max(total(true), free ? 1 : 1e-9);
      const shrink = total(true) ? kept / total(true) : 0;
      const others = total(false);
      row.forEach((value, i) => {
        const share = others > 1e-6 ? value / others : 1 / free;
        moved.push(fixed[i] ? value * shrink : share * (1 - kept));
      });
    }
    return moved;
  };
  // A unit vector along one dimension.
  vk.axis = (info, i) => Array.from({ length: info.latent.size }, (_, k) => (k === i ? 1 : 0));
  // Whether what answers the calls can do that: a page without a server cannot do all.
  vk.can = (info, what) => !info.lacks?.includes(what);
  vk.tests = (info) => (info.data.at_hand ? (info.data.test ?? info.data.examples) : 0);
  vk.nameOfClass = (info, y) => {
    const name = info.classes[y] ?? String(y);
    return /^\d+$/.test(name) ? `class ${name}` : name;
  };
  vk.nameOfExample = (info, number, label) =>
    [
      number === null || number === undefined ? null : `test ${number}`,
      label === null || label === undefined ? null : vk.nameOfClass(info, label),
    ]
      .filter(Boolean)
      .join(" · ");

  // Pieces of page. Text always goes in as text.
  const properties = new Set(["value", "checked", "disabled", "hidden", "open", "tabIndex", "htmlFor", "textContent"]);
  vk.h = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (properties.has(name)) node[name] = value;
      else node.setAttribute(name === "class" ? "class" : name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  };
  const h = vk.h;

  vk.button = (text, onclick, attributes = {}) =>
    h("button", { type: "button", class: "vk-button", onclick, ...attributes }, text);

  vk.section = (title, text, ...children) =>
    h(
      "section",
      { class: "vk-section" },
      title ? h("header", {}, h("h3", {}, title), text ? h("p", { class: "vk-text" }, text) : null) : null,
      ...children,
    );

  vk.explain = (...paragraphs) =>
    h(
      "details",
      { class: "vk-explain" },
      h("summary", {}, "What am I seeing?"),
      h("div", { class: "vk-explain-body" }, ...paragraphs.map((text) => h("p", {}, text))),
    );

  // A row of radio buttons that reads as one control; a <select> where there are many.
  let groups = 0;
  vk.choice = (label, options, value, onchange, { visible = true } = {}) => {
    const caption = h("span", { class: visible ? "vk-label" : "vk-hidden" }, label);
    if (options.length > 12) {
      const select = vk.select(options, value, onchange);
      return { element: h("label", { class: "vk-field" }, caption, select.element), set: select.set };
    }
    const name = `vk-choice-${++groups}`;
    const inputs = options.map(([key, text]) => {
      const input = h("input", {
        type: "radio",
        name,
        checked: key === value,
        class: "vk-hidden",
        onchange: () => input.checked && onchange(key),
      });
      return { key, input, element: h("label", {}, input, h("span", {}, text)) };
    });
    const row = h("span", { class: "vk-segments" }, ...inputs.map(({ element }) => element));
    const element = h("div", { class: "vk-field", role: "radiogroup", "aria-label": label }, caption, row);
    return {
      element,
      set: (next) =>
        inputs.forEach(({ key, input }) => {
          input.checked = key === next;
        }),
    };
  };
  vk.select = (options, value, onchange, attributes = {}) => {
    const element = h(
      "select",
      { class: "vk-select", ...attributes, onchange: () => onchange(options[element.selectedIndex][0]) },
      ...options.map(([, text]) => h("option", {}, text)),
    );
    const set = (next) => {
      element.selectedIndex = options.findIndex(([key]) => String(key) === String(next));
    };
    set(value);
    return { element, set };
  };
  vk.check = (text, checked, onchange) => {
    const input = h("input", { type: "checkbox", checked, onchange: () => onchange(input.checked) });
    return { element: h("label", { class: "vk-check" }, input, h("span", {}, text)), input };
  };
  vk.classPicker = (info, value, onchange, label = "Class") =>
    vk.choice(
      label,
      info.classes.map((name, y) => [y, name]),
      value,
      onchange,
    );

  vk.range = ({ label, min, max, step = "any", value, oninput, onchange, class: extra = "" }) =>
    h("input", {
      type: "range",
      class: `vk-range ${extra}`,
      min,
      max,
      step,
      "aria-label": label,
      value,
      oninput: (event) => oninput(Number(event.target.value), event),
      onchange: onchange && ((event) => onchange(Number(event.target.value), event)),
    });

  // Moves as they come where the browser tells them, not at the next frame.
  vk.pointermove = "onpointerrawupdate" in window ? "pointerrawupdate" : "pointermove";

  // Runs after the calls have stopped coming for a while.
  vk.rest = (run, milliseconds, signal) => {
    let timer = 0;
    signal?.addEventListener("abort", () => clearTimeout(timer));
    return (...values) => {
      clearTimeout(timer);
      if (!signal?.aborted) timer = setTimeout(() => run(...values), milliseconds);
    };
  };
  // Runs at most once a frame, with the last values.
  vk.frame = (run, signal) => {
    let asked = false;
    return () => {
      if (asked || signal?.aborted) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        if (!signal?.aborted) run();
      });
    };
  };
  // Whether a server that was busy is asked again, after a pause that grows; false where it has been asked often enough.
  const again = async (reply, waits) => {
    if (!reply.busy || waits >= (reply.lost ? 8 : 20)) return false;
    const pause = Math.min(150 * 2 ** waits, 1500) * (0.75 + Math.random() / 2);
    await new Promise((resolve) => setTimeout(resolve, pause));
    return true;
  };

  // One request in flight; of those that wait only the newest is sent; a busy server is asked again.
  vk.Newest = class {
    constructor(send, show, signal) {
      Object.assign(this, { send, show, signal, next: null, running: false });
    }

    ask(request, event = null) {
      this.next = { request, at: event ? event.timeStamp : null };
      if (!this.running) this.run();
    }

    forget() {
      this.next = null;
      this.stale = this.running;
    }

    async run() {
      this.running = true;
      let waits = 0;
      try {
        while (this.next && !this.signal.aborted) {
          const job = this.next;
          this.next = null;
          this.stale = false;
          const reply = await this.send(job.request);
          if (this.signal.aborted) break;
          if (this.stale) continue;
          if (await again(reply, waits)) {
            waits++;
            if (!this.stale) this.next ??= job;
            continue;
          }
          waits = 0;
          this.show(reply, job.request);
          if (job.at !== null && !reply.error) vk.latency(performance.now() - job.at);
        }
      } finally {
        this.running = false;
      }
    }
  };

  // Pictures.
  vk.pixels = (pictures) => (pictures.bytes ??= vk.bytes(pictures.data));
  const imageOf = (pictures, index) => {
    const { w, h: height, c } = pictures;
    const bytes = vk.pixels(pictures);
    const image = new ImageData(w, height);
    const from = index * w * height * c;
    for (let i = 0, o = 0; i < w * height; i++, o += 4) {
      const p = from + i * c;
      image.data[o] = bytes[p];
      image.data[o + 1] = bytes[c === 3 ? p + 1 : p];
      image.data[o + 2] = bytes[c === 3 ? p + 2 : p];
      image.data[o + 3] = 255;
    }
    return image;
  };

  // A whole number of screen pixels to a picture's pixel, as many as fit the box.
  vk.fit = (w, height, box) => {
    const scale = box / Math.max(w, height);
    return scale >= 1 ? Math.floor(scale) : scale;
  };

  vk.Picture = class {
    constructor(label, box, { w = 1, h: height = 1 } = {}) {
      this.box = box;
      this.canvas = h("canvas", { class: "vk-picture vk-blank", role: "img", "aria-label": label, width: w, height });
      this.element = this.canvas;
      this.size();
    }

    size() {
      const { width, height } = this.canvas;
      this.canvas.style.width = `${width * vk.fit(width, height, this.box)}px`;
      this.canvas.style.aspectRatio = `${width} / ${height}`;
    }

    show(pictures, index = 0) {
      if (this.canvas.width !== pictures.w || this.canvas.height !== pictures.h) {
        this.canvas.width = pictures.w;
        this.canvas.height = pictures.h;
        this.size();
      }
      this.canvas.getContext("2d").putImageData(imageOf(pictures, index), 0, 0);
      this.canvas.classList.remove("vk-blank");
      vk.stats.pictures++;
    }

    clear() {
      this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
      this.canvas.classList.add("vk-blank");
    }
  };

  vk.figure = (picture, caption, attributes = {}) => {
    const text = h("figcaption", {}, caption);
    return {
      element: h("figure", { class: "vk-pic", ...attributes }, picture.element, text),
      say: (words) => {
        text.textContent = words;
      },
    };
  };

  // All pictures on one canvas, so that a tile is one drawImage.
  vk.atlas = (pictures, columns) => {
    const canvas = document.createElement("canvas");
    canvas.width = pictures.w * columns;
    canvas.height = pictures.h * Math.ceil(pictures.n / columns);
    const context = canvas.getContext("2d");
    for (let i = 0; i < pictures.n; i++) {
      context.putImageData(imageOf(pictures, i), (i % columns) * pictures.w, Math.floor(i / columns) * pictures.h);
    }
    return canvas;
  };

  // Many pictures in rows; a tile is outlined under the pointer and can be marked and picked, where asked also by keys.
  vk.Sheet = class {
    constructor(ctx, { label, gap = 2, onpick = null, keys = false }) {
      Object.assign(this, { ctx, gap, onpick, pictures: null, columns: 1, marked: -1, over: -1 });
      this.canvas = h("canvas", { class: "vk-sheet", role: "img", "aria-label": label });
      this.element = this.canvas;
      this.draw = vk.frame(() => this.paint(), ctx.signal);
      if (onpick) {
        this.canvas.classList.add("vk-clickable");
        this.canvas.addEventListener("pointermove", (event) => this.hover(this.at(event)));
        this.canvas.addEventListener("pointerleave", () => this.hover(-1));
        this.canvas.addEventListener("click", (event) => {
          const index = this.at(event);
          if (index >= 0) onpick(index, event);
        });
        if (keys) this.listen();
      }
      const observer = new ResizeObserver(this.draw);
      observer.observe(this.canvas);
      ctx.signal.addEventListener("abort", () => observer.disconnect());
      vk.on("theme", this.draw, ctx.signal);
    }

    listen() {
      this.canvas.tabIndex = 0;
      this.canvas.setAttribute("role", "application");
      this.canvas.setAttribute("aria-roledescription", "pictures; arrow keys go from one to the next, Enter takes one");
      this.canvas.addEventListener("blur", () => this.hover(-1));
      this.canvas.addEventListener("keydown", (event) => {
        if (!this.pictures) return;
        const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns };
        const at = this.over < 0 ? Math.max(0, this.marked) : this.over + (moves[event.key] ?? 0);
        if (event.key in moves) this.hover(Math.min(Math.max(at, 0), this.pictures.n - 1));
        else if (event.key === "Enter" && this.over >= 0) this.onpick(this.over, event);
        else return;
        event.preventDefault();
      });
    }

    show(pictures, columns) {
      Object.assign(this, { pictures, columns, rows: Math.ceil(pictures.n / columns) });
      this.atlas = vk.atlas(pictures, columns);
      vk.stats.pictures += pictures.n;
      this.canvas.classList.remove("vk-stale");
      this.paint();
    }

    clear() {
      this.pictures = null;
      this.paint();
    }

    mark(index) {
      if (index === this.marked) return;
      this.marked = index;
      this.draw();
    }

    hover(index) {
      if (index === this.over) return;
      this.over = index;
      this.draw();
    }

    at(event) {
      if (!this.pictures) return -1;
      const box = this.canvas.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
      const row = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
      if (column < 0 || row < 0 || column >= this.columns || row >= this.rows) return -1;
      const index = row * this.columns + column;
      return index < this.pictures.n ? index : -1;
    }

    paint() {
      const width = this.canvas.clientWidth;
      if (!width || !this.pictures) {
        if (!this.pictures) this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
        return;
      }
      const ratio = window.devicePixelRatio || 1;
      const { pictures, columns, rows, gap } = this;
      const tile = (width - gap * (columns - 1)) / columns;
      const high = (tile * pictures.h) / pictures.w;
      const height = Math.round(high * rows + gap * (rows - 1));
      if (this.canvas.style.height !== `${height}px`) this.canvas.style.height = `${height}px`;
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      const context = this.canvas.getContext("2d");
      context.imageSmoothingEnabled = tile * ratio < pictures.w;
      context.imageSmoothingQuality = "high";
      const boxOf = (i) => {
        const left = Math.round((i % columns) * (tile + gap) * ratio);
        const top = Math.round(Math.floor(i / columns) * (high + gap) * ratio);
        return [
          left,
          top,
          Math.round(((i % columns) * (tile + gap) + tile) * ratio) - left,
          Math.round((Math.floor(i / columns) * (high + gap) + high) * ratio) - top,
        ];
      };
      for (let i = 0; i < pictures.n; i++) {
        context.drawImage(
          this.atlas,
          (i % columns) * pictures.w,
          Math.floor(i / columns) * pictures.h,
          pictures.w,
          pictures.h,
          ...boxOf(i),
        );
      }
      const colours = this.ctx.colours();
      for (const [index, alpha] of [
        [this.over, 0.6],
        [this.marked, 1],
      ]) {
        if (index < 0 || index >= pictures.n) continue;
        const [left, top, w, tall] = boxOf(index);
        context.globalAlpha = alpha;
        context.strokeStyle = colours.accent;
        context.lineWidth = 2 * ratio;
        context.strokeRect(left + ratio, top + ratio, w - 2 * ratio, tall - 2 * ratio);
        context.globalAlpha = 1;
      }
    }
  };

  // The size of a canvas in screen pixels; its context draws in CSS pixels.
  vk.prepare = (canvas, width, height) => {
    const ratio = window.devicePixelRatio || 1;
    const [w, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== tall) Object.assign(canvas, { width: w, height: tall });
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  };

  const watchTheme = () => {
    if (vk.watching) return;
    vk.watching = true;
    new MutationObserver(() => vk.emit("theme")).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  };

  // A file by its chooser, by dropping it, or from the clipboard.
  vk.readFile = async (file, most) => {
    if (file.size > most) {
      const size = (bytes) => `${vk.number(bytes / 2 ** 20, bytes < 2 ** 20 ? 2 : 1)} MiB`;
      return { error: `${file.name || "This file"} has ${size(file.size)}; ${size(most)} is the most.` };
    }
    return { file: vk.base64(new Uint8Array(await file.arrayBuffer())) };
  };
  vk.chooser = (onfile) => {
    const input = h("input", {
      type: "file",
      accept: "image/*",
      class: "vk-hidden",
      tabIndex: -1,
      "aria-hidden": "true",
      onchange: () => {
        if (input.files[0]) onfile(input.files[0]);
        input.value = "";
      },
    });
    return { input, open: () => input.click() };
  };

  // What a panel's parts are given: the model's description, calls, and the life of what is on the page.
  class Panel {
    constructor(name, element, props, server) {
      Object.assign(this, { name, element, props, server });
      this.root = element.querySelector?.(".vk-panel") ?? element;
      this.root.classList.add("vk", `vk-is-${name}`);
      this.life = new AbortController();
      this.part = new AbortController();
      this.waiting = new Map();
      this.seen = new Map(); // colours, until the theme changes
      vk.on("model", () => this.load(), this.life.signal);
      vk.on(
        "models",
        (key) => {
          if (name === "compare" || key === vk.chosen) this.load();
        },
        this.life.signal,
      );
      vk.on("theme", () => this.seen.clear(), this.life.signal);
      const observer = new ResizeObserver(() => this.resized());
      observer.observe(this.root);
      this.life.signal.addEventListener("abort", () => observer.disconnect());
      this.load();
    }

    close() {
      this.life.abort();
      this.part.abort();
    }

    state(value) {
      this.element.dataset.state = value;
      this.root.dataset.state = value;
      this.root.setAttribute("aria-busy", String(value === "loading"));
    }

    get signal() {
      return this.part.signal;
    }

    get visible() {
      return this.root.clientWidth > 0;
    }

    get model() {
      return this.info.key;
    }

    get place() {
      return vk.place(this.model);
    }

    async load() {
      this.part.abort();
      this.part = new AbortController();
      this.waiting.clear();
      const { signal } = this;
      this.state("loading");
      this.root.replaceChildren(
        h(
          "div",
          { class: "vk-skeleton", role: "status", "aria-label": "Loading" },
          h("p", { class: "vk-text" }, "Loading…"),
          h("div", {}, h("i"), h("i")),
        ),
      );
      const info = await vk.describe(this.server, vk.chosen);
      if (signal.aborted || this.life.signal.aborted) return;
      if (info.error) {
        this.state("error");
        this.root.replaceChildren(
          h(
            "div",
            { class: "vk-empty" },
            h("p", { role: "status" }, info.error),
            vk.button("Try again", () => this.load()),
          ),
        );
        return;
      }
      this.info = info;
      const place = vk.place(info.key);
      if (info.conditional) place.y ??= 0;
      place.z ??= info.latent.start;
      this.later("build", () => this.build());
    }

    build() {
      const status = h("p", { class: "vk-status", role: "status", hidden: true });
      const spoken = h("p", { class: "vk-hidden", "aria-live": "polite" });
      this.tell = (text) => {
        this.said = text;
        status.textContent = text ?? "";
        status.hidden = !text;
      };
      this.announce = vk.rest(
        (text) => {
          spoken.textContent = text;
        },
        700,
        this.signal,
      );
      const note = this.info.drawn ? h("p", { class: "vk-caption" }, this.info.drawn) : "";
      this.root.replaceChildren(note, vk.panels[this.name](this), status, spoken);
      this.state("ready");
    }

    // Now, or when the panel is next to be seen.
    later(key, run) {
      if (this.visible) run();
      else this.waiting.set(key, run);
    }

    resized() {
      const width = this.root.clientWidth;
      if (!width) return;
      this.root.classList.toggle("vk-narrow", width < 720);
      this.root.classList.toggle("vk-medium", width >= 720 && width < 1040);
      const runs = [...this.waiting.values()];
      this.waiting.clear();
      runs.forEach((run) => run());
    }

    // A server that stays busy for more than a moment is said to be, and one that works on an answer too.
    async call(name, request, model = this.model) {
      const { signal } = this;
      const slow = setTimeout(() => !signal.aborted && !this.said && this.tell(working), 700);
      const reply = await ask(this.server, name, { model, ...request });
      clearTimeout(slow);
      if (signal.aborted) return reply;
      if (!reply.busy) {
        this.busySince = null;
        if (this.said === busy || this.said === working) this.tell("");
      } else if (performance.now() - (this.busySince ??= performance.now()) > 400) this.tell(busy);
      return reply;
    }

    // The same, asked again while the server is busy.
    async patiently(name, request, model = this.model) {
      const { signal } = this;
      for (let waits = 0; ; waits++) {
        const reply = await this.call(name, request, model);
        if (signal.aborted || !(await again(reply, waits))) return reply;
      }
    }

    // A stream of calls of one kind, of which the newest wins; errors go to the status line.
    stream(name, show, model = null) {
      return new vk.Newest(
        (request) => this.call(name, request, model ?? this.model),
        (reply, request) => {
          this.tell(reply.error ?? "");
          if (!reply.error) show(reply, request);
        },
        this.signal,
      );
    }

    points(axes, model = this.model) {
      return remember(`${model}|${JSON.stringify(axes)}`, () => this.patiently("points", { axes }, model));
    }

    colours() {
      if (this.seen.has("colours")) return this.seen.get("colours");
      const style = getComputedStyle(this.root);
      const read = (name, other) => style.getPropertyValue(name).trim() || other;
      const colours = {
        ink: read("--vk-ink", "#1f2937"),
        paper: read("--vk-paper", "#fff"),
        line: read("--vk-line", "#e5e7eb"),
        accent: read("--vk-accent", "#4f46e5"),
        font: style.fontFamily,
      };
      this.seen.set("colours", colours);
      return colours;
    }
  }

  const busy = "The server is busy.";
  const working = "Working …";

  // No answer, or none that can be read: what stands before the server turned it away, or the connection was lost.
  const ask = async (server, name, request) => {
    vk.stats.requests++;
    let reply = null;
    try {
      reply = await server[name](request);
    } catch {
      // As where there is none.
    }
    if (reply && typeof reply === "object") return reply;
    return { busy: true, lost: true, error: "The server does not answer. Is it still running?" };
  };

  const remembered = new Map(); // answers that stay as they are
  const remember = (key, make) => {
    if (!remembered.has(key)) {
      if (remembered.size >= 24) remembered.delete(remembered.keys().next().value);
      const reply = make();
      remembered.set(key, reply);
      reply.then((value) => value.error && remembered.delete(key));
    }
    return remembered.get(key);
  };
  // One more model to choose, or another under a key that was there.
  vk.add = (model) => {
    vk.models = [...vk.models.filter(({ key }) => key !== model.key), model];
    places.delete(model.key);
    for (const key of [...remembered.keys()]) {
      if (key === `describe|${model.key}` || key.startsWith(`${model.key}|`)) remembered.delete(key);
    }
    vk.emit("models", model.key);
  };

  vk.describe = (server, model) =>
    remember(`describe|${model}`, async () => {
      for (let waits = 0; ; waits++) {
        const reply = await ask(server, "describe", { model });
        if (!(await again(reply, waits))) return reply;
      }
    });

  vk.panel = (name, element, props = {}, server = {}) => {
    watchTheme();
    if (props.models?.length && !vk.models.length) vk.models = props.models;
    vk.chosen ??= props.model ?? vk.models[0]?.key ?? null;
    element.vaekitPanel?.close();
    element.vaekitPanel = new Panel(name, element, props, server);
  };
})();
