"""Latents that are no Gaussians and likelihoods without a mean: nothing is shown where no code can be.

They are of other packages, so that these tests are skipped where the demo is installed alone.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from vaekit_demo import about
from vaekit_demo.calls import Gallery, answer
from vaekit_demo.engine import answers
from vaekit_demo.engine.pictures import pictures
from vaekit_demo.engine.plane import Plane, manifold
from vaekit_demo.engine.shown import Shown

from vaekit import VAE, ConfigError, Examples

for package in ("conditional", "flows", "latents", "likelihoods", "manifolds", "vq"):
    pytest.importorskip(f"vaekit_{package}")

SMALL = {"hidden": [8]}
MOVABLE: dict[str, dict[str, Any]] = {
    "point": {"latent": {"name": "point", "features": 3}},
    "full-gaussian": {"latent": {"name": "full-gaussian", "features": 3}},
    "grid-gaussian": {"latent": {"name": "grid-gaussian", "channels": 2, "height": 2, "width": 2}},
    "flow": {"latent": {"name": "flow", "features": 3, "depth": 2, **SMALL}},
    "flow-prior": {"prior": {"name": "flow", "depth": 2, **SMALL}},
    "ladder": {"latent": {"name": "ladder", "features": [3, 3], "hidden": 8}},
    "joint": {"latent": {"name": "joint", "features": 2, "variables": 2, "classes": 3}},
    "told": {"context": {"name": "labels", "classes": 4}, "prior": {"name": "conditional"}},
    "pixelcnn": {"likelihood": {"name": "pixelcnn", "width": 4, "depth": 1}},
    "sphere": {"latent": {"name": "hyperspherical", "features": 4}, "prior": {"name": "uniform"}},
    "circle": {"latent": {"name": "hyperspherical", "features": 2}, "prior": {"name": "uniform"}},
    "ball": {
        "latent": {"name": "poincare", "features": 3, "curvature": 0.25},
        "prior": {"name": "wrapped-normal", "curvature": 0.25},
    },
    "tangent": {"latent": {"name": "poincare", "features": 2, "chart": "tangent"}, "prior": {"name": "wrapped-normal"}},
    "categorical": {
        "latent": {"name": "categorical", "variables": 2, "classes": 3},
        "prior": {"name": "relaxed-categorical"},
    },
}
CLOSED: dict[str, dict[str, Any]] = {
    "vq": {
        "latent": {"name": "vq", "codes": 8, "width": 3, "positions": 2},
        "prior": {"name": "transformer", "layers": 1, "heads": 1, "width": 8},
    },
    "narrow-vq": {"latent": {"name": "vq", "codes": 8, "width": 1, "positions": 3}, "prior": {"name": "codes"}},
    "fsq": {"latent": {"name": "fsq", "levels": [3, 2], "positions": 2}, "prior": {"name": "codes"}},
    "hard": {
        "latent": {"name": "categorical", "variables": 2, "classes": 3, "hard": True},
        "prior": {"name": "relaxed-categorical"},
    },
}
Show = Callable[[str], Shown]


@pytest.fixture(scope="module")
def show(untrained: Callable[..., VAE], several: Callable[..., Examples]) -> Show:
    made: dict[str, Shown] = {}

    def found(name: str) -> Shown:
        if name not in made:
            made[name] = Shown(name, name, untrained((1, 8, 8), **{**MOVABLE, **CLOSED}[name]), several)
        return made[name]

    return found


def _asks(shown: Shown) -> dict[str, dict[str, Any]]:
    """A request of each call."""
    y, z = 1 if shown.model.conditional else None, shown.start.tolist()
    return {
        "describe": {},
        "points": {},
        "decode": {"z": z, "y": y},
        "strips": {"z": z, "y": y, "dims": [0], "steps": 3},
        "manifold": {"z": z, "y": y, "side": 2},
        "look": {"source": {"test": 0}, "seed": 1},
        "interpolate": {"a": {"test": 0}, "b": {"test": 1}, "frames": 3},
        "gif": {"a": {"test": 0}, "b": {"code": z}, "y": y, "frames": 3},
        "arithmetic": {"a": {"test": 0}, "b": {"test": 1}, "c": {"test": 2}},
        "samples": {"n": 2, "seed": 5},
    }


@pytest.mark.parametrize("name", [*MOVABLE, *CLOSED])
def test_every_call_answers_or_says_why_not(show: Show, name: str) -> None:
    shown = show(name)
    refused = {call for call, request in _asks(shown).items() if not _answered(shown, call, request)}
    wanted = {"strips", "manifold", "interpolate", "gif"} if name in CLOSED else set()
    if shown.model.latent.root.support != "real":
        wanted.add("arithmetic")
    assert refused == wanted


def _answered(shown: Shown, call: str, request: dict[str, Any]) -> bool:
    try:
        json.dumps(answer(Gallery([shown]), call, {"model": shown.key, **request}), allow_nan=False)
    except ConfigError:
        return False
    return True


def _off(name: str, z: Tensor) -> Tensor:
    """How far codes are from where they can be."""
    if name in ("sphere", "circle"):
        return z.norm(dim=1) - 1
    if name == "ball":
        return (z.norm(dim=1) - 2).clamp(min=0)
    if name in ("joint", "categorical"):
        rows = z[:, -6:].unflatten(1, (2, 3))
        return (rows.sum(-1) - 1).abs().amax(1) + rows.clamp(max=0).abs().sum((1, 2))
    return torch.zeros(len(z))


@pytest.mark.parametrize("name", MOVABLE)
def test_a_cursor_and_sliders_stay_where_codes_can_be(show: Show, name: str) -> None:
    shown, room = show(name), show(name).room
    generator = torch.Generator().manual_seed(0)
    far = 3 * torch.randn(200, shown.size, generator=generator)
    drawn = shown.drawn(200, None, seed=0)[0].flatten(1)
    assert float(_off(name, drawn).abs().max()) < 1e-5
    torch.testing.assert_close(room.within(drawn), drawn, atol=1e-5, rtol=1e-5)
    assert _off(name, shown.start[None]).abs() < 1e-5
    for held in (None, torch.eye(shown.size)[[1]], torch.eye(shown.size)[:2]):
        assert float(_off(name, room.within(far, held)).abs().max()) < 1e-5
    moved = drawn.clone()
    moved[:, 1] = drawn[:, 1].flip(0)
    moved = room.within(moved, torch.eye(shown.size)[[1]])
    torch.testing.assert_close(moved[:, 1], drawn[:, 1].flip(0), atol=2e-3, rtol=1e-5)
    values, _ = answers.strips(shown, shown.start, 1 if shown.model.conditional else None, [1], 5)
    assert values.diff().gt(0).all()


def test_a_slider_goes_as_far_as_codes_do(show: Show) -> None:
    assert [show("joint").reach(i) for i in (1, 2, 7)] == [None, (0, 1), (0, 1)]
    values, _ = answers.strips(show("joint"), show("joint").start, None, [2], 3)
    assert values.tolist() == [[0, 0.5, 1]]
    for name, most in (("sphere", 1), ("ball", 2)):
        low, high = show(name).reach(0) or (-9, 9)
        assert -most <= low < high <= most


def test_what_is_swept_stays_on_the_sphere_where_the_slider_is(show: Show) -> None:
    shown = show("sphere")
    values, found = answers.strips(shown, shown.start, None, [0], 5)
    code = shown.start.clone()
    code[0] = values[0, 3]
    code[1:] *= ((1 - code[0] ** 2) / (code[1:] ** 2).sum()).sqrt()
    assert (found[3] == shown.decode(code[None], None)[0]).all()
    code[1:] = shown.start[1:]
    assert (found[3] != shown.decode(code[None], None)[0]).any()
    plane = Plane.through(shown)
    across, up, grid = manifold(shown, None, shown.start, None, 2)
    there = plane.through_point(shown.start, torch.stack([across[:1], up[:1]], 1))
    held = shown.room.within(there, torch.stack([plane.a, plane.b]))
    assert (grid[0] == shown.decode(held, None)[0]).all()
    assert (grid[0] != shown.decode(there, None)[0]).any()


@pytest.mark.parametrize("name", ["sphere", "ball"])
def test_on_a_map_the_cursor_is_where_it_was_put(show: Show, name: str) -> None:
    shown = show(name)
    for axes in (None, "pca", (2, 0)):
        plane = Plane.through(shown, axes)
        there = plane.of(shown.start[None]) * 0.5
        lifted = plane.through_point(shown.start, there)
        found = shown.room.within(lifted, torch.stack([plane.a, plane.b]))
        torch.testing.assert_close(plane.of(found), there, atol=1e-5, rtol=1e-5)
        assert float(_off(name, found).abs()) < 1e-5


@pytest.mark.parametrize("name", CLOSED)
def test_between_codes_there_is_nothing(show: Show, name: str) -> None:
    shown = show(name)
    assert "nothing between" in shown.immovable
    assert torch.equal(shown.start, shown.survey.z[0])
    torch.testing.assert_close(shown.survey.mean, shown.survey.z.mean(0))


def test_a_point_has_no_bound_and_a_code_has_one(show: Show) -> None:
    point, codes = (answers.look(show(name), answers.example(show(name), 0)) for name in ("point", "vq"))
    assert point.terms is None
    assert "no bound" in point.note
    assert codes.terms is not None
    vq = show("vq")
    x, _ = vq.examples(torch.tensor([0]))
    with torch.no_grad():
        cost = -vq.prior.log_prob(vq.model.posterior(x, torch.zeros(1, 0)).mean)
    assert codes.terms["kl"] == pytest.approx(float(cost), rel=1e-5)
    assert "no KL" in about.kl_note(show("point"))
    assert "log_likelihood" not in about.loading(show("point"))
    assert [show(name).random for name in ("point", "vq", "sphere", "ladder")] == [False, False, True, True]


def test_of_several_layers_the_lowest_has_no_part_of_the_kl(show: Show) -> None:
    """Though it is as wide as the root."""
    assert show("ladder").survey.kl is None
    assert not show("ladder").survey.normal
    assert show("ladder").axis_priors is None


@pytest.mark.filterwarnings("ignore:likelihood 'pixelcnn' has no mean in closed form")
def test_where_there_is_no_mean_draws_are_shown_and_said_to_be(show: Show) -> None:
    shown = show("pixelcnn")
    assert "draws" in answer(Gallery([shown]), "describe", {"model": "pixelcnn"})["drawn"]
    *_, found = shown.sampled(3, None, seed=7)
    assert (found == pictures(shown.model.sample(3, seed=7))).all()
    z = shown.survey.z[:2]
    assert (shown.decode(z, None) == pictures(shown.model.decode(z))).all()
