"""The README.md of a model on the Hub: besides what is in a folder's, its numbers, pictures, training, use and limits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vaekit.card import NO_NAME, architecture, data, made_with, name_of_data, of_images, plain, python, what
from vaekit.config import DEFAULTS, Config
from vaekit.known import EXTRAS, UNNAMED
from vaekit.model import VAE

PICTURES = {
    "samples.png": "New examples: the mean of p(x|z) at draws from the prior.",
    "reconstructions.png": "Test examples above their reconstructions.",
    "manifold.png": "The mean of p(x|z) over the plane of the two latent dimensions.",
    "interpolation.gif": "A way through the latent space from one test example to the next.",
    "curves.png": "The negative ELBO, the reconstruction and the KL during training, in nats per example.",
}
"""What a card can show of a run's figures, by their names there and beside the card."""
OF_DATA = ("reconstructions.png", "interpolation.gif")
"""Those among them that show examples of the data."""
PUBLIC = ("digits", "sprites", "mnist", "fashion-mnist", "kmnist", "emnist-letters", "cifar10", "svhn")
"""Data sets whose examples may be passed on; not celeba, whose terms forbid it."""
_IDS = {
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
    "svhn": "ufldl-stanford/svhn",
}
"""Of data sets on the Hub."""


@dataclass(frozen=True)
class About:
    """What a card on the Hub says that a config does not.

    Args:
        repo: where the model is found.
        license: its id on the Hub.
        revision: the branch where it is not the main one.
        origin: the repo and commit that the model was loaded from, where that is another repo.
        numbers: what was measured of these weights on the test set of their data, named as `vaekit.evaluate` names them.
        command: that trains such a model again.
        stopped: the epoch in which training was stopped, where it was.
        remark: on what its bound is of.
        pictures: names in PICTURES of files beside the card.
        versions: of what the model was trained with, besides those of its plugins.
    """

    repo: str
    license: str
    revision: str | None = None
    origin: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    stopped: int | None = None
    remark: str = ""
    pictures: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """What loads the model."""
        return f"{self.repo}@{self.revision}" if self.revision not in (None, "main") else self.repo


