"""What goes wrong with data sets of the Hub, in one line that says what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from vaekit import DataError, HubError, VaekitError

FORMATS = ("parquet", "csv", "json", "imagefolder", "webdataset")
CONVERTED = "the Hub itself makes parquet files of most sets: hf:{}@refs/convert/parquet"


@contextmanager
def explained(name: str, revision: str | None = None, config: str | None = None) -> Iterator[None]:
    """Turn whatever `datasets` raises into one line that says what to do, without addresses of this machine."""
    try:
        yield
    except VaekitError:
        raise
    except Exception as error:
        raise _explanation(error, name, revision, config) from None


def _explanation(error: Exception, name: str, revision: str | None, config: str | None) -> VaekitError:
    chain: list[BaseException] = []
    now: BaseException | None = error
    while now is not None and now not in chain:
        chain.append(now)
        now = now.__cause__  # contexts besides are questions to the Hub whose answers were no failure
    kinds = {kind.__name__ for cause in chain for kind in type(cause).__mro__}
    kinds.update(re.findall(r"Hub either: (\w+)", str(error)))  # how `datasets` puts what led to it
    said = re.sub(r"\b(hf|api_org)_[\w.-]{16,}", "hf_…", " ".join(str(error).split()))
    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    if "GatedRepoError" in kinds or "is a gated dataset" in said:
        return HubError(f"{name} is gated: ask for access on its page, then {log_in}")
    if "RevisionNotFoundError" in kinds or said.startswith("Revision "):
        return HubError(f"{name} has no revision {revision or 'main'}: give a branch, a tag or a commit")
    if kinds & {"DatasetNotFoundError", "RepositoryNotFoundError"}:
        return HubError(f"no data set {name} on the Hub, or it is private: check the name; for a private one {log_in}")
    if kinds & {"OfflineModeIsEnabled", "ConnectionError", "TransportError", "TimeoutError", "LocalEntryNotFoundError"}:
        return HubError(f"the Hub cannot be reached, and {name} is streamed from there: check the network and HF_HUB_OFFLINE")
    if "HfHubHTTPError" in kinds:
        status = next((c.response.status_code for c in chain if hasattr(c, "response")), "none")
        return HubError(f"the Hub refuses {name} (status {status}): try later, or {log_in}")
    if "Dataset scripts" in said:
        return DataError(f"{name} is a script, and nobody's code is run; {CONVERTED.format(name)}")
    configs = re.search(r"(?:available configs|Available): (\[[^\]]*\])", said)
    if configs and config:
        one = re.fullmatch(r"\['([^']*)'\]", configs[1])
        holds = f"one set: hf:{name} takes it" if one else f"others: hf:{name}:CONFIG takes one of {configs[1][:200]}"
        return DataError(f"{name} has no set {config[:80]!r}, it holds {holds}")
    if configs:
        return DataError(f"{name} holds several sets: hf:{name}:CONFIG takes one of {configs[1][:200]}")
    if kinds & {"EmptyDatasetError", "DataFilesNotFoundError"}:
        return DataError(f"{name} holds no data files: {', '.join(FORMATS)} are read")
    told = re.sub(r"https?://\S+|(?<![\w:/])/[^\s'\",:]+", "…", said)[:160]
    return DataError(f"{name} cannot be read: {type(error).__name__}: {told}")
