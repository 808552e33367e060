"""What is measured of a model, and what is found of it in words: each rule is provoked by a model that deserves it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import vaekit
from vaekit import Terms, cli
from vaekit.data.batches import Batches
from vaekit.data.prepare import Data, load
from vaekit.data.transform import DataOptions
from vaekit.evaluation import bound, evaluate
from vaekit.evaluation.classifier import Trained, find, train
from vaekit.evaluation.findings import RULES, findings


@pytest.fixture(scope="module")
def digits() -> Data:
    return load("digits", DataOptions(binarize="fixed"))


@pytest.fixture(scope="module")
def trained(digits: Data) -> vaekit.VAE:
    """A model that is good enough."""
    return _trained(digits, 25, latent={"features": 2})


def _trained(data: Data, epochs: int, n: int | None = None, lr: float = 3e-3, **parts: Any) -> vaekit.VAE:
    small = {"encoder": {"hidden": [64]}, "decoder": {"hidden": [64]}, "latent": {"features": 2}}
    model, loss = vaekit.build(vaekit.Config(data_shape=data.shape, **{**small, **parts}))
    train = data.train if n is None else data.train.take(torch.arange(n))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        for _ in vaekit.train(model, loss, Batches(train, 64), epochs=epochs, lr=lr):
            pass
    return model.eval()


def _evaluated(model: vaekit.VAE, data: Data, n: int | None = None, **given: Any) -> dict[str, Any]:
    train = data.train if n is None else data.train.take(torch.arange(n))
    return evaluate(model, Batches(data.test, 64), train=Batches(train, 64), k=5, **given)


def _changed(model: vaekit.VAE, change: Callable[[vaekit.VAE], object]) -> vaekit.VAE:
    assert model.config is not None
    other, _ = vaekit.build(model.config)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        change(other)
    return other.eval()


def test_the_numbers_agree_with_each_other(trained: vaekit.VAE, digits: Data) -> None:
    numbers = _evaluated(trained, digits)
    assert {name: numbers[name] for name in ("nelbo", "reconstruction", "kl")} == bound(trained, Batches(digits.test, 64))
    assert numbers["nll"] < numbers["nelbo"]
    assert numbers["bits_per_dim"] == pytest.approx(numbers["nll"] / (64 * math.log(2)))
    latents = numbers["latents"]
    assert sum(latents["kl"]) == pytest.approx(numbers["kl"], rel=1e-4)
    assert (latents["dimensions"], latents["active_units"], latents["kl_units"]) == (2, 2, 2)
    told = latents["information"]
    assert told["mutual"] + told["aggregated_kl"] == pytest.approx(numbers["kl"], abs=0.5)
    assert told["mutual"] <= math.log(told["examples"])
    near = numbers["reconstructions"]
    assert 0 < near["mse"] < near["variance"]
    assert near["ssim_window"] == 7
    assert numbers["probe"]["accuracy"] > 0.4 > numbers["probe"]["commonest"]
    assert numbers["examples"] == len(digits.test)
    assert numbers["outside_support"] == 0
    assert numbers == _evaluated(trained, digits)


def test_what_does_not_apply_is_none(digits: Data) -> None:
    model, _ = vaekit.build(vaekit.Config(data_shape=(5,), likelihood="gaussian", context={"name": "labels", "classes": 3}))
    numbers = evaluate(model, [(torch.randn(30, 5), torch.arange(30) % 3)], k=2)
    assert [numbers[name] for name in ("bits_per_dim", "probe", "train_nelbo", "loss")] == [None] * 4
    assert numbers["latents"]["information"] is None
    assert (numbers["reconstructions"]["psnr"], numbers["reconstructions"]["ssim"]) == (None, None)


def test_fewer_examples_for_the_likelihood(trained: vaekit.VAE, digits: Data) -> None:
    numbers = evaluate(trained, Batches(digits.test, 64), k=2, n=70)
    assert (numbers["nll_examples"], numbers["examples"]) == (70, 179)
    with pytest.raises(vaekit.DataError, match="there are no examples"):
        evaluate(trained, [])


def test_data_may_be_sorted_by_class(trained: vaekit.VAE, digits: Data) -> None:
    """What is of some examples is of a random choice: the first ones may all be of one class."""
    ones = digits.test.take(torch.cat([digits.test.y.argsort()] * 30))  # 5,370 examples
    numbers = evaluate(trained, Batches(ones, 64), train=Batches(digits.train.take(digits.train.y.argsort()), 64), k=2, n=300)
    mixed = _evaluated(trained, digits)
    assert numbers["nll"] == pytest.approx(mixed["nll"], abs=4 * numbers["nll_standard_error"])
    assert numbers["latents"]["prior_gap"] == pytest.approx(mixed["latents"]["prior_gap"], abs=0.2)
    assert numbers["probe"]["commonest"] < 0.2


@pytest.mark.parametrize(("dimensions", "examples"), [(2, 200), (32, 320), (128, 1280)])
def test_the_moments_of_few_codes_are_no_hole(dimensions: int, examples: int) -> None:
    """Codes that are the prior's, of as few examples as the measure takes: nothing is left of what few draws differ by."""
    model, _ = vaekit.build(vaekit.Config(data_shape=(3,), likelihood="gaussian", latent={"features": dimensions}))
    prior = _changed(model, lambda model: (model.latent.head.weight.zero_(), model.latent.head.bias.zero_()))
    numbers = evaluate(prior, [torch.randn(examples, 3)], k=1, n=10)
    assert numbers["latents"]["prior_gap"] < 0.3
    shift = _changed(prior, lambda model: model.latent.head.bias[:dimensions].fill_(0.5))
    shifted = evaluate(shift, [torch.randn(examples, 3)], k=1, n=10)
    assert shifted["latents"]["prior_gap"] == pytest.approx(dimensions / 8, rel=0.35)


