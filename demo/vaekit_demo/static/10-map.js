// The latent map: examples' codes on a plane, a cursor on it, the posterior's ellipse.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { h } = vk;

  const margin = { left: 44, right: 12, top: 12, bottom: 34 };
  const reach = 8; // CSS pixels within which a click takes an example

  const multiples = (step, low, high) => {
    const values = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-6; i++) values.push(i * step);
    return { values, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  };
  // At round numbers, about so many, and never a single one.
  const ticks = (low, high, count) => {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const steps = [0.5, 1, 2, 5, 10].map((factor) => factor * power);
    const at = steps.findIndex((step) => step >= rough);
    const found = multiples(steps[at], low, high);
    return found.values.length > 1 ? found : multiples(steps[at - 1], low, high);
  };

  vk.LatentMap = class {
    constructor(ctx, { label, onmove = null, onpick = null }) {
      Object.assign(this, {
        ctx,
        onmove,
        onpick,
        points: null,
        z: null,
        ellipse: null,
        chosen: -1,
        over: -1,
        backdrop: null,
      });
      this.off = new Set();
      this.view = null;
      this.fingers = new Map();
      this.base = h("canvas", { "aria-hidden": "true" });
      this.top = h("canvas", { "aria-hidden": "true" });
      this.tip = h("div", { class: "vk-tip", hidden: true });
      const zoom = (text, name, run) =>
        h("button", { type: "button", class: "vk-small", "aria-label": name, title: name, onclick: run }, text);
      this.stage = h(
        "div",
        {
          class: "vk-map-stage",
          tabIndex: 0,
          role: "application",
          "aria-roledescription": "map of latent space",
          "aria-label":
            `${label}. Arrow keys move the cursor, with Shift in large steps; Enter takes the nearest ` +
            `example; plus, minus and 0 zoom.`,
        },
        this.base,
        this.top,
        this.tip,
      );
      this.legend = h("div", { class: "vk-legend", role: "group", "aria-label": "Classes shown" });
      this.title = h("p", { class: "vk-caption" });
      this.element = h(
        "div",
        { class: "vk-map" },
        h(
          "div",
          { class: "vk-map-frame" },
          this.stage,
          h(
            "div",
            { class: "vk-map-tools" },
            zoom("+", "Zoom in", () => this.zoom(1.5)),
            zoom("\u2212", "Zoom out", () => this.zoom(1 / 1.5)),
            zoom("\u2922", "Show everything", () => this.reset()),
          ),
        ),
        this.legend,
        (this.foot = h("div", { class: "vk-map-foot" }, this.title)),
      );
      this.drawBase = vk.frame(() => this.paintBase(), ctx.signal);
      this.drawTop = vk.frame(() => this.paintTop(), ctx.signal);
      this.listen();
      const observer = new ResizeObserver(() => this.resized());
      observer.observe(this.stage);
      ctx.signal.addEventListener("abort", () => observer.disconnect());
      vk.on("theme", () => this.drawBase(), ctx.signal);
    }

    get movable() {
      return this.ctx.info.latent.movable && this.onmove !== null;
    }

    setPoints(reply) {
      const { info } = this.ctx;
      const same =
        this.points &&
        JSON.stringify([this.points.a, this.points.b, this.points.origin]) ===
          JSON.stringify([reply.a, reply.b, reply.origin]);
      this.points = { ...reply, places: vk.floats(reply.xy), classes: vk.shorts(reply.y), tests: vk.integers(reply.numbers) };
      let [left, right, bottom, top] = reply.range;
      if (!(right - left > 1e-6)) [left, right] = [left - 1, right + 1];
      // Of one dimension the height says nothing: the points are spread out for sight.
      this.flat = reply.b.every((value) => value === 0);
      if (this.flat) {
        const stretch = ((right - left) * 0.5) / Math.max(top - bottom, 1e-6);
        for (let i = 1; i < this.points.places.length; i += 2) this.points.places[i] *= stretch;
        [bottom, top] = [bottom * stretch, top * stretch];
      }
      if (!(top - bottom > 1e-6)) [bottom, top] = [bottom - 1, top + 1];
      this.range = [left, right, bottom, top];
      this.over = this.chosen = -1;
      this.title.textContent = reply.title ?? "";
      const used = new Set(this.points.classes ?? []);
      this.legend.replaceChildren(
        ...[...used]
          .sort((a, b) => a - b)
          .filter((y) => info.classes.length)
          .map((y) => this.entry(y)),
      );
      if (!same) this.view = null;
      this.drawBase();
    }

    entry(y) {
      const { info } = this.ctx;
      const swatch = h("i", {});
      swatch.style.background = info.colours[y] ?? "gray";
      const toggle = h(
        "button",
        {
          type: "button",
          "aria-pressed": String(!this.off.has(y)),
          title: `Show or hide ${vk.nameOfClass(info, y)}`,
          onclick: () => {
            if (!this.off.delete(y)) this.off.add(y);
            toggle.setAttribute("aria-pressed", String(!this.off.has(y)));
            this.drawBase();
          },
        },
        swatch,
        info.classes[y],
      );
      return toggle;
    }

    setZ(z) {
      this.z = z;
      this.reveal();
      this.drawTop();
    }

    // A code that came from elsewhere may lie outside of what is shown: then more is shown.
    reveal() {
      if (!this.z || !this.points || !this.view || this.fingers.size) return;
      const [u, v] = this.plane(this.z);
      const [x, y] = this.toScreen(u, v);
      const room = 16;
      if (
        x >= margin.left + room &&
        x <= this.width - margin.right - room &&
        y >= margin.top + room &&
        y <= this.height - margin.bottom - room
      )
        return;
      const [left, right, bottom, top] = this.range;
      const more = [(right - left) * 0.08, (top - bottom) * 0.08];
      this.view = this.home([
        Math.min(left, u - more[0]),
        Math.max(right, u + more[0]),
        Math.min(bottom, v - more[1]),
        Math.max(top, v + more[1]),
      ]);
      this.drawBase();
    }

    setEllipse(ellipse) {
      this.ellipse = ellipse;
      this.drawTop();
    }

    setExample(number) {
      this.chosen = number === null || !this.points?.tests ? -1 : this.points.tests.indexOf(number);
      this.drawTop();
    }

    setBackdrop(manifold) {
      this.backdrop = manifold && { ...manifold, atlas: vk.atlas(manifold.pictures, manifold.u.length) };
      this.drawBase();
    }

    // Plane coordinates of a z, and the z whose plane coordinates they are, the rest as in the present one.
    plane(z) {
      const { origin, a, b } = this.points;
      let [u, v] = [0, 0];
      for (let i = 0; i < z.length; i++) {
        u += (z[i] - origin[i]) * a[i];
        v += (z[i] - origin[i]) * b[i];
      }
      return [u, v];
    }

    lift(u, v) {
      const z = this.z ?? this.points.origin;
      const [u0, v0] = this.plane(z);
      const { a, b } = this.points;
      const lifted = Array.from(z, (value, i) => value + (u - u0) * a[i] + (v - v0) * b[i]);
      return vk.within(this.ctx.info, lifted, [a, b]);
    }

    // The part of z that the plane does not show.
    beside(z) {
      const [u, v] = this.plane(z);
      return vk
        .rounded(Array.from(z, (value, i) => value - u * this.points.a[i] - v * this.points.b[i]))
        .map((x) => Math.round(x * 1e3));
    }

    resized() {
      const width = this.stage.clientWidth;
      if (!width) return;
      const height = Math.round(Math.max(280, Math.min(width * 0.78, 520)));
      if (this.stage.style.height !== `${height}px`) this.stage.style.height = `${height}px`;
      if (this.view && (this.width !== width || this.height !== height)) {
        this.view.scale *= Math.min(width / this.width, height / this.height);
      }
      Object.assign(this, { width, height });
      this.drawBase();
    }

    home([left, right, bottom, top] = this.range) {
      const wide = this.width - margin.left - margin.right;
      const tall = this.height - margin.top - margin.bottom;
      const scale = Math.min(wide / (right - left), tall / (top - bottom)) * 0.96;
      return { x: (left + right) / 2, y: (bottom + top) / 2, scale };
    }

    toScreen(u, v) {
      const { x, y, scale } = this.view;
      return [
        margin.left + (this.width - margin.left - margin.right) / 2 + (u - x) * scale,
        margin.top + (this.height - margin.top - margin.bottom) / 2 - (v - y) * scale,
      ];
    }

    toPlane(left, top) {
      const { x, y, scale } = this.view;
      return [
        x + (left - margin.left - (this.width - margin.left - margin.right) / 2) / scale,
        y - (top - margin.top - (this.height - margin.top - margin.bottom) / 2) / scale,
      ];
    }

    reset() {
      this.view = null;
      this.drawBase();
    }

    zoom(factor, left = null, top = null) {
      if (!this.view) return;
      left ??= margin.left + (this.width - margin.left - margin.right) / 2;
      top ??= margin.top + (this.height - margin.top - margin.bottom) / 2;
      const [u, v] = this.toPlane(left, top);
      const home = this.home().scale;
      this.view.scale = Math.min(Math.max(this.view.scale * factor, home / 4), home * 60);
      const [u1, v1] = this.toPlane(left, top);
      this.view.x += u - u1;
      this.view.y += v - v1;
      this.drawBase();
    }

    listen() {
      const { stage } = this;
      const at = (event) => {
        const box = stage.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top];
      };
      let start = null;
      let before = null;
      let dragging = null;
      stage.addEventListener("pointerdown", (event) => {
        if (!this.view || event.button > 1) return;
        stage.setPointerCapture(event.pointerId);
        this.fingers.set(event.pointerId, at(event));
        start = at(event);
        if (this.fingers.size > 1) {
          if (dragging === "cursor" && this.movable && before) this.go(before, event); // it was one of two fingers
          dragging = "pinch";
        } else if (event.shiftKey || event.button === 1) dragging = "pan";
        else {
          dragging = "cursor";
          before = this.z;
          this.cursorTo(...start, event);
        }
      });
      stage.addEventListener("mousedown", (event) => event.button === 1 && event.preventDefault());
      stage.addEventListener("pointermove", (event) => {
        if (this.view && !this.fingers.has(event.pointerId)) this.hover(...at(event));
      });
      stage.addEventListener(vk.pointermove, (event) => {
        if (!this.fingers.has(event.pointerId)) return;
        const [left, top] = at(event);
        if (dragging === "pinch") this.pinch(event.pointerId, left, top);
        else if (dragging === "pan") this.pan(event.pointerId, left, top);
        else if (dragging === "cursor" && (Math.hypot(left - start[0], top - start[1]) > 3 || start.moved)) {
          start.moved = true;
          this.hover(-99, -99);
          this.cursorTo(left, top, event);
        }
      });
      const end = (event) => {
        if (!this.fingers.delete(event.pointerId)) return;
        if (event.type === "pointerup" && dragging === "cursor" && !start.moved && this.onpick) {
          const nearest = this.nearest(...start, this.movable ? reach : Infinity);
          if (nearest >= 0 && this.points.tests) this.onpick(this.points.tests[nearest], event);
        }
        if (this.fingers.size === 0) dragging = null;
      };
      stage.addEventListener("pointerup", end);
      stage.addEventListener("pointercancel", end);
      stage.addEventListener("pointerleave", () => this.hover(-99, -99));
      stage.addEventListener("dblclick", () => this.reset());

      // A page that is being scrolled past the map goes on scrolling, and one that this one is embedded in until the map is used.
      let elsewhere = -1e9;
      window.addEventListener(
        "wheel",
        (event) => {
          if (!stage.contains(event.target)) elsewhere = event.timeStamp;
        },
        { passive: true, capture: true, signal: this.ctx.signal },
      );
      stage.addEventListener(
        "wheel",
        (event) => {
          const embedded = window.parent !== window && !stage.contains(document.activeElement);
          if (!event.ctrlKey && (embedded || event.timeStamp - elsewhere < 350)) {
            elsewhere = event.timeStamp;
            return;
          }
          event.preventDefault();
          const lines = event.deltaMode === 1 ? 16 : 1;
          this.zoom(
            Math.exp(-Math.max(-120, Math.min(120, event.deltaY * lines)) * (event.ctrlKey ? 0.01 : 0.002)),
            ...at(event),
          );
        },
        { passive: false },
      );

      stage.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || !this.view) return;
        const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
        if (moves[event.key] && this.movable && this.z) {
          const [left, right] = [this.toPlane(margin.left, 0)[0], this.toPlane(this.width - margin.right, 0)[0]];
          const step = ((right - left) / 100) * (event.shiftKey ? 8 : 1);
          const [u, v] = this.plane(this.z);
          this.go(this.lift(u + moves[event.key][0] * step, v + moves[event.key][1] * step), event);
        } else if (event.key === "Enter" && this.z && this.onpick && this.points.tests) {
          const nearest = this.nearest(...this.toScreen(...this.plane(this.z)), Infinity);
          if (nearest >= 0) this.onpick(this.points.tests[nearest], event);
        } else if (event.key === "+" || event.key === "=") this.zoom(1.3);
        else if (event.key === "-") this.zoom(1 / 1.3);
        else if (event.key === "0") this.reset();
        else return;
        event.preventDefault();
      });
    }

    // The next move starts from here, also where it comes before this one is painted.
    go(z, event) {
      this.z = z;
      this.onmove(z, event);
    }

    cursorTo(left, top, event) {
      if (!this.movable || !this.points) return;
      const inside = [
        Math.min(Math.max(left, margin.left), this.width - margin.right),
        Math.min(Math.max(top, margin.top), this.height - margin.bottom),
      ];
      this.go(this.lift(...this.toPlane(...inside)), event);
    }

    pan(id, left, top) {
      const [left0, top0] = this.fingers.get(id);
      this.view.x -= (left - left0) / this.view.scale;
      this.view.y += (top - top0) / this.view.scale;
      this.fingers.set(id, [left, top]);
      this.drawBase();
    }

    pinch(id, left, top) {
      const other = [...this.fingers].find(([key]) => key !== id);
      if (!other) return;
      const [, [left1, top1]] = other;
      const [left0, top0] = this.fingers.get(id);
      const middle = [(left0 + left1) / 2, (top0 + top1) / 2];
      this.view.x -= (left - left0) / 2 / this.view.scale;
      this.view.y += (top - top0) / 2 / this.view.scale;
      const before = Math.hypot(left0 - left1, top0 - top1);
      this.fingers.set(id, [left, top]);
      if (before > 4) this.zoom(Math.hypot(left - left1, top - top1) / before, ...middle);
    }

    nearest(left, top, within) {
      if (!this.points) return -1;
      const { places, classes, n } = this.points;
      const [u, v] = this.toPlane(left, top);
      let best = Math.min(within / this.view.scale, 1e9) ** 2;
      let index = -1;
      for (let i = 0; i < n; i++) {
        if (classes && this.off.has(classes[i])) continue;
        const distance = (places[2 * i] - u) ** 2 + (places[2 * i + 1] - v) ** 2;
        if (distance < best) [best, index] = [distance, i];
      }
      return index;
    }

    hover(left, top) {
      const index = this.view && left >= 0 ? this.nearest(left, top, this.movable ? 12 : 24) : -1;
      if (index === this.over) return;
      this.over = index;
      this.tip.hidden = index < 0 || !(this.points.tests || this.points.classes);
      if (!this.tip.hidden) {
        const { tests, classes, places } = this.points;
        this.tip.textContent = vk.nameOfExample(this.ctx.info, tests?.[index], classes?.[index]);
        const [x, y] = this.toScreen(places[2 * index], places[2 * index + 1]);
        const flip = x > this.width - 140;
        const [beside, above] = [Math.round(x + (flip ? -10 : 10)), Math.round(y - 30)];
        this.tip.style.transform = `translate(${beside}px, ${above}px)${flip ? " translateX(-100%)" : ""}`;
      }
      this.drawTop();
    }

    clip(context) {
      context.beginPath();
      context.rect(
        margin.left,
        margin.top,
        this.width - margin.left - margin.right,
        this.height - margin.top - margin.bottom,
      );
      context.clip();
    }

    paintBase() {
      if (!this.width || !this.points) return;
      if (!this.view) {
        this.view = this.home();
        this.reveal();
      }
      const { width, height } = this;
      const context = vk.prepare(this.base, width, height);
      const { ink, line, font } = this.ctx.colours();
      const [left, bottom] = this.toPlane(margin.left, height - margin.bottom);
      const [right, top] = this.toPlane(width - margin.right, margin.top);

      context.lineWidth = 1;
      context.font = `12px ${font}`;
      const across = ticks(left, right, Math.max(4, width / 60));
      const upward = this.flat ? { values: [], digits: 0 } : ticks(bottom, top, Math.max(4, height / 60));
      const rule = (x0, y0, x1, y1, alpha) => {
        context.globalAlpha = alpha;
        context.beginPath();
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
        context.stroke();
        context.globalAlpha = 1;
      };
      context.strokeStyle = line;
      context.fillStyle = ink;
      context.textBaseline = "middle";
      for (const value of across.values) {
        const x = Math.round(this.toScreen(value, 0)[0]) + 0.5;
        rule(x, margin.top, x, height - margin.bottom, Math.abs(value) < 1e-9 ? 1 : 0.55);
        context.textAlign = "center";
        context.globalAlpha = 0.65;
        context.fillText(vk.number(value, across.digits), x, height - margin.bottom + 12);
        context.globalAlpha = 1;
      }
      for (const value of upward.values) {
        const y = Math.round(this.toScreen(0, value)[1]) + 0.5;
        rule(margin.left, y, width - margin.right, y, Math.abs(value) < 1e-9 ? 1 : 0.55);
        context.textAlign = "right";
        context.globalAlpha = 0.65;
        context.fillText(vk.number(value, upward.digits), margin.left - 8, y);
        context.globalAlpha = 1;
      }
      context.globalAlpha = 0.85;
      context.textAlign = "right";
      context.fillText(this.points.labels[0] ?? "", width - margin.right, height - 8);
      if (!this.flat) {
        context.save();
        context.translate(10, margin.top);
        context.rotate(-Math.PI / 2);
        context.fillText(this.points.labels[1] ?? "", 0, 0);
        context.restore();
      }
      context.globalAlpha = 1;

      context.save();
      this.clip(context);
      if (this.backdrop) this.paintBackdrop(context);
      this.paintPoints(context);
      context.restore();
      this.drawTop();
    }

    paintPoints(context) {
      const { n, places, classes } = this.points;
      const { info } = this.ctx;
      const { ink, paper } = this.ctx.colours();
      const zoomed = Math.min(2, Math.sqrt(this.view.scale / this.home().scale));
      const radius = Math.max(1.6, Math.min(3.4, 90 / Math.sqrt(n))) * Math.max(1, zoomed);
      const ratio = window.devicePixelRatio || 1;
      const dots = new Map();
      const dot = (colour) => {
        if (dots.has(colour)) return dots.get(colour);
        const side = Math.ceil((radius + 1.5) * 2 * ratio);
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = side;
        const brush = canvas.getContext("2d");
        brush.scale(ratio, ratio);
        brush.arc(side / 2 / ratio, side / 2 / ratio, radius, 0, 2 * Math.PI);
        brush.fillStyle = colour;
        brush.fill();
        brush.strokeStyle = paper;
        brush.globalAlpha = 0.7;
        brush.lineWidth = 0.6;
        brush.stroke();
        dots.set(colour, canvas);
        return canvas;
      };
      context.globalAlpha = this.points.prior ? 0.35 : this.backdrop ? 0.9 : 0.75;
      for (let i = 0; i < n; i++) {
        if (classes && this.off.has(classes[i])) continue;
        const [x, y] = this.toScreen(places[2 * i], places[2 * i + 1]);
        if (x < 0 || y < 0 || x > this.width || y > this.height) continue;
        const sprite = dot((classes && info.colours[classes[i]]) || ink);
        const size = sprite.width / ratio;
        context.drawImage(sprite, x - size / 2, y - size / 2, size, size);
      }
      context.globalAlpha = 1;
    }

    // Pictures of one size, each centred where its code is; as many as have room.
    paintBackdrop(context) {
      const { u, v, pictures, atlas } = this.backdrop;
      const side = Math.max(18, Math.min(32, this.width / 20));
      const roomy = (screen) => {
        const middle = Math.floor(screen.length / 2);
        const kept = [middle];
        for (const way of [1, -1]) {
          for (let i = middle + way, last = middle; i >= 0 && i < screen.length; i += way) {
            if (Math.abs(screen[i] - screen[last]) < side + 2) continue;
            kept.push(i);
            last = i;
          }
        }
        return kept.map((i) => [i, screen[i]]);
      };
      const tall = side * Math.min(1, pictures.h / pictures.w);
      const wide = side * Math.min(1, pictures.w / pictures.h);
      context.imageSmoothingEnabled = wide < pictures.w;
      context.globalAlpha = 0.6;
      for (const [row, y] of roomy(v.map((value) => this.toScreen(0, value)[1]))) {
        for (const [column, x] of roomy(u.map((value) => this.toScreen(value, 0)[0]))) {
          context.drawImage(
            atlas,
            column * pictures.w,
            row * pictures.h,
            pictures.w,
            pictures.h,
            x - wide / 2,
            y - tall / 2,
            wide,
            tall,
          );
        }
      }
      context.globalAlpha = 1;
    }

    paintTop() {
      if (!this.width || !this.points || !this.view) return;
      const context = vk.prepare(this.top, this.width, this.height);
      const { ink, paper, accent } = this.ctx.colours();
      context.save();
      this.clip(context);
      if (this.ellipse) this.paintEllipse(context, accent, paper);
      const { places } = this.points;
      for (const index of [this.over, this.chosen]) {
        if (index < 0) continue;
        const [x, y] = this.toScreen(places[2 * index], places[2 * index + 1]);
        context.beginPath();
        context.arc(x, y, 6, 0, 2 * Math.PI);
        context.strokeStyle = ink;
        context.lineWidth = 1.5;
        context.stroke();
      }
      if (this.z) {
        const [x, y] = this.toScreen(...this.plane(this.z));
        for (const [colour, thick] of [
          [paper, 5],
          [ink, 2],
        ]) {
          context.strokeStyle = colour;
          context.lineWidth = thick;
          context.beginPath();
          context.arc(x, y, 9, 0, 2 * Math.PI);
          for (const [dx, dy] of [
            [1, 0],
            [-1, 0],
            [0, 1],
            [0, -1],
          ]) {
            context.moveTo(x + dx * 9, y + dy * 9);
            context.lineTo(x + dx * 15, y + dy * 15);
          }
          context.stroke();
        }
        context.beginPath();
        context.arc(x, y, 2.2, 0, 2 * Math.PI);
        context.fillStyle = ink;
        context.fill();
      }
      context.restore();
    }

    // 1 and 2 standard deviations of N(mean, diag sd²) as the plane sees it: A D Aᵀ and its Cholesky factor.
    paintEllipse(context, colour, paper) {
      const { mean, sd } = this.ellipse;
      const { a, b } = this.points;
      let [aa, ab, bb] = [0, 0, 0];
      for (let i = 0; i < sd.length; i++) {
        const variance = sd[i] * sd[i];
        aa += a[i] * a[i] * variance;
        ab += a[i] * b[i] * variance;
        bb += b[i] * b[i] * variance;
      }
      const l11 = Math.sqrt(aa);
      const l21 = l11 > 0 ? ab / l11 : 0;
      const l22 = Math.sqrt(Math.max(bb - l21 * l21, 0));
      const [u, v] = this.plane(mean);
      for (const deviations of [2, 1]) {
        context.beginPath();
        for (let k = 0; k <= 72; k++) {
          const [c, s] = [Math.cos((k * Math.PI) / 36), Math.sin((k * Math.PI) / 36)];
          const [x, y] = this.toScreen(u + deviations * l11 * c, v + deviations * (l21 * c + l22 * s));
          if (k) context.lineTo(x, y);
          else context.moveTo(x, y);
        }
        context.closePath();
        context.fillStyle = colour;
        context.globalAlpha = 0.16;
        context.fill();
        context.globalAlpha = 1;
        context.strokeStyle = paper;
        context.lineWidth = 3.5;
        context.stroke();
        context.strokeStyle = colour;
        context.lineWidth = 1.5;
        context.stroke();
      }
    }
  };

  vk.firstAxes = (info) => (info.latent.size <= 2 || !info.dims.length ? null : [info.dims[0].i, info.dims[1].i]);

  // The points of the plane that is chosen, unless another is by the time they come.
  vk.pointsOf = (ctx, planes, show) =>
    ctx.later("points", async () => {
      const axes = planes.axes;
      const reply = await ctx.points(axes);
      if (ctx.signal.aborted || JSON.stringify(axes) !== JSON.stringify(planes.axes)) return;
      if (reply.error) ctx.tell(reply.error);
      else show(reply);
    });

  // Two dimensions, or the PCA of the codes: which plane of latent space a map shows.
  vk.axesPicker = (ctx, onchange) => {
    const { info } = ctx;
    const picker = { element: null, axes: vk.firstAxes(info) };
    if (!picker.axes) return picker;
    const dims = info.dims.map((dim) => [dim.i, dim.kl === null ? `z${dim.i}` : `z${dim.i} · KL ${vk.number(dim.kl)}`]);
    const pair = [...picker.axes];
    const change = (axes) => {
      picker.axes = axes;
      onchange(axes);
    };
    const dimension = (k, name) =>
      vk.select(
        dims,
        pair[k],
        (i) => {
          if (i === pair[1 - k]) pair[1 - k] = pair[k];
          pair[k] = i;
          selects.forEach((select, j) => select.set(pair[j]));
          change([...pair]);
        },
        { "aria-label": name },
      );
    const selects = [dimension(0, "Horizontal dimension"), dimension(1, "Vertical dimension")];
    const two = h(
      "span",
      { class: "vk-pair" },
      selects[0].element,
      h("span", { "aria-hidden": "true" }, "×"),
      selects[1].element,
    );
    const kind = vk.select(
      [["two", "Two dimensions"], ...info.axes],
      "two",
      (key) => {
        two.hidden = key !== "two";
        change(key === "two" ? [...pair] : key);
      },
      { "aria-label": "Plane" },
    );
    picker.element = h("div", { class: "vk-field" }, h("span", { class: "vk-label" }, "Plane"), kind.element, two);
    return picker;
  };
})();
