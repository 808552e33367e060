"""One commit on the Hub, of files that are named one by one; checked before anything is made there."""

import hashlib
import re
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaekit.errors import HubError, short
from vaekit.files import CARD
from vaekit.hub import client, explained, scrubbed

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

LICENSES = "https://huggingface.co/docs/hub/repositories-licenses"
OF_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
"""What files of weights are called, and their index."""


def put(
    repo: str,
    files: Mapping[str, Path | bytes],
    stale: Callable[[str], bool],
    *,
    kind: str = "model",
    private: bool | None = None,
    revision: str | None = None,
    message: str,
    create_pr: bool = False,
    parent: str | None = None,
    token: str | bool | None = None,
) -> "CommitInfo":
    """Have the Hub check the card, make the repo where it is missing, and commit the files at once.

    Args:
        repo: `user/name`.
        files: what to write, by name.
        stale: which other files to delete.
        kind: `model` or `space`.
        private: as `push` has it, as are the next.
        revision: the branch.
        message: of the commit.
        create_pr: whether to propose it.
        parent: the commit that it has to follow; the one that is the last there where there is none.
        token: that may write.
    """
    with explained(repo, revision, token):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import HfHubHTTPError

        _check_login(token)
        _check_card(repo, kind, files[CARD])
        api = client(token)
        try:
            api.create_repo(
                repo, repo_type=kind, private=private, exist_ok=True, space_sdk=None if kind == "model" else "gradio"
            )
            if revision is not None and not create_pr and not revision.startswith("refs/"):
                api.create_branch(repo, branch=revision, repo_type=kind, exist_ok=True)
            there: Any = api.repo_info(repo, revision=revision, repo_type=kind)
            _check_there(repo, there, kind, private)
            gone = [f.rfilename for f in there.siblings or [] if stale(f.rfilename) and f.rfilename not in files]
            return api.create_commit(
                repo,
                [
                    *(CommitOperationAdd(name, content) for name, content in files.items()),
                    *(CommitOperationDelete(name) for name in gone),
                ],
                commit_message=message,
                repo_type=kind,
                revision=revision,
                create_pr=create_pr,
                parent_commit=parent or there.sha,
            )
        except HfHubHTTPError as error:
            if said := _refusals(repo, kind).get(error.response.status_code):
                raise HubError(said) from None
            raise
        except RuntimeError as error:  # what the client makes of whatever stops the upload of a file
            raise (error.__cause__ or error) from None


def card_there(
    repo: str, files: Mapping[str, Path | bytes], *, revision: str | None = None, token: str | bool | None = None
) -> tuple[str, bytes] | None:
    """The commit and the card of a repo that holds the very same files beside it; None where it holds others, or nothing."""
    with explained(repo, revision, token):
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        _check_login(token)
        api = client(token)
        try:
            there = api.model_info(repo, revision=revision, files_metadata=True)
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return None
        found = {file.rfilename: file for file in there.siblings or []}
        same = all(name in found and _is_that(content, found[name]) for name, content in files.items() if name != CARD)
        if not same or CARD not in found or (found[CARD].size or 0) > _MOST_OF_A_CARD:
            return None
        return str(there.sha), Path(api.hf_hub_download(repo, CARD, revision=there.sha)).read_bytes()


_MOST_OF_A_CARD = 1_000_000


def _is_that(content: Path | bytes, there: Any) -> bool:
    """Whether a file on the Hub has that content, by the hash of it or of what git makes of it."""
    with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        if there.lfs:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == there.lfs.sha256)
        written = file.read()
    return bool(hashlib.sha1(b"blob %d\0" % len(written) + written, usedforsecurity=False).hexdigest() == there.blob_id)


def _check_login(token: str | bool | None) -> None:
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set, and nothing can be published offline: unset it")
    if token is False or (not isinstance(token, str) and get_token() is None):
        raise HubError("no token is here: log in with `hf auth login`, or set HF_TOKEN, to one that may write")


def _check_card(repo: str, kind: str, content: Path | bytes) -> None:
    """Ask the Hub whether it takes the front matter, before anything is made there."""
    from huggingface_hub import ModelCard

    assert isinstance(content, bytes)
    try:
        ModelCard(content.decode()).validate(repo_type=kind)
    except ValueError as error:
        said = scrubbed(short(error, 300))
        raise HubError(f"the Hub does not take the card of {repo}: {said}; licenses that it knows are at {LICENSES}") from None


def _check_there(repo: str, there: Any, kind: str, private: bool | None) -> None:
    """Whether what is there already is what it is thought to be."""
    if private is not None and bool(there.private) != private:
        now, wanted = ("private", "public") if there.private else ("public", "private")
        what = f"the Space {repo}" if kind == "space" else repo
        raise HubError(
            f"{what} is there already and is {now}, not {wanted}: change that in its settings, or choose another name"
        )
    library = getattr(there, "library_name", None)
    if library not in (None, "vaekit"):
        raise HubError(f"{repo} holds a model of {short(library)}, which this would replace: choose another name")
    files = {file.rfilename for file in there.siblings or []}
    if kind == "space" and "app.py" in files and "vaekit" not in (there.tags or []):
        raise HubError(f"the Space {repo} holds another page, which this would replace: give that another name on the Hub")


def _refusals(repo: str, kind: str) -> dict[int, str]:
    """What to say where the Hub refuses to write, by status."""
    return {
        402: f"the Hub wants a paid plan for the {kind} {repo}: choose one at https://huggingface.co/pricing",
        403: f"this token may not write to {repo}: check the name, and use a token of its owner that may write (hf auth login)",
        412: f"{repo} has changed while this was being pushed, so nothing was: vaekit pull {repo}, look at it, and push again",
    }
