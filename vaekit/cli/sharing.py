"""`vaekit push`: to the Hugging Face Hub."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import models, show
from vaekit.cli.training import Json
from vaekit.errors import ConfigError, HubError

if TYPE_CHECKING:
    from vaekit.model import VAE


def push(
    model: models.Model,
    repo: Annotated[str, typer.Argument(help="On the Hub, user/name; made where it is missing.")],
    private: Annotated[bool, typer.Option("--private", help="Let nobody else see it.")] = False,
    revision: Annotated[str | None, typer.Option(help="The branch, made where it is missing.  [default: main]")] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.  [default: says which vaekit]")] = None,
    license: Annotated[str | None, typer.Option(help="Its id on the Hub, such as apache-2.0; none is assumed.")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Propose it in a pull request.")] = False,
    space: Annotated[bool, typer.Option("--space", help="Publish a page that draws from it too, under the same name.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a model on the Hugging Face Hub, with the account of HF_TOKEN or `hf auth login`."""
    if space and create_pr:
        raise ConfigError("a Space loads a commit, and a pull request is none yet: leave out --space or --create-pr")
    from vaekit import hub, io, publish

    hidden = True if private else None
    notes: tuple[str, ...] = ()
    loaded = io.load(model)
    if space and (commit := _there(loaded, repo)):
        done: dict[str, Any] = {"repo": repo, "url": f"{hub.endpoint()}/{repo}/commit/{commit}", "commit": commit, "files": []}
    else:
        pushed = publish.push(
            loaded, repo, private=hidden, revision=revision, message=message, license=license, create_pr=create_pr
        )
        notes = pushed.notes
        done = {"repo": pushed.repo, "url": pushed.url, "commit": pushed.commit, "files": list(pushed.files)}
    if space:
        from vaekit import space as spaces

        assert loaded.config is not None
        try:
            done["space"], more = spaces.push(done["repo"], done["commit"], loaded.config, license=license, private=hidden)
        except HubError as error:
            raise HubError(f"{error}; the model itself is published: {done['url']}") from None
        notes = (*notes, *more)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    if as_json:
        show.document({**done, "notes": list(notes)})
        return
    rows = [("model", done["url"]), *([("files", ", ".join(done["files"]))] if done["files"] else [])]
    rows += [("space", done["space"])] if space else []
    show.table([*rows, ("try next", f"{show.command()} info {done['repo']}")])


def _there(loaded: "VAE", repo: str) -> str | None:
    """The commit of a model that was loaded from that very repo."""
    from pathlib import Path

    source, _, commit = (loaded.source or "").partition("@")
    return commit if source == repo and commit and not Path(source).exists() else None
