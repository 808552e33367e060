"""Model folders: what was saved comes back to the bit, and nothing else is believed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import vaekit
from vaekit import CheckpointError, weights


@pytest.fixture
def folder(make, tmp_path: Path) -> Path:
    return make().save(tmp_path / "model")


def _edit(folder: Path, change: Callable[[dict], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_three_files_and_no_pickle(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert not (folder / "model.safetensors").read_bytes().startswith((b"PK", b"\x80"))
    assert json.loads((folder / "config.json").read_text())["vaekit"] == 1
    assert "vaekit.load(" in (folder / "README.md").read_text()


def test_the_same_samples_from_the_same_seed_to_the_bit(make, tmp_path: Path) -> None:
    model = make(encoder="conv", decoder="transposed-conv", likelihood="gaussian")
    for _ in range(3):  # statistics of batch norm that are not those it starts with
        model.train()(torch.rand(8, 1, 6, 5), torch.zeros(8, 0)).log_px()
    loaded = vaekit.load(model.save(tmp_path))
    assert not loaded.training
    assert loaded.source == str(tmp_path)
    assert torch.equal(loaded.sample(16, seed=0), model.sample(16, seed=0))
    assert torch.equal(loaded.sample(16, draw=True, seed=0), model.sample(16, draw=True, seed=0))
    assert loaded.config == model.config


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_come_back_as_they_were(make, tmp_path: Path, dtype: torch.dtype) -> None:
    model = make().to(dtype)
    loaded = vaekit.load(model.save(tmp_path))
    assert next(loaded.parameters()).dtype == dtype
    x = torch.rand(2, 1, 6, 5)
    assert torch.equal(loaded.encode(x), model.encode(x))
    assert torch.equal(loaded.sample(4, seed=0), model.sample(4, seed=0))
    assert torch.equal(loaded.log_likelihood(x, k=3), model.log_likelihood(x, k=3))
    assert next(vaekit.load(tmp_path, dtype=torch.float32).parameters()).dtype == torch.float32


def test_a_part_that_is_not_installed_says_where_the_config_says_it_comes_from(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"encoder": {"name": "foo"}, "plugins": {"vaekit": "0.1.0", "vaekit-foo": "1", "vaekit-lstm": "0.1.0"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(vaekit.UnknownPart, match="come from 'vaekit-foo'; installing a package runs its code") as caught:
        vaekit.load(folder)
    assert "pip install" not in str(caught.value)


def test_what_a_stranger_wrote_does_not_reach_the_terminal_raw(folder: Path) -> None:
    evil = "\x1b]0;owned\x07" + "A" * 5000
    _edit(folder, lambda t: t.update({f"{evil}.x": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match="does not belong") as caught:
        vaekit.load(folder)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "plugins": {"\x1b[2J": "1"}}))
    with pytest.raises(vaekit.ConfigError, match="should match pattern") as refused:
        vaekit.load(folder)
    assert "\x1b" not in str(refused.value)


def test_loading_draws_nothing_from_the_users_generator(folder: Path) -> None:
    before = torch.get_rng_state()
    vaekit.load(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_parameters_are_not_drawn_only_to_be_read_and_buffers_are_filled() -> None:
    before = torch.get_rng_state()
    with weights.Unfilled():
        dense, recurrent = torch.nn.Linear(3, 4), torch.nn.LSTM(3, 4)
        assert torch.equal(torch.get_rng_state(), before)
        buffer = torch.nn.init.uniform_(torch.full((4,), -1.0))
    assert all(isinstance(p, torch.nn.Parameter) for p in (*dense.parameters(), *recurrent.parameters()))
    assert (buffer >= 0).all()


def test_plugins_load_on_the_device_of_the_user_not_on_that_of_the_check(folder: Path, python) -> None:
    code = f"""
