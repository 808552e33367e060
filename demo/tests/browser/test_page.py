"""The panels in a browser, used as people use them: what they show is what the models give."""

import base64
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vaekit import VAE, Examples


@pytest.fixture(scope="module")
def x(digits: Examples) -> Tensor:
    """The test images, as a model sees them."""
    return digits.x.float() / 255


@pytest.fixture(scope="module")
def codes(models: dict[str, VAE], x: Tensor) -> Tensor:
    """Those of the model of two dimensions."""
    return models["plain"].encode(x)


def _png(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


def _terms(panel: Any) -> list[float]:
    """The negative ELBO, the reconstruction term and the KL that are shown."""
    shown = panel.locator(".vk-terms").first.locator("b").all_inner_texts()
    return [] if "–" in shown else [_number(text) for text in shown]


# Explore.


def _to_screen(visit: Any, stage: Any) -> Callable[[Tensor], tuple[float, float]]:
    """Where on the map a code of two dimensions is, as shares of its width and height."""
    places = []
    for share in (0.4, 0.6):
        visit.drag(stage, (0.5, 0.5), (share, share), steps=2)
        before = visit.place["z"]
        places.append((share, before))
    (s0, z0), (s1, z1) = places
    return lambda z: tuple(s0 + (s1 - s0) * (float(z[i]) - z0[i]) / (z1[i] - z0[i]) for i in range(2))


def test_the_picture_follows_the_cursor(visit: Any, models: dict[str, VAE]) -> None:
    panel = visit.page.locator("#vk-explore")
    stage, picture = panel.locator(".vk-map-stage"), panel.locator(".vk-beside canvas").first
    model = models["plain"]

    def follows() -> None:
        visit.shows(picture, model.decode(torch.tensor([visit.place["z"]])), "the picture decoded at the cursor")

    follows()
    left, top, width, height = visit.box(stage)
    visit.page.mouse.move(left + width / 2, top + height / 2)
    visit.page.mouse.down()
    for share in (0.45, 0.55, 0.45, 0.2):
        visit.page.mouse.move(left + width * share, top + height * 0.3, steps=50)
    visit.page.mouse.up()
    last = visit.place["z"]
    follows()
    assert visit.place["z"] == last
    assert visit.page.evaluate("inFlight.most.decode") == 1
    assert visit.page.evaluate("vaekit.stats.latencies.length") < 210
    visit.drag(stage, (0.2, 0.3), (0.6, 0.6))
    moved = visit.place["z"]
    assert moved[0] > last[0] + 0.2
    assert moved[1] < last[1] - 0.2
    follows()

    stage.focus()
    for key, way in {"ArrowRight": (1, 0), "ArrowUp": (0, 1), "ArrowLeft": (-1, 0), "ArrowDown": (0, -1)}.items():
        before = visit.place["z"]
        visit.page.keyboard.press(key)
        assert [np.sign(round(b - a, 9)) for a, b in zip(before, visit.place["z"], strict=True)] == list(way)
    before = visit.place["z"]
    visit.page.keyboard.press("Shift+ArrowRight")
    large = visit.place["z"][0] - before[0]
    visit.page.keyboard.press("ArrowRight")
    assert large == pytest.approx(8 * (visit.place["z"][0] - before[0] - large))
    follows()

    slider = panel.get_by_role("slider", name=re.compile(r"^z0, KL \d+\.\d\d nats$"))
    slider.focus()
    before = visit.place["z"]
    visit.page.keyboard.press("End")
    assert visit.place["z"] == [pytest.approx(float(slider.get_attribute("max"))), before[1]]
    follows()
    panel.get_by_role("button", name="Reset").click()
    assert visit.eventually(lambda: slider.input_value() != slider.get_attribute("max"))
    follows()

    strip = panel.get_by_role("img", name="What z1 does")
    visit.eventually(lambda: strip.evaluate("e => e.clientHeight > 0 && !e.classList.contains('vk-stale')"), "the strip")
    before = visit.place["z"]
    visit.click(strip, 8.5 / 9, 0.5)
    assert visit.place["z"][0] == before[0]
    assert visit.place["z"][1] > before[1] + 0.5
    follows()
    grid = panel.get_by_role("img", name=re.compile("^Manifold"))
    visit.eventually(lambda: grid.evaluate("e => e.clientHeight > 0"), "the manifold")
    corners = []
    for corner in ((0.02, 0.98), (0.98, 0.02)):
        visit.click(grid, *corner)
        corners.append(visit.place["z"])
        follows()
    assert all(low < high - 1 for low, high in zip(*corners, strict=True))


def test_a_point_is_an_example(visit: Any, models: dict[str, VAE], digits: Examples, x: Tensor, codes: Tensor) -> None:
    panel = visit.page.locator("#vk-explore")
    stage, top = panel.locator(".vk-map-stage"), panel.locator(".vk-map-stage canvas").nth(1)
    where = _to_screen(visit, stage)
    inked = int((visit.pixels(top)[..., 3] > 0).sum())
    apart = torch.cdist(codes, codes).fill_diagonal_(9).amin(1)
    apart[(codes - codes.mean(0)).abs().amax(1) > 1.2] = 0  # in view, and not under the buttons
    number = int(apart.argmax())
    visit.click(stage, *where(codes[number]))
    chosen = visit.eventually(lambda: visit.place["example"], "the example")
    assert chosen["number"] == number
    assert chosen["label"] == int(digits.y[number])
    assert panel.get_by_text(f"test {number} · class {int(digits.y[number])}", exact=True).count() >= 1
    torch.testing.assert_close(torch.tensor(chosen["mean"]), codes[number], atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.tensor(visit.place["z"]), codes[number], atol=1e-4, rtol=0)
    with torch.no_grad():
        base = models["plain"].posterior(x[number : number + 1], models["plain"].context(None, 1)).base_dist
    torch.testing.assert_close(torch.tensor(chosen["sd"]), base.scale[0], atol=1e-4, rtol=0)
    visit.eventually(lambda: int((visit.pixels(top)[..., 3] > 0).sum()) > 4 * inked, "the ellipse")
    visit.shows(panel.locator(".vk-beside canvas").nth(1), x[number], "the example")
    visit.shows(panel.locator(".vk-beside canvas").first, models["plain"].reconstruct(x[number : number + 1]))
    panel.get_by_role("button", name="Forget it").click()
    visit.eventually(lambda: int((visit.pixels(top)[..., 3] > 0).sum()) < 2 * inked, "the ellipse gone")

    base_canvas = panel.locator(".vk-map-stage canvas").first
    drawn = [visit.pixels(base_canvas)]

    def repainted(same_as: int | None = None) -> None:
        def differs() -> bool:
            now = visit.pixels(base_canvas)
            return bool((now != drawn[-1]).any() if same_as is None else (now == drawn[same_as]).all())

        visit.eventually(differs, f"another map, {same_as}")
        drawn.append(visit.pixels(base_canvas))

    toggle = panel.locator(".vk-legend").get_by_role("button", name="3", exact=True)
    toggle.click()
    assert toggle.get_attribute("aria-pressed") == "false"
    repainted()
    toggle.press("Enter")
    repainted(same_as=0)
    scrolled = visit.page.evaluate("scrollY")
    left, up, width, height = visit.box(stage)
    visit.page.mouse.move(left + width * 0.3, up + height * 0.4)
    visit.page.mouse.wheel(0, -300)
    repainted()
    assert visit.page.evaluate("scrollY") == scrolled
    visit.page.mouse.dblclick(left + width * 0.93, up + height * 0.9)
    repainted()
    panel.get_by_role("button", name="Zoom in").click()
    repainted()
    panel.get_by_role("button", name="Show everything").click()
    repainted()
    panel.get_by_label("Manifold behind the map").check()
    repainted()

    told = panel.get_by_role("radiogroup", name="Class")
    assert told.count() == 0
    visit.choose("told")
    assert visit.model == "told"
    assert told.is_visible()
    told.get_by_text("7", exact=True).click()
    picture = panel.locator(".vk-beside canvas").first
    visit.shows(picture, models["told"].decode(torch.tensor([visit.place["z"]]), y=7), "the picture of a seven")
    visit.choose("plain")
    visit.eventually(lambda: told.count() == 0, "no classes to tell")


# Reconstruct.


def test_a_drawing_is_reconstructed(visit: Any, models: dict[str, VAE], x: Tensor, codes: Tensor) -> None:
    panel = visit.tab("Reconstruct")
    pad = panel.locator(".vk-pad-canvas")
    seen, again = panel.locator(".vk-pictures canvas").all()
    undo = panel.get_by_role("button", name="Undo")
    assert _terms(panel) == []
    assert undo.is_disabled()
    visit.drag(pad, (0.5, 0.15), (0.52, 0.85))
    visit.settle()
    first = visit.eventually(lambda: _terms(panel), "the terms")
    assert first[0] == pytest.approx(first[1] + first[2], abs=0.011)
    ink = visit.pixels(seen)[..., 0]
    assert set(np.unique(ink)) == {0, 255}
    assert (ink > 0).any(1).sum() > (ink > 0).any(0).sum()  # upright, as it was drawn
    visit.shows(again, models["plain"].decode(torch.tensor([visit.place["z"]])), "the reconstruction")
    visit.drag(pad, (0.2, 0.5), (0.8, 0.5))
    visit.eventually(lambda: _terms(panel) not in ([], first), "other terms")
    undo.click()
    visit.eventually(lambda: _terms(panel) == first, "the first terms again")
    panel.get_by_role("button", name="Clear").click()
    assert _terms(panel) == []
    assert panel.locator(".vk-picture.vk-blank").count() == 2
    undo.press("Enter")
    visit.eventually(lambda: _terms(panel) == first, "the drawing again")

    next_, number = panel.get_by_role("button", name="Next"), panel.get_by_label("Number of the test example")
    for wanted in ("0", "1"):
        next_.click()
        visit.eventually(lambda wanted=wanted: number.input_value() == wanted, f"example {wanted}")
    number.fill("17")
    number.press("Enter")
    visit.shows(seen, x[17], "test example 17")
    visit.shows(again, models["plain"].reconstruct(x[17:18]))
    torch.testing.assert_close(torch.tensor(visit.place["z"]), codes[17], atol=1e-4, rtol=0)
    mean = visit.place["z"]
    panel.get_by_role("button", name="Draw z from q").click()
    drawn = visit.eventually(lambda: visit.place["z"] != mean and visit.place, "a draw of z")
    assert drawn["example"]["mean"] == mean
    visit.shows(again, models["plain"].decode(torch.tensor([drawn["z"]])), "what the draw decodes to")
    panel.get_by_role("button", name="Use its mean").click()
    visit.eventually(lambda: visit.place["z"] == mean, "the mean")
    panel.get_by_role("button", name="Random").click()
    example = visit.eventually(lambda: visit.place["z"] != mean and visit.place["example"], "another example")
    visit.shows(seen, x[example["number"]])
    visit.drag(panel.locator(".vk-map-stage"), (0.5, 0.5), (0.6, 0.4))
    assert visit.eventually(lambda: panel.get_by_text("decoded at the cursor, not the reconstruction").count())
    visit.shows(again, models["plain"].decode(torch.tensor([visit.place["z"]])), "what is decoded at the cursor")
    visit.tab("Explore")
    explored = visit.page.locator("#vk-explore .vk-beside canvas").first
    visit.shows(explored, models["plain"].decode(torch.tensor([visit.place["z"]])), "the same place on the other tab")


def _files() -> dict[str, tuple[bytes, str]]:
    """Files that are not what they might be, and what is said of them."""
    grey = np.full((40, 60), 250, np.uint8)
    grey[10:30, 28:33] = 10
    one = Image.fromarray(grey)
    clear = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (28, 10, 33, 30))
    return {
        "notes.txt": (b"no image at all", r"no image of a kind that is read here: give one of PNG"),
        "wide.png": (_png(Image.new("L", (20_000, 2))), r"has 20,000 x 2 pixels, and 8,192 on a side"),
        "cut.png": (_png(one)[:80], r"cannot be read"),
        "large.png": (_png(one) + bytes(5_000_000), r"large\.png has 4\.8 MiB; 4\.0 MiB is the most"),
        "empty.png": (b"", r"empty"),
        "moving.gif": (_png(one, "GIF", save_all=True, append_images=[one.rotate(90), one.rotate(45)]), r"first of 3 frames"),
        "clear.png": (_png(clear), r"transparent was laid on white"),
        "deep.png": (_png(Image.fromarray(grey.astype(np.uint16) * 257)), r"16 bits were brought to 8"),
    }


