"""A small classifier of a data set, whose features tell how samples are spread beside real examples.

It is trained once for a data set and what was done to it, and stored under the cache; no two classifiers' numbers compare, so
each has a name with a piece of its weights' hash in it.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from vaekit import strictjson
from vaekit.blocks import drawing
from vaekit.config import DataInfo
from vaekit.data.batches import Batches
from vaekit.data.prepare import Data, cache
from vaekit.errors import CheckpointError, DataError
from vaekit.shapes import Shape

FEATURES = 64
_FORMAT = 1


class Classifier(nn.Module):
    """Two convolutions and a dense layer for images, two dense layers for other data; logits (N, classes) of x (N, *shape)."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        body: list[nn.Module] = [nn.Flatten(), nn.Linear(prod(shape), 128), nn.ReLU()]
        width = 128
        if len(shape) == 3:
            body = [nn.Conv2d(shape[0], 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten()]
            width = 64 * prod(-(-side // 4) for side in shape[1:])
        self.body = nn.Sequential(*body, nn.Linear(width, FEATURES), nn.ReLU())
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


@dataclass(frozen=True)
class Trained:
    """A classifier and what is known of it.

    Args:
        name: of the data, and a piece of the weights' hash.
        accuracy: on the test set.
        network: in evaluation mode, on the CPU.
    """

    name: str
    accuracy: float
    network: Classifier

    def features(self, x: Tensor) -> Tensor:
        """What the last layer but one makes of x (N, *shape): (N, 64)."""
        with torch.no_grad():
            return torch.cat([self.network.body(some) for some in x.cpu().split(500)])


def train(data: Data, epochs: int = 3, lr: float = 1e-3, seed: int = 0) -> Trained:
    """Train a classifier on the training set, and store it.

    Args:
        data: with labels.
        epochs: passes over it.
        lr: learning rate of Adam.
        seed: what the weights and the order depend on.

    Raises:
        DataError: where there are no labels.
        CheckpointError: where it cannot be stored.
    """
    classes = len(data.info.classes)
    if data.train.y is None or data.test.y is None or classes < 2:
        raise DataError(f"{data.info.name} has no labels to learn: a classifier needs at least two classes")
    with drawing(seed, torch.device("cpu")):
        network = Classifier(data.shape, classes)
        optimizer = torch.optim.Adam(network.parameters(), lr=lr)
        batches = Batches(data.train, 128, shuffle=True, dynamic=data.info.binarize == "dynamic", seed=seed)
        for epoch in range(epochs):
            batches.epoch = epoch
            for x, y in batches:
                assert y is not None
                optimizer.zero_grad()
                F.cross_entropy(network(x), y).backward()
                optimizer.step()
    network.eval()
    with torch.no_grad():
        right = sum(int((network(x).argmax(1) == y).sum()) for x, y in Batches(data.test, 500))
    return _stored(network, data.info, data.shape, right / len(data.test))


def find(info: DataInfo, shape: Shape) -> Trained | None:
    """The classifier that was stored for such data; None where there is none.

    Raises:
        CheckpointError: where what is stored cannot be trusted.
    """
    folder = _folder(info, shape)
    if not (folder / "classifier.json").is_file():
        return None
    try:
        known: Any = strictjson.loads((folder / "classifier.json").read_bytes())
        weights = (folder / "classifier.safetensors").read_bytes()
        if known["format"] != _FORMAT or known["sha256"] != hashlib.sha256(weights).hexdigest():
            raise ValueError("its weights are not those that it was stored with")
        network = Classifier(shape, len(info.classes))
        network.load_state_dict(from_bytes(weights), strict=True)
        return Trained(_name(info, known["sha256"]), float(known["accuracy"]), network.eval())
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} holds no classifier that can be used ({error}): delete it and train it anew") from None


def _stored(network: Classifier, info: DataInfo, shape: Shape, accuracy: float) -> Trained:
    folder = _folder(info, shape)
    weights = to_bytes({name: tensor.contiguous() for name, tensor in network.state_dict().items()})
    digest = hashlib.sha256(weights).hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("classifier.safetensors", weights),
            ("classifier.json", json.dumps({"format": _FORMAT, "accuracy": accuracy, "sha256": digest}).encode()),
        ):
            partial = folder / f".{name}.{os.getpid()}"
            partial.write_bytes(content)
            partial.replace(folder / name)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error.strerror or error}") from None
    return Trained(_name(info, digest), accuracy, network)


def _folder(info: DataInfo, shape: Shape) -> Path:
    """Where the classifier of such data is: how many examples there were, and what was drawn, makes no difference."""
    same = info.model_dump(mode="json", exclude={"examples", "seed"}) | {"shape": list(shape)}
    key = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
    return cache() / "classifiers" / f"{info.name}-{key[:12]}"


def _name(info: DataInfo, digest: str) -> str:
    return f"{info.name}-{digest[:8]}"
