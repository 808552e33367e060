"""The command that trains a model like that of a run, on any machine: what differs from the defaults, and no paths."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from vaekit import registry, strictjson
from vaekit.config import DEFAULTS, Config, is_name
from vaekit.data.transform import DataOptions
from vaekit.errors import VaekitError
from vaekit.training import TrainingOptions


def command(record: Mapping[str, Any]) -> str:
    """`vaekit train DATA …`, with PATH where the data have one, or `vaekit refit RUN prior=…`, with RUN for what it began with.

    Nothing where the data had no name, or the record is no good.

    Args:
        record: what run.json says.
    """
    name, colon, _ = str(record["source"] or "").partition(":")
    if not is_name(name):
        return ""
    try:
        config = Config.from_json(json.dumps(record["config"]))
        if record.get("start"):
            parts = [word for word in _parts(config) if word.startswith(("prior", "loss."))]
            words = ["refit", "RUN", *parts, *_training(_settled(record))]
        else:
            data = f"{name}:PATH" if colon else name
            words = ["train", data, *_parts(config), *_data(record["data"]), *_training(_settled(record))]
    except (VaekitError, TypeError, ValueError):
        return ""
    return shlex.join(["vaekit", *words])


def _parts(config: Config) -> Iterator[str]:
    for kind, usual in DEFAULTS.items():
        spec = config.part(kind)
        if spec["name"] != usual:
            yield f"{kind}={spec['name']}"
        usually = {option.name: option.default for option in registry.options(registry.find(kind, str(spec["name"])))}
        for name, value in spec.items():
            if name != "name" and _text(value) != _text(usually.get(name)):
                yield f"{kind}.{name}={_text(value)}"


def _data(given: Mapping[str, Any]) -> Iterator[str]:
    for name, value in _changed(DataOptions(**given), DataOptions()):
        yield f"data.{name}={_text(value)}"


def _settled(record: Mapping[str, Any]) -> dict[str, Any]:
    """The options of training, with what the run chose for itself where they left it open."""
    chosen = dict(record.get("chosen", {}))
    if "compile" in chosen:
        chosen["compile"] = "on" if chosen["compile"] else "off"
    return {**record["training"], **{name: value for name, value in chosen.items() if name in TrainingOptions.model_fields}}


def _training(given: Mapping[str, Any]) -> Iterator[str]:
    for name, value in _changed(TrainingOptions(**given), TrainingOptions()):
        if name != "device":
            yield f"--{name.replace('_', '-')}"
            yield ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _changed(options: DataOptions | TrainingOptions, usual: DataOptions | TrainingOptions) -> Iterator[tuple[str, Any]]:
    before = usual.model_dump(mode="json")
    for name, value in options.model_dump(mode="json").items():
        if value != before[name]:
            yield name, value


def _text(value: Any) -> str:
    """A value as the command line reads it: JSON where it parses as JSON, else the text itself."""
    text = json.dumps(value, separators=(",", ":"))
    if not isinstance(value, str) or not value.isprintable():
        return text
    try:
        strictjson.loads(value)
    except ValueError:
        return value
    return text
