"""The page that needs no server, as it is written; what it does is tested in a browser."""

import base64
import gzip
import hashlib
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from vaekit_demo.engine.shown import Shown
from vaekit_demo.web import check, runtime, write
from vaekit_demo.web.contents import content
from vaekit_demo.web.pages import content_of, page
from vaekit_demo.web.sprites import Sprite, possible, sprite

import vaekit
from vaekit import VAE, ConfigError

EXPLORER = Path(__file__).parents[2] / "docs" / "explorer" / "content.json"


class _Parsed(HTMLParser):
    """The scripts, styles and text of a page, and every attribute that could name an address."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside: list[tuple[str, dict[str, str | None], str]] = []
        self.addresses: list[str] = []
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.inside.append((tag, found, ""))
        self.addresses += [str(found[name]) for name in ("src", "href", "action", "data", "srcset") if name in found]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(found["content"])

    def handle_endtag(self, tag: str) -> None:
        self.inside.append(("/" + tag, {}, ""))

    def handle_data(self, data: str) -> None:
        if self.inside:
            tag, attrs, before = self.inside[-1]
            self.inside[-1] = (tag, attrs, before + data)

    def texts(self, tag: str) -> list[str]:
        """Of the elements of that kind that are code."""
        return [text for found, attrs, text in self.inside if found == tag and "type" not in attrs]


@pytest.fixture(scope="module")
def light(plane: Shown, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A light page of a saved model."""
    model, folder = tmp_path_factory.mktemp("model") / "a <plane>", tmp_path_factory.mktemp("page")
    plane.model.save(model)
    files = write(vaekit.load(model), str(model), folder, light=True)
    assert sorted(folder.iterdir()) == sorted(files)
    return folder


def test_a_light_page_is_one_small_file_that_allows_nothing_from_elsewhere(light: Path) -> None:
    text = (light / "index.html").read_text()
    found = _Parsed(text)
    assert 100_000 < len(text) < 400_000
    assert found.addresses == []
    rules = dict(rule.strip().split(" ", 1) for rule in found.policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert not re.search(r"https?:|\*|'self'|unsafe-(inline|eval)'", found.policy.replace("'wasm-unsafe-eval'", ""))
    for kind, tag in (("script-src", "script"), ("style-src", "style")):
        texts = found.texts(tag)
        hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in texts}
        assert texts
        assert {word for word in rules[kind].split() if word.startswith("'sha256")} == hashes
    assert "vk-block-" not in "".join(str(attrs) for _, attrs, _ in found.inside)
    front = (light / "README.md").read_text().split("---")[1]
    assert "sdk: static" in front
    assert "app_file: index.html" in front


