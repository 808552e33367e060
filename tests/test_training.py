"""Training: exact, repeatable, continued exactly, and stopped by what is not finite."""

import json
import math
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import vaekit
from vaekit.data.batches import Batches
from vaekit.data.catalog import Examples
from vaekit.evaluation import bound, evaluate
from vaekit.gradients import Gradients, pieces
from vaekit.ranks import ALONE
from vaekit.trainer import Step, Trainer
from vaekit.training import TrainingOptions


def _data(n: int = 96) -> Examples:
    generator = torch.Generator().manual_seed(0)
    return Examples((torch.rand(n, 1, 4, 4, generator=generator) > 0.6).to(torch.uint8) * 255)


def _model(**parts: Any) -> tuple[vaekit.VAE, vaekit.Loss]:
    torch.manual_seed(0)
    small = {"encoder": {"hidden": [16]}, "latent": {"features": 2}, "decoder": {"hidden": [16]}}
    return vaekit.build(vaekit.Config(data_shape=(1, 4, 4), **{**small, **parts}))


def _batches(shuffle: bool = True) -> Batches:
    return Batches(_data(), 32, shuffle=shuffle)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_it_learns_and_reports() -> None:
    model, loss = _model()
    reports = list(vaekit.train(model, loss, _batches(), validation=_batches(False), epochs=60, lr=1e-2))
    train = [r for r in reports if r.split == "train"]
    validation = [r for r in reports if r.split == "validation"]
    assert [r.epoch for r in train] == [r.epoch for r in validation] == list(range(1, 61))
    assert train[-1].step == 180
    assert train[-1].terms["nelbo"] < train[0].terms["nelbo"] - 0.5
    assert train[0].terms["nelbo"] == pytest.approx(train[0].terms["reconstruction"] + train[0].terms["kl"], rel=1e-5)
    assert min(r.terms["nelbo"] for r in validation) == [r for r in validation if r.best][-1].terms["nelbo"]