_GIVE = """
(element, [way, name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([vaekit.bytes(text)], name));
  const event = way === "drop"
    ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
    : new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
  element.dispatchEvent(event);
  return event.defaultPrevented;
}
"""


def test_files_are_taken_or_refused_in_words(visit: Any, models: dict[str, VAE], digits: Examples, codes: Tensor) -> None:
    panel = visit.tab("Reconstruct")
    surface, status, notes = panel.locator(".vk-pad-surface"), panel.locator(".vk-status"), panel.locator(".vk-notes")

    def give(way: str, name: str, data: bytes) -> None:
        if way == "choose":
            panel.locator("input[type=file]").set_input_files({"name": name, "mimeType": "", "buffer": data})
        else:
            target = surface if way == "drop" else panel.locator(".vk-pad-canvas")
            assert target.evaluate(_GIVE, [way, name, base64.b64encode(data).decode()])

    ways = ("drop", "paste", "choose")
    for i, (name, (data, said)) in enumerate(_files().items()):
        for way in (ways[i % 3], "drop") if i % 3 else ("drop",):
            give(way, name, data)
            visit.eventually(
                lambda said=said: re.search(said, status.inner_text() + notes.inner_text()), f"{way} {name}: {said}"
            )
            refused = status.is_visible()
            assert (_terms(panel) == []) == refused
            assert refused == (notes.inner_text() == "")
            assert "Traceback" not in status.inner_text()
            assert "/" not in status.inner_text()
    for way, number in zip(ways, (3, 4, 5), strict=True):
        give(way, "digit.png", _png(Image.fromarray(digits.x[number, 0].numpy())))
        visit.shows(panel.locator(".vk-pictures canvas").first, digits.x[number].float() / 255, f"{way}: the digit")
        torch.testing.assert_close(torch.tensor(visit.place["z"]), codes[number], atol=1e-4, rtol=0)
        assert not status.is_visible()
        assert panel.locator(".vk-pad-hint").inner_text().startswith("digit.png")
    panel.get_by_role("button", name="Clear").click()
    assert _terms(panel) == []


def test_a_conditional_model_is_told_the_class(visit: Any, models: dict[str, VAE], digits: Examples, x: Tensor) -> None:
    visit.choose("told")
    panel = visit.tab("Reconstruct")
    classes = panel.get_by_role("radiogroup", name="The class the model is told")
    number = panel.get_by_label("Number of the test example")
    number.fill("9")
    number.press("Enter")
    again = panel.locator(".vk-pictures canvas").nth(1)
    y = int(digits.y[9])
    visit.shows(again, models["told"].reconstruct(x[9:10], y=y), "told its own class")
    assert classes.get_by_role("radio", name=str(y), exact=True).is_checked()
    classes.get_by_role("radio", name=str(y), exact=True).focus()
    visit.page.keyboard.press("ArrowRight" if y < 9 else "ArrowLeft")
    other = y + 1 if y < 9 else y - 1
    visit.shows(again, models["told"].reconstruct(x[9:10], y=other), "told another class")
