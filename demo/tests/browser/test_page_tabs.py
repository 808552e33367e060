"""The tabs of Gradio's own components, models that are unusual, and how everything looks and is reached."""

import base64
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vaekit_demo.engine.pictures import tiled
from vaekit_demo.engine.room import Block, Room

import vaekit
from vaekit import VAE, io
from vaekit.runs import Run

TABS = ("Explore", "Reconstruct", "Generate", "Interpolate", "Compare", "Model", "Train")


def _grey(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(file)).convert("L")).astype(float)


def _inside(src: str) -> bytes:
    """The file in a data: address of a PNG."""
    head, data = src.split(",", 1)
    assert head == "data:image/png;base64"
    return base64.b64decode(data)


def _together(x: torch.Tensor) -> np.ndarray:
    """Images as they stand side by side."""
    pictures = (x.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return np.asarray(tiled(pictures).convert("L")).astype(float)


def test_samples(
    visit: Any, models: dict[str, VAE], runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = visit.tab("Generate")
    image, code = panel.locator("#vk-samples img"), panel.locator("#vk-samples-code .cm-content")
    seed, classes = panel.locator("#vk-seed input"), panel.locator("#vk-class")

    def shows(x: torch.Tensor, what: str) -> None:
        def same() -> bool:
            shown, wanted = _grey(_inside(image.get_attribute("src"))), _together(x)
            return shown.shape == wanted.shape and float(np.abs(shown - wanted).max()) <= 1

        visit.eventually(same, what)

    plain, told = models["plain"], models["told"]
    shows(plain.sample(36, seed=0), "samples at once")
    assert not classes.is_visible()
    seed.fill("5")
    seed.press("Enter")
    shows(plain.sample(36, seed=5), "those of another seed")
    visit.eventually(lambda: "seed=5" in code.inner_text(), "their code")
    *setup, last = code.inner_text().strip().splitlines()
    scope: dict[str, Any] = {}
    monkeypatch.chdir(runs["plain"].parent)  # the page tells nobody in what folder that is
    exec("\n".join(setup), scope)
    shows(eval(last, scope), "what the code gives")
    with visit.page.expect_download() as waited:
        panel.get_by_role("link", name="Save PNG").click()
    waited.value.save_as(tmp_path / "samples.png")
    assert re.fullmatch(r"plain-seed5\.png", waited.value.suggested_filename)
    assert (_grey((tmp_path / "samples.png").read_bytes()) == _grey(_inside(image.get_attribute("src")))).all()
    assert image.get_attribute("alt") == "36 examples drawn from the prior, seed 5"
    panel.locator("#vk-new-seed").click()
    visit.eventually(lambda: seed.input_value() != "5", "another seed")
    shows(plain.sample(36, seed=int(seed.input_value())), "those of the new seed")
    seed.fill("5")
    slider = panel.locator("#vk-temperature input[type=range]")
    slider.focus()
    visit.page.keyboard.press("Home")
    shows(plain.sample(36, seed=5, temperature=0), "those without temperature")
    panel.get_by_role("button", name="Generate").click()
    visit.eventually(lambda: "temperature=0" in code.inner_text(), "the code of that")

    visit.page.locator("#vk-model input").click()
    visit.page.get_by_role("option", name="told", exact=True).click()
    classes.wait_for(state="visible")
    classes.locator("input").click()
    visit.page.get_by_role("option", name="3", exact=True).click()
    shows(told.sample(36, y=3, seed=5), "threes")
    panel.get_by_label("the aggregated posterior, q(z)").check()
    visit.eventually(lambda: image.get_attribute("alt").startswith("36 examples drawn from the aggregated"), "the posterior")
    visit.page.locator("#vk-n input[type=number]").fill("0")
    visit.page.locator("#vk-n input[type=number]").press("Enter")
    said = visit.page.get_by_test_id("toast-body")
    said.first.wait_for()
    assert "Value 0 is less than minimum value 1." in said.first.inner_text()
    assert "Traceback" not in said.first.inner_text()


def test_what_a_model_is(visit: Any, models: dict[str, VAE], runs: dict[str, Path]) -> None:
    panel = visit.tab("Model")
    heading = panel.locator("#vk-model-heading")
    for name, title in (("plain", "gaussian latent of 2"), ("told", "gaussian latent of 4")):
        if name != "plain":
            visit.page.locator("#vk-model input").click()
            visit.page.get_by_role("option", name=name, exact=True).click()
        visit.eventually(lambda title=title: title in heading.inner_text(), f"the description of {name}")
        model = models[name]
        rows = [row.inner_text().split("\t") for row in panel.locator("#vk-parts tbody tr").all()]
        sizes = {row[0].strip(): int(row[3].replace(",", "")) for row in rows if row[3].strip()}
        for kind in ("context", "encoder", "latent", "prior", "decoder", "likelihood"):
            assert sizes[kind] == sum(p.numel() for p in getattr(model, kind).parameters())
        assert sizes[""] == sum(p.numel() for p in model.parameters())
        assert rows[2][:2] == ["latent", "gaussian"]
        tested = Run(runs[name]).tested
        assert tested is not None
        measured = [row.inner_text().split("\t")[1] for row in panel.locator("#vk-metrics tbody tr").all()]
        assert measured == [f"{tested[term]:.2f}" for term in ("nelbo", "reconstruction", "kl")]
        said = panel.get_by_text("nats in all over").inner_text()
        assert float(said.split()[0]) == pytest.approx(tested["kl"], abs=0.01)
        assert f"179 test examples: {2} of {2 if name == 'plain' else 4}" in said
        code = panel.locator("#vk-code .cm-content").inner_text()
        assert f'vaekit.load("{name}")' in code
        assert ("y=" in code) == (name == "told")
        panel.locator("#vk-kl svg, #vk-kl canvas").first.wait_for()
        assert "vaekit" in panel.locator("#vk-plugins").inner_text()


def test_training(visiting: Callable[..., Any], served: Any) -> None:
    """Which leaves models at the server: it comes last among those that share it."""
    visit = visiting(served)
    panel = visit.tab("Train")
    said = visit.page.get_by_test_id("toast-body")
    status = panel.locator("#vk-train-status")
    begin, stop = panel.locator("#vk-train-button"), panel.locator("#vk-stop-button")
    epochs = panel.locator("#vk-epochs input[type=number]")
    before = visit.page.evaluate("vaekit.models.length")
    assert stop.is_disabled()

    def epoch() -> int:
        found = re.search(r"epoch (\d+) of", status.inner_text())
        return int(found[1]) if found else 0

    epochs.fill("300")
    epochs.press("Enter")
    begin.click()
    image = panel.locator("#vk-train-samples img")
    first = visit.eventually(lambda: image.count() and image.get_attribute("src"), "samples", 30)
    panel.locator("#vk-curves svg, #vk-curves canvas").first.wait_for()
    begun = epoch()
    visit.eventually(lambda: epoch() > begun + 1, "two epochs more", 30)
    assert image.get_attribute("src") != first
    assert begin.is_disabled()
    begun = epoch()
    other = visiting(served)
    other.tab("Train").locator("#vk-train-button").click()
    refusal = other.page.get_by_test_id("toast-body")
    refusal.first.wait_for()
    assert "A training is going on already" in refusal.first.inner_text()
    visit.eventually(lambda: epoch() > begun, "the first going on", 30)
    asked = time.monotonic()
    stop.click()
    visit.eventually(lambda: status.inner_text().startswith("Stopped"), "the end")
    assert time.monotonic() - asked < 5  # a second, and what a busy machine adds
    assert epoch() < 300
    visit.eventually(lambda: visit.page.evaluate("vaekit.models.length") == before + 1, "one model more")
    key = visit.page.evaluate("vaekit.models.at(-1).key")
    visit.eventually(lambda: visit.model == key, "its being chosen")
    assert visit.page.locator("#vk-model input").input_value().startswith("digits, trained here")

    explore = visit.tab("Explore")
    visit.drag(explore.locator(".vk-map-stage"), (0.5, 0.5), (0.6, 0.4))
    picture = explore.locator(".vk-beside canvas").first
    visit.eventually(lambda: len(np.unique(visit.pixels(picture)[..., 0])) > 4, "what it decodes")

    visit.tab("Train")
    epochs.fill("2")
    epochs.press("Enter")
    visit.eventually(begin.is_enabled, "the button")
    begin.click()
    visit.eventually(lambda: status.inner_text().startswith("Done: epoch 2 of 2"), "two epochs", 30)
    visit.eventually(lambda: visit.page.evaluate("vaekit.models.length") == before + 2, "a second model")
    visit.eventually(lambda: visit.model != key, "its being chosen")
    panel.get_by_label("Learning rate").fill("0.5")
    panel.get_by_label("Learning rate").press("Enter")
    begin.click()
    said.first.wait_for()
    assert "0.1" in said.first.inner_text()
    assert "Traceback" not in said.first.inner_text()
    visit.eventually(begin.is_enabled, "another try")


# Unusual models.

_SCRIPT = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def unusual(
    serving: Callable[..., Any], models: dict[str, VAE], runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A server of a model whose classes have markup for names, and of one whose data are not there."""
    folder = tmp_path_factory.mktemp("unusual")
    (folder / "data").mkdir()
    for name, given, change in (
        ("marked", "told", {"classes": tuple(f"{_SCRIPT}{i}" for i in range(10))}),
        ("alone", "plain", {"name": "mnist"}),
    ):
        model = vaekit.load(runs[given])
        assert model.config is not None
        assert model.config.data is not None
        model.config = model.config.model_copy(update={"data": model.config.data.model_copy(update=change)})
        io.save(model, folder / name)
    with serving(folder / "served", str(folder / "marked"), str(folder / "alone"), "--data-root", str(folder / "data")) as one:
        yield one
        assert not list((folder / "data").iterdir())


def test_models_of_strangers_and_data_elsewhere(visiting: Callable[..., Any], unusual: Any) -> None:
    visit = visiting(unusual)
    for tab in TABS[:-1]:
        panel = visit.tab(tab)
        if tab == "Explore":
            visit.eventually(
                lambda panel=panel: _SCRIPT in panel.locator(".vk-legend").inner_text(), "the names of the classes"
            )
            visit.page.locator("#vk-explore").get_by_text(f"{_SCRIPT}4", exact=True).last.click()
        if tab == "Reconstruct":
            panel.get_by_role("button", name="Random").click()
            visit.eventually(
                lambda panel=panel: _SCRIPT in panel.locator("figcaption").first.inner_text(), "the name in a caption"
            )
        if tab == "Generate":
            panel.locator("#vk-class input").click()
            visit.page.get_by_role("option", name=f"{_SCRIPT}4", exact=True).click()
            visit.eventually(
                lambda panel=panel: _SCRIPT in panel.locator("#vk-samples-code").inner_text(), "the name in the code"
            )
        assert visit.page.locator("img[src=x]").count() == 0

    visit.page.locator("#vk-model input").click()
    visit.page.get_by_role("option", name="alone", exact=True).click()
    visit.eventually(lambda: visit.model == "alone", "the other model")
    panel = visit.tab("Explore")
    visit.eventually(lambda: "draws from the prior" in panel.locator(".vk-map-foot").inner_text(), "what the map shows")
    sentence = "The test set of mnist is not on this server, and nothing is downloaded."
    assert panel.get_by_text(sentence).is_visible()
    picture = panel.locator(".vk-beside canvas").first
    visit.drag(panel.locator(".vk-map-stage"), (0.5, 0.5), (0.55, 0.4))
    visit.eventually(lambda: len(np.unique(visit.pixels(picture)[..., 0])) > 4, "what it decodes")
    panel = visit.tab("Reconstruct")
    assert panel.get_by_text(sentence).is_visible()
    assert panel.get_by_role("button", name="Random").count() == 0
    visit.drag(panel.locator(".vk-pad-canvas"), (0.5, 0.2), (0.5, 0.8))
    visit.eventually(lambda: panel.locator(".vk-terms b").first.inner_text() != "–", "the terms of a drawing")
    panel = visit.tab("Interpolate")
    assert panel.get_by_text(sentence).is_visible()
    visit.eventually(panel.get_by_role("button", name="Save GIF").is_enabled, "a way between draws from the prior")
    panel = visit.tab("Generate")
    assert not panel.locator("#vk-source").is_visible()
    assert "are no test examples here" in panel.inner_text()


# Looks, and being reached.

_LOOK = """
() => {
  for (const a of document.getAnimations()) if (a instanceof CSSTransition) a.finish(); // as it is once it has settled
  const seen = (e) => e.checkVisibility({opacityProperty: true, visibilityProperty: true}) && e.getClientRects().length > 0;
  const brush = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
    .getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data].map((value) => value / 255);
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((value, i) => value * a + under[i] * (1 - a));
  const ground = (e) => {
    if (!e) return [1, 1, 1];
    const own = rgba(getComputedStyle(e).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, ground(e.parentElement));
  };
  const light = (c) => c.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const faults = [];
  const name = (e) => `${e.tagName.toLowerCase()}.${e.className} "${(e.textContent || "").trim().slice(0, 40)}"`;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !seen(e) || /^(SCRIPT|STYLE)$/.test(e.tagName)) continue;
    if (e.closest(".vk-hidden, .visually-hidden, .cm-editor, .vk-pad-hint, svg, :disabled, option, .vk-tip")) continue;
    const style = getComputedStyle(e);
    let alpha = 1;
    for (let up = e; up; up = up.parentElement) alpha *= Number(getComputedStyle(up).opacity);
    const under = ground(e);
    const ink = rgba(style.color);
    ink[3] *= alpha;
    const [high, low] = [light(over(ink, under)), light(under)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${name(e)}`);
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const box = range.getBoundingClientRect();
    if (box.right > innerWidth + 1 || box.left < -1) faults.push(`beyond the page: ${name(e)}`);
    for (let up = e; up && up !== document.body; up = up.parentElement) {
      if (getComputedStyle(up).overflowX === "visible") continue;
      const around = up.getBoundingClientRect();
      if (box.right > around.right + 1 || box.left < around.left - 1) {
        faults.push(`cut: ${name(e)}`);
        break;
      }
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push("scrolls sideways");
  const named = (e) =>
    e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.title || e.textContent.trim() ||
    [...(e.labels ?? [])].some((label) => label.textContent.trim()) || e.placeholder;
  for (const e of document.querySelectorAll("input, button, select, textarea, canvas, [role=slider], [tabindex]")) {
    const apart = e.closest("[aria-hidden=true], .visually-hidden, .cm-editor, #vk-kl, #vk-curves");
    if (seen(e) && !apart && !named(e)) faults.push(`no name: ${name(e)}`);
  }
  for (const e of document.querySelectorAll("img:not([alt])")) if (seen(e)) faults.push(`no alt: ${e.src.slice(0, 60)}`);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id).filter(Boolean);
  ids.filter((id, i) => ids.indexOf(id) !== i).forEach((id) => faults.push(`twice the id ${id}`));
  return faults;
}
"""
_FOCUSED = """
() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const marks = [e, e.nextElementSibling, e.parentElement, e.closest(".wrap, .wrap-inner, label")].filter(Boolean);
  const marked = (m) => {
    const style = getComputedStyle(m);
    return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
  };
  return [e.outerHTML.slice(0, 120), marks.some(marked)];
}
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_tab_is_legible_and_fits(
    visiting: Callable[..., Any], served: Any, theme: str, width: int, tmp_path: Path
) -> None:
    visit = visiting(served, width=width, touch=width == 390, theme=theme)
    faults = []
    for tab in TABS:
        panel = visit.tab(tab)
        if tab == "Reconstruct":
            pad = panel.locator(".vk-pad-canvas")
            (visit.touch if width == 390 else visit.drag)(pad, (0.5, 0.2), (0.45, 0.5), (0.5, 0.8))
            visit.eventually(lambda panel=panel: panel.locator(".vk-terms b").first.inner_text() != "–", "the terms")
        if tab == "Interpolate":
            visit.eventually(panel.get_by_role("button", name="Save GIF").is_enabled, "the way")
        if tab == "Compare":
            visit.eventually(lambda panel=panel: panel.locator(".vk-terms b", has_text=".").count() == 6, "the terms of both")
        for summary in panel.locator(".vk-explain > summary").all():
            summary.click()
        faults += [f"{tab}: {fault}" for fault in visit.page.evaluate(_LOOK)]
        visit.page.screenshot(path=tmp_path / f"{tab}.png", full_page=True)
    assert "\n".join(faults) == ""
    assert visit.page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")


def test_a_finger_moves_the_cursor(visiting: Callable[..., Any], served: Any, models: dict[str, VAE]) -> None:
    visit = visiting(served, width=390, touch=True)
    panel = visit.page.locator("#vk-explore")
    before, scrolled = visit.place["z"], visit.page.evaluate("scrollY")
    visit.touch(panel.locator(".vk-map-stage"), (0.5, 0.5), (0.55, 0.45), (0.6, 0.4), (0.65, 0.35))
    visit.eventually(lambda: visit.place["z"][0] > before[0] and visit.place["z"][1] > before[1], "its following")
    visit.shows(panel.locator(".vk-beside canvas").first, models["plain"].decode(torch.tensor([visit.place["z"]])))
    assert visit.page.evaluate("scrollY") == scrolled


def test_the_keyboard_reaches_everything(visit: Any) -> None:
    for tab in ("Explore", "Reconstruct", "Generate"):
        panel = visit.tab(tab)
        visit.page.mouse.move(0, 0)
        visit.page.get_by_role("tab", name=tab, exact=True).focus()
        reached = []
        for _ in range(24):
            visit.page.keyboard.press("Tab")
            if (found := visit.page.evaluate(_FOCUSED)) is None:
                break
            reached.append(found)
        unmarked = [html for html, marked in reached if not marked]
        assert not unmarked
        some = {"Explore": "vk-map-stage", "Reconstruct": "vk-pad-canvas", "Generate": "vk-generate-button"}[tab]
        assert any(some in html for html, _ in reached), some
        assert panel.is_visible()


def test_codes_are_brought_to_where_they_can_be_as_the_server_does_it(visit: Any) -> None:
    blocks = [Block(4, "sphere"), Block(2, "real"), Block(3, "ball", radius=2.0), Block(6, "simplex", classes=3)]
    room = Room(tuple(blocks), False)
    z = 2 * torch.randn(20, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z[0] = 0
    for held in ([], [0], [7, 8], [9, 10], [9, 10, 11], [1, 12]):
        axes = torch.eye(15, dtype=torch.float64)[held]
        found = visit.page.evaluate(
            "([blocks, codes, held]) => codes.map((z) => vaekit.within({latent: {blocks}}, z, held))",
            [[asdict(block) for block in blocks], z.tolist(), axes.tolist()],
        )
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), room.within(z, axes), atol=1e-6, rtol=1e-6)
