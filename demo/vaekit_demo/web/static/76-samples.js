// Samples: many pictures at draws from the prior.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { h } = vk;

  vk.panels.samples = (ctx) => {
    const { info } = ctx;
    const me = {};
    const kinds = info.conditional ? info.classes.length : 0;
    const columns = kinds > 3 && kinds < 13 ? kinds : 8;
    const n = columns * Math.max(1, Math.min(8, Math.floor(info.most / columns)));
    let [seed, temperature, y, drawn] = [vk.seed(), 1, null, null];
    const said = h("p", { class: "vk-caption" });
    const sheet = new vk.Sheet(ctx, {
      label: `${n} samples`,
      gap: 2,
      keys: true,
      onpick: (index) => {
        sheet.mark(index);
        vk.move(ctx.model, { z: drawn.z[index], y: drawn.y?.[index] ?? null, example: null }, me);
        said.textContent = "The cursor of Explore is at the code of the picture that is outlined.";
      },
    });
    const stream = ctx.stream("samples", (reply) => {
      drawn = reply;
      said.textContent = "";
      sheet.mark(-1);
      sheet.show(reply.pictures, columns);
      ctx.announce(`${n} samples are shown.`);
    });
    const ask = (event = null) => stream.ask({ n, seed, temperature, y, source: "prior" }, event);
    const value = h("output", { class: "vk-value" }, "1.00");
    const heat = info.temperature
      ? h(
          "label",
          { class: "vk-brush" },
          h("span", { class: "vk-label" }, "Temperature"),
          vk.range({
            label: "Temperature",
            min: 0,
            max: 2,
            step: 0.02,
            value: 1,
            oninput: (next, event) => {
              temperature = next;
              value.textContent = vk.number(next);
              ask(event);
            },
          }),
          value,
        )
      : null;
    const classes = info.conditional
      ? vk.choice("Class", [[null, "All"], ...info.classes.map((name, i) => [i, name])], null, (next) => {
          y = next;
          ask();
        })
      : null;
    ctx.later("first", ask);
    vk.on("sharper", () => ctx.later("first", ask), ctx.signal);
    return h(
      "div",
      { class: "vk-content" },
      h(
        "div",
        { class: "vk-samples-top" },
        sheet.element,
        h(
          "div",
          { class: "vk-column" },
          h("p", { class: "vk-text" }, "Pictures decoded at draws from the prior. Click on one to put the cursor there."),
          h(
            "div",
            { class: "vk-row" },
            vk.button(
              "New samples",
              (event) => {
                seed = vk.seed();
                ask(event);
              },
              { class: "vk-button vk-primary" },
            ),
          ),
          heat,
          classes?.element,
          said,
        ),
      ),
      vk.explain(
        "The prior is what codes were asked to be like in training. A draw from it is a code that no example need have, " +
          "and the decoder makes a picture of it.",
        ...(info.temperature
          ? ["The temperature narrows or widens the prior: towards 0 all samples become the same; above 1 they get wild."]
          : []),
      ),
    );
  };
})();