import torch, vaekit
from vaekit import plugins
devices, load = [], plugins.load
plugins.load = lambda entry: (devices.append(torch.empty(0).device.type), load(entry))[1]
vaekit.load({str(folder)!r})
print(set(devices))
"""
    assert python(code) == "{'cpu'}"


def test_saving_again_replaces_the_model_and_leaves_nothing_else(make, folder: Path) -> None:
    other = make(latent={"features": 3})
    other.save(folder)
    assert torch.equal(vaekit.load(folder).sample(2, seed=0), other.sample(2, seed=0))
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("latent.head.weight"), "tensor 'head.weight' of the latent is missing"),
        (lambda t: [t.pop(k) for k in list(t) if k.startswith("decoder")], "of the decoder is missing, and 3 more"),
        (lambda t: t.update({"encoder.extra": torch.zeros(1)}), "'extra' of the encoder does not belong"),
        (
            lambda t: t.update({"latent.head.bias": torch.zeros(5)}),
            r"'head.bias' of the latent has shape \[5\], the model needs \[4\]",
        ),
        (lambda t: t.update({"latent.head.bias": torch.zeros(1, 4)}), r"has shape \[1, 4\]"),
        (lambda t: t.update({"latent.head.bias": torch.zeros(4, dtype=torch.float16)}), "is of F16, the model needs F32"),
        (lambda t: t.update({"latent.head.bias": torch.zeros(4, dtype=torch.int64)}), "is of I64"),
        (lambda t: t["latent.head.bias"].fill_(float("nan")), "'head.bias' of the latent holds values that are not finite"),
        (lambda t: t["latent.head.bias"].fill_(float("inf")), "not finite"),
    ],
)
def test_tensors_that_do_not_fit_name_their_part(folder: Path, change, said: str) -> None:
    _edit(folder, change)
    with pytest.raises(CheckpointError, match=said):
        vaekit.load(folder)


def _header(folder: Path, change: Callable[[bytes], bytes], pad: int = 0) -> None:
    data = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = change(data[8 : 8 + length])
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :] + b"\0" * pad)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: (f / "model.safetensors").write_bytes(b""),
        lambda f: (f / "model.safetensors").write_bytes(b"\0" * 7),
        lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 8),
        lambda f: (f / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]"),
        lambda f: (f / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}"),
        lambda f: _header(f, lambda h: h.replace(b'"F32"', b'"F99"')),
        lambda f: _header(f, lambda h: h.replace(b'"dtype":"F32"', b'"dtype":"F32","x":1', 1)),
        lambda f: _header(f, lambda h: h[:-1] + b',"latent.head.bias":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
        lambda f: _header(f, lambda h: h.replace(b'"shape":[4]', b'"shape":[4.0]')),
        lambda f: _header(f, lambda h: b" " * 2_000_000 + h),
        lambda f: _header(f, lambda h: h, pad=64),
        lambda f: _header(f, lambda h: h.decode().encode("utf-16")),
        lambda f: torch.save({"x": torch.zeros(1)}, f / "model.safetensors"),
        lambda f: os.truncate(f / "model.safetensors", (f / "model.safetensors").stat().st_size - 1),
        lambda f: (f / "model.safetensors").unlink(),
        lambda f: ((f / "model.safetensors").unlink(), os.mkfifo(f / "model.safetensors")),
        lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir()),
        lambda f: ((f / "config.json").unlink(), os.mkfifo(f / "config.json")),
        lambda f: (f / "config.json").write_bytes(b" " * 1_000_001),
    ],
    ids=range(19),
)
def test_files_that_are_not_what_they_should_be_are_refused(folder: Path, spoil) -> None:
    spoil(folder)
    with pytest.raises((CheckpointError, vaekit.ConfigError)):
        vaekit.load(folder)


def test_offsets_that_overlap_are_refused(folder: Path) -> None:
    def swap(header: bytes) -> bytes:
        entries = json.loads(header)
        entries["latent.head.bias"]["data_offsets"] = [0, 16]
        return json.dumps(entries).encode()

    _header(folder, swap)
    with pytest.raises(CheckpointError, match="not a valid safetensors file"):
        vaekit.load(folder)


def test_sizes_that_mean_terabytes_are_refused_before_anything_is_allocated(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["encoder"]["hidden"] = [65536] * 16
    config["decoder"]["hidden"] = [65536] * 16
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="asks for 515,421,765,768 bytes of memory, more than the 20,000,000,000 allowed"):
        vaekit.load(folder)
    with pytest.raises(CheckpointError, match=r"has shape|missing"):
        vaekit.load(folder, max_bytes=10**12)


def test_a_pickle_beside_the_weights_is_not_looked_at(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert vaekit.load(folder).sample(1).shape == (1, 1, 6, 5)


def test_loading_needs_no_plugin_of_the_loss(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["loss"] = {"name": "not-installed", "anything": [1]}
    (folder / "config.json").write_text(json.dumps(config))
    assert vaekit.load(folder).sample(1).shape == (1, 1, 6, 5)


@pytest.mark.parametrize(
    ("given", "said"),
    [("nowhere", "no folder nowhere"), (".", "holds no model"), ("latest", "no run under ./runs")],
)
def test_a_folder_that_is_none_says_what_to_give(given: str, said: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=said):
        vaekit.load(given)


def test_a_folder_that_cannot_be_written_is_one_error(make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        make().save(tmp_path / "file")


def test_a_failed_save_leaves_the_old_model(make, folder: Path, monkeypatch) -> None:
    before = vaekit.load(folder).sample(2, seed=0)
    monkeypatch.setattr("vaekit.io.save_file", lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(CheckpointError, match="No space left"):
        make().save(folder)
    assert torch.equal(vaekit.load(folder).sample(2, seed=0), before)
    shutil.rmtree(folder)
