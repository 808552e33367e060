"""Tiny exported models, made by hand of ONNX nodes, and what they compute in numpy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DATA, LATENT, CLASSES = (1, 4, 4), (3,), 2
SIZE = 16


class Made:
    """An exported model in a folder: code = x W (+ c V), std = exp(x U), mean = sigmoid(z A (+ c B)).

    Args:
        folder: to write.
        conditional: whether it is told one of its classes.
        standard: whether its prior is standard normal; else prior.npz holds 6 draws.
        change: of the metadata of each file, before it is written.
        data_shape: of one example.
        classes: that there are.
    """

    def __init__(
        self,
        folder: Path,
        *,
        conditional: bool = False,
        standard: bool = True,
        change: Callable[[dict[str, Any]], object] = lambda document: None,
        data_shape: tuple[int, ...] = DATA,
        classes: int = CLASSES,
    ) -> None:
        random = np.random.default_rng(0)
        self.folder, self.conditional, self.standard, self.data_shape = folder, conditional, standard, data_shape
        self.size, self.classes = int(np.prod(data_shape)), classes
        shapes = {"W": (self.size, 3), "U": (self.size, 3), "V": (classes, 3), "A": (3, self.size), "B": (classes, self.size)}
        self.weights = {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
        folder.mkdir(parents=True, exist_ok=True)
        for part in ("encode", "decode"):
            document = self.document(part)
            change(document)
            self.write(part, document)
        if not standard:
            self.draws = random.normal(size=(6, *LATENT)).astype(np.float32)
            told = {"y": np.arange(6) % CLASSES} if conditional else {}
            np.savez(folder / "prior.npz", z=self.draws, **told)

    def write(self, part: str, document: Any) -> Path:
        """The file of one part, with this JSON value, or this text, as its metadata; none where that is None."""
        model = self.graph(part)
        if document is not None:
            text = document if isinstance(document, str) else json.dumps(document)
            model.metadata_props.add(key="vaekit", value=text)
        path = self.folder / f"{part}.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    def graph(self, part: str) -> Any:
        """What a file computes, as the message of its format."""
        onnx = pytest.importorskip("onnx")
        node, info, kind = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
        told = [info("c", kind, ["batch", self.classes])] if self.conditional else []
        sides = ("x", "W", "V", "code") if part == "encode" else ("z", "A", "B", "shown")
        given, weights, contexts, result = sides
        nodes = [node("Flatten", [given], ["flat"]), node("MatMul", ["flat", weights], ["own" if told else result])]
        if told:
            nodes += [node("MatMul", ["c", contexts], ["told"]), node("Add", ["own", "told"], [result])]
        held = [onnx.numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        if part == "encode":
            nodes += [node("MatMul", ["flat", "U"], ["log"]), node("Exp", ["log"], ["std"])]
            first = info("x", kind, ["batch", *self.data_shape])
            outputs = [info("code", kind, ["batch", 3]), info("std", kind, ["batch", 3])]
        else:
            nodes += [node("Sigmoid", ["shown"], ["one"]), node("Reshape", ["one", "shape"], ["mean"])]
            held.append(onnx.numpy_helper.from_array(np.array([-1, *self.data_shape]), "shape"))
            first, outputs = info("z", kind, ["batch", 3]), [info("mean", kind, ["batch", *self.data_shape])]
        graph = onnx.helper.make_graph(nodes, part, [first, *told], outputs, held)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)

    def document(self, part: str) -> dict[str, Any]:
        """The metadata of a part."""
        names = ("x", ("code", "std")) if part == "encode" else ("z", ("mean",))
        data, latent = list(self.data_shape), list(LATENT)
        shapes = {"x": data, "mean": data, "z": latent, "code": latent, "std": latent, "c": [self.classes]}

        def value(name: str) -> dict[str, Any]:
            ends = [0, 1] if name in ("x", "mean") else [0, None] if name == "std" else None
            shape = ["batch", *shapes[name]]
            said = {"dtype": "float32", "range": ends, "units": "shade", "padding": False, "meaning": "a value"}
            return {"name": name, "shape": shape, **said}

        context = {"name": "labels", "width": self.classes, "classes": ["cat", "dog"], "rows": [[1, 0], [0, 1]]}
        return {
            "vaekit": 1,
            "part": part,
            "precision": "float32",
            "name": "tiny",
            "source": "",
            "digest": "0123456789abcdef",
            "inputs": [value(names[0]), *([value("c")] if self.conditional else [])],
            "outputs": [value(name) for name in names[1]],
            "data": {
                "name": "shades",
                "shape": data,
                "range": [0, 1],
                "units": "shade",
                "binarize": "none",
                "classes": ["cat", "dog"],
            },
            "latent": {"name": "gaussian", "shape": latent, "support": "real"},
            "prior": {"name": "normal", "standard": True, "file": None, "draws": 0}
            if self.standard
            else {"name": "mixture", "standard": False, "file": "prior.npz", "draws": 6},
            "context": context if self.conditional else None,
            "parity": {"random": 1e-7, "real": None, "examples": 64},
            "config": {"encoder": {"name": "mlp"}, "data": {"crop": None}},
            "versions": {"vaekit": "0.1.0"},
        }

    # What it computes.

    def code(self, x: np.ndarray, y: Any = None) -> np.ndarray:
        """The codes of examples."""
        own = x.reshape(len(x), -1) @ self.weights["W"]
        return own if y is None else own + self.weights["V"][y]

    def std(self, x: np.ndarray) -> np.ndarray:
        """The standard deviations."""
        return np.exp(x.reshape(len(x), -1) @ self.weights["U"])

    def mean(self, z: np.ndarray, y: Any = None) -> np.ndarray:
        """The means of examples at codes."""
        theta = z @ self.weights["A"] + (0 if y is None else self.weights["B"][y])
        return (1 / (1 + np.exp(-theta))).reshape(len(z), *self.data_shape)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Made]:
    """What makes an exported model in a folder of its own."""

    def made(name: str = "exported", **options: Any) -> Made:
        return Made(tmp_path / name, **options)

    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional model, for all tests of a module."""
    return Made(tmp_path_factory.mktemp("exported"), conditional=True).folder
