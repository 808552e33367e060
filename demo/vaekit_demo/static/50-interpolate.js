// Interpolate: from A to B in latent space, and a − b + c.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { h } = vk;

  // One input of several: an example, a class's mean, a drawing, a file, or where the cursor is.
  vk.Slot = class {
    constructor(ctx, { label, onchange, told, means = false, box = 132 }) {
      const info = { ...ctx.info, most_bytes: Math.floor(ctx.info.most_bytes / 3) }; // up to three files go along
      Object.assign(this, { ctx, onchange, told, source: null, words: "" });
      this.picture = new vk.Picture(`Picture of ${label}`, box, info.picture);
      this.figure = vk.figure(this.picture, "");
      const set = (source, words, event) => this.set(source, words, event);
      const chooser = vk.chooser(async (file) => {
        const source = await vk.readFile(file, info.most_bytes);
        if (source.error) ctx.tell(source.error);
        else set(source, file.name);
      });
      const classMeans = means
        ? vk.select(
            [["", "Class mean"], ...info.classes.map((name, y) => [y, name])],
            "",
            (y) => {
              if (y !== "") set({ mean: y }, `mean of ${vk.nameOfClass(info, y)}`);
            },
            { "aria-label": `Class mean for ${label}` },
          )
        : null;
      this.resetMeans = () => classMeans?.set("");
      this.showMean = (y) => classMeans?.set(y);
      const padPlace = h("div", { hidden: true });
      const drawing = info.draw.possible
        ? vk.button(
            "Draw",
            () => {
              if (!padPlace.childElementCount) {
                const pad = new vk.Pad(ctx, {
                  label: `Pad for ${label}`,
                  info,
                  chooser: false,
                  onchange: (next, event) => {
                    if (next) set(next instanceof vk.Pad ? next.source() : next, "your drawing", event);
                  },
                });
                padPlace.append(pad.element);
              }
              padPlace.hidden = !padPlace.hidden;
              drawing.setAttribute("aria-expanded", String(!padPlace.hidden));
              this.element.classList.toggle("vk-open", !padPlace.hidden);
            },
            { "aria-expanded": "false" },
          )
        : null;
      this.element = h(
        "div",
        { class: "vk-slot", role: "group", "aria-label": label },
        h("h4", {}, label),
        this.figure.element,
        h(
          "div",
          { class: "vk-row" },
          classMeans?.element,
          vk.button("Random", () => this.random(), { title: info.data.at_hand ? "A test example" : "A draw from the prior" }),
          drawing,
          info.upload ? vk.button("Upload…", () => chooser.open()) : null,
          chooser.input,
          vk.button("Present z", () => set({ code: vk.rounded(ctx.place.z) }, "where the cursor was"), {
            title: "Where the cursor is in Explore",
          }),
        ),
        padPlace,
      );
    }

    // An example is told its own class; anything else the class that was picked.
    get asks() {
      return this.ctx.info.conditional && this.source !== null && !("test" in this.source);
    }

    // The class that the model is told, null where it is told none.
    get y() {
      return this.asks ? this.told.y : this.ctx.info.conditional ? this.label : null;
    }

    say(more = "") {
      const told = this.asks ? `told ${vk.nameOfClass(this.ctx.info, this.y)}` : "";
      this.figure.say([this.words, more, told].filter(Boolean).join(" · "));
    }

    set(source, words, event = null, label = null) {
      Object.assign(this, { source, words, label });
      this.say();
      if ("mean" in source) this.showMean(source.mean);
      else this.resetMeans();
      this.onchange(event);
    }

    // A test example on the map, of a class where one is asked for; without data a draw from the prior.
    async random(y = null) {
      const { info } = this.ctx;
      if (info.data.at_hand) {
        const points = await this.ctx.points(vk.firstAxes(info));
        if (this.ctx.signal.aborted) return;
        if (points.error) {
          this.ctx.tell(points.error);
          return;
        }
        const [numbers, labels] = [vk.integers(points.numbers), vk.shorts(points.y)];
        const all = [...numbers.keys()].filter((i) => y === null || !labels || labels[i] === y);
        const i = all[Math.floor(Math.random() * all.length)] ?? 0;
        this.set({ test: numbers[i] }, vk.nameOfExample(info, numbers[i], labels?.[i]), null, labels?.[i]);
        return;
      }
      const reply = await this.ctx.patiently("samples", {
        n: 1,
        seed: vk.seed(),
        temperature: 1,
        y: info.conditional ? this.told.y : null,
        source: "prior",
      });
      if (this.ctx.signal.aborted) return;
      if (reply.error) this.ctx.tell(reply.error);
      else this.set({ code: reply.z[0] }, "a draw from the prior");
    }
  };

  // The class to send along: only where one of them is told it.
  const picked = (slots, told) => (slots.some((slot) => slot.asks) ? told.y : null);

  const pick = (pictures, indices) => {
    const size = pictures.w * pictures.h * pictures.c;
    const from = vk.pixels(pictures);
    const bytes = new Uint8Array(indices.length * size);
    indices.forEach((index, k) => bytes.set(from.subarray(index * size, (index + 1) * size), k * size));
    return { ...pictures, n: indices.length, bytes };
  };

  const walk = (ctx, told) => {
    const { info } = ctx;
    const frames = Math.min(49, info.most);
    const shown = Math.min(9, frames);
    let reply = null;
    let at = 0;
    const big = new vk.Picture("The picture between A and B", 280, info.picture);
    const where = h("output", { class: "vk-value" }, "0.00");
    const notes = new vk.Notes();
    const strip = new vk.Sheet(ctx, {
      label: `${shown === 9 ? "Nine" : shown} steps from A to B`,
      gap: 3,
      onpick: (index) => go((index * (frames - 1)) / (shown - 1)),
    });
    strip.element.style.maxWidth = `${shown * 140}px`;
    const remember = vk.rest(
      (before) => {
        if (ctx.place.z !== before) return; // somebody has moved on
        const y = (at < frames / 2 ? a : b).y; // between two classes that of the nearer end
        if (reply?.z?.[at]) vk.move(ctx.model, { z: reply.z[at], y });
        ctx.announce(`Interpolated at t ${vk.number(at / (frames - 1))}.`);
      },
      400,
      ctx.signal,
    );
    const slider = vk.range({
      label: "t, from A at 0 to B at 1",
      min: 0,
      max: frames - 1,
      step: 1,
      value: 0,
      oninput: (value, event) => {
        stop();
        go(value);
        vk.latency(performance.now() - event.timeStamp);
      },
    });
    const go = (index) => {
      at = Math.round(index);
      slider.value = at;
      slider.setAttribute("aria-valuetext", `t ${vk.number(at / (frames - 1))}`);
      where.textContent = vk.number(at / (frames - 1));
      if (!reply) return;
      big.show(reply.pictures, Math.min(at, reply.pictures.n - 1));
      strip.mark(Math.round((at / (frames - 1)) * (shown - 1)));
      if (!playing) remember(ctx.place.z);
    };

    let playing = 0;
    const play = vk.button(
      "Play",
      () => {
        if (playing) {
          stop();
          return;
        }
        const begin = performance.now() - (at / (frames - 1)) * 2400;
        const tick = (now) => {
          if (ctx.signal.aborted || !playing) return;
          if (!ctx.visible) {
            stop();
            return;
          }
          const phase = (Math.max(0, now - begin) / 2400) % 2;
          go((phase < 1 ? phase : 2 - phase) * (frames - 1));
          playing = requestAnimationFrame(tick);
        };
        playing = requestAnimationFrame(tick);
        play.textContent = "Pause";
      },
      { class: "vk-button vk-primary vk-play" },
    );
    const stop = () => {
      if (!playing) return;
      cancelAnimationFrame(playing);
      playing = 0;
      play.textContent = "Play";
      remember(ctx.place.z);
    };
    const save = vk.button(
      "Save GIF",
      async () => {
        save.disabled = true;
        const answer = await ctx.patiently("gif", { a: a.source, b: b.source, y: picked([a, b], told), frames });
        if (ctx.signal.aborted) return;
        save.disabled = false;
        ctx.tell(answer.error ?? "");
        if (answer.error) return;
        const url = URL.createObjectURL(new Blob([vk.bytes(answer.gif)], { type: "image/gif" }));
        h("a", { href: url, download: answer.name }).click();
        setTimeout(() => URL.revokeObjectURL(url), 10000);
      },
      { disabled: true, hidden: !vk.can(info, "gif") },
    );

    const stream = ctx.stream("interpolate", (answer) => {
      reply = answer;
      for (const [slot, x, decoded] of [
        [a, answer.x_a, answer.a],
        [b, answer.x_b, answer.b],
      ]) {
        slot.picture.show(x ?? decoded);
        slot.say(x ? "" : "as decoded");
      }
      strip.show(
        pick(
          answer.pictures,
          Array.from({ length: shown }, (_, k) => Math.round((k * (answer.pictures.n - 1)) / (shown - 1))),
        ),
        shown,
      );
      notes.show(answer.notes ?? []);
      save.disabled = false;
      go(at);
    });
    const ask = (event) => {
      if (a.source && b.source) stream.ask({ a: a.source, b: b.source, y: picked([a, b], told), frames }, event);
    };
    const a = new vk.Slot(ctx, { label: "A", onchange: ask, told });
    const b = new vk.Slot(ctx, { label: "B", onchange: ask, told });
    told.asks.push(() => [a, b].some((slot) => slot.asks) && ask());
    vk.on("sharper", () => ctx.later("sharper", ask), ctx.signal);
    vk.on("theme", () => strip.draw(), ctx.signal);
    ctx.later("first", () => {
      const n = info.classes.length;
      const first = n > 1 && info.data.at_hand ? Math.floor(Math.random() * n) : null;
      a.random(first);
      b.random(first === null ? null : (first + 1 + Math.floor(Math.random() * (n - 1))) % n);
    });
    return h(
      "div",
      { class: "vk-walk" },
      h(
        "div",
        { class: "vk-walk-top" },
        a.element,
        h(
          "div",
          { class: "vk-walk-middle" },
          big.element,
          h(
            "div",
            { class: "vk-scrub" },
            h("span", { "aria-hidden": "true" }, "A"),
            slider,
            h("span", { "aria-hidden": "true" }, "B"),
          ),
          h("div", { class: "vk-row" }, play, save, h("span", { class: "vk-label" }, "t =", where)),
        ),
        b.element,
      ),
      strip.element,
      notes.element,
    );
  };

  // Whether classes have a mean code.
  const means = (info) => info.classes.length > 1 && !info.conditional && info.data.at_hand;

  const arithmetic = (ctx, told) => {
    const { info } = ctx;
    let amount = 1;
    const result = new vk.Picture("Picture of a − b + c", 132, info.picture);
    const resultFigure = vk.figure(result, "result");
    const stream = ctx.stream("arithmetic", (reply) => {
      slots.forEach((slot, k) => slot.picture.show(reply.pictures, k));
      slots.forEach((slot) => slot.say());
      result.show(reply.pictures, 3);
      resultFigure.say(info.conditional ? `result · told ${vk.nameOfClass(info, slots[2].y)}` : "result");
      toMap.disabled = false;
      z = reply.z;
      ctx.announce(`The result with amount ${vk.number(amount)} is shown.`);
    });
    let z = null;
    const ask = (event) => {
      if (slots.every((slot) => slot.source)) {
        stream.ask({ a: slots[0].source, b: slots[1].source, c: slots[2].source, y: picked(slots, told), amount }, event);
      }
    };
    const slots = ["a", "b", "c"].map((label) => new vk.Slot(ctx, { label, onchange: ask, told, means: means(info) }));
    told.asks.push(() => slots.some((slot) => slot.asks) && ask());
    vk.on("sharper", () => ctx.later("sharper sum", ask), ctx.signal);
    const value = h("output", { class: "vk-value" }, "1.00");
    const slider = vk.range({
      label: "Amount",
      min: 0,
      max: 2,
      step: 0.02,
      value: 1,
      oninput: (next, event) => {
        amount = next;
        value.textContent = vk.number(next);
        ask(event);
      },
    });
    const toMap = vk.button("Send to Explore", () => z && vk.move(ctx.model, { z, y: slots[2].y, example: null }), {
      disabled: true,
      title: "Put the cursor on this code",
    });
    ctx.later("arithmetic", () => {
      if (means(info)) {
        slots[0].set({ mean: 1 }, `mean of ${vk.nameOfClass(info, 1)}`);
        slots[1].set({ mean: 0 }, `mean of ${vk.nameOfClass(info, 0)}`);
        slots[2].random(0);
      } else slots.forEach((slot) => slot.random());
    });
    const sign = (text) => h("span", { class: "vk-sign", "aria-hidden": "true" }, text);
    return h(
      "div",
      { class: "vk-sum" },
      slots[0].element,
      sign("\u2212"),
      slots[1].element,
      sign("+"),
      slots[2].element,
      sign("="),
      h(
        "div",
        { class: "vk-slot", role: "group", "aria-label": "The result" },
        h("h4", {}, "c + amount · (a \u2212 b)"),
        resultFigure.element,
        h("label", { class: "vk-brush" }, h("span", { class: "vk-label" }, "Amount"), slider, value),
        h("div", { class: "vk-row" }, toMap),
      ),
    );
  };

  vk.panels.interpolate = (ctx) => {
    const { info } = ctx;
    if (!info.interpolable) {
      return h(
        "div",
        { class: "vk-empty" },
        h("p", {}, info.why_not || "Between codes of this model there is nothing to show."),
      );
    }
    const told = { y: ctx.place.y, asks: [] };
    const kinds = [info.draw.possible && "drawings", info.upload && "files"].filter(Boolean);
    const whose = `${kinds.join(", ")}${kinds.length ? " and " : ""}codes`;
    const classes = info.conditional
      ? vk.classPicker(
          info,
          told.y,
          (y) => {
            told.y = y;
            told.asks.forEach((ask) => ask());
          },
          info.data.at_hand ? `Class told, of ${whose}` : "Class told",
        )
      : null;
    return h(
      "div",
      { class: "vk-content" },
      classes ? h("div", { class: "vk-bar" }, classes.element) : null,
      vk.section("From A to B", info.data.at_hand ? null : info.data.why, walk(ctx, told)),
      vk.explain(
        "A and B are encoded, and the decoder is shown the codes on the way between them. Mixing the " +
          "two pictures themselves would fade one into the other; mixing their codes makes one become " +
          "the other, if latent space is in good order. " +
          (vk.can(info, "inputs") ? "A and B are shown as the model sees them; the " : "The ") +
          "strip begins and ends with what their codes decode to.",
        ...(info.conditional
          ? [
              info.data.at_hand
                ? "Test examples are told their own class, anything else the class that is picked above. " +
                  "Where A and B are told different classes, what the decoder is told goes evenly from one " +
                  "to the other, as the code does."
                : "All are told the class that is picked above.",
            ]
          : []),
        "Far from the middle of the prior a straight way may pass where no example's code is: what " +
          "is decoded there is a guess.",
      ),
      (info.latent.support ?? "real") === "real"
        ? vk.section(
            "a \u2212 b + c",
            "What a has more than b is added to c; all four pictures are decoded. " +
              (info.conditional
                ? "The class is no part of the code: the result is told that of c, and what is added is style."
                : means(info)
                  ? "The mean of a class's codes stands for what its members have in common: with the means " +
                    "of two classes, c changes class and keeps its style, where latent space is that orderly."
                  : ""),
            arithmetic(ctx, told),
          )
        : null,
    );
  };
})();
