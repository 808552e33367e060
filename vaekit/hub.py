"""The Hugging Face Hub: what a repo is called, whom to ask, and what went wrong in one line.

The client is imported when it is first needed: importing vaekit imports nothing of it, and asks nobody.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING

from vaekit.errors import ConfigError, HubError, VaekitError, short

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def is_id(text: str) -> bool:
    """Whether `text` has the form of a repo, `user/model` or `user/model@revision`."""
    repo, at, revision = text.partition("@")
    return _is_repo(repo) and (not at or _is_revision(revision))


def split(repo: str, revision: str | None = None) -> tuple[str, str | None]:
    """The repo and the revision of `user/model@revision`.

    Raises:
        ConfigError: where it has not that form, or two revisions are given.
    """
    name, at, inside = repo.partition("@")
    if not _is_repo(name):
        raise ConfigError(f"{short(scrubbed(repo))!r} is not a repo on the Hub: give user/model or user/model@revision")
    for wanted in ([inside] if at else []) + ([revision] if revision is not None else []):
        if not _is_revision(wanted):
            raise ConfigError(f"{short(wanted)!r} is not a revision: give a branch, a tag or a commit")
    if at and revision is not None and inside != revision:
        raise ConfigError(f"{repo} names a revision and so does revision={revision!r}: give one")
    return name, inside if at else revision


def client(token: str | bool | None = None) -> "HfApi":
    """The Hub's client, which says who asks.

    Args:
        token: of the account; True for the one that `hf auth login` saved, False for none.

    Raises:
        ConfigError: where the token is none that could be sent; it is not shown.
    """
    from huggingface_hub import HfApi

    if isinstance(token, str):
        token = token.strip()
        if not re.fullmatch("[!-~]+", token):
            raise ConfigError("the token is none of the Hub's: give one line of letters, digits and signs, without blanks")
    return HfApi(library_name="vaekit", library_version=version("vaekit"), token=token)


@contextmanager
def explained(
    repo: str, revision: str | None = None, token: str | bool | None = None, folder: Path | None = None
) -> Iterator[None]:
    """Turn whatever the client raises into one HubError that says what to do; no token is ever part of it.

    Args:
        repo: that is asked about.
        revision: that was asked for.
        token: that was given, to be left out of messages.
        folder: that downloads go to; the client's own cache where there is none.
    """
    try:
        yield
    except VaekitError:
        raise
    except Exception as error:
        raise HubError(scrubbed(_explanation(error, repo, revision, folder or cache()), token)) from None


def scrubbed(text: str, token: str | bool | None = None) -> str:
    """The text without anything that is a token."""
    for secret in (token, os.environ.get("HF_TOKEN"), _saved_token()):
        if isinstance(secret, str) and secret.strip():
            text = text.replace(secret, _HIDDEN).replace(secret.strip(), _HIDDEN)
    return re.sub(r"\b(hf|api_org)_[\w.-]{16,}", _HIDDEN, text)


def endpoint() -> str:
    """The address of the Hub."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def cache() -> Path:
    """Where the client keeps what it downloads."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _saved_token() -> str:
    """The token that `hf auth login` wrote; the client's own look-up may ask the network for a new one."""
    from huggingface_hub import constants

    try:
        return Path(constants.HF_TOKEN_PATH).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _explanation(error: Exception, repo: str, revision: str | None, folder: Path) -> str:
    from huggingface_hub import errors

    causes = _causes(error)
    answer = next((cause for cause in causes if isinstance(cause, errors.HfHubHTTPError)), None)
    status = answer.response.status_code if answer else None
    at = f"at {endpoint()}"
    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        return f"{repo} is gated: ask for access at {endpoint()}/{repo}, then {log_in}"
    if isinstance(error, errors.DisabledRepoError):
        return f"{repo} has been disabled {at}: its files cannot be had"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no repo {repo} {at}, nor a folder here, or it is private: check the name; for a private one {log_in}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no revision {revision or 'main'}: give a branch, a tag or a commit of {endpoint()}/{repo}/commits"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"{repo} has not the file that was asked for: {short(error.request.url.path, 200)}"
    if status == 401:
        return f"the Hub {at} does not know the token: {log_in} anew, or unset HF_TOKEN to go without"
    if status == 403:
        return f"the account of the token may not do that to {repo}: use a token with the right to; {_said(answer or error)}"
    if status == 412:
        return f"{repo} has changed in the meantime: look at what is new there, then do it again"
    if status == 429:
        return f"too many requests {at}: wait some minutes, then do it again; a token raises the limit"
    if status is not None and status >= 500:
        return f"the Hub {at} is out of order (status {status}): try later; {_said(answer or error)}"
    if status == 404:
        return f"{endpoint()} does not know what was asked of it: is it a Hub? correct or unset HF_ENDPOINT"
    if status is not None:
        return f"the Hub {at} refuses it (status {status}): {_said(answer or error)}"
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"no token is here: {log_in}"
    nowhere = f"{repo}{f'@{revision}' if revision else ''} is neither in the cache {folder} nor a folder here"
    number = next((cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno), None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: free some of {folder}, or set HF_HOME to a folder on another disk"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"the cache {folder} cannot be written: set HF_HOME to a folder that can be"
    if isinstance(error, errors.FileMetadataError | JSONDecodeError) or "does not seem to be served" in str(error):
        return f"{endpoint()} does not answer as a Hub does: correct or unset HF_ENDPOINT"
    if any(isinstance(cause, errors.OfflineModeIsEnabled) for cause in causes):
        return f"HF_HUB_OFFLINE is set, and {nowhere}: unset it"
    if "local_files_only" in str(error):
        return f"local_files_only is set, and {nowhere}: leave it out"
    if isinstance(error, errors.RevisionResolutionError | errors.LocalEntryNotFoundError) or any(map(_is_network, causes)):
        return f"the Hub {at} cannot be reached: check the network ({_said(causes[-1])}); {nowhere}"
    if "Consistency check failed" in str(error):
        return f"the download from {repo} is not of the size that was announced: try again"
    if isinstance(error, ValueError | OSError):
        return f"{repo}: {_said(error)}"
    return f"{repo}: the Hub's answer makes no sense: {type(error).__name__}: {_said(error)}"


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what led to it, the first cause last."""
    causes: list[BaseException] = []
    now: BaseException | None = error
    while now is not None and now not in causes:
        causes.append(now)
        now = now.__cause__ or now.__context__
    return causes


def _is_network(error: BaseException) -> bool:
    """Whether it comes from the client's transport, which is not imported here by name."""
    return type(error).__module__.split(".")[0].startswith("http") or isinstance(error, ConnectionError | TimeoutError)


def _said(error: BaseException) -> str:
    """What the Hub or the system said, in one short line."""
    said = getattr(error, "server_message", None) or str(error) or type(error).__name__
    return short(scrubbed(re.sub(r"\(Request ID: [^)]*\)", "", str(said))), 200)


def _is_repo(text: str) -> bool:
    parts = text.split("/")
    fine = len(parts) == 2 and all(re.fullmatch(r"[A-Za-z0-9_]([\w.-]*[A-Za-z0-9_])?", part, re.ASCII) for part in parts)
    return fine and len(text) <= 96 and "--" not in text and ".." not in text and not text.endswith(".git")


def _is_revision(given: object) -> bool:
    """The name of a branch, a tag, a commit or `refs/pr/1`; it is also a path in the client's cache."""
    text = given if isinstance(given, str) else ""
    return re.fullmatch(r"\w[\w.+-]*(/\w[\w.+-]*)*", text, re.ASCII) is not None and ".." not in text and len(text) <= 200


_HIDDEN = "hf_…"