@pytest.mark.parametrize(
    "reported", [("nelbo", "reconstruction", "kl"), ("nelbo", "reconstruction", "kl_mc"), ("reconstruction",)]
)
def test_validation_is_of_the_bound_and_of_the_loss(reported: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the loss reports the bound or not, with gradients on, and whatever beta is."""
    model, loss = _model(loss={"beta": 3.0})
    forward = type(loss).forward

    def fewer(self, model, x, c, player="model"):
        assert torch.is_grad_enabled()  # penalties on gradients need them
        terms = forward(self, model, x, c, player)
        parts = {"kl_mc" if name == "kl" and "kl_mc" in reported else name: part for name, part in terms.parts.items()}
        return vaekit.Terms(terms.loss, {name: part for name, part in parts.items() if name in reported})

    monkeypatch.setattr(type(loss), "forward", fewer)
    *_, last = vaekit.train(model, loss, _batches(), validation=_batches(False), epochs=1)
    expected = bound(model, _batches(False), seed=0)
    assert {name: last.terms[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert last.terms["loss"] == pytest.approx(expected["reconstruction"] + 3 * expected["kl"], rel=1e-5)


def test_which_model_is_best_is_for_select_to_say() -> None:
    best = {}
    for select in ("loss", "bound", "last"):
        model, loss = _model(loss={"beta": 0.0})
        given = {"validation": _batches(False), "epochs": 40, "lr": 3e-2, "select": select}
        rows = [r for r in vaekit.train(model, loss, _batches(), **given) if r.split == "validation"]
        best[select] = [r for r in rows if r.best][-1]
        assert best[select].terms["nelbo"] == min(r.terms["nelbo"] for r in rows) or select != "bound"
        assert best[select].terms["reconstruction"] == min(r.terms["reconstruction"] for r in rows) or select != "loss"
    assert best["bound"].epoch < best["loss"].epoch <= best["last"].epoch == 40
    assert "loss" not in best["bound"].terms


def test_a_loss_may_say_that_the_last_model_is_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    def best(**asked: Any) -> list[int]:
        model, loss = _model()
        monkeypatch.setattr(type(loss), "selects", "last")
        rows = vaekit.train(model, loss, _batches(), validation=_batches(False), epochs=8, lr=1.0, **asked)  # it gets worse
        return [r.epoch for r in rows if r.split == "validation" and r.best]

    assert best() == list(range(1, 9))
    assert best(select="loss") == best(select="loss", early_stop=8) != list(range(1, 9))
    with pytest.raises(vaekit.ConfigError, match="the last is the best: choose what to select by, loss or bound"):
        best(early_stop=2)


def test_a_seed_repeats_a_run_to_the_bit_whatever_else_is_drawn_meanwhile() -> None:
    weights = []
    for disturbance in (False, True):
        model, loss = _model()
        for _ in vaekit.train(model, loss, _batches(), epochs=3, seed=7):
            if disturbance:
                torch.rand(1000)
        weights.append(_weights(model))
    assert torch.equal(*weights)
    model, loss = _model()
    list(vaekit.train(model, loss, _batches(), epochs=3, seed=8))
    assert not torch.equal(_weights(model), weights[0])


def test_training_leaves_the_users_generator_as_it_was() -> None:
    model, loss = _model()
    before = torch.get_rng_state()
    list(vaekit.train(model, loss, _batches(), validation=_batches(), epochs=2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"schedule": "cosine"},
        {"schedule": "one-cycle"},
        {"schedule": "steps", "milestones": [1, 3], "gamma": 0.5},
        {"optimizer": "rmsprop"},
        {"precision": "bf16", "accumulate": 3},
        {"encoder": "conv", "decoder": "transposed-conv", "memory_format": "channels_last"},
    ],
    ids=str,
)
@pytest.mark.parametrize("stop", [1, 3, 7, 9])
def test_a_run_that_is_stopped_after_any_step_ends_with_the_same_weights_and_metrics(stop: int, given: dict[str, Any]) -> None:
    """Within an epoch, at the end of one, before any validation, and where the last batch is smaller than the others."""
    parts = {kind: given[kind] for kind in ("encoder", "decoder") if kind in given}
    options = TrainingOptions(epochs=3, lr=1e-2, **{name: value for name, value in given.items() if name not in parts})
    batches = Batches(_data(90), 32, shuffle=True, dynamic=True)

    def trainer() -> Trainer:
        return Trainer(*_model(**parts) if not parts else _plain(**parts), options)

    def rows(reports: Any) -> list[Any]:
        return [
            (r.epoch, r.step, r.split, r.terms, r.lr if r.split == "train" else 0, r.best) for r in reports if not r.partial
        ]

    whole = trainer()
    expected = rows(whole.run(batches, _batches(False)))
    first = trainer()

    def ask() -> None:
        if first.steps == stop:
            first.stop()

    first.after_step = ask
    before = rows(first.run(batches, _batches(False)))
    assert first.steps == stop
    tensors, progress = first.state()
    second = trainer()
    second.settle(batches)
    second.load_state({name: t.clone().contiguous() for name, t in tensors.items()}, json.loads(json.dumps(progress)))
    kept = [row for row in before if row[0] <= second.epoch]
    assert kept + rows(second.run(batches, _batches(False))) == expected
    assert torch.equal(_weights(second.step), _weights(whole.step))
    assert second.best == whole.best


def _plain(**parts: Any) -> tuple[vaekit.VAE, vaekit.Loss]:
    torch.manual_seed(0)
    return vaekit.build(vaekit.Config(data_shape=(1, 4, 4), **parts))


def test_learning_rates_follow_their_schedule() -> None:
    one_batch = Batches(_data(), 96)
    rates = {}
    for schedule in ("constant", "cosine", "one-cycle"):
        model, loss = _model()
        rates[schedule] = [r.lr for r in vaekit.train(model, loss, one_batch, epochs=20, lr=0.5, schedule=schedule)]
    assert rates["constant"] == [0.5] * 20
    assert rates["cosine"] == pytest.approx([0.25 * (1 + math.cos(math.pi * t / 20)) for t in range(20)])
    assert rates["one-cycle"][0] == pytest.approx(0.02)
    assert max(rates["one-cycle"]) == rates["one-cycle"][6] == pytest.approx(0.5)
    assert rates["one-cycle"][:7] == sorted(rates["one-cycle"][:7])
    assert rates["one-cycle"][6:] == sorted(rates["one-cycle"][6:], reverse=True)
    assert rates["one-cycle"][-1] < 0.02
    model, loss = _model()
    steps = {"schedule": "steps", "milestones": [2, 3], "gamma": 0.5}
    assert [r.lr for r in vaekit.train(model, loss, one_batch, epochs=5, lr=0.8, **steps)] == [0.8, 0.8, 0.4, 0.2, 0.2]


def test_rmsprop_divides_by_the_deviation_of_gradients() -> None:
    model, loss = _model()
    trainer = Trainer(model, loss, TrainingOptions(epochs=1, lr=1e-2, optimizer="rmsprop"))
    before = _weights(model).clone()
    list(trainer.run(Batches(_data(), 96)))
    g = torch.cat([p.grad.flatten() for p in model.parameters()])
    step = 0.01 * g / ((0.01 * g**2 - (0.01 * g) ** 2).sqrt() + 1e-8)  # moments start from nothing and decay by 0.99
    torch.testing.assert_close(before - _weights(model), step, atol=1e-5, rtol=1e-3)


def test_a_thread_that_samples_does_not_disturb_training() -> None:
    weights = []
    other, _ = _model()
    for disturbed in (False, True):
        model, loss = _model()
        stop = threading.Event()

        def draw(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                other.sample(2, seed=1)

        thread = threading.Thread(target=draw)
        if disturbed:
            thread.start()
        list(vaekit.train(model, loss, _batches(), epochs=5))
        stop.set()
        if disturbed:
            thread.join()
        weights.append(_weights(model))
    assert torch.equal(*weights)


def test_no_other_device_is_seeded(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("every GPU was seeded"))
    model, loss = vaekit.build(vaekit.Config(data_shape=(1, 4, 4)))
    list(vaekit.train(model, loss, _batches(), validation=_batches(), epochs=1))
    model.sample(2, seed=0)


def test_options_that_would_do_nothing_are_refused() -> None:
    model, loss = _model()
    with pytest.raises(vaekit.ConfigError, match="looks at validation batches: give some"):
        list(vaekit.train(model, loss, _batches(), early_stop=1))
    with pytest.raises(vaekit.ConfigError, match="settled by the batches"):
        list(vaekit.train(model, loss, _batches(), batch_size=3))
    with pytest.raises(vaekit.TrainingError, match="only once"):
        list(vaekit.train(model, loss, iter(list(_batches())), epochs=2))


def test_clipping_bounds_the_gradient_and_is_reported() -> None:
    model, loss = _model()
    (report,) = vaekit.train(model, loss, Batches(_data(), 96), epochs=1, clip=1e-3)
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert norm <= 1e-3 * 1.001
    assert report.terms["gradient_norm"] > 1e-3


def test_early_stopping_counts_epochs_without_a_better_model() -> None:
    model, loss = _model()
    reports = list(vaekit.train(model, loss, _batches(), validation=_batches(), epochs=50, lr=1e-20, early_stop=3))
    best = [r.epoch for r in reports if r.best][-1]
    assert reports[-1].epoch == best + 3 < 50


def test_any_iterable_of_batches_will_do() -> None:
    x = _data().x
    assert isinstance(x, Tensor)
    loader = DataLoader(TensorDataset(x.float() / 255, torch.zeros(len(x)).long()), batch_size=32, shuffle=True)
    weights = []
    for _ in range(2):
        model, loss = _model()
        list(vaekit.train(model, loss, loader, validation=loader, epochs=2))
        weights.append(_weights(model))
    assert torch.equal(*weights)
    model, loss = _model()
    assert len(list(vaekit.train(model, loss, [x.float() / 255], epochs=1))) == 1
    with pytest.raises(vaekit.ConfigError, match="needs batches with a length"):
        list(vaekit.train(model, loss, (b for b in loader), epochs=1, schedule="cosine"))
    with pytest.raises(vaekit.TrainingError, match="no batches"):
        list(vaekit.train(model, loss, [], epochs=1))


class Broken(vaekit.Loss):
    """An ELBO with a term that is not finite at one step."""

    name = "broken"

    def __init__(self, data_shape: vaekit.Shape, root: vaekit.Space, examples: int, at: int, term: str) -> None:
        super().__init__()
        self.at, self.term, self.count = at, term, 0
        self.out_shape = ()

    def forward(self, model: vaekit.VAE, x: Tensor, c: Tensor, player: str = "model") -> vaekit.Terms:
        self.count += 1
        trace = model(x, c)
        parts = {"reconstruction": -trace.log_px().mean(), "kl": trace.kl().mean()}
        if self.count == self.at:
            parts[self.term] = parts[self.term] * math.nan
        return vaekit.Terms(sum(parts.values()), {k: v.detach() for k, v in parts.items()})


@pytest.mark.parametrize("term", ["reconstruction", "kl"])
def test_what_is_not_finite_stops_the_run_and_is_named(term: str) -> None:
    model, _ = _model()
    loss = Broken((1, 4, 4), model.latent.root, 96, at=5, term=term)
    with pytest.raises(vaekit.TrainingError, match=rf"{term} is not finite at step 5 \(epoch 2\)"):
        list(vaekit.train(model, loss, _batches(), epochs=5))


def test_weights_that_are_not_finite_are_found_by_the_validation_bound() -> None:
    model, loss = _model()
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(math.nan)
    trainer = Trainer(model, loss, TrainingOptions(epochs=1))
    with pytest.raises(vaekit.TrainingError, match="not finite"):
        list(trainer.run(_batches(), _batches()))


class TwoPlayers(vaekit.Loss):
    """The encoder's side and the rest each descend on their own terms; a critic of the loss's own plays too."""

    name = "two-players"

    def __init__(self, data_shape: vaekit.Shape, root: vaekit.Space, examples: int) -> None:
        super().__init__()
        self.critic = nn.Linear(2, 1)
        self.out_shape = ()

    def players(self, model: vaekit.VAE) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters()), "critic": list(self.critic.parameters())}

    def forward(self, model: vaekit.VAE, x: Tensor, c: Tensor, player: str = "model") -> vaekit.Terms:
        trace = model(x, c)
        score = self.critic(trace.draw.z[0]).mean()
        loss = score - trace.elbo().mean() if player == "model" else -score
        return vaekit.Terms(loss, {"score": score.detach()})


def test_each_player_moves_its_own_parameters_only() -> None:
    model, _ = _model()
    loss = TwoPlayers((1, 4, 4), model.latent.root, 96)
    trainer = Trainer(model, loss, TrainingOptions(epochs=1))
    gradients = Gradients(trainer.step, trainer.settle(_batches()), ALONE, lambda: pytest.fail("not asked for"), 0)
    x = torch.rand(8, 1, 4, 4)
    with gradients.turns():
        for player, own in trainer.players.items():
            others = [p for p in trainer.step.parameters() if id(p) not in {id(q) for q in own}]
            before = [p.detach().clone() for p in others]
            for parameter in trainer.step.parameters():
                parameter.grad = None
            assert set(gradients.of(player, pieces(x, None, 3), 1.0)) == {"loss", "score"}
            trainer.optimizers[player].step()
            assert all(p.grad is None for p in others)
            assert all(p.grad is not None for p in own)
            assert all(torch.equal(a, b) for a, b in zip(before, others, strict=True))
    assert all(p.requires_grad for p in trainer.step.parameters())


def test_terms_of_several_players_carry_their_names_and_all_parameters_want_gradients_after() -> None:
    model, _ = _model()
    loss = TwoPlayers((1, 4, 4), model.latent.root, 96)
    (report,) = vaekit.train(model, loss, _batches(), epochs=1)
    own = {"loss", "score", "gradient_norm"}
    assert set(report.terms) == {f"{player}.{name}" for player in ("model", "critic") for name in own}
    assert all(p.requires_grad for p in [*model.parameters(), *loss.parameters()])


class DecoderOnly(vaekit.Loss):
    """An ELBO that moves the decoder alone, as a second stage moves a part alone."""

    name = "one-part"

    def __init__(self, data_shape: vaekit.Shape, root: vaekit.Space, examples: int) -> None:
        super().__init__()
        self.out_shape = ()

    def players(self, model: vaekit.VAE) -> dict[str, list[nn.Parameter]]:
        return {"decoder": list(model.decoder.parameters())}

    def forward(self, model: vaekit.VAE, x: Tensor, c: Tensor, player: str = "model") -> vaekit.Terms:
        elbo = model(x, c).elbo().mean()
        return vaekit.Terms(-elbo, {"nelbo": -elbo.detach()})


def test_a_lone_player_leaves_the_rest_where_it_is_after_a_resume_too() -> None:
    model, _ = _model()
    trainer = Trainer(model, DecoderOnly((1, 4, 4), model.latent.root, 96), TrainingOptions(epochs=2))
    before = _weights(model.encoder).clone(), _weights(model.decoder).clone()
    for _ in trainer.run(_batches()):
        assert not any(p.requires_grad for p in model.encoder.parameters())
        break
    again = Trainer(model, DecoderOnly((1, 4, 4), model.latent.root, 96), TrainingOptions(epochs=3))
    again.load_state(*trainer.state())
    for report in again.run(_batches()):
        assert report.epoch == 1 or not any(p.requires_grad for p in model.encoder.parameters())
    assert torch.equal(_weights(model.encoder), before[0])
    assert not torch.equal(_weights(model.decoder), before[1])
    assert all(p.requires_grad for p in model.parameters())


def test_frozen_parameters_stay_frozen() -> None:
    model, loss = _model()
    for p in model.encoder.parameters():
        p.requires_grad_(False)
    before = _weights(model.encoder).clone()
    list(vaekit.train(model, loss, _batches(), epochs=1))
    assert torch.equal(_weights(model.encoder), before)
    assert not any(p.requires_grad for p in model.encoder.parameters())


def test_doubling_the_batch_changes_nothing_per_example() -> None:
    model, loss = _model()
    model.eval()
    x = torch.rand(16, 1, 4, 4).round()

    def per_example(x: Tensor) -> Tensor:
        torch.manual_seed(0)
        noise = torch.randn(1, 16, 2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("torch.distributions.normal._standard_normal", lambda shape, **_: noise.repeat(1, shape[1] // 16, 1))
            return Step(model, loss)(x, None, "model").loss

    torch.testing.assert_close(per_example(torch.cat([x, x])), per_example(x))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"lr": -1.0},
        {"lr": math.nan},
        {"batch_size": 0},
        {"schedule": "linear"},
        {"schedule": "steps"},
        {"milestones": [3]},
        {"optimizer": "lion"},
        {"select": "best"},
        {"early_stop": 3, "select": "last"},
        {"early_stop": 0},
        {"epoch": 3},
        {"seed": -1},
    ],
    ids=str,
)
def test_wrong_options_are_config_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(vaekit.ConfigError, match=next(iter(wrong))):
        TrainingOptions(**wrong)


@pytest.mark.parametrize("device", ["warp", "cuda:99", "meta9"])
def test_a_device_that_is_not_there_is_a_config_error(device: str) -> None:
    with pytest.raises(vaekit.ConfigError, match="no device"):
        Trainer(*_model(), TrainingOptions(device=device))


def test_the_evaluated_bound_is_that_of_training_with_beta_one() -> None:
    model, loss = _model(loss={"beta": 5.0})
    model.eval()
    terms = bound(model, Batches(_data(), 96), samples=500)
    trained = [
        loss(model, Batches(_data(), 96).__iter__().__next__()[0], torch.zeros(96, 0)).parts["nelbo"] for _ in range(500)
    ]
    assert terms["nelbo"] == pytest.approx(torch.stack(trained).mean().item(), abs=0.02)


def test_evaluate_orders_the_bounds_and_counts() -> None:
    model, loss = _model()
    list(vaekit.train(model, loss, _batches(), epochs=30, lr=1e-2))
    numbers = evaluate(model, Batches(_data(), 40), k=50)
    assert numbers["nll"] < numbers["nelbo"]
    assert (numbers["k"], numbers["examples"]) == (50, 96)
    assert 0 < numbers["nll_standard_error"] < 1
    assert numbers == evaluate(model, Batches(_data(), 40), k=50)
    with pytest.raises(vaekit.DataError, match="no examples"):
        evaluate(model, [])