def test_a_few_examples_are_said_to_be_few(trained: vaekit.VAE, digits: Data) -> None:
    few = Batches(digits.test.take(torch.arange(5)), 64)
    assert evaluate(trained, few, k=1)["findings"] == ["too few examples to find anything by: 5; evaluate on 30 or more"]


def test_the_weight_of_the_kl_is_in_nats(digits: Data) -> None:
    """Under normalize=dims beta says little: 0.05 of 64 dimensions and 2 latents is a beta of 1.6."""
    fine = _trained(digits, 15, lr=1e-2, loss={"normalize": "dims", "beta": 0.05})
    assert not any("rules the loss" in said for said in _evaluated(fine, digits)["findings"])
    sharp = _trained(digits, 15, lr=1e-2, loss={"normalize": "dims", "beta": 1e-5})
    said = " ".join(_evaluated(sharp, digits)["findings"])
    assert "the reconstruction rules the loss: at loss.beta = 0.00032 (in nats: 1e-05 under normalize=dims)" in said


def test_a_kl_that_is_at_its_capacity_does_not_rule(trained: vaekit.VAE, digits: Data) -> None:
    numbers = {**_evaluated(trained, digits), "kl": 30.0, "reconstruction": 5.0}
    loss = {"name": "elbo", "beta": 100.0, "capacity": 30.0}
    config = trained.config.model_copy(update={"loss": loss})
    assert not any("the KL rules" in said for said in findings(numbers, config))
    assert any("the KL rules" in said for said in findings({**numbers, "kl": 40.0}, config))


def test_a_density_has_no_zero_that_a_kl_could_rule(trained: vaekit.VAE, digits: Data) -> None:
    numbers = {**_evaluated(trained, digits), "reconstruction": -0.5, "kl": 6.0}
    assert any("the KL rules" in said for said in findings({**numbers, "reconstruction": 0.5}, trained.config))
    assert findings({**numbers, "base_measure": "lebesgue"}, trained.config) == []


def test_nothing_is_found_of_a_good_model(trained: vaekit.VAE, digits: Data) -> None:
    assert _evaluated(trained, digits)["findings"] == []


class Averaging(vaekit.Loss):
    """A loss that is a mean over pixels, as many scripts have it."""

    name = "averaging"

    def __init__(self, data_shape, root, examples):
        super().__init__()
        self.out_shape = ()

    def forward(self, model, x, c, player="model"):
        trace = model(x, c)
        return Terms(-trace.log_px().mean() / x[0].numel() + 0.01 * trace.kl().mean(), {})


def test_all_dimensions_collapse(digits: Data) -> None:
    model = _trained(digits, 6, loss={"beta": 200.0})
    first, *_ = _evaluated(model, digits)["findings"]
    assert first == (
        "posterior collapse: every one of 2 latent dimensions carries less than 0.01 nats, so the decoder ignores z; "
        "lower loss.beta, or give the decoder less to do without z"
    )


def test_one_dimension_collapses(trained: vaekit.VAE, digits: Data) -> None:
    def idle(model: vaekit.VAE) -> None:
        head = model.latent.head
        for row in (1, 3):  # the mean and the log-variance of the second dimension
            head.weight[row] = 0
            head.bias[row] = 0

    said = _evaluated(_changed(trained, idle), digits)["findings"]
    assert said[0].startswith(
        "posterior collapse: 1 of 2 latent dimensions carry less than 0.01 nats (1); fewer latent.features"
    )


