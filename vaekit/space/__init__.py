"""A Gradio Space for a model on the Hub: the demo of the package vaekit-demo, of that model at one commit.

`app.txt` is the program, whole but for the model and the commit.
"""

import re
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from vaekit import registry
from vaekit.config import DEFAULTS, Config
from vaekit.errors import HubError
from vaekit.files import CARD, CONFIG
from vaekit.hub import client, endpoint, explained
from vaekit.known import EXTRAS
from vaekit.plugins import plugins
from vaekit.upload import OF_WEIGHTS, put

DEMO, GRADIO, PYTHON = "0.1.0", "6.31.0", "3.12"
"""The versions where there is no other reason to choose one."""


def push(
    repo: str,
    commit: str,
    config: Config,
    *,
    license: str | None = None,
    private: bool | None = None,
    message: str | None = None,
    token: str | bool | None = None,
) -> tuple[str, tuple[str, ...]]:
    """Publish the Space of a model under the model's own name, or bring it up to date.

    Args:
        repo: of the model.
        commit: that the Space loads.
        config: of the model.
        license: of the Space.
        private: whether only its owner may see it; as the model is where that is private, else as the account has it.
        message: of the commit.
        token: that may write.

    Returns:
        The Space's address, and what there is to know of it.

    Raises:
        HubError: where the Hub does not take it.
    """
    with explained(repo, commit, token):
        there = client(token).model_info(repo, revision=commit)
    names = [f.rfilename for f in there.siblings or []]
    if CONFIG not in names or not re.fullmatch("[0-9a-f]{40}", str(there.sha)):
        raise HubError(f"{repo} holds no model at {commit[:7]}: push one first")
    private = True if private is None and there.private else private
    packages, others = _packages(config)
    content: dict[str, Path | bytes] = {
        CARD: _card(repo, str(there.sha), names, license, bool(there.private)).encode(),
        "app.py": _app(repo, str(there.sha)).encode(),
        "requirements.txt": _requirements(packages, others).encode(),
    }
    put(repo, content, lambda name: False, kind="space", private=private, message=message or _message(commit), token=token)
    notes = []
    if there.private:
        notes.append(f"{repo} is private: give its Space a secret HF_TOKEN that may read it, in the Space's settings")
    if others:
        notes.append(f"the model needs {', '.join(others)}, not of vaekit: add what you trust to requirements.txt of the Space")
    return f"{endpoint()}/spaces/{repo}", tuple(notes)


def _message(commit: str) -> str:
    return f"A page for the model at {commit[:7]}, pushed by vaekit {version('vaekit')}"


def _card(repo: str, commit: str, names: list[str], license: str | None, private: bool) -> str:
    from huggingface_hub import SpaceCardData

    title = repo.partition("/")[2]
    loaded = ",".join(name for name in names if name == CONFIG or OF_WEIGHTS.fullmatch(name))
    data = SpaceCardData(
        title=title,
        sdk="gradio",
        sdk_version=_version("gradio") or GRADIO,
        python_version=PYTHON,
        app_file="app.py",
        license=license,
        models=[repo],
        tags=["vaekit", "vae"],
        short_description="Explore a variational autoencoder",
        suggested_hardware="cpu-basic",
        preload_from_hub=None if private else [f"{repo} {loaded} {commit}"],  # which takes public repos only
    )
    link = f"[{repo}](https://huggingface.co/{repo}/tree/{commit})"
    return f"---\n{data.to_yaml()}\n---\n\n# {title}\n\nA page on which to explore {link}, made with vaekit.\n"


def _app(repo: str, commit: str) -> str:
    text = files("vaekit.space").joinpath("app.txt").read_text(encoding="utf-8")
    return text.replace(f"user/model@{'0' * 40}", f"{repo}@{commit}")


def _requirements(packages: list[str], others: list[str]) -> str:
    lines = [
        *(f"{name}=={public.partition('+')[0]}" for name in ("torch", "torchvision") if (public := _version(name))),
        f"gradio=={_version('gradio') or GRADIO}",
        f"vaekit-demo=={_version('vaekit-demo') or DEMO}",
        *(f"{name}=={version(name)}" for name in packages),
        *(f"# {name}: not of vaekit; write it here as NAME==VERSION where you trust it" for name in others),
    ]
    return "\n".join(lines) + "\n"


def _packages(config: Config) -> tuple[list[str], list[str]]:
    """The packages that loading needs, of this project and of others, as they are installed here."""
    ours = {f"vaekit-{extra}" for extra in EXTRAS.values()}
    found: dict[str, Any] = {}
    for kind in DEFAULTS:
        origin = plugins().origin(registry.find(kind, str(config.part(kind)["name"]))) if kind != "loss" else None
        if origin and origin.package != "vaekit":
            found[origin.package] = origin.version
    return ["vaekit", *sorted(found.keys() & ours)], [f"{name} {found[name]}" for name in sorted(found.keys() - ours)]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
