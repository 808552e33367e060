// Compare: two models on the same input, the same seed, the same z.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { h } = vk;

  const byInput = (ctx, sides, caption) => {
    const [left, right] = sides;
    let source = null;
    let y = 0;
    const conditional = sides.find(({ info }) => info.conditional);
    const names = sides.map(({ info }) => info.data.name);
    const apart =
      names[0] === names[1] ? "" : `The two know different data (${names.join(", ")}): test examples are each from its own.`;
    caption.textContent = apart;
    for (const side of sides) {
      const { info } = side;
      side.x = new vk.Picture(`What ${info.title} sees`, 168, info.picture);
      side.again = new vk.Picture(`Reconstruction by ${info.title}`, 168, info.picture);
      side.terms = new vk.Terms(ctx);
      side.notes = new vk.Notes();
      side.badge = h("span", { class: "vk-badge", hidden: true }, "lower is better: this one");
      side.reply = null;
      side.seen = vk.figure(side.x, "what it sees");
      side.look = new vk.Newest(
        (request) => ctx.call("look", { ...request, source: vk.sourceOf(request.source) }, info.key),
        (reply, request) => {
          side.notes.show(reply.error ? [reply.error] : (reply.notes ?? []));
          side.reply = reply.error || source === null ? null : reply;
          side.of = request.source;
          if (side.reply) {
            side.x.show(reply.x);
            side.again.show(reply.again);
            side.terms.show(reply.terms, reply.terms_note, reply.draws);
            const name = vk.nameOfExample(info, reply.number, reply.label);
            side.seen.say(name ? `what it sees: ${name}` : "what it sees");
            if (side === left && reply.number !== null) examples.say(reply.number);
          }
          mark();
        },
        ctx.signal,
      );
      side.body.replaceChildren(
        h("div", { class: "vk-pictures" }, side.seen.element, vk.figure(side.again, "reconstruction").element),
        side.terms.element,
        side.badge,
        side.notes.element,
      );
    }
    // Of bounds only those of one thing, for one input, say which is better.
    const [one, other] = sides.map(({ info }) => info.bound);
    const comparable = one && one === other && !apart && String(left.info.shape) === String(right.info.shape);
    const mark = () => {
      if (left.reply && right.reply && left.of !== right.of) return;
      const terms = left.reply?.terms && right.reply?.terms;
      const both = terms && comparable && !left.reply.terms_note && !right.reply.terms_note;
      caption.textContent = [
        apart,
        terms && one && other && one !== other ? `These two numbers are of different things: ${one}, and ${other}.` : "",
      ]
        .filter(Boolean)
        .join(" ");
      for (const [side, beside] of [
        [left, right],
        [right, left],
      ]) {
        side.badge.hidden = !(both && side.reply.terms.nelbo < beside.reply.terms.nelbo);
      }
      if (both) {
        ctx.announce(
          sides.map(({ info, reply }) => `${info.title}: negative ELBO ${vk.number(reply.terms.nelbo)} nats`).join("; "),
        );
      }
    };
    const ask = (event) => {
      for (const { look, info } of sides) {
        const own = "test" in source;
        look.ask({ source, y: info.conditional && !own ? y : null, seed: null }, event);
      }
    };
    const take = (next, event) => {
      source = next;
      if (next) ask(event);
      else
        for (const side of sides) {
          side.x.clear();
          side.again.clear();
          side.terms.show(null);
          side.reply = null;
          mark();
        }
    };
    const pad = new vk.Pad(ctx, { label: "Pad: the same drawing for both models", onchange: take, info: left.info });
    const fewest = sides.reduce((one, other) => (vk.tests(other.info) < vk.tests(one.info) ? other : one)).info;
    const number = () => Math.floor(Math.random() * vk.tests(fewest));
    const examples = vk.examplePicker(
      ctx,
      (next, event) => {
        pad.reset();
        take("random" in next ? { test: number() } : next, event);
      },
      fewest,
    );
    const classes = conditional
      ? vk.classPicker(
          conditional.info,
          y,
          (next) => {
            y = next;
            if (source) ask();
          },
          "Class told, of drawings and files",
        )
      : null;
    if (vk.tests(fewest)) take({ test: number() });
    return h("div", { class: "vk-column" }, h("h3", {}, "The same input"), pad.element, examples.element, classes?.element);
  };

  const bySeed = (ctx, sides, caption) => {
    let seed = vk.seed() % 1000;
    let temperature = 1;
    let y = 0;
    const conditional = sides.find(({ info }) => info.conditional);
    const tempered = sides.every(({ info }) => info.temperature);
    const n = Math.min(16, ...sides.map(({ info }) => info.most));
    for (const side of sides) {
      side.sheet = new vk.Sheet(ctx, { label: `Samples of ${side.info.title}`, gap: 2 });
      side.samples = ctx.stream(
        "samples",
        (reply) => {
          side.sheet.show(reply.pictures, Math.ceil(Math.sqrt(n)));
          ctx.announce(`Samples with seed ${seed} shown.`);
        },
        side.info.key,
      );
      side.body.replaceChildren(h("div", { class: "vk-samples" }, side.sheet.element));
    }
    const ask = (event) =>
      sides.forEach(({ samples, info }) =>
        samples.ask({ n, seed, temperature, y: info.conditional ? y : null, source: "prior" }, event),
      );
    const input = h("input", {
      type: "number",
      class: "vk-count vk-wide",
      min: 0,
      max: 2 ** 31 - 1,
      step: 1,
      value: seed,
      onchange: (event) => {
        seed = Math.min(Math.max(Math.round(Number(input.value)) || 0, 0), 2 ** 31 - 1);
        input.value = seed;
        ask(event);
      },
    });
    const shown = h("output", { class: "vk-value" }, "1.00");
    caption.textContent =
      sides[0].info.latent.size === sides[1].info.latent.size
        ? "The same seed draws the same z for both, if their priors are the same."
        : "The latent sizes differ: the same seed makes each draw repeatable, not the two alike.";
    ask();
    return h(
      "div",
      { class: "vk-column" },
      h("h3", {}, "The same seed"),
      h(
        "div",
        { class: "vk-row" },
        h("label", { class: "vk-field" }, h("span", { class: "vk-label" }, "Seed"), input),
        vk.button("Another", (event) => {
          seed = vk.seed() % 100000;
          input.value = seed;
          ask(event);
        }),
      ),
      tempered
        ? h(
            "label",
            { class: "vk-brush" },
            h("span", { class: "vk-label" }, "Temperature"),
            vk.range({
              label: "Temperature",
              min: 0,
              max: 2,
              step: 0.05,
              value: 1,
              oninput: (value, event) => {
                temperature = value;
                shown.textContent = vk.number(value);
                ask(event);
              },
            }),
            shown,
          )
        : null,
      conditional
        ? vk.classPicker(conditional.info, y, (next) => {
            y = next;
            ask();
          }).element
        : null,
    );
  };

  const byPlace = (ctx, sides, caption) => {
    const [left, right] = sides.map(({ info }) => info);
    const problem =
      left.latent.size !== right.latent.size
        ? `The same z needs latent spaces of one size; these have ${left.latent.size} and ${right.latent.size}.`
        : JSON.stringify(left.latent.blocks) !== JSON.stringify(right.latent.blocks)
          ? "The same z needs latent spaces of one kind; a code of one of these is none of the other."
          : [left, right].map(({ latent }) => (latent.movable ? "" : latent.why)).find(Boolean);
    if (problem) {
      caption.textContent = problem;
      sides.forEach(({ body }) => body.replaceChildren());
      return null;
    }
    const conditional = [left, right].find((info) => info.conditional);
    let z = left.latent.start;
    let y = 0;
    for (const side of sides) {
      side.decoded = new vk.Picture(`Decoded by ${side.info.title}`, 280, side.info.picture);
      side.decode = ctx.stream(
        "decode",
        (reply) => {
          side.decoded.show(reply);
          if (side === sides[1]) ctx.announce("Decoded by both.");
        },
        side.info.key,
      );
      side.body.replaceChildren(vk.figure(side.decoded, "decoded").element);
    }
    const ask = (event) =>
      sides.forEach(({ decode, info }) => decode.ask({ z: vk.rounded(z), y: info.conditional ? y : null }, event));
    const view = Object.create(ctx, { info: { value: left }, model: { value: left.key } });
    const show = vk.frame(() => {
      map.setZ(z);
      sliders.show(z, y);
    }, ctx.signal);
    const move = (next, event) => {
      z = next;
      ask(event);
      show();
    };
    const map = new vk.LatentMap(view, { label: `Latent map of ${left.title}`, onmove: move });
    const planes = vk.axesPicker(view, () => points());
    const points = async () => {
      const reply = await ctx.points(planes.axes, left.key);
      if (ctx.signal.aborted) return;
      if (reply.error) ctx.tell(reply.error);
      else {
        map.setPoints(reply);
        show();
      }
    };
    const sliders = new vk.Sliders(view, {
      move: (i, value, event) => {
        const next = [...z];
        next[i] = value;
        move(vk.within(left, next, [vk.axis(left, i)]), event);
      },
      strips: false,
      most: 6,
    });
    caption.textContent =
      `The map and the sliders are those of ${left.title}. The same numbers mean different things ` +
      `to another model, unless it was trained from the same start.`;
    points();
    ask();
    return h(
      "div",
      { class: "vk-column" },
      h("h3", {}, "The same z"),
      planes.element,
      map.element,
      sliders.element,
      conditional
        ? vk.classPicker(conditional, y, (next) => {
            y = next;
            ask();
          }).element
        : null,
    );
  };

  const modes = { input: ["Same input", byInput], seed: ["Same seed", bySeed], z: ["Same z", byPlace] };

  vk.panels.compare = (ctx) => {
    if (vk.models.length < 2) {
      return h(
        "div",
        { class: "vk-empty" },
        h("p", {}, "Two models are compared: start the demo with both."),
        h("code", {}, "vaekit demo RUN_A RUN_B"),
      );
    }
    const keys = vk.models.map(({ key }) => key);
    const chosen = [ctx.model, keys.find((key) => key !== ctx.model)];
    let mode = "input";
    const caption = h("p", { class: "vk-caption" });
    const controls = h("div", { class: "vk-compare-controls" });
    const bodies = [h("div", { class: "vk-compare-body" }), h("div", { class: "vk-compare-body" })];
    const subtitles = [h("p", { class: "vk-caption" }), h("p", { class: "vk-caption" })];
    let running = null;

    const build = async () => {
      running?.abort();
      const mine = (running = new AbortController());
      ctx.signal.addEventListener("abort", () => mine.abort());
      const infos = await Promise.all(chosen.map((key) => vk.describe(ctx.server, key)));
      if (mine.signal.aborted) return;
      const failed = infos.find(({ error }) => error);
      ctx.tell(failed?.error ?? "");
      if (failed) return;
      infos.forEach((info, k) => {
        subtitles[k].textContent = info.subtitle;
      });
      const sides = infos.map((info, k) => ({ info, body: bodies[k] }));
      const part = Object.create(ctx, { signal: { value: mine.signal } });
      const made = modes[mode][1](part, sides, caption);
      controls.replaceChildren(...(made ? [made] : []));
      controls.hidden = !made;
    };
    const picker = (k, name) =>
      vk.select(
        vk.models.map(({ key, title }) => [key, title]),
        chosen[k],
        (key) => {
          chosen[k] = key;
          build();
        },
        { "aria-label": name },
      );
    const pickers = [picker(0, "Model on the left"), picker(1, "Model on the right")];
    const segments = vk.choice(
      "Compare on",
      Object.entries(modes).map(([key, [text]]) => [key, text]),
      mode,
      (key) => {
        mode = key;
        build();
      },
    );
    const side = (k) =>
      h("div", { class: "vk-column vk-compare-side" }, h("div", {}, pickers[k].element, subtitles[k]), bodies[k]);
    build();
    return h(
      "div",
      { class: "vk-content" },
      h("div", { class: "vk-bar" }, segments.element),
      caption,
      h("div", { class: "vk-compare" }, controls, side(0), side(1)),
      vk.explain(
        "Same input: each model encodes and decodes it. Where both bounds are of one thing, the model " +
          "with the lower negative ELBO describes this input better; a few nats on one input say little, " +
          "the mean over the test set is on the Model tab. A bound of log p(x|y), of a model that is told " +
          "the class, is none of log p(x): the class itself has a price that it does not count.",
        "Same seed: what each makes of draws from its prior. Same z: one code, decoded by both.",
      ),
    );
  };
})();
