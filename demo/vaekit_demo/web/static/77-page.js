// The page: its tabs, light and dark, and the start.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { h, site } = vk;
  const { info, light } = site.content;

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = document.getElementById("page-theme");
  const paint = (name) => {
    document.body.classList.toggle("dark", name === "dark");
    document.body.classList.toggle("light", name === "light");
    theme.textContent = name === "dark" ? "Light" : "Dark";
    theme.setAttribute("aria-label", `Switch to ${name === "dark" ? "light" : "dark"} colours`);
  };
  theme.hidden = false;
  theme.addEventListener("click", () => paint(document.body.classList.contains("dark") ? "light" : "dark"));
  dark.addEventListener("change", () => paint(dark.matches ? "dark" : "light"));
  paint(dark.matches ? "dark" : "light");

  const kinds = [
    ["explore", "Explore", true],
    ["reconstruct", "Draw", info.draw.possible],
    ["samples", "Samples", true],
    ["interpolate", "Interpolate", info.interpolable],
  ].filter(([, , there]) => there);
  const tabs = kinds.map(([key, text]) => {
    const panel = h("div", { role: "tabpanel", id: `page-${key}`, "aria-labelledby": `page-tab-${key}` });
    const tab = h(
      "button",
      { type: "button", role: "tab", id: `page-tab-${key}`, "aria-controls": `page-${key}`, onclick: () => open(key) },
      text,
    );
    return { key, tab, panel };
  });
  const open = (chosen) => {
    for (const { key, tab, panel } of tabs) {
      tab.setAttribute("aria-selected", String(key === chosen));
      tab.tabIndex = key === chosen ? 0 : -1;
      panel.hidden = key !== chosen;
    }
  };
  const list = h("div", { class: "page-tabs", role: "tablist", "aria-label": "What to do" }, ...tabs.map(({ tab }) => tab));
  list.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -tabs.length, End: tabs.length };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const at = tabs.findIndex(({ tab }) => tab === document.activeElement) + steps[event.key];
    const next = tabs[Math.abs(steps[event.key]) === 1 ? (at + tabs.length) % tabs.length : at < 0 ? 0 : tabs.length - 1];
    open(next.key);
    next.tab.focus();
  });
  document.getElementById("page-main").replaceChildren(list, ...tabs.map(({ panel }) => panel));
  open("explore");

  const { key, title } = info;
  for (const { key: name, panel } of tabs) vk.panel(name, panel, { models: [{ key, title }], model: key }, site.server);

  // The model comes after the page; what was decoded beforehand stands in for it, or stays where it cannot be had.
  const said = document.getElementById("page-told");
  if (light) said.textContent = "Pictures were decoded beforehand; those between are blended.";
  else {
    vk.on("sharper", () => {
      document.body.dataset.runtime = "ready";
      said.textContent = "";
    });
    site.runtime().catch((error) => {
      console.error(error);
      said.textContent = `This browser cannot run the model (${error?.message ?? error}).`;
    });
  }
})();
