"""An exported model, computed by ONNX Runtime: examples in, codes or images out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaekit_runtime.arrays import Array, batch, is_whole
from vaekit_runtime.draws import Draws
from vaekit_runtime.engine import Engine
from vaekit_runtime.errors import InputError, short
from vaekit_runtime.files import load
from vaekit_runtime.labels import Labels
from vaekit_runtime.metadata import Metadata

if TYPE_CHECKING:
    from PIL.Image import Image


class Predictor:
    """An exported model; its methods mean what those of `vaekit.VAE` do, on arrays of numpy.

    Any number of threads may call one Predictor. A y is a class number or name, one for all examples or one each; or c itself,
    floats (N, width), which is the only way where the context is not of classes.

    Args:
        path: the folder that `vaekit export` wrote, or one .onnx file of it.
        threads: that compute one batch; as many as there are cores unless given.
        parts: of a folder, those to open, `encode` or `decode`; all that there are unless given.

    Attributes:
        described: what each file says, by its part.

    Raises:
        ModelError: where the files are missing, damaged, not of vaekit, of a newer format, or of different models.
        InputError: where there is no such part, or there cannot be so many threads.
    """

    def __init__(self, path: str | Path, threads: int | None = None, parts: Sequence[str] | None = None) -> None:
        if threads is not None and (not is_whole(threads) or not 1 <= threads <= 1024):
            raise InputError(f"threads is {short(repr(threads))}: a whole number from 1 to 1024")
        self.path = Path(path)
        files = load(self.path, parts)
        self.described = {part: file.metadata for part, file in files.items()}
        self._labels = Labels(self.metadata)
        folder = self.path if self.path.is_dir() else self.path.parent
        self._draws = Draws(self.metadata, folder, self._labels) if "decode" in files else None
        self._engines = {part: Engine(file, threads) for part, file in files.items()}

    @property
    def metadata(self) -> Metadata:
        """What the first of the files says; of the model, both say the same."""
        return next(iter(self.described.values()))

    @property
    def parts(self) -> tuple[str, ...]:
        """Those that are open, of `encode` and `decode`."""
        return tuple(self.described)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.metadata.data.shape

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of one code."""
        return self.metadata.latent.shape

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes: those that y may be, or those of the data; may be empty."""
        return self._labels.classes

    @property
    def conditional(self) -> bool:
        """Whether the model is told a y."""
        return self.metadata.context is not None

    def encode(self, x: Any, y: Any = None) -> Array:
        """The deterministic code of each example: (N, *latent_shape) from x (N, *data_shape)."""
        return self._encode(x, y)[0]

    def posterior(self, x: Any, y: Any = None) -> tuple[Array, Array]:
        """The deterministic codes (N, *latent_shape), and the standard deviation of q(z | x, c), of the root latent's shape.

        Raises:
            InputError: where q is no diagonal Gaussian, so that there is no std.
        """
        if len(self._engine("encode").metadata.outputs) < 2:
            raise InputError(f"q(z|x) of latent {self.metadata.latent.name!r} is no diagonal Gaussian: it has codes alone")
        code, std = self._encode(x, y)
        return code, std

    def decode(self, z: Any, y: Any = None) -> Array:
        """The mean of p(x | z, c): (N, *data_shape) from z (N, *latent_shape)."""
        engine = self._engine("decode")
        z = batch(z, self.latent_shape, "z")
        return engine(*self._told(z, y))[0]

    def reconstruct(self, x: Any, y: Any = None) -> Array:
        """The mean of p(x | z, c) at the code of each example, (N, *data_shape)."""
        self._engine("decode")
        return self.decode(self.encode(x, y), y)

    def draw(self, n: int, y: Any = None, temperature: float = 1.0, seed: int | None = None) -> tuple[Array, Array | None]:
        """Codes from the prior, to be decoded.

        Args:
            n: how many.
            y: classes, one for all or one each; a conditional model draws them where none are given.
            temperature: what the standard deviation is multiplied by; only of a standard normal prior.
            seed: what the draws depend on; the same seed gives the same draws everywhere.

        Returns:
            z (n, *latent_shape), and c (n, width) or None.
        """
        self._engine("decode")
        assert self._draws is not None
        return self._draws(n, y, temperature, seed)

    def sample(self, n: int, y: Any = None, temperature: float = 1.0, seed: int | None = None) -> Array:
        """New data (n, *data_shape): the mean of p(x | z, c) at what `draw` gives."""
        return self.decode(*self.draw(n, y, temperature, seed))

    def image(self, given: "str | Path | bytes | Image", *, most_pixels: int = 2**26) -> Array:
        """A picture as the model sees pictures, (1, C, H, W) in [0, 1], prepared as its data were.

        Args:
            given: a file of a common format, its bytes, or what Pillow has opened.
            most_pixels: of the picture; looked at before it is decoded.

        Raises:
            InputError: for a model of something else than pictures, or a picture smaller than the crop of the data.
            DataError: where it cannot be read, or is too large.
        """
        from vaekit_runtime import images

        return images.image(given, self.metadata, most_pixels)

    def context(self, y: Any, n: int) -> Array | None:
        """c (n, width) of n examples, which every method takes as y; None of a model that takes none."""
        return self._labels.context_of(y, n)

    def _encode(self, x: Any, y: Any) -> list[Array]:
        engine = self._engine("encode")
        x = batch(x, self.data_shape, "x", padded=engine.metadata.inputs[0].padding)
        return engine(*self._told(x, y))

    def _told(self, values: Array, y: Any) -> list[Array]:
        """The inputs of an engine: these values, and c where the model takes it."""
        c = self.context(y, len(values))
        return [values] if c is None else [values, c]

    def _engine(self, part: str) -> Engine:
        if part not in self._engines:
            raise InputError(f"{self.path} is open for {self.parts[0]} alone: {part} needs {part}.onnx too")
        return self._engines[part]
