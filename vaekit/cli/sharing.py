"""`vaekit push`: to the Hugging Face Hub."""

from typing import Annotated, Any

import typer

from vaekit.cli import models, show
from vaekit.cli.training import Json
from vaekit.errors import ConfigError, HubError


def push(
    model: models.Model,
    repo: Annotated[str, typer.Argument(help="On the Hub, user/name; made where it is missing.")],
    private: Annotated[bool, typer.Option("--private", help="Let nobody else see it.")] = False,
    revision: Annotated[str | None, typer.Option(help="The branch, made where it is missing.  [default: main]")] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.  [default: says which vaekit]")] = None,
    license: Annotated[str | None, typer.Option(help="Its id on the Hub, such as apache-2.0; none is assumed.")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Propose it in a pull request.")] = False,
    space: Annotated[bool, typer.Option("--space", help="Publish the demo of it too, as a Space of the same name.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a model on the Hugging Face Hub, with the account of HF_TOKEN or `hf auth login`."""
    if space and create_pr:
        raise ConfigError("a Space loads a commit, and a pull request is none yet: leave out --space or --create-pr")
    from vaekit import hub, io, publish

    hidden = True if private else None
    notes: tuple[str, ...] = ()
    loaded = io.load(model)
    name, branch = hub.split(repo, revision)
    there, commit = publish.loaded_from(loaded) or ("", "")
    if space and there == name:
        if branch is not None:
            raise ConfigError(f"{model} is in {name} already, and only its Space is pushed: leave out the revision {branch}")
        done: dict[str, Any] = {"repo": name, "url": f"{hub.endpoint()}/{name}/commit/{commit}", "commit": commit, "files": []}
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
            done["space"], more = spaces.push(
                name, done["commit"], loaded.config, license=license, private=hidden, message=message
            )
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
    where = f"{name}@{branch}" if branch not in (None, "main") else name
    look = "look at the pull request: nothing changes until it is merged there" if create_pr else ""
    show.table([*rows, ("try next", look or f"{show.command()} info {where}")])
