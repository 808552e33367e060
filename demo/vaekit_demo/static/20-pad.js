// The pad: drawing with mouse, finger or pen; files by choosing, dropping or pasting.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { h } = vk;

  vk.Pad = class {
    // onchange(source or null, event): a drawing, a file, or nothing
    constructor(ctx, { label, onchange, info = ctx.info, chooser = true }) {
      Object.assign(this, { ctx, info, onchange, history: [], brush: 0.08, erasing: false, empty: true });
      const { side, channels, ground, possible } = info.draw;
      const word = ground < 0.5 ? "255" : "0";
      this.ground = `rgb(${Array(3)
        .fill(Math.round(ground * 255))
        .join(",")})`;
      this.ink = `rgb(${word},${word},${word})`;
      this.canvas = h("canvas", {
        class: "vk-pad-canvas",
        width: side,
        height: side,
        tabIndex: possible ? 0 : -1,
        role: "img",
        "aria-label": label,
      });
      this.context = this.canvas.getContext("2d", { willReadFrequently: true });
      this.hint = h("p", { class: "vk-pad-hint", "aria-hidden": "true" });
      this.hint.style.color = ground < 0.5 ? "#fff" : "#000";
      this.chooser = vk.chooser((file) => this.take(file));
      this.surface = h("div", { class: "vk-pad-surface" }, this.canvas, this.hint);
      this.undoButton = vk.button("Undo", (event) => this.undo(event), { disabled: true });
      this.clearButton = vk.button("Clear", (event) => this.clear(event), { disabled: true });
      this.element = h(
        "div",
        { class: "vk-pad", hidden: !possible && !info.upload },
        this.surface,
        possible ? this.tools(channels) : h("p", { class: "vk-caption" }, info.draw.why),
        h(
          "div",
          { class: "vk-row" },
          possible ? this.undoButton : null,
          this.clearButton,
          info.upload && chooser ? vk.button("Upload…", () => this.chooser.open()) : null,
          this.chooser.input,
        ),
      );
      this.say();
      this.blank();
      if (possible) this.listen();
      if (info.upload) this.files();
    }

    tools(channels) {
      const size = vk.range({
        label: "Brush size",
        min: 0.03,
        max: 0.2,
        step: 0.01,
        value: this.brush,
        oninput: (value) => {
          this.brush = value;
        },
      });
      const tool = vk.choice(
        "Tool",
        [
          ["draw", "Draw"],
          ["erase", "Erase"],
        ],
        "draw",
        (key) => {
          this.erasing = key === "erase";
        },
        { visible: false },
      );
      const colour =
        channels === 3
          ? h("input", {
              type: "color",
              class: "vk-colour",
              value: this.info.draw.ground < 0.5 ? "#ffffff" : "#000000",
              "aria-label": "Brush colour",
              oninput: (event) => {
                this.ink = event.target.value;
              },
            })
          : null;
      return h(
        "div",
        { class: "vk-row" },
        tool.element,
        colour,
        h("label", { class: "vk-brush" }, h("span", { class: "vk-label" }, "Brush"), size),
      );
    }

    blank() {
      const { width, height } = this.canvas;
      this.context.globalCompositeOperation = "source-over";
      this.context.fillStyle = this.ground;
      this.context.fillRect(0, 0, width, height);
      this.stamps = new Map();
    }

    listen() {
      const { canvas } = this;
      let last = null;
      const at = (event) => {
        const box = canvas.getBoundingClientRect();
        return [
          ((event.clientX - box.left) / box.width) * canvas.width,
          ((event.clientY - box.top) / box.height) * canvas.height,
        ];
      };
      canvas.addEventListener("pointerdown", (event) => {
        if (event.button !== 0 || last) return;
        canvas.setPointerCapture(event.pointerId);
        this.remember();
        this.say();
        last = { id: event.pointerId, place: at(event) };
        this.stroke(last.place, last.place);
        this.changed(event);
      });
      canvas.addEventListener(vk.pointermove, (event) => {
        if (last?.id !== event.pointerId) return;
        const events = event.getCoalescedEvents?.() ?? [];
        for (const each of events.length ? events : [event]) {
          const place = at(each);
          this.stroke(last.place, place);
          last.place = place;
        }
        this.changed(event);
      });
      const end = (event) => {
        if (last?.id !== event.pointerId) return;
        last = null;
        this.changed(event);
      };
      canvas.addEventListener("pointerup", end);
      canvas.addEventListener("pointercancel", end);
      canvas.addEventListener("keydown", (event) => {
        if ((event.ctrlKey || event.metaKey) && event.key === "z") {
          event.preventDefault();
          this.undo(event);
        }
      });
    }

    files() {
      const { surface } = this;
      const over = (on) => surface.classList.toggle("vk-dropping", on);
      surface.addEventListener("dragover", (event) => {
        event.preventDefault();
        over(true);
      });
      surface.addEventListener("dragleave", () => over(false));
      surface.addEventListener("drop", (event) => {
        event.preventDefault();
        over(false);
        if (event.dataTransfer.files[0]) this.take(event.dataTransfer.files[0]);
      });
      document.addEventListener(
        "paste",
        (event) => {
          const file = [...(event.clipboardData?.files ?? [])][0];
          if (!file || !this.canvas.offsetParent || /^(input|textarea)$/i.test(event.target.tagName)) return;
          event.preventDefault();
          this.take(file);
        },
        { signal: this.ctx.signal },
      );
    }

    async take(file) {
      const source = await vk.readFile(file, this.info.most_bytes);
      if (this.ctx.signal.aborted) return;
      if (source.error) {
        this.ctx.tell(source.error);
        return;
      }
      this.reset();
      this.clearButton.disabled = false;
      this.say(file.name || "a pasted picture");
      this.onchange(source, null);
    }

    // What an empty pad says: what to do, or which file was taken.
    say(file = null) {
      const { possible } = this.info.draw;
      const [large, small] = file
        ? [file, possible ? "draw here to replace it" : ""]
        : [possible ? "Draw here" : "Drop a file here", possible && this.info.upload ? "or drop a picture" : ""];
      this.hint.replaceChildren(large, h("small", {}, small));
    }

    // A soft round brush, stamped along the way.
    stamp(radius, colour) {
      const key = `${radius}${colour}`;
      if (this.stamps.has(key)) return this.stamps.get(key);
      const side = Math.ceil(radius * 2) + 2;
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = side;
      const brush = canvas.getContext("2d");
      const shade = brush.createRadialGradient(side / 2, side / 2, radius * 0.55, side / 2, side / 2, radius);
      shade.addColorStop(0, "#000");
      shade.addColorStop(1, "#0000");
      brush.fillStyle = shade;
      brush.fillRect(0, 0, side, side);
      brush.globalCompositeOperation = "source-in";
      brush.fillStyle = colour;
      brush.fillRect(0, 0, side, side);
      this.stamps.set(key, canvas);
      return canvas;
    }

    stroke([x0, y0], [x1, y1]) {
      const radius = ((this.brush * this.canvas.width) / 2) * (this.erasing ? 1.6 : 1) + 1;
      const stamp = this.stamp(radius, this.erasing ? this.ground : this.ink);
      const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / (radius / 4)));
      for (let i = 1; i <= steps; i++) {
        const [x, y] = [x0 + ((x1 - x0) * i) / steps, y0 + ((y1 - y0) * i) / steps];
        this.context.drawImage(stamp, x - stamp.width / 2, y - stamp.height / 2);
      }
      this.empty = false;
    }

    remember() {
      const { width, height } = this.canvas;
      this.history.push({ image: this.context.getImageData(0, 0, width, height), empty: this.empty });
      if (this.history.length > 20) this.history.shift();
    }

    undo(event) {
      const before = this.history.pop();
      if (!before) return;
      this.context.putImageData(before.image, 0, 0);
      this.empty = before.empty;
      this.changed(event);
    }

    clear(event) {
      if (!this.empty) this.remember();
      this.say();
      this.blank();
      this.empty = true;
      this.changed(event);
    }

    // Empty, without telling anyone: something else is shown now.
    reset() {
      this.blank();
      this.history = [];
      this.empty = true;
      this.undoButton.disabled = this.clearButton.disabled = true;
      this.hint.hidden = false;
      this.say();
    }

    changed(event) {
      this.hint.hidden = !this.empty;
      this.undoButton.disabled = this.history.length === 0;
      this.clearButton.disabled = this.empty;
      this.onchange(this.empty ? null : this, event);
    }

    // The drawing as the server takes it; made when it is sent, so that the newest strokes go along.
    source() {
      const { width, height } = this.canvas;
      const c = this.info.draw.channels;
      const { data } = this.context.getImageData(0, 0, width, height);
      const bytes = new Uint8Array(width * height * c);
      if (c === 1) for (let i = 0; i < bytes.length; i++) bytes[i] = data[4 * i];
      else for (let i = 0, o = 0; o < bytes.length; i += 4) for (let k = 0; k < 3; k++) bytes[o++] = data[i + k];
      return { drawing: { w: width, h: height, c, data: vk.base64(bytes) } };
    }
  };

  vk.sourceOf = (source) => (source instanceof vk.Pad ? source.source() : source);
})();