def hub_card(model: VAE, config: Config, about: About) -> str:
    """The card as Markdown, its front matter as the Hub's own client writes it."""
    blocks = [
        f"---\n{_metadata(config, about)}\n---",
        f"# {plain(about.repo.rpartition('/')[2])}",
        what(model, config),
        f"It comes from `{about.origin}`." if about.origin else "",
        *(_picture(name) for name in PICTURES if name in about.pictures and name != "curves.png"),
        *_use(model, config, about),
        "## Architecture",
        architecture(model, config),
        *_training(config, about),
        *_measured(model, config, about),
        *_limits(config, about),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _metadata(config: Config, about: About) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    conditional = config.context["name"] != "none"
    task = _TASK if of_images(config) and not conditional else None
    data = config.data.name if config.data else UNNAMED[0]
    identity = _IDS.get(data)
    bounded = {"k": _number(about.numbers.get("k")), "examples": _number(about.numbers.get("nll_examples"))}
    results = [
        EvalResult(
            task_type=task or "other",
            dataset_type=identity or ("other" if data in UNNAMED else data),
            dataset_name=name_of_data(config) or NO_NAME,
            dataset_split="test",
            metric_type=name,
            metric_name=f"{title}, {unit}",
            metric_value=round(value, 4),
            metric_args=bounded if name in ("nll", "bits_per_dim") else None,
        )
        for name, (title, unit) in _METRICS.items()
        if (value := _number(about.numbers.get(name))) is not None
    ]
    parts = [str(config.part(kind)["name"]) for kind in DEFAULTS if config.part(kind)["name"] != "none"]
    written = ModelCardData(
        library_name="vaekit",
        license=about.license,
        pipeline_tag=task,
        tags=["vae", *parts, *(["conditional"] if conditional else [])],
        base_model=about.origin.partition("@")[0] or None,
        datasets=[identity] if identity else None,
        metrics=[result.metric_type for result in results] or None,
        model_name=about.repo.rpartition("/")[2] if results else None,
        eval_results=results or None,
    )
    return str(written.to_yaml())


_TASK = "unconditional-image-generation"
_METRICS = {
    "nelbo": ("negative ELBO", "nats per example"),
    "reconstruction": ("reconstruction", "nats per example"),
    "kl": ("KL", "nats per example"),
    "nll": ("negative log-likelihood, importance-weighted bound", "nats per example"),
    "bits_per_dim": ("negative log-likelihood", "bits per dimension"),
}


def _picture(name: str) -> str:
    return f"![{name.partition('.')[0].capitalize()}]({name})\n\n*{PICTURES[name]}*"


def _use(model: VAE, config: Config, about: About) -> Iterator[str]:
    extras = sorted({EXTRAS[kind, name] for kind, name in _named(config) if (kind, name) in EXTRAS and kind != "loss"})
    ours = {"vaekit", *(f"vaekit-{extra}" for extra in EXTRAS.values())}
    others = [f"{plain(name)} {plain(version)}" for name, version in config.plugins.items() if name not in ours]
    yield "## Use"
    yield f'```console\n$ pip install "vaekit[{",".join(extras)}]"\n```' if extras else "```console\n$ pip install vaekit\n```"
    if others:
        yield f"Other parts come from {', '.join(others)}, not of the vaekit project; installing a package runs its code."
    yield python(model, about.where)
    drawn = of_images(config) or len(config.data_shape) == 2
    label = " --label 0" if model.conditional else ""
    sample = f"$ vaekit sample {about.where}{label}\n" if drawn else ""
    yield f"```console\n$ vaekit info {about.where}\n{sample}```"
    yield "Loading runs no code from this repository: it holds a config, which names parts that are installed, and weights."


def _named(config: Config) -> Iterator[tuple[str, str]]:
    for kind in DEFAULTS:
        yield kind, str(config.part(kind)["name"])


def _training(config: Config, about: About) -> Iterator[str]:
    yield "## Training"
    yield data(config) or "What it was trained on is not known."
    if about.command:
        yield f"```console\n$ {about.command}\n```"
        if ":PATH" in about.command:
            yield "PATH stands for where the data are."
        if about.command.startswith("vaekit refit RUN "):
            yield "The prior was fitted afterwards: RUN stands for the trained model, all else of which is as it was."
    if about.stopped is not None:
        yield f"Training was stopped in epoch {about.stopped:,}."
    yield made_with({**config.plugins, **about.versions})
    if "curves.png" in about.pictures:
        yield _picture("curves.png")


def _measured(model: VAE, config: Config, about: About) -> Iterator[str]:
    rows = list(_rows(about.numbers, model.conditional))
    if not rows:
        return
    examples = _number(about.numbers.get("examples"))
    of = f" of {name}" if (name := name_of_data(config)) else ""
    many = f", {examples:,.0f} examples" if examples is not None else ""
    yield "## Numbers"
    yield f"On the test set{of}{many}; in nats per example, sums over dimensions, where nothing else is said."
    yield "\n".join(["| what | value | |", "| --- | --: | --- |", *(f"| {' | '.join(row)} |" for row in rows)])


def _rows(numbers: Mapping[str, Any], conditional: bool) -> Iterator[tuple[str, str, str]]:
    given = ",y" if conditional else ""
    x, prior = (r"log p(x\|y)", r"p(z\|y)") if conditional else ("log p(x)", "p(z)")
    found = {name: value for name in numbers if (value := _number(numbers[name])) is not None}
    if "nelbo" in found:
        yield "negative ELBO", f"{found['nelbo']:.2f}", f"not less than -{x}; the sum of the next two"
    if "reconstruction" in found:
        yield "reconstruction", f"{found['reconstruction']:.2f}", rf"-log p(x\|z{given}) expected under q(z\|x{given})"
    if "kl" in found:
        yield "KL", f"{found['kl']:.2f}", rf"of q(z\|x{given}) from {prior}"
    if {"nll", "k", "nll_examples"} <= found.keys():
        spread = f" ± {found['nll_standard_error']:.2f}" if "nll_standard_error" in found else ""
        how = f"importance-weighted bound on -{x}, k = {found['k']:,.0f}, {found['nll_examples']:,.0f} examples"
        yield "negative log-likelihood", f"{found['nll']:.2f}{spread}", how
    if "bits_per_dim" in found:
        yield "the same in bits per dimension", f"{found['bits_per_dim']:.3f}", ""


def _limits(config: Config, about: About) -> Iterator[str]:
    of = f"{config.data.examples:,} examples of {name_of_data(config)}" if config.data else "its training data"
    said = [
        "A small generative model, for study and for trying things out; nobody has tested it for uses that people depend on.",
        f"It knows {of} and nothing else. What is rare or wrong there is rare or wrong in what it draws.",
        "It takes data prepared as those were. Its numbers compare only with those of models of the same data, prepared alike.",
        f"On its numbers: {plain(about.remark)}." if about.remark else "",
    ]
    yield "## Intended use and limits"
    yield "\n".join(f"- {line}" for line in said if line)


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12 else None
