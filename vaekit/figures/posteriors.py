"""What the encoder makes of many examples, gathered once for several figures."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from vaekit.blocks import drawing, evaluation
from vaekit.errors import ConfigError
from vaekit.model import VAE


@dataclass(frozen=True)
class Posteriors:
    """Of N examples, on the CPU.

    Args:
        code: the deterministic code of each, (N, D); where it is a grid, in one row.
        draws: one draw of the root latent from each posterior, (N, R).
        kl: the mean KL of each dimension of the root from its prior, in nats (R,); None where it is not a sum over them.
        mean: of each posterior, (N, R), where all are diagonal normals; else None.
        log_variance: likewise.
    """

    code: Tensor
    draws: Tensor
    kl: Tensor | None
    mean: Tensor | None
    log_variance: Tensor | None

    @classmethod
    def of(cls, model: VAE, x: Tensor, y: Tensor | None = None, seed: int = 0) -> "Posteriors":
        """Of the examples x (N, *data_shape), with the class numbers y (N,) that a conditional model is told.

        Raises:
            ConfigError: where there is no example.
        """
        if not len(x):
            raise ConfigError("there are no examples to encode")
        codes, draws, kls, moments = [], [], [], []
        where = model.context.empty
        with torch.no_grad(), evaluation(model), drawing(seed, where.device):
            for start in range(0, len(x), _AT_ONCE):
                some = x[start : start + _AT_ONCE].to(where.device, torch.promote_types(where.dtype, torch.float32))
                labels = y[start : start + _AT_ONCE].to(where.device) if y is not None and model.conditional else None
                site = model(some, model.context(labels, len(some))).draw.sites[0]
                codes.append(model.encode(some, labels).flatten(1).cpu())
                draws.append(site.z[0].flatten(1).float().cpu())
                kl = site.kl_dims()
                kls.append(None if kl is None else kl.double().cpu())
                q = site.q
                if isinstance(q, Independent) and isinstance(q.base_dist, Normal):
                    moments.append((q.base_dist.loc.flatten(1).cpu(), 2 * q.base_dist.scale.log().flatten(1).cpu()))
        known = [kl for kl in kls if kl is not None]
        normal = len(moments) == len(codes)
        return cls(
            torch.cat(codes).float(),
            torch.cat(draws),
            torch.cat(known).mean(0) if len(known) == len(kls) else None,
            torch.cat([mean for mean, _ in moments]) if normal else None,
            torch.cat([log for _, log in moments]) if normal else None,
        )


_AT_ONCE = 256
