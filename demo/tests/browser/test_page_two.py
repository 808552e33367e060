"""The panels that set two things side by side in a browser: examples, and models."""

import re
from pathlib import Path
from typing import Any

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


def test_from_one_example_to_another(
    visit: Any, models: dict[str, VAE], digits: Examples, x: Tensor, codes: Tensor, tmp_path: Path
) -> None:
    panel = visit.tab("Interpolate")
    model, big = models["plain"], panel.get_by_role("img", name="The picture between A and B")
    save = panel.get_by_role("button", name="Save GIF")
    visit.eventually(save.is_enabled, "the way")

    def code(label: str) -> Tensor:
        said = panel.get_by_role("group", name=label, exact=True).locator("figcaption").inner_text()
        number, y = map(int, re.match(r"test (\d+) · class (\d)", said).groups())
        assert y == int(digits.y[number])
        return codes[number]

    slider = panel.get_by_role("slider", name="t, from A at 0 to B at 1")
    slider.focus()
    for key, t in {"Home": 0.0, "ArrowRight": 1 / 48, "End": 1.0, "ArrowLeft": 47 / 48}.items():
        visit.page.keyboard.press(key)
        visit.shows(big, model.decode((code("A") + t * (code("B") - code("A")))[None]), f"the picture at t = {t:.2f}")
    number = int(panel.get_by_role("group", name="B", exact=True).locator("figcaption").inner_text().split()[1])
    visit.shows(panel.get_by_role("img", name="Picture of B", exact=True), x[number], "the example B")
    strip = panel.get_by_role("img", name="Nine steps from A to B")
    visit.click(strip, 4.5 / 9, 0.5)
    assert slider.input_value() == "24"
    visit.shows(big, model.decode((code("A") + code("B"))[None] / 2), "the picture half way")
    with visit.page.expect_download() as waited:
        save.click()
    waited.value.save_as(tmp_path / "way.gif")
    with Image.open(tmp_path / "way.gif") as animation:
        assert (animation.format, waited.value.suggested_filename) == ("GIF", "interpolation.gif")
        frames = animation.n_frames
    assert frames >= 2
    play = panel.locator(".vk-play")
    play.click()
    visit.eventually(lambda: slider.input_value() != "24", "motion")
    play.click()
    assert play.inner_text() == "Play"
    before = code("A")
    panel.get_by_role("group", name="A", exact=True).get_by_role("button", name="Random").click()
    visit.eventually(lambda: not torch.equal(code("A"), before), "another A")

    def on_the_way() -> bool:
        z = torch.lerp(code("A"), code("B"), float(slider.input_value()) / 48)
        return torch.allclose(torch.tensor(visit.place["z"]), z, atol=1e-4)

    visit.eventually(on_the_way, "the cursor going along")

    last = panel.get_by_role("group", name="c", exact=True)
    to_map = panel.get_by_role("button", name="Send to Explore")
    visit.eventually(to_map.is_enabled, "the sum")
    c = codes[int(last.locator("figcaption").inner_text().split()[1])]
    a, b = (codes[digits.y == y].mean(0) for y in (1, 0))
    to_map.click()
    torch.testing.assert_close(torch.tensor(visit.place["z"]), c + a - b, atol=1e-3, rtol=0)
    result = panel.get_by_role("img", name="Picture of a − b + c")
    visit.shows(result, model.decode((c + a - b)[None]), "a − b + c")
    panel.get_by_role("slider", name="Amount").focus()
    visit.page.keyboard.press("Home")
    visit.shows(result, model.decode(c[None]), "c alone")


def test_two_models_side_by_side(visit: Any, models: dict[str, VAE], x: Tensor, digits: Examples) -> None:
    panel = visit.tab("Compare")
    sides = panel.locator(".vk-compare-side")
    number = panel.get_by_label("Number of the test example")
    visit.eventually(number.input_value, "an example")
    number.fill("11")
    number.press("Enter")
    y = int(digits.y[11])
    for side, model, told in ((sides.first, models["plain"], {}), (sides.last, models["told"], {"y": y})):
        pictures = side.locator(".vk-pictures canvas")
        visit.shows(pictures.first, x[11], "the same input")
        visit.shows(pictures.last, model.reconstruct(x[11:12], **told), "its reconstruction")
    for side in sides.all():
        nelbo, reconstruction, kl = (float(text) for text in side.locator(".vk-terms b").all_inner_texts())
        assert nelbo == pytest.approx(reconstruction + kl, abs=0.011)
        assert not side.locator(".vk-badge").is_visible()  # one is a bound of log p(x), the other of log p(x|y)
    assert panel.get_by_text("These two numbers are of different things").is_visible()

    panel.get_by_text("Same seed", exact=True).click()
    sheets = panel.locator(".vk-samples canvas")
    visit.eventually(lambda: sheets.count() == 2 and all(visit.pixels(s).any() for s in sheets.all()), "samples of both")
    first = [visit.pixels(sheet) for sheet in sheets.all()]
    seed = panel.get_by_label("Seed", exact=True)
    before = seed.input_value()
    panel.get_by_role("button", name="Another").click()
    assert seed.input_value() != before

    def as_first() -> list[bool]:
        return [bool((visit.pixels(sheet) == old).all()) for sheet, old in zip(sheets.all(), first, strict=True)]

    visit.eventually(lambda: as_first() == [False, False], "other samples")
    seed.fill(before)
    seed.press("Enter")
    visit.eventually(lambda: as_first() == [True, True], "the same samples for the same seed")

    panel.get_by_text("Same z", exact=True).click()
    sentence = "The same z needs latent spaces of one size; these have 2 and 4."
    visit.eventually(lambda: panel.get_by_text(sentence).is_visible(), "why not")
    panel.get_by_label("Model on the right").select_option("plain")
    decoded = panel.get_by_role("img", name="Decoded by plain")
    visit.eventually(lambda: decoded.count() == 2, "both")
    visit.drag(panel.locator(".vk-map-stage"), (0.5, 0.5), (0.6, 0.3))

    def alike() -> bool:
        one, other = (visit.pixels(canvas) for canvas in decoded.all())
        return bool(one.any() and (one == other).all())

    visit.eventually(alike, "one code, one model, one picture")
