// Explore: a cursor on the latent map, the decoded picture following it.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { h } = vk;
  const shownAtFirst = 12;

  // z in numbers, the dimensions that carry most first.
  vk.Numbers = class {
    constructor(ctx, most = 8) {
      const { dims } = ctx.info;
      this.dims = dims.slice(0, most);
      this.values = this.dims.map(() => h("dd", {}, ""));
      const left = dims.length - this.dims.length;
      this.element = h(
        "div",
        { class: "vk-numbers" },
        h(
          "dl",
          {},
          this.dims.map((dim, k) => h("div", {}, h("dt", {}, `z${dim.i}`), this.values[k])),
        ),
        left > 0 ? h("p", { class: "vk-caption" }, `and ${left} more`) : null,
      );
    }

    show(z) {
      this.dims.forEach((dim, k) => {
        this.values[k].textContent = z ? vk.number(z[dim.i]) : "–";
      });
    }

    say(z) {
      return this.dims.map((dim) => `z${dim.i} ${vk.number(z[dim.i])}`).join(", ");
    }
  };

  // One dimension: its slider and, where asked, a strip of what it does.
  class Slider {
    constructor(ctx, dim, move, strip) {
      const { normal } = ctx.info;
      const reach = Math.max(4 * dim.sd, normal ? 3 - Math.abs(dim.mean) : 0, 1e-3);
      const [low, high] = dim.reach ?? [dim.mean - reach, dim.mean + reach];
      this.dim = dim;
      this.value = h("output", { class: "vk-value" });
      const carries = dim.kl === null ? `sd ${vk.number(dim.sd)}` : `KL ${vk.number(dim.kl)} nats`;
      this.input = vk.range({
        label: `z${dim.i}, ${carries}`,
        min: low,
        max: high,
        step: ((high - low) / 400) * (1 - 1e-9), // lest rounding leaves no room for the last
        value: dim.mean,
        oninput: (value, event) => move(dim.i, value, event),
      });
      this.element = h(
        "div",
        { class: "vk-dim" },
        h("div", { class: "vk-dim-head" }, h("b", {}, `z${dim.i}`), h("span", { class: "vk-label" }, carries), this.value),
        this.input,
      );
      if (!strip) return;
      this.sheet = new vk.Sheet(ctx, {
        label: `What z${dim.i} does`,
        gap: 2,
        onpick: (index, event) => this.values && move(dim.i, this.values[index], event),
      });
      this.element.append(this.sheet.element);
    }

    show(value) {
      this.present = value;
      if (value < Number(this.input.min)) this.input.min = value;
      if (value > Number(this.input.max)) this.input.max = value;
      this.input.value = value;
      this.value.textContent = vk.number(value);
      if (!this.values) return;
      let best = 0;
      this.values.forEach((other, k) => {
        if (Math.abs(other - value) < Math.abs(this.values[best] - value)) best = k;
      });
      this.sheet.mark(best);
    }

    strip(values, pictures) {
      this.values = values;
      this.sheet.show(pictures, values.length);
      this.show(this.present ?? Number(this.input.value));
    }
  }

  // Sliders for all dimensions: some at first, more when asked, the idle ones folded away.
  vk.Sliders = class {
    constructor(ctx, { move, strips = true, most = shownAtFirst }) {
      Object.assign(this, { ctx, move, strips, most, sliders: [], z: null });
      const { dims } = ctx.info;
      this.stream = strips ? ctx.stream("strips", (reply, request) => this.shown(reply, request)) : null;
      this.ahead = []; // dimensions whose strips are asked for next
      this.refresh = vk.rest(() => ctx.later("strips", () => this.fetch()), 150, ctx.signal);
      const active = dims.filter((dim) => !dim.idle);
      const idle = dims.filter((dim) => dim.idle);
      this.element = h("div", { class: "vk-sliders" }, this.group(active.length ? active : idle));
      if (idle.length && active.length) {
        const details = h(
          "details",
          { class: "vk-idle" },
          h("summary", {}, idle.length === 1 ? "1 idle dimension" : `${idle.length} idle dimensions`),
          h(
            "p",
            { class: "vk-text" },
            "Whatever the input, the posterior of these is all but the prior: they tell the decoder next to nothing.",
          ),
        );
        details.addEventListener("toggle", () => {
          if (details.open && details.childElementCount === 2) details.append(this.group(idle));
          this.update();
          this.refresh();
        });
        this.element.append(details);
      }
    }

    group(dims) {
      const grid = h("div", { class: "vk-dims" });
      const more = vk.button("", () => add(), { class: "vk-button vk-plain" });
      const rest = [...dims];
      const add = () => {
        for (const dim of rest.splice(0, this.most)) {
          const slider = new Slider(this.ctx, dim, this.move, this.strips);
          this.sliders.push(slider);
          grid.append(slider.element);
        }
        more.textContent = `Show ${Math.min(rest.length, this.most)} more of ${rest.length}`;
        more.hidden = rest.length === 0;
        this.update();
        this.refresh();
      };
      add();
      return h("div", {}, grid, more);
    }

    show(z, y) {
      const changed = JSON.stringify([this.z, this.y]) !== JSON.stringify([z, y]);
      Object.assign(this, { z, y });
      this.update();
      if (changed && this.strips) {
        this.stream.forget();
        this.ahead = [];
        this.refresh();
        if (this.fetched) this.sliders.forEach((slider) => slider.sheet.element.classList.add("vk-stale"));
      }
    }

    update() {
      if (this.z) this.sliders.forEach((slider) => slider.show(this.z[slider.dim.i]));
    }

    fetch() {
      if (!this.strips || !this.z) return;
      this.stream.forget();
      this.ahead = this.sliders.filter((slider) => slider.element.offsetParent).map((slider) => slider.dim.i);
      this.further();
    }

    // As many dimensions as are decoded at a time; when they are shown, the next.
    further() {
      const steps = Math.min(9, this.ctx.info.most);
      const dims = this.ahead.splice(0, Math.min(64, Math.floor(this.ctx.info.most / steps)));
      if (dims.length) this.stream.ask({ z: vk.rounded(this.z), y: this.y, dims, steps });
    }

    shown(reply, { dims }) {
      this.fetched = true;
      const { pictures } = reply;
      const size = pictures.w * pictures.h * pictures.c;
      const bytes = vk.pixels(pictures);
      dims.forEach((i, k) => {
        const n = reply.values[k].length;
        const from = reply.values.slice(0, k).reduce((sum, values) => sum + values.length, 0) * size;
        const part = { ...pictures, n, bytes: bytes.subarray(from, from + n * size) };
        this.sliders.find((slider) => slider.dim.i === i)?.strip(reply.values[k], part);
      });
      this.further();
    }
  };

  vk.panels.explore = (ctx) => {
    const { info } = ctx;
    const { movable } = info.latent;
    const me = {};
    const decoded = new vk.Picture("The decoded picture", 300, info.picture);
    const example = new vk.Picture("The chosen example", 132, info.picture);
    const decodedFigure = vk.figure(decoded, "decoded");
    const exampleFigure = vk.figure(example, "", { hidden: true });
    const forget = vk.button(
      "Forget it",
      () => {
        vk.move(ctx.model, { example: null }, me);
        showExample();
      },
      { class: "vk-button vk-plain vk-flush" },
    );
    exampleFigure.element.append(forget);
    const numbers = new vk.Numbers(ctx);

    const decode = ctx.stream("decode", (reply) => {
      decoded.show(reply);
      decoded.element.setAttribute("aria-label", `The picture decoded at ${numbers.say(ctx.place.z)}`);
      ctx.announce(`Decoded at ${numbers.say(ctx.place.z)}.`);
    });
    const look = ctx.stream("look", (reply, { source }) => {
      const chosen = { number: reply.number, label: reply.label, mean: reply.code, sd: reply.sd, x: reply.x, source };
      vk.move(ctx.model, { z: reply.z, example: chosen, y: info.conditional ? (reply.y ?? ctx.place.y) : null }, me);
      classes?.set(ctx.place.y);
      showExample();
      showPlace();
      decode.forget();
      decoded.show(reply.again);
      ctx.announce(`${vk.nameOfExample(info, reply.number, reply.label)}: reconstruction shown.`);
    });

    const request = () => ({ z: vk.rounded(ctx.place.z), y: ctx.place.y });
    const moveTo = (z, event) => {
      look.forget();
      vk.move(ctx.model, { z }, me);
      decode.ask(request(), event);
      showPlace();
    };
    const map = new vk.LatentMap(ctx, {
      label: "Latent map",
      onmove: movable ? moveTo : null,
      onpick: (number, event) => look.ask({ source: { test: number }, y: null, seed: null }, event),
    });
    const sliders =
      movable && info.dims.length
        ? new vk.Sliders(ctx, {
            move: (i, value, event) => {
              const z = [...ctx.place.z];
              z[i] = value;
              moveTo(vk.within(info, z, [vk.axis(info, i)]), event);
            },
          })
        : null;

    const draw = ctx.stream("samples", (reply) => {
      vk.move(ctx.model, { z: reply.z[0] }, me);
      decode.forget();
      decoded.show(reply.pictures);
      showPlace();
      ctx.announce(`A draw from the prior: ${numbers.say(ctx.place.z)}.`);
    });
    const buttons = h(
      "div",
      { class: "vk-row" },
      vk.button(
        "Random",
        (event) => draw.ask({ n: 1, seed: vk.seed(), temperature: 1, y: ctx.place.y, source: "prior" }, event),
        { title: "A draw from the prior" },
      ),
      movable ? vk.button("Reset", (event) => moveTo(info.latent.start, event), { title: "To the mean of the codes" }) : null,
    );

    const classes = info.conditional
      ? vk.classPicker(info, ctx.place.y, (y) => {
          vk.move(ctx.model, { y }, me);
          decode.ask(request());
          showPlace();
        })
      : null;

    // The manifold: decoded pictures all over the plane.
    const side = Math.min(15, Math.floor(Math.sqrt(info.most)));
    const grid =
      movable && info.latent.size > 1 && side > 1
        ? new vk.Sheet(ctx, {
            label: "Manifold: pictures decoded all over the plane",
            gap: 1,
            onpick: (index, event) => {
              moveTo(map.lift(manifold.u[index % side], manifold.v[Math.floor(index / side)]), event);
            },
          })
        : null;
    let manifold = null;
    const directions = h("p", { class: "vk-caption" });
    let besides = "";
    let backdrop = false;
    const over = ctx.stream("manifold", (reply) => {
      manifold = reply;
      grid.show(reply.pictures, reply.u.length);
      if (backdrop) map.setBackdrop(reply);
    });
    const refreshManifold = vk.rest(
      () =>
        ctx.later("manifold", () => {
          if (!grid || !map.points) return;
          const key = JSON.stringify([planes.axes, ctx.place.y, map.beside(ctx.place.z)]);
          if (key === besides) return;
          besides = key;
          over.ask({ axes: planes.axes, ...request(), side });
        }),
      250,
      ctx.signal,
    );
    const behind = grid
      ? vk.check("Manifold behind the map", false, (on) => {
          backdrop = on;
          map.setBackdrop(on ? manifold : null);
        })
      : null;

    if (behind) map.foot.append(behind.element);
    const planes = vk.axesPicker(ctx, () => showPoints());
    const why = h(
      "p",
      { class: "vk-caption", hidden: info.data.at_hand && movable },
      [info.data.at_hand ? "" : info.data.why, movable ? "" : info.latent.why].filter(Boolean).join(" "),
    );

    const showPoints = () =>
      vk.pointsOf(ctx, planes, (reply) => {
        map.setBackdrop(null);
        map.setPoints(reply);
        directions.textContent = map.flat
          ? `Across: ${reply.labels[0]}.`
          : `Across: ${reply.labels[0]}. Up: ${reply.labels[1]}.`;
        showExample();
        refreshManifold();
      });
    const showExample = () => {
      const chosen = ctx.place.example;
      exampleFigure.element.hidden = !chosen;
      example.element.hidden = !chosen?.x; // a page may know the code of an example alone
      map.setEllipse(chosen?.sd ? { mean: chosen.mean, sd: chosen.sd } : null);
      map.setExample(chosen?.number ?? null);
      if (!chosen) return;
      if (chosen.x) example.show(chosen.x);
      exampleFigure.say(vk.nameOfExample(info, chosen.number, chosen.label) || "your picture");
    };
    const showPlace = vk.frame(() => {
      map.setZ(ctx.place.z);
      numbers.show(ctx.place.z);
      sliders?.show(ctx.place.z, ctx.place.y);
      refreshManifold();
    }, ctx.signal);
    vk.on(
      "place",
      ({ model, origin }) => {
        if (model !== ctx.model || origin === me) return;
        ctx.later("place", () => {
          classes?.set(ctx.place.y);
          showExample();
          showPlace();
          decode.ask(request());
        });
      },
      ctx.signal,
    );

    vk.on(
      "sharper",
      () => {
        besides = "";
        refreshManifold();
        sliders?.refresh();
        decode.ask(request());
      },
      ctx.signal,
    );

    showPoints();
    showPlace();
    if (movable) decode.ask(request());
    else draw.ask({ n: 1, seed: 0, temperature: 1, y: ctx.place.y, source: "prior" });

    const dims = info.dims.length;
    const fixed = info.latent.blocks.some(({ support }) => support !== "real");
    return h(
      "div",
      { class: "vk-content" },
      h("div", { class: "vk-bar" }, planes.element, classes?.element),
      h(
        "div",
        { class: "vk-explore-top" },
        map.element,
        h(
          "div",
          { class: "vk-side" },
          h("div", { class: "vk-beside" }, decodedFigure.element, exampleFigure.element),
          numbers.element,
          buttons,
          why,
        ),
      ),
      vk.explain(
        ...(info.data.at_hand
          ? [
              "Every dot is one test example, put where the encoder says its code is most likely to be" +
                (info.classes.length ? ", and coloured by its class. " : ".") +
                (info.classes.length === 0
                  ? ""
                  : info.conditional
                    ? "Encoder and decoder are told the class: a code need not say it again, and the " +
                      "classes need not lie apart."
                    : "The encoder never saw the classes: where colours keep apart, it found the " +
                      "difference by itself."),
            ]
          : ["Every dot is a draw from the prior: there are no examples here to be encoded."]),
        movable
          ? "The cursor is a code z. The decoder turns it into the picture beside the map, wherever the " +
            `cursor is: also between the dots${info.data.at_hand ? ", where no example ever was" : ""}.`
          : "The cursor is the code of the picture beside the map. Between codes there is nothing to decode.",
        ...(info.data.at_hand
          ? [
              info.normal
                ? "Choose a dot: its ellipses are 1 and 2 standard deviations of q(z|x), what the encoder " +
                  "believes the code of this example to be."
                : vk.can(info, "inputs")
                  ? "Choose a dot to see the example beside what its code decodes to."
                  : "Choose a dot to see what its code decodes to.",
            ]
          : []),
        info.ordered === "kl"
          ? "KL, in nats, is how much a dimension tells about the input" +
              `${info.data.at_hand ? "" : ", here about the model's own samples"}; the dimensions come in this ` +
              "order. One with a KL near zero is idle."
          : "The dimensions come in the order of how much codes vary along them.",
      ),
      sliders
        ? vk.section(
            dims === 1 ? "The dimension" : `${dims} dimensions, one at a time`,
            (fixed ? "Move one, and others give way, since codes are not everywhere. " : "Move one, the others stay. ") +
              "The strip under a slider shows what it does from here; click on a picture to go there.",
            sliders.element,
          )
        : null,
      grid
        ? vk.section(
            null,
            null,
            h(
              "div",
              { class: "vk-manifold" },
              grid.element,
              h(
                "header",
                {},
                h("h3", {}, "The manifold"),
                h(
                  "p",
                  { class: "vk-text" },
                  "Pictures decoded all over the plane of the map",
                  info.latent.size > 2 ? ", the other dimensions as they are" : "",
                  ". Click on one to go there.",
                ),
                directions,
              ),
            ),
          )
        : null,
    );
  };
})();
