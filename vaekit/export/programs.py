"""The files that hold a half: ONNX, or a program of torch.export; each can be run, to be compared with the model."""

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from vaekit.errors import ConfigError
from vaekit.export.graphs import Graph, quiet

PRECISIONS = ("float32", "float16", "int8")
KEY = "vaekit"
"""Of the description in the metadata of an ONNX file; in a .pt2, KEY.json is an extra file."""


class Program(ABC):
    """A half in some format, ready to be run and to be saved.

    Args:
        graph: the half.
        precision: of the weights; inputs and outputs are float32.

    Attributes:
        suffix: of its file.
    """

    suffix: ClassVar[str]

    @abstractmethod
    def __init__(self, graph: Graph, precision: str) -> None: ...

    @staticmethod
    @abstractmethod
    def check() -> None:
        """Check that what writes the format is installed.

        Raises:
            ConfigError: saying what to install.
        """

    @abstractmethod
    def run(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The outputs for inputs by name."""

    @abstractmethod
    def save(self, path: Path, description: Mapping[str, Any]) -> None:
        """Write the file."""


class Torch(Program):
    """A program of torch.export, which `torch.export.load(path).module()` runs; float32 alone."""

    suffix = ".pt2"

    def __init__(self, graph: Graph, precision: str) -> None:
        self._program = graph.program
        self._module = graph.program.module()

    @staticmethod
    def check() -> None:
        pass

    def run(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The outputs for inputs by name."""
        with torch.no_grad():
            outputs: tuple[Tensor, ...] = self._module(*inputs.values())
            return outputs

    def save(self, path: Path, description: Mapping[str, Any]) -> None:
        """Write the file."""
        torch.export.save(self._program, path, extra_files={f"{KEY}.json": json.dumps(description)})


class Onnx(Program):
    """An ONNX model, of opset 18.

    Raises:
        ConfigError: where ONNX has no operator for something, or the weights are more than one file holds.
    """

    suffix = ".onnx"

    def __init__(self, graph: Graph, precision: str) -> None:
        import onnxruntime

        size = sum(tensor.numel() * tensor.element_size() for tensor in graph.program.state_dict.values())
        if size > _MOST_BYTES:
            raise ConfigError(
                f"{size:,} bytes of weights are more than the {_MOST_BYTES:,} of an ONNX file: take --format torch"
            )
        with quiet():
            self._model = _LIGHTER[precision](_onnx(graph))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            self._model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )

    @staticmethod
    def check() -> None:
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
        if missing:
            raise ConfigError(f'ONNX needs {" and ".join(missing)}, not installed here: pip install "vaekit[onnx]"')

    def run(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The outputs for inputs by name."""
        found = self._session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return tuple(torch.from_numpy(output) for output in found)

    def save(self, path: Path, description: Mapping[str, Any]) -> None:
        """Write the file."""
        del self._model.metadata_props[:]
        self._model.metadata_props.add(key=KEY, value=json.dumps(description))
        path.write_bytes(self._model.SerializeToString())


FORMATS: dict[str, type[Program]] = {"torch": Torch, "onnx": Onnx}
_OPSET = 18
_MOST_BYTES = 2_000_000_000  # of a protobuf message


def _onnx(graph: Graph) -> Any:
    program = torch.onnx.export(
        graph.program,
        (),
        dynamo=True,
        opset_version=_OPSET,
        input_names=graph.inputs,
        output_names=graph.module.outputs,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _float16(model: Any) -> Any:
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    as_they_are = [*DEFAULT_OP_BLOCK_LIST, "Transpose"]  # onnxruntime 1.31 crashes where it fuses one of float16 into a product
    return convert_float_to_float16(model, keep_io_types=True, op_block_list=as_they_are)


def _int8(model: Any) -> Any:
    """Weights of 8 bits, and what they are multiplied by brought to 8 bits as it comes."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        del model.graph.value_info[:]  # shapes of before constants were folded, which the quantizer would believe
        quantize_dynamic(model, path, per_channel=True)
        return onnx.load(path)


_LIGHTER = {"float32": lambda model: model, "float16": _float16, "int8": _int8}