def test_a_light_page_has_the_codes_of_the_test_set_and_pictures_of_the_plane(light: Path, plane: Shown) -> None:
    found = content_of((light / "index.html").read_text())

    def array(name: str, kind: str) -> np.ndarray:
        return np.frombuffer(gzip.decompress(base64.b64decode(found["arrays"][name])), kind)

    numbers = torch.from_numpy(array("numbers", "<i4").astype(np.int64))
    x, y = plane.examples(numbers)
    assert y is not None
    torch.testing.assert_close(torch.from_numpy(array("z", "<f4").copy()).view(-1, 2), plane.model.encode(x))
    assert array("y", "<u2").tolist() == y.tolist()
    assert "pictures" not in found["arrays"]
    assert "inputs" in found["info"]["lacks"]
    grid = found["sprite"]
    atlas = np.asarray(Image.open(io.BytesIO(base64.b64decode(grid["files"][0]))).convert("L"), dtype=float)
    side, height = grid["side"], grid["picture"]["h"]
    u, v = np.linspace(*grid["across"], side), np.linspace(*grid["up"][::-1], side)
    for row, column in ((0, 0), (3, side - 1), (side // 2, side // 3), (side - 1, 5)):
        wanted = plane.model.decode([[u[column], v[row]]])[0, 0].numpy() * 255
        tile = atlas[row * height : (row + 1) * height, column * height : (column + 1) * height]
        assert np.abs(tile - wanted).mean() < 4
    title = re.search(r"<title>(.*)</title>", (light / "index.html").read_text())
    assert title is not None
    assert title[1] == "a &lt;plane&gt;"


def test_what_a_stranger_called_things_is_text(plane: Shown) -> None:
    told = content(plane, None, light=True)
    evil = "</script><b id=evil>&amp;{{style}}"
    told["info"] |= {"title": evil, "subtitle": evil, "classes": [evil]}
    text = page(told, {})
    assert "<b id=evil>" not in text
    assert content_of(text)["info"]["classes"] == [evil]
    assert text.count("&amp;amp;{{style}}") == 3  # the title, the heading and the line under it


def test_a_sprite_has_as_many_pictures_as_there_is_room_for(plane: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> Sprite:
        return sprite(plane, (21, 9, 5))

    whole = found()
    assert whole.side == 21
    monkeypatch.setattr("vaekit_demo.web.sprites.MOST", whole.bytes // 3)
    assert found().side == 9
    assert found().bytes <= whole.bytes // 3
    monkeypatch.setattr("vaekit_demo.web.sprites.MOST", 10)
    assert found().side == 5


def test_models_that_a_page_cannot_show(deep: Shown, untrained: Callable[..., VAE], tmp_path: Path) -> None:
    deep.model.save(tmp_path / "deep")
    (tmp_path / "page").mkdir()
    with pytest.raises(ConfigError, match=r"codes in a plane; this model's have 6 dimensions: leave --light away"):
        write(deep.model, str(tmp_path / "deep"), tmp_path / "page", light=True)
    assert not list((tmp_path / "page").iterdir())
    assert not possible(deep)

    class Meanless(Shown):
        has_mean = False

    with pytest.raises(ConfigError, match=r"likelihood 'bernoulli' has no mean"):
        check(Meanless("m", "m", deep.model, lambda: deep.test))


@pytest.fixture
def nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a PATH on which there is nothing."""
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def test_where_the_runtime_cannot_be_had(nothing_kept: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"there is no npm here: get the npm package onnxruntime-web 1\.30\.0 and give --runtime"
    ):
        runtime.runtime()
    with pytest.raises(ConfigError, match=r"there is no .*nowhere"):
        runtime.runtime(nothing_kept / "nowhere")
    (nothing_kept / "other.tgz").write_bytes(b"not the package")
    with pytest.raises(ConfigError, match="its SHA-512 is another"):
        runtime.runtime(nothing_kept / "other.tgz")
    for name, (size, _) in runtime.FILES.items():
        (nothing_kept / name).write_bytes(bytes(size))
    with pytest.raises(ConfigError, match=r"ort\.wasm\.min\.js .* is not that of onnxruntime-web"):
        runtime.runtime(nothing_kept)


@pytest.mark.parametrize(
    ("does", "said"),
    [("echo 'no such host' >&2; exit 1", "no such host"), ('echo other > "$6/a.tgz"', "its SHA-512 is another")],
)
def test_an_npm_that_fetches_nothing_or_something_else(nothing_kept: Path, does: str, said: str) -> None:
    npm = nothing_kept / "bin" / "npm"
    npm.write_text(f"#!/bin/sh\n{does}\n")
    npm.chmod(0o755)
    with pytest.raises(ConfigError, match=said):
        runtime.runtime()
    assert not (nothing_kept / "cache").exists()


def test_the_explorer_of_the_documentation_has_what_a_page_asks_for_now(plane: Shown) -> None:
    kept, now = json.loads(EXPLORER.read_text(encoding="utf-8")), content(plane, sprite(plane, (5,)), light=True)
    for old, new in ((kept, now), (kept["info"], now["info"]), (kept["info"]["data"], now["info"]["data"])):
        assert set(old) == set(new), "docs/explorer/content.json is of an older page: docs/export.md says how it is made"
    assert len(page(kept, {})) < 420_000
