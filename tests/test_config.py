"""Configs: strict, bounded, and the same after a round trip."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaekit
from vaekit import Config, ConfigError, strictjson


def _valid() -> dict:
    model, _ = vaekit.build(Config(data_shape=(1, 8, 8)))
    assert model.config is not None
    return json.loads(model.config.to_json())


def test_a_round_trip_changes_nothing() -> None:
    model, _ = vaekit.build(Config(data_shape=(3, 8, 8), latent={"features": 3}, loss={"beta": 1e-11}))
    assert model.config is not None
    assert Config.from_json(model.config.to_json()) == model.config


def test_parts_by_name_by_mapping_and_by_options_alone() -> None:
    config = Config(data_shape=[4], encoder="lstm", latent={"features": 2}, loss={"name": "elbo", "beta": 2})
    assert config.encoder == {"name": "lstm"}
    assert config.latent == {"name": "gaussian", "features": 2}
    assert config.data_shape == (4,)


def test_every_default_is_written_down() -> None:
    assert _valid()["encoder"] == {"name": "mlp", "hidden": [512, 256], "activation": "relu"}
    assert _valid()["plugins"] == {"vaekit": vaekit.__version__}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vaekit": 2}, "newer than this vaekit"),
        ({"vaekit": "1"}, "no vaekit format version"),
        ({"vaekit": True}, "no vaekit format version"),
        ({"data_shape": []}, "data_shape"),
        ({"data_shape": [1, 2, 3, 4]}, "data_shape"),
        ({"data_shape": [0]}, "data_shape"),
        ({"data_shape": [8.0]}, "data_shape"),
        ({"data_shape": ["8"]}, "data_shape"),
        ({"data_shape": [65536, 65536, 3]}, "numbers an example"),
        ({"data_shape": "abc"}, "data_shape"),
        ({"encoder": "mlp"}, "encoder must be an object"),
        ({"encoder": {"hidden": [3]}}, "encoder must be an object with a name"),
        ({"encoder": {"name": "../evil"}}, "lower-case letters"),
        ({"encoder": {"name": "os.system"}}, "lower-case letters"),
        ({"encoder": {"name": "a:b"}}, "lower-case letters"),
        ({"encoder": {"name": 3}}, "lower-case letters"),
        ({"encoder": {"name": "mlp\n"}}, "lower-case letters"),
        ({"trust_remote_code": True}, "has no 'trust_remote_code'"),
        ({"auto_map": {}}, "has no 'auto_map'"),
        ({"_target_": "os.system"}, "has no '_target_'"),
        ({"data": {"name": "mnist", "examples": 5, "path": "/etc"}}, "has no 'path'"),
        ({"data": {"name": "/etc/passwd", "examples": 5}}, "data"),
        ({"data": {"name": "mnist", "examples": -1}}, "data"),
        ({"data": {"name": "mnist", "examples": 5, "classes": ["x" * 65]}}, "classes"),
        ({"plugins": {"a": 1}}, "plugins"),
        ({"plugins": {str(i): "1" for i in range(101)}}, "plugins"),
        ({"dtype": "complex64"}, "dtype"),
    ],
)
def test_a_wrong_config_is_refused_in_one_line(change: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Config.from_json(json.dumps({**_valid(), **change}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("missing", ["data_shape", "encoder", "loss"])
def test_a_missing_key_is_named(missing: str) -> None:
    with pytest.raises(ConfigError, match=f"'{missing}' is missing"):
        Config.from_json(json.dumps({k: v for k, v in _valid().items() if k != missing}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSON"),
        ("[1]", "object"),
        ("3", "object"),
        ('{"vaekit": 1, "vaekit": 1}', "stands twice"),
        ('{"a": NaN}', "not JSON"),
        ('{"a": Infinity}', "not JSON"),
        ('{"a": 1e400}', "out of range"),
        ("\ufeff{}", "byte-order"),
        (b"\xef\xbb\xbf{}", "byte-order"),
        (b"\xff\xfe{\x00}\x00", "JSON"),
        (b'{"a": "\xff"}', "JSON"),
        ('{"a": "\\ud800"}', "JSON"),
        ("[" * 100_000, "JSON"),
        ("[" * 40 + "]" * 40, "nested"),
        ('{"a": ' + "9" * 5000 + "}", "JSON"),
        (" " * 1_000_001, "bytes of JSON"),
    ],
    ids=range(16),
)
def test_what_pythons_parser_lets_through_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config.from_json(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(value=_JSON)
def test_strict_parsing_agrees_with_python_on_plain_json(value) -> None:
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode("utf-8")
    except UnicodeEncodeError:
        return
    assert strictjson.loads(text) == value


@given(key=st.sampled_from(sorted(Config.model_fields)), value=_JSON)
def test_whatever_stands_in_a_config_it_is_a_config_or_a_config_error(key: str, value) -> None:
    text = json.dumps({**_WRITTEN, key: value})
    with suppress(ConfigError):
        Config.from_json(text)


_WRITTEN = _valid()
