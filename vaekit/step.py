"""What one step of training computes."""

from torch import Tensor, nn

from vaekit.model import VAE
from vaekit.parts import Loss
from vaekit.trace import Terms


class Step(nn.Module):
    """One step's forward pass as one module, so that a single wrapper sees everything: (x, y, player) to Terms."""

    def __init__(self, model: VAE, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, x: Tensor, y: Tensor | None, player: str) -> Terms:
        c = self.model.context(y, x.shape[0])
        terms: Terms = self.loss(self.model, x, c, player)
        return terms