def test_a_blurred_latent(trained: vaekit.VAE, digits: Data) -> None:
    blind = _changed(trained, lambda model: model.decoder.head.weight.zero_())
    said = " ".join(_evaluated(blind, digits)["findings"])
    assert "reconstructions are hardly better than the mean example: a squared error of" in said


def test_the_kl_rules(digits: Data) -> None:
    """Twelve dimensions known to five digits each, which one epoch has not taught the decoder to use."""
    model = _trained(digits, 1, latent={"features": 12})
    sharp = _changed(model, lambda model: model.latent.head.bias[12:].fill_(-20))
    said = " ".join(_evaluated(sharp, digits)["findings"])
    assert "the KL rules the loss: " in said


def test_a_prior_hole(trained: vaekit.VAE, digits: Data) -> None:
    far = _changed(trained, lambda model: model.latent.head.bias.add_(torch.tensor([3.0, 0, 0, 0])))
    said = " ".join(_evaluated(far, digits)["findings"])
    assert "prior hole: the codes of data are spread otherwise than draws from the prior, by" in said


def test_the_reconstruction_rules(digits: Data) -> None:
    model = _trained(digits, 25, lr=1e-2, loss={"beta": 1e-6})
    said = _evaluated(model, digits)["findings"]
    assert any(line.startswith("the reconstruction rules the loss: at loss.beta = 1e-06 a KL of") for line in said)
    assert any(line.startswith("prior hole:") for line in said)


def test_a_mean_where_a_sum_was_meant(trained: vaekit.VAE, digits: Data) -> None:
    divided, by_dims = vaekit.build(trained.config.model_copy(update={"loss": {"name": "elbo", "normalize": "dims"}}))
    divided.load_state_dict(trained.state_dict())
    rules, said = _evaluated(divided.eval(), digits, loss=by_dims)["findings"]
    assert rules.startswith("the KL rules the loss: ")
    assert said.startswith("a mean where a sum was meant: the loss is ")
    assert said.endswith("; the same in nats is loss.normalize=nats loss.beta=32, and 1 is the beta of the bound")
    averaging = Averaging(digits.shape, trained.latent.root, 100)
    assert "divided by 64 dimensions and the KL is not, the KL weighs too much" in " ".join(
        _evaluated(trained, digits, loss=averaging)["findings"]
    )
    _, sums = vaekit.build(trained.config)
    assert _evaluated(trained, digits, loss=sums)["findings"] == []


def test_overfitting(digits: Data) -> None:
    model = _trained(digits, 400, n=40, encoder={"hidden": [128]}, decoder={"hidden": [128]}, latent={"features": 8})
    said = _evaluated(model, digits, n=40)["findings"]
    assert any(line.startswith("over-fitting: the negative ELBO is ") for line in said)


def test_data_outside_of_the_support(trained: vaekit.VAE) -> None:
    grey = load("digits", DataOptions())
    said = _evaluated(trained, grey)["findings"]
    assert any("of the numbers lie outside the support of bernoulli: the bound is of no density" in line for line in said)


