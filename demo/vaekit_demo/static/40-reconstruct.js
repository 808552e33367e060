// Reconstruct: an input, what the model sees, its reconstruction, its posterior, the terms in nats.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { h } = vk;

  // The negative ELBO as two numbers and a bar.
  vk.Terms = class {
    constructor(ctx) {
      this.ctx = ctx;
      this.total = h("b", {}, "–");
      this.reconstruction = h("b", {}, "–");
      this.kl = h("b", {}, "–");
      this.left = h("i", { class: "vk-bar-reconstruction" });
      this.right = h("i", { class: "vk-bar-kl" });
      this.bar = h("div", { class: "vk-bar-stack", "aria-hidden": "true" }, this.left, this.right);
      this.note = h(
        "p",
        { class: "vk-caption" },
        "In nats: how much of a surprise the input is, and how much its code costs.",
      );
      const term = (value, name, swatch) =>
        h("div", {}, h("dd", {}, value), h("dt", {}, swatch ? h("i", { class: swatch }) : null, name));
      this.element = h(
        "div",
        { class: "vk-terms" },
        h(
          "dl",
          {},
          term(this.total, "negative ELBO"),
          h("span", { "aria-hidden": "true" }, "="),
          term(this.reconstruction, "reconstruction", "vk-bar-reconstruction"),
          h("span", { "aria-hidden": "true" }, "+"),
          term(this.kl, "KL", "vk-bar-kl"),
        ),
        this.bar,
        this.note,
      );
    }

    show(terms, note = "", draws = 0) {
      const digits = (value) => vk.number(value, Math.abs(value) < 100 ? 2 : 1);
      this.total.textContent = terms ? digits(terms.nelbo) : "–";
      this.reconstruction.textContent = terms ? digits(terms.reconstruction) : "–";
      this.kl.textContent = terms ? digits(terms.kl) : "–";
      const fits = terms && terms.reconstruction >= 0 && terms.kl >= 0 && terms.nelbo > 0;
      this.bar.classList.toggle("vk-blank", !fits);
      this.left.style.flexGrow = fits ? terms.reconstruction : 0;
      this.right.style.flexGrow = fits ? terms.kl : 0;
      const sentence = terms
        ? `${digits(terms.nelbo)} nats: describing the input given its code takes ` +
          `${digits(terms.reconstruction)}, the code itself ${digits(terms.kl)}` +
          `${draws > 1 ? `, on average over ${draws} draws of z` : ""}.`
        : "In nats: how much of a surprise the input is, and how much its code costs.";
      this.note.textContent = [sentence, note].filter(Boolean).join(" ");
    }
  };

  vk.Notes = class {
    constructor() {
      this.element = h("ul", { class: "vk-notes", hidden: true });
    }

    show(notes) {
      this.element.replaceChildren(...notes.map((text) => h("li", {}, text)));
      this.element.hidden = notes.length === 0;
    }
  };

  // A test example by number or at random; only where the data are at hand.
  vk.examplePicker = (ctx, onsource, info = ctx.info) => {
    const count = vk.tests(info);
    const { here = count } = info.data; // a page carries some of them
    if (!count) return { element: null, say: () => {} };
    let number = null;
    const go = (source, event) => onsource(source, event);
    const input = h("input", {
      type: "number",
      class: "vk-count",
      min: 0,
      max: count - 1,
      step: 1,
      value: "",
      placeholder: "no.",
      "aria-label": "Number of the test example",
      onchange: (event) => {
        if (input.value === "") return;
        number = Math.min(Math.max(Math.round(Number(input.value)) || 0, 0), count - 1);
        go({ test: number }, event);
      },
    });
    const element = h(
      "div",
      { class: "vk-row vk-examples" },
      h("span", { class: "vk-label" }, `Test example${here < count ? ` (${here} of ${count} are here)` : ""}`),
      vk.button("Random", (event) => go({ random: vk.seed() }, event)),
      vk.button("Next", (event) => {
        number = number === null ? 0 : (number + 1) % count;
        go({ test: number }, event);
      }),
      input,
    );
    return {
      element,
      say: (value) => {
        number = value ?? null;
        input.value = value ?? "";
      },
    };
  };

  vk.panels.reconstruct = (ctx) => {
    const { info } = ctx;
    const me = {};
    let source = null;
    let seed = null;
    let told = null; // the class the model is told, where it was chosen by hand
    const box = 196;
    const seen = new vk.Picture("What the model sees", box, info.picture);
    const again = new vk.Picture("The reconstruction", box, info.picture);
    const seenFigure = vk.figure(seen, "what the model sees");
    const againFigure = vk.figure(again, "reconstruction");
    const terms = new vk.Terms(ctx);
    terms.element.hidden = !vk.can(info, "terms");
    const notes = new vk.Notes();
    const numbers = new vk.Numbers(ctx, 6);

    let sharpen = () => {}; // asks anew for what is shown
    const look = new vk.Newest(
      (request) => ctx.call("look", { ...request, source: vk.sourceOf(request.source) }),
      (reply, request) => {
        ctx.tell(reply.error ?? "");
        if (reply.error && request.source === source && !(source instanceof vk.Pad)) {
          pad.reset();
          take(null);
        }
        if (reply.error || source === null) return;
        seen.show(reply.x);
        again.show(reply.again);
        const name = vk.nameOfExample(info, reply.number, reply.label);
        seenFigure.say(name ? `what the model sees: ${name}` : "what the model sees");
        againFigure.say(
          request.seed === null
            ? reply.sd
              ? "reconstruction, from the mean of q(z|x)"
              : "reconstruction"
            : "reconstruction, from a draw of q(z|x)",
        );
        terms.show(reply.terms, reply.terms_note, reply.draws);
        notes.show(reply.notes ?? []);
        if (reply.number !== null) examples.say(reply.number);
        const y = info.conditional ? (reply.y ?? ctx.place.y) : null;
        classes?.set(y);
        // A draw moves the cursor; the ellipse stays at the mean.
        vk.move(
          ctx.model,
          {
            z: reply.z,
            y,
            example: {
              number: reply.number,
              label: reply.label,
              mean: reply.code,
              sd: reply.sd,
              x: reply.x,
              source: reply.number === null ? request.source : { test: reply.number },
            },
          },
          me,
        );
        resample.disabled = !info.latent.random;
        backToMean.disabled = request.seed === null;
        showPlace();
        if (reply.terms)
          ctx.announce(
            `Negative ELBO ${vk.number(reply.terms.nelbo)} nats: reconstruction ` +
              `${vk.number(reply.terms.reconstruction)}, KL ${vk.number(reply.terms.kl)}.`,
          );
      },
      ctx.signal,
    );
    const ask = (event) => {
      sharpen = ask;
      decode.forget();
      look.ask({ source, y: told ?? (source && ("test" in source || "random" in source) ? null : ctx.place.y), seed }, event);
    };
    const take = (next, event) => {
      source = next;
      seed = null;
      if (!(next instanceof vk.Pad)) told = null;
      if (next === null) empty();
      else ask(event);
    };

    const words = { image: "picture", sequence: "sequence", numbers: "row of numbers" }[info.kind] ?? "input";
    const pad = new vk.Pad(ctx, {
      label:
        `Pad: draw with mouse, finger or pen something like the ${words}s of ${info.data.name}. ` +
        `Without them, take a test example${info.upload ? " or upload a file" : ""}.`,
      onchange: take,
    });
    const examples = vk.examplePicker(ctx, (next, event) => {
      pad.reset();
      take(next, event);
    });
    const classes = info.conditional
      ? vk.classPicker(
          info,
          ctx.place.y,
          (y) => {
            told = y;
            vk.move(ctx.model, { y }, me);
            if (source) ask();
            else decodeHere();
          },
          "The class the model is told",
        )
      : null;
    const resample = vk.button(
      "Draw z from q",
      (event) => {
        seed = vk.seed();
        ask(event);
      },
      { disabled: true, title: "Resample \u03b5: another z from the posterior" },
    );
    const backToMean = vk.button(
      "Use its mean",
      (event) => {
        seed = null;
        ask(event);
      },
      { disabled: true },
    );

    // The map shows the posterior; a click on it decodes there, in place of the reconstruction.
    const decode = ctx.stream("decode", (reply) => {
      again.show(reply);
      againFigure.say(source ? "decoded at the cursor, not the reconstruction" : "decoded at the cursor");
      ctx.announce(`Decoded at ${numbers.say(ctx.place.z)}.`);
    });
    const decodeHere = (event) => {
      sharpen = decodeHere;
      decode.ask({ z: vk.rounded(ctx.place.z), y: ctx.place.y }, event);
    };
    const map = new vk.LatentMap(ctx, {
      label: "Latent map with the posterior",
      onmove: info.latent.movable
        ? (z, event) => {
            look.forget();
            vk.move(ctx.model, { z }, me);
            decodeHere(event);
            backToMean.disabled = !source;
            showPlace();
          }
        : null,
      onpick: (number, event) => {
        pad.reset();
        take({ test: number }, event);
      },
    });
    const planes = vk.axesPicker(ctx, () => showPoints());
    const showPoints = () =>
      vk.pointsOf(ctx, planes, (reply) => {
        map.setPoints(reply);
        showPlace();
      });
    const showPlace = vk.frame(() => {
      const chosen = ctx.place.example;
      map.setEllipse(source && chosen?.sd ? { mean: chosen.mean, sd: chosen.sd } : null);
      map.setExample(source && chosen ? chosen.number : null);
      map.setZ(ctx.place.z);
      numbers.show(ctx.place.z);
    }, ctx.signal);
    const empty = () => {
      sharpen = () => {};
      seen.clear();
      again.clear();
      seenFigure.say("what the model sees");
      againFigure.say("reconstruction");
      terms.show(null);
      notes.show([]);
      examples.say(null);
      resample.disabled = backToMean.disabled = true;
      vk.move(ctx.model, { example: null }, me);
      showPlace();
    };
    const adopt = () => {
      const chosen = ctx.place.example;
      if (chosen?.source && "test" in chosen.source) {
        pad.reset();
        take(chosen.source);
      } else showPlace();
    };
    vk.on(
      "place",
      ({ model, origin }) => {
        if (model !== ctx.model || origin === me) return;
        const chosen = ctx.place.example;
        const another = chosen?.source && "test" in chosen.source && chosen.source.test !== source?.test;
        ctx.later("place", () => (another ? adopt() : showPlace()));
      },
      ctx.signal,
    );

    vk.on("sharper", () => ctx.later("sharper", () => sharpen()), ctx.signal);

    const why = info.data.at_hand ? null : h("p", { class: "vk-caption" }, info.data.why);
    const hint = info.draw.possible
      ? `Draw here, and the reconstruction follows the strokes. The model knows ${words}s like those ` +
        `of ${info.data.name}; of anything else it makes one of them.`
      : info.upload
        ? ""
        : info.draw.why;
    showPoints();
    adopt();
    return h(
      "div",
      { class: "vk-content" },
      h(
        "div",
        { class: "vk-reconstruct-top" },
        h(
          "div",
          { class: "vk-column" },
          h("h3", {}, "Input"),
          pad.element,
          examples.element,
          why,
          h("p", { class: "vk-text", hidden: !hint }, hint),
        ),
        h(
          "div",
          { class: "vk-column" },
          h("h3", {}, "Reconstruction"),
          h("div", { class: "vk-pictures" }, seenFigure.element, againFigure.element),
          h("div", { class: "vk-row", hidden: !vk.can(info, "resample") }, resample, backToMean),
          classes?.element,
          terms.element,
          notes.element,
        ),
        h(
          "div",
          { class: "vk-column" },
          h("h3", {}, info.normal ? "Posterior q(z|x)" : "Code"),
          planes.element,
          map.element,
          numbers.element,
        ),
      ),
      vk.explain(
        info.latent.random
          ? "The encoder does not give one code for an input but a distribution over codes, q(z|x)" +
            (info.normal ? ": the ellipses on the map are 1 and 2 standard deviations of it. " : ". ") +
            "The decoder turns its middle, or a draw from it, back into a picture."
          : "The encoder of this model gives one code for an input, with nothing left to chance. The decoder turns it back " +
            "into a picture.",
        "What the model sees is your input brought to the form of its data: size, position, grey. " +
          "What it makes of it can only be of the kind it has learnt.",
        ...(vk.can(info, "terms")
          ? [
              "The negative ELBO says in nats how badly the model does on this input: the reconstruction " +
                "term is how surprising the input is given its code, the KL term how far q(z|x) is from the " +
                "prior, the price of the code. The lower the sum, the better. A drawing that is nothing like " +
                "the data has a high one. The terms are means over draws of z of their own: drawing z from q " +
                "changes the picture, and not them.",
            ]
          : []),
      ),
    );
  };
})();
