"""The files of one commit on the Hub, each fetched when it is asked for, and checked before it is given away."""

import hashlib
import os
import re
from collections.abc import Collection
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from vaekit.errors import CheckpointError, ConfigError, HubError, short
from vaekit.files import File
from vaekit.hub import cache, client, endpoint, explained

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, HfApi


class Listed(NamedTuple):
    """What the Hub says of a file: its size, and its hash, of the content (sha256) or as git has it (sha1)."""

    size: int
    digest: str


class Answer(NamedTuple):
    """What the Hub says of a repo: the commit, its files by name, and the results of the card as they stand there."""

    sha: str
    files: dict[str, Listed]
    results: Any


class Snapshot:
    """The files of one commit, each fetched when it is asked for.

    The revision is looked up once, so that no two files are of different commits. A commit whose files are in the cache
    is looked up nowhere; a branch needs one request, or the cache where the Hub cannot be reached.

    Args:
        repo: on the Hub.
        revision: a branch, a tag or a commit; the main branch where there is none.
        token: of the account; True for the one that `hf auth login` saved, False for none.
        cache_dir: of the Hub's client; its own where there is none.
        local_files_only: whether to look into the cache only.
        force_download: whether to fetch what is in the cache again.

    Raises:
        HubError: where it cannot be had.
    """

    def __init__(
        self,
        repo: str,
        revision: str | None = None,
        *,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> None:
        if local_files_only and force_download:
            raise ConfigError("local_files_only and force_download exclude each other: give one")
        self.repo, self.revision = repo, revision
        self._only_cache, self._force, self._token = local_files_only, force_download, token
        self._fetched: set[str] = set()
        self._cache = Path(os.path.expanduser(cache_dir or cache())).resolve()
        with self._explained():
            self._api, self._answers = _listening(token)
            self.commit = str(
                self._api.resolve_revision(
                    repo, revision=revision, cache_dir=self._cache, local_files_only=local_files_only
                ).resolved
            )
        if not re.fullmatch("[0-9a-f]{40}", self.commit):
            raise HubError(f"{endpoint()} does not answer as a Hub does: {short(self.commit)!r} is no commit of {repo}")

    @property
    def source(self) -> str:
        """The repo and the commit, as `vaekit.load` takes it."""
        return f"{self.repo}@{self.commit}"

    def first_of(self, *names: str) -> str | None:
        """The first of these that is there."""
        if not self._force:
            for name in names:
                if self._cached(name):
                    return name
        listing = self.listing
        return next((name for name in names if name in listing), None)

    def get(self, name: str, least: int, most: int) -> File:
        """A file of so many bytes, with the content that the Hub announced.

        Raises:
            HubError: where it cannot be had.
            CheckpointError: where its size or its content is not what it must be.
        """
        file = File(self._cached(name) or Path(), f"{self.repo}@{self.commit[:7]}/{name}")
        if file.path == Path() or (self._force and name not in self._fetched):
            self._check_size(file, self._announced(name).size, least, most)
            with self._explained():
                path = self._api.hf_hub_download(
                    self.repo, name, revision=self.commit, cache_dir=self._cache, force_download=self._force
                )
            file = File(Path(path), file.label)
            self._fetched.add(name)
        if not file.path.resolve().is_relative_to(self._cache):
            raise CheckpointError(f"{file} lies outside the cache {self._cache}, at {file.path.resolve()}: remove it")
        self._check_content(file, name)
        with file.opened() as (_, size):
            self._check_size(file, size, least, most)
        return file

    def names(self) -> Collection[str]:
        """Of the files of the commit, where the Hub was asked."""
        return self._listing or ()

    @property
    def answer(self) -> Answer | None:
        """What the Hub said of the repo, where it was asked."""
        return self._answers[-1] if self._answers else None

    @property
    def listing(self) -> dict[str, Listed]:
        """The files of the commit; asks the Hub where it has not been asked.

        Raises:
            HubError: where it cannot be reached.
        """
        if self._listing is None:
            self.ask()
        return self._listing or {}

    def ask(self) -> None:
        """Ask the Hub what the commit holds.

        Raises:
            HubError: where it cannot be reached.
        """
        if self._only_cache:
            raise HubError(f"not all of {self.repo} is in the cache, and local_files_only is set: leave it out")
        with self._explained():
            self._api.repo_info(self.repo, revision=self.commit)

    @property
    def _listing(self) -> dict[str, Listed] | None:
        return self.answer.files if self.answer and self.answer.sha == self.commit else None

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self.repo, self.revision, self._token, self._cache)

    def _announced(self, name: str) -> Listed:
        if name not in self.listing:
            raise HubError(f"{self.repo} has no {name} at {self.commit[:7]}")
        return self.listing[name]

    def _cached(self, name: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        with self._explained():
            found = try_to_load_from_cache(self.repo, name, cache_dir=self._cache, revision=self.commit)
        return Path(found) if isinstance(found, str) else None

    def _check_size(self, file: File, size: int, least: int, most: int) -> None:
        if not least <= size <= most:
            wanted = f"at most {most:,}" if least == 0 else f"{least:,} to {most:,}"
            raise CheckpointError(f"{file} has {size:,} bytes; {wanted} are expected, so it is not read")

    def _check_content(self, file: File, name: str) -> None:
        """Compare it with the hash that the Hub gave, and that the cache keeps as the name of the content."""
        blob = file.path.resolve()
        digest = self._listing[name].digest if self._listing and name in self._listing else blob.name
        if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", digest):
            return
        with file.opened() as (content, size):
            git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
            hashed = hashlib.sha256() if len(digest) == 64 else git
            while piece := content.read(2**20):
                hashed.update(piece)
        found = hashed.hexdigest()
        if found != digest:
            cure = "it is removed from the cache, so try again"
            try:
                for path in (blob, file.path):
                    path.unlink(missing_ok=True)
            except OSError as error:
                cure = f"it cannot be removed from the cache ({error.strerror}): remove {blob}, then try again"
            raise CheckpointError(f"{file} came damaged: its hash is {found[:12]}…, the Hub announced {digest[:12]}…; {cure}")


def reported(snapshot: Snapshot) -> list[tuple[str, str, float]]:
    """The data set, the metric and the value of each result that the card reports, as the Hub read it."""
    if snapshot.answer is None and snapshot.revision == snapshot.commit:  # which was looked up nowhere
        with suppress(HubError):
            snapshot.ask()
    rows = []
    for result in _results(snapshot.answer.results)[:100] if snapshot.answer else []:
        value = result.metric_value
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
            name = result.metric_name or result.metric_type
            rows.append((short(result.dataset_name), short(name), float(value)))
    return rows


_LARGEST = 1e12


def _results(index: Any) -> list["EvalResult"]:
    from huggingface_hub.repocard_data import model_index_to_eval_results

    try:
        return model_index_to_eval_results(index)[1]
    except Exception:  # a card may hold anything, and none that makes no sense reports anything
        return []


def _listening(token: str | bool | None) -> tuple["HfApi", list[Answer]]:
    """A client whose look-up of a revision also tells the files of the commit, in the same request; and its answers.

    What the Hub says is read here: the client's own reader takes the card's front matter for its arguments.
    """
    from huggingface_hub import get_session, hf_raise_for_status
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    api = client(token)
    answers: list[Answer] = []

    def repo_info(repo_id: str, *, revision: str | None = None, **_: Any) -> Answer:
        at = f"/revision/{quote(revision, safe='')}" if revision else ""
        response = get_session().get(
            f"{endpoint()}/api/models/{repo_id}{at}",
            params={"blobs": True},
            headers=build_hf_headers(token=api.token, library_name=api.library_name, library_version=api.library_version),
        )
        hf_raise_for_status(response)
        answers.append(_answer(response.json()))
        return answers[-1]

    api.repo_info = repo_info  # type: ignore[assignment, method-assign]
    return api, answers


def _answer(said: dict[str, Any]) -> Answer:
    files = {}
    for sibling in said["siblings"]:
        digest = sibling["lfs"]["sha256"] if sibling.get("lfs") else sibling.get("blobId")
        files[str(sibling["rfilename"])] = Listed(int(sibling.get("size") or 0), str(digest))
    card = said.get("cardData")
    return Answer(said["sha"], files, said.get("model-index") or (card.get("model-index") if isinstance(card, dict) else None))