def test_a_latent_without_a_density_has_no_bound(digits: Data, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    run = vaekit.fit(
        "digits",
        latent={"name": "point", "features": 4},
        loss="rae",
        data_options={"binarize": "dynamic"},
        epochs=1,
        output=tmp_path,
        progress=False,
    )
    numbers = _evaluated(run.model, digits)
    assert [numbers[name] for name in ("nelbo", "kl", "nll", "nll_examples", "k", "bits_per_dim", "train_nelbo")] == [None] * 7
    assert numbers["reconstruction"] > 0
    assert numbers["findings"][-1].startswith("no bound: the latent has no density")
    assert not {"nelbo", "kl"} & set(run.metrics[-1])
    with pytest.raises(vaekit.ConfigError, match="latent 'point' has no density, and so this model no bound"):
        run.model.log_likelihood(digits.test.take(torch.arange(2)).x.float() / 255)
    with pytest.raises(vaekit.ConfigError, match="no bound to select a model by: select=loss"):
        list(vaekit.train(*vaekit.build(run.model.config), [torch.rand(4, 1, 8, 8)], select="bound"))
    cli.app(["evaluate", str(run.path), "-n", "50", "-k", "2"], standalone_mode=False)
    assert "none  (the latent has no density)" in capsys.readouterr().out


def test_every_rule_is_provoked_above() -> None:
    assert [rule.__name__ for rule in RULES] == [
        *("collapse", "blur", "balance", "scale", "overfitting", "hole", "far_samples", "no_bound", "support")
    ]


def test_findings_do_without_a_config(trained: vaekit.VAE, digits: Data) -> None:
    numbers = _evaluated(trained, digits, loss=Averaging(digits.shape, trained.latent.root, 100))
    assert findings(numbers, None) == []


def test_known_factors_are_told_apart(tmp_path) -> None:
    data = load("sprites")
    assert data.test.factors.shape == (len(data.test), 5)
    model, _ = vaekit.build(vaekit.Config(data_shape=data.shape, encoder={"hidden": []}, latent={"features": 3}))
    some = data.test.take(torch.arange(2000))
    with torch.no_grad():  # codes that are the centre of mass and the area of what is white
        rows = torch.arange(32.0)
        weights = torch.stack([rows.repeat(32), rows.repeat_interleave(32), torch.ones(1024)])
        model.latent.head.weight[:3].copy_(weights / 100)
    numbers = evaluate(model, Batches(some, 128), factors=some.factors, k=1, n=10)
    assert set(numbers["factors"]) == {
        *("mig", "sap", "disentanglement", "completeness", "informativeness", "beta_vae", "factor_vae")
    }
    assert all(0 <= score <= 1 for score in numbers["factors"].values())
    assert numbers["factors"]["informativeness"] > 0.3
    with pytest.raises(vaekit.DataError, match="there are factors of 5 examples and 2000 examples"):
        evaluate(model, Batches(some, 128), factors=some.factors[:5], k=1, n=10)


@pytest.fixture(scope="module")
def classifier(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        made = train(digits, epochs=12)
        again = find(digits.info, digits.shape)
        assert again is not None
        x = torch.rand(7, *digits.shape)
        assert torch.equal(again.features(x), made.features(x))
        assert (again.name, again.accuracy) == (made.name, made.accuracy)
        assert find(digits.info.model_copy(update={"examples": 3, "seed": 9}), digits.shape) is not None
        assert find(digits.info.model_copy(update={"binarize": "none"}), digits.shape) is None
    return made


def test_a_classifier_is_named_by_its_weights(classifier: Trained) -> None:
    assert classifier.name.startswith("digits-")
    assert classifier.accuracy > 0.8
    assert classifier.features(torch.rand(3, 1, 8, 8)).shape == (3, 64)


def test_samples_beside_reconstructions_and_real_examples(trained: vaekit.VAE, digits: Data, classifier: Trained) -> None:
    found = evaluate(trained, Batches(digits.test, 64), classifier=classifier, k=1, n=10)["fidelity"]
    assert (found["classifier"], found["n"]) == (classifier.name, 89)
    assert 0 < found["real"]["frechet"] < found["reconstructions"]["frechet"]
    assert all(0 <= found[name][share] <= 1 for name in ("samples", "real") for share in ("precision", "recall"))
    few = digits.test.take(torch.arange(100))
    with pytest.raises(vaekit.DataError, match="needs more than 128 held-out examples: there are 100"):
        evaluate(trained, Batches(few, 64), classifier=classifier, k=1, n=10)


def test_samples_far_worse_than_reconstructions(trained: vaekit.VAE, digits: Data, classifier: Trained) -> None:
    numbers = evaluate(trained, Batches(digits.test, 64), classifier=classifier, k=1, n=10)
    far = {**numbers["fidelity"]["samples"], "frechet": 1e4, "precision": 0.9, "recall": 0.9}
    assert findings({**numbers, "fidelity": {**numbers["fidelity"], "samples": far}}, trained.config) == []
    worse = {**numbers["fidelity"], "samples": {**far, "precision": 0.02}}
    [said] = findings({**numbers, "fidelity": worse}, trained.config)
    assert said.startswith("samples are far worse than reconstructions: a Fréchet distance of 1e+04 from the data against ")
    assert f"in the features of {classifier.name}" in said


def test_a_classifier_that_cannot_be_had(digits: Data, classifier: Trained, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path))
    train(digits, epochs=1)
    [weights] = tmp_path.glob("classifiers/*/classifier.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    with pytest.raises(vaekit.CheckpointError, match=r"its weights are not those that it was stored with\): delete it and"):
        find(digits.info, digits.shape)
    with pytest.raises(vaekit.DataError, match="has no labels to learn: a classifier needs at least two classes"):
        train(load(torch.rand(50, 4)))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(vaekit.CheckpointError, match="cannot be written: Not a directory"):
        train(digits, epochs=1)
