"""A plane through the latent space: two axes, where codes lie on it, and a grid of decoded images over it."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vaekit import ConfigError
from vaekit_demo.engine.pictures import Pictures
from vaekit_demo.engine.shown import Shown, Survey

Axes = Literal["pca"] | tuple[int, int] | None


@dataclass(frozen=True)
class Plane:
    """The points origin + u·a + v·b of a latent space of D dimensions.

    Args:
        origin: (D,).
        a: a unit vector (D,).
        b: another, at a right angle to it; zero in a space of one dimension.
        labels: what the two are called.
        title: what is seen.
        dimensions: the two dimensions, where the axes are such.
    """

    origin: Tensor
    a: Tensor
    b: Tensor
    labels: tuple[str, str]
    title: str
    dimensions: tuple[int, ...] = ()

    @classmethod
    def through(cls, shown: Shown, axes: Axes = None) -> "Plane":
        """The plane of two dimensions, or of the two principal axes of the codes.

        Args:
            shown: the model.
            axes: two dimensions; `pca`; or nothing for the two that say most, which are all where there are two.

        Raises:
            ConfigError: where there are no such dimensions.
        """
        survey, d = shown.survey, shown.size
        what = "test examples" if survey.numbers is not None else "draws from the prior"
        if axes == "pca":
            if d < 2:
                raise ConfigError("Principal axes are of two dimensions or more, and this model has one.")
            return cls._principal(survey.z, what)
        chosen = axes or tuple(sorted(survey.order[:2]))
        if not all(0 <= i < d for i in chosen) or len(set(chosen)) != len(chosen):
            raise ConfigError(f"The axes are two different dimensions from 0 to {d - 1}.")
        unit = torch.eye(d)[list(chosen)]
        a, b = unit[0], unit[1] if len(chosen) > 1 else torch.zeros(d)
        names = [_label(survey, i) for i in chosen]
        title = f"Codes of {len(survey.z):,} {what}" + ("" if d <= 2 else f", dimensions {chosen[0]} and {chosen[1]} of {d}")
        return cls(torch.zeros(d), a, b, (names[0], names[1] if len(names) > 1 else "spread out for sight"), title, chosen)

    @classmethod
    def _principal(cls, z: Tensor, what: str) -> "Plane":
        origin = z.double().mean(0)
        _, s, axes = torch.linalg.svd(z.double() - origin, full_matrices=False)
        axes = axes[:2] * axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()
        total = float(s.square().sum()) or 1.0
        labels = [f"component {i + 1}, {float(s[i]) ** 2 / total:.0%} of the variance" for i in range(2)]
        title = f"Codes of {len(z):,} {what}, {z.shape[1]} dimensions by PCA"
        return cls(origin.float(), axes[0].float(), axes[1].float(), (labels[0], labels[1]), title)

    def of(self, z: Tensor) -> Tensor:
        """Where codes (N, D) lie on it, (N, 2)."""
        return (z - self.origin) @ torch.stack([self.a, self.b], 1)

    def points(self, survey: Survey) -> Tensor:
        """Where the examples lie on it, (N, 2); in a space of one dimension spread out upwards, so that they can be seen."""
        places = self.of(survey.z)
        if not self.b.any():
            places[:, 1] = torch.rand(len(places), generator=torch.Generator().manual_seed(0)) - 0.5
        return places

    def through_point(self, z: Tensor, places: Tensor) -> Tensor:
        """The codes (N, D) at places (N, 2) of it, in what is off the plane like the code z (D,)."""
        moved = places - self.of(z[None])
        return z + moved @ torch.stack([self.a, self.b])


def manifold(shown: Shown, axes: Axes, z: Tensor, y: int | None, side: int) -> tuple[Tensor, Tensor, Pictures]:
    """A grid of decoded images over a plane, in what is off the plane like the code z (D,).

    Along a dimension with a normal prior the places are its quantiles, as in Kingma and Welling (2013), figure 4; else they
    are quantiles of the examples' codes.

    Returns:
        The places across and, from the top down, up; and side·side pictures, row by row.
    """
    if shown.immovable:
        raise ConfigError(shown.immovable)
    plane = Plane.through(shown, axes)
    shares = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    across, up = (_quantiles(shown, plane, axis, shares) for axis in (0, 1))
    v, u = torch.meshgrid(up.flip(0), across, indexing="ij")
    codes = plane.through_point(z, torch.stack([u.flatten(), v.flatten()], 1))
    codes = shown.room.within(codes, torch.stack([plane.a, plane.b]))
    return across, up.flip(0), shown.decode(codes, y)


def _quantiles(shown: Shown, plane: Plane, axis: int, shares: Tensor) -> Tensor:
    prior = shown.axis_priors
    if prior is None or axis >= len(plane.dimensions):
        return torch.quantile(plane.points(shown.survey)[:, axis].double(), shares).float()
    i = plane.dimensions[axis]
    quantiles: Tensor = prior[0][i] + prior[1][i] * torch.special.ndtri(shares).float()
    return quantiles


def _label(survey: Survey, i: int) -> str:
    return f"z{i}" if survey.kl is None else f"z{i}, KL {float(survey.kl[i]):.2f}"
