"""One exported part, computed by ONNX Runtime."""

import os
from math import prod

import numpy as np
import onnxruntime

from vaekit_runtime.arrays import Array
from vaekit_runtime.errors import ModelError, PredictError, short
from vaekit_runtime.files import File

Node = tuple[str, str, int]
"""The name and type of an input or output of a graph, and how many axes it has."""
AT_ONCE = 2**19
"""Numbers of data that are computed at once, so that little but the result takes memory, whatever the batch."""
_OPTIMISED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_LAYOUT  # beyond it 1.31 crashes on an LSTM decoder of float16


class Engine:
    """Computes what a file does. Any number of threads may call one.

    Args:
        file: to compute.
        threads: that compute one batch; as many as there are cores unless given.

    Raises:
        ModelError: where it cannot be computed, or is not what its metadata say.
    """

    def __init__(self, file: File, threads: int | None) -> None:
        self.file, self.metadata = file.path, file.metadata
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or _cores()
        options.graph_optimization_level = _OPTIMISED
        options.log_severity_level = 4  # what goes wrong is raised besides
        try:
            self._session = onnxruntime.InferenceSession(
                file.data, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            there = [_said(nodes) for nodes in (self._session.get_inputs(), self._session.get_outputs())]
        except Exception as error:  # its errors have no root of their own, and names may be no text
            raise ModelError(f"{file.path} cannot be computed by ONNX Runtime {_version()}: {short(error, 200)}") from None
        self._check(there)
        self._names = [value.name for value in self.metadata.outputs]
        self._at_once = max(1, AT_ONCE // max(prod(self.metadata.data.shape), prod(self.metadata.latent.shape)))

    def __call__(self, *inputs: Array) -> list[Array]:
        """The outputs (N, ...) for inputs (N, ...), in the order of the metadata.

        Raises:
            PredictError: where ONNX Runtime fails.
        """
        n = len(inputs[0])
        first = self._run([array[: self._at_once] for array in inputs])
        if n <= self._at_once:
            return first
        whole = [np.empty((n, *part.shape[1:]), np.float32) for part in first]
        for start in range(0, n, self._at_once):
            piece = slice(start, start + self._at_once)
            computed = self._run([array[piece] for array in inputs]) if start else first
            for values, part in zip(whole, computed, strict=True):
                values[piece] = part
        return whole

    def _run(self, inputs: list[Array]) -> list[Array]:
        feed = {value.name: array for value, array in zip(self.metadata.inputs, inputs, strict=True)}
        try:
            outputs: list[Array] = self._session.run(self._names, feed)
        except Exception as error:
            raise PredictError(f"{self.file} failed in ONNX Runtime {_version()}: {short(error, 200)}") from None
        for value, output in zip(self.metadata.outputs, outputs, strict=True):
            if output.shape != (len(inputs[0]), *value.shape):
                raise ModelError(f"{self.file} gave {value.name} of shape {output.shape}, which its metadata deny")
        return outputs

    def _check(self, there: list[list[Node]]) -> None:
        """Whether the graph takes and gives what the metadata say; the lengths of axes are seen to when it runs."""
        said = [
            [(value.name, "tensor(float)", 1 + len(value.shape)) for value in values]
            for values in (self.metadata.inputs, self.metadata.outputs)
        ]
        for which, nodes, wanted in zip(("inputs", "outputs"), there, said, strict=True):
            if nodes != wanted:
                raise ModelError(f"{self.file} has {which} {short(nodes, 200)}, and its metadata say {short(wanted, 200)}")


def _said(nodes: list[onnxruntime.NodeArg]) -> list[Node]:
    return [(node.name, node.type, len(node.shape)) for node in nodes]


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version() -> str:
    return str(onnxruntime.__version__)
