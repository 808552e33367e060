"""What the model is chosen by: the loss on the validation set, and the bound beside it."""

from collections.abc import Iterable
from typing import Any

from vaekit.blocks import drawing, evaluation
from vaekit.errors import DataError
from vaekit.evaluation import bound, placed
from vaekit.gradients import pieces
from vaekit.ranks import Ranks
from vaekit.step import Step
from vaekit.tally import Tally
from vaekit.trace import Terms


def terms_of(
    step: Step, player: str, validation: Iterable[Any], seed: int, ranks: Ranks, accumulate: int = 1
) -> dict[str, float]:
    """The loss of a player, and the bound: as the loss reports it at the same draws, or else by itself.

    Args:
        step: of training, with all its parameters here.
        player: whose loss.
        validation: batches; those of this rank where there are several.
        seed: what the draws depend on.
        ranks: over which to take the means.
        accumulate: pieces that a batch is taken in, as in training, where memory is short. Losses may want gradients here too.

    Raises:
        DataError: where there are no examples.
    """
    tally = Tally()
    where = step.model.context.empty
    with evaluation(step), drawing(seed, where.device):
        for batch in validation:
            whole = placed(batch, where)
            for x, y, _ in pieces(*whole, min(accumulate, len(whole[0]))):
                terms: Terms = step(x, y, player)
                tally.add({"loss": terms.loss.detach(), **terms.parts}, len(x))
    if not ranks.any(bool(tally.counts))[0]:
        raise DataError("there are no examples to validate on")
    *sums, n = ranks.sum(tally.sums()).tolist()
    means = {name.replace("kl_mc", "kl"): value / n for name, value in zip(tally.names, sums, strict=True)}
    if step.model.latent.has_density and all(name in means for name in _BOUND):
        return {name: means[name] for name in ("loss", *_BOUND)}
    return {"loss": means["loss"], **bound(step.model, validation, seed=seed, total=ranks.sum)}


_BOUND = ("nelbo", "reconstruction", "kl")
