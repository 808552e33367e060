"""Sequences of several lengths: NaN after the last step is padding, which counts for nothing."""

import pytest
import torch
from torch.distributions import Bernoulli, Normal

import vaekit
from vaekit import distributions, registry

ENCODERS = [part for part in registry.list("encoder") if part.takes_padding]


def _padded(n: int = 12, steps: int = 9, features: int = 3) -> tuple[torch.Tensor, list[int]]:
    """Walks of 2 to `steps` steps."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, steps, features, generator=generator)
    lengths = [2 + i % (steps - 1) for i in range(n)]
    for row, length in zip(x, lengths, strict=True):
        row[length:] = torch.nan
    return x, lengths


def test_the_mask_says_where_data_are() -> None:
    x, lengths = _padded()
    there = vaekit.mask(x)
    assert there.dtype == torch.bool
    assert there.sum((1, 2)).tolist() == [3 * length for length in lengths]


@pytest.mark.parametrize("kind", ["normal", "bernoulli"])
def test_padding_counts_for_nothing_and_gives_no_gradient(kind: str) -> None:
    x, lengths = _padded()
    x = x if kind == "normal" else x.where(x.isnan(), x.round())
    theta = torch.randn(12, 9, 3, requires_grad=True)
    p = distributions.bernoulli(theta) if kind == "bernoulli" else distributions.independent(Normal(theta, 0.7))
    log_p = p.log_prob(x)
    for i, length in enumerate(lengths):
        short = Bernoulli(logits=theta[i, :length]) if kind == "bernoulli" else Normal(theta[i, :length], 0.7)
        torch.testing.assert_close(log_p[i], short.log_prob(x[i, :length]).sum())
    log_p.sum().backward()
    assert torch.isfinite(theta.grad).all()
    assert torch.equal(theta.grad != 0, vaekit.mask(x))


def test_several_draws_of_padded_sequences() -> None:
    x, _ = _padded()
    theta = torch.randn(4, 12, 9, 3)
    p = distributions.independent(Normal(theta.flatten(0, 1), 1.0))
    together = p.log_prob(x.expand(4, *x.shape).flatten(0, 1)).reshape(4, 12)
    for draw in range(4):
        torch.testing.assert_close(together[draw], distributions.independent(Normal(theta[draw], 1.0)).log_prob(x))


@pytest.mark.parametrize("encoder", [part.name for part in ENCODERS])
def test_what_stands_where_padding_is_changes_nothing_else(encoder: str) -> None:
    """A walk has the same code in a batch of longer ones and by itself."""
    x, lengths = _padded()
    torch.manual_seed(0)
    model, _ = vaekit.build(vaekit.Config(data_shape=(9, 3), encoder=encoder, latent={"features": 2}))
    codes = model.eval().encode(x)
    assert torch.isfinite(codes).all()
    assert len(codes.unique(dim=0)) == len(x)
    for i in range(len(lengths)):
        torch.testing.assert_close(model.encode(x[i : i + 1])[0], codes[i])


def test_there_are_encoders_that_read_them() -> None:
    assert "lstm" in {part.name for part in ENCODERS}


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_from_data_to_numbers(likelihood: str, tmp_path) -> None:
    x, _ = _padded(n=200)
    x = x if likelihood == "gaussian" else x.where(x.isnan(), x.round())
    run = vaekit.fit(
        x,
        encoder={"name": "lstm", "hidden": 8, "dense": [8]},
        decoder={"name": "lstm", "hidden": 8},
        likelihood=likelihood,
        latent={"features": 2},
        epochs=2,
        output=tmp_path,
        progress=False,
    )
    first, *_, last = (row["nelbo"] for row in run.metrics if row["split"] != "test")
    assert last < first
    numbers = vaekit.evaluate(run.model, [x[:50]], train=[x[50:]], k=20)
    wanted = [numbers["nelbo"], numbers["nll"], numbers["reconstructions"]["mse"], numbers["reconstructions"]["variance"]]
    assert all(value == value for value in wanted)
    assert numbers["outside_support"] == 0


def test_a_prior_of_pseudo_inputs_begins_with_padded_sequences(tmp_path) -> None:
    x, _ = _padded(n=60)
    run = vaekit.fit(
        x,
        encoder={"name": "lstm", "hidden": 8, "dense": [8]},
        prior={"name": "vamp", "components": 12},
        likelihood="gaussian",
        latent={"features": 2},
        epochs=1,
        output=tmp_path,
        progress=False,
    )
    assert run.model.prior.inputs.isfinite().all()
    assert run.model.sample(3, seed=0).isfinite().all()


@pytest.mark.parametrize(
    ("spoil", "encoder", "said"),
    [
        (lambda x: x, "mlp", r"data has padding \(NaN\) in its \w+ split, which encoder 'mlp' does not read: .*encoder=lstm"),
        (lambda x: x[3, 0].fill_(torch.nan), "lstm", "has NaN in step 0, or before it: padding is whole steps of NaN"),
        (lambda x: x[:, 0, 1].fill_(torch.nan), "lstm", "has NaN in step 0, or before it: padding is whole steps of NaN"),
        (lambda x: x[:, 1].fill_(torch.nan), "lstm", "has NaN in step 2, or before it: padding is whole steps of NaN"),
        (lambda x: x[5, 1].fill_(torch.inf), "lstm", "inf in .* is not finite"),
    ],
)
def test_what_is_no_padding_is_refused(spoil, encoder: str, said: str, tmp_path) -> None:
    x, _ = _padded(n=60)
    spoil(x)
    with pytest.raises(vaekit.DataError, match=said):
        vaekit.fit(x, encoder=encoder, likelihood="gaussian", epochs=1, output=tmp_path, progress=False)


def test_images_have_no_padding(tmp_path) -> None:
    x = torch.rand(40, 1, 4, 4)
    x[3, 0, 2:] = torch.nan
    with pytest.raises(vaekit.DataError, match=r"nan in .* is not finite"):
        vaekit.fit(x, likelihood="gaussian", epochs=1, output=tmp_path, progress=False)
