"""From what a person typed to a page that is served, until it is stopped."""

import itertools
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from vaekit import VAE, ConfigError, DataError, Examples, VaekitError, inputs, load
from vaekit.errors import short
from vaekit.io import look, run_of, title
from vaekit.runs import Run
from vaekit.stopping import unwound
from vaekit_demo.engine.shown import Origin, Shown
from vaekit_demo.importing import uncollected

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FIRST_PORT, PORTS = 7860, 100


def launch(
    models: Sequence[str] | str,
    *,
    host: str | None = None,
    port: int | None = None,
    mcp: bool = False,
    data_root: str | Path | None = None,
    train: bool = True,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve the demo of some models until it is stopped by Ctrl-C or SIGTERM.

    Nothing but models is ever downloaded: where their test data are not at hand, the page shows draws from the prior.

    Args:
        models: runs, model folders or repos on the Hub.
        host: the address to listen on; this machine's own unless GRADIO_SERVER_NAME says another.
        port: to listen on; the first that is free from 7860.
        mcp: whether to be an MCP server too.
        data_root: where data sets are.
        train: whether to offer training, which is on this machine's own address only; not where that is behind a proxy.
        ready: is told the address once the page is served; it is printed unless given.

    Raises:
        VaekitError: where a model cannot be loaded, or the address is taken.
    """
    names = [models] if isinstance(models, str) else list(models)
    if not names:
        raise ConfigError("no model: give a run, a model folder or a repo on the Hub")
    if len(names) > MOST_MODELS:
        raise ConfigError(f"{len(names)} models are more than the {MOST_MODELS} that are shown at a time")
    address = host or os.environ.get("GRADIO_SERVER_NAME") or LOOPBACK[0]
    asked = port if port is not None else _from_environment()
    chosen = _port(address, asked)
    with unwound(), _kept_clean():
        shown = _shown(names, data_root)
        with uncollected():
            from vaekit_demo.app import serve  # here, since the folder that Gradio keeps files in has been settled now

        teaching = train and address in LOOPBACK
        with _stoppable() as wait, serve(shown, address, chosen, mcp=mcp, teaching=teaching) as url:
            (ready or _print)(url)
            wait()


MOST_MODELS = 16


def shown_of(key: str, title: str, name: str, data_root: str | Path | None = None, given: VAE | None = None) -> Shown:
    """A model to show, with the test set of its data where that is at hand.

    Args:
        key: what a page is to call it.
        title: what people call it.
        name: a run, a model folder or a repo.
        data_root: where data sets are.
        given: the model itself, where it has been loaded.

    Raises:
        VaekitError: where it cannot be loaded.
    """
    model = given or load(name)

    def find() -> Examples:
        try:
            test, _ = inputs.examples_of(name, model, root=data_root, download=False)
            if test.shape != model.data_shape:
                raise ConfigError(f"its data have examples of shape {test.shape}, and the model takes {model.data_shape}")
            if model.conditional and test.y is None:
                raise ConfigError("the model is told a class, and its data have no labels")
        except VaekitError as error:  # which may name folders that are nobody's business on a page
            sys.stderr.write(f"{title}: no test examples: {error}\n")
            raise DataError(f"The test set of {_data(model)} is not on this server, and nothing is downloaded.") from None
        return test

    return Shown(key, title, model, find, _origin(name, model))


def _origin(name: str, model: VAE) -> Origin:
    """What may be said of where a model is from; found out once, since `latest` may be another soon."""
    run = run_of(name)
    if run is not None:
        return Origin(_named(run), measured=tuple(_of_run(Run(run))))
    if model.source and not Path(model.source).exists():
        return Origin(model.source, measured=tuple(_reported(model.source)))
    return Origin(_named(Path(name)))


def _reported(source: str) -> list[tuple[str, str, str]]:
    """What the card on the Hub says was measured; nothing where the Hub cannot be asked, as the model can be shown without."""
    try:
        reported = look(source).reported
    except VaekitError:
        return []
    return [(what, f"{value:g}", f"reported on its card, of {data}") for data, what, value in reported]


def _named(folder: Path) -> str:
    """A folder as somebody here would name it; of one elsewhere no more than its own name."""
    try:
        return str(folder.resolve().relative_to(Path.cwd()))
    except ValueError:
        return folder.resolve().name


def _of_run(run: Run) -> Iterator[tuple[str, str, str]]:
    measured = run.evaluation or {}
    tested = run.tested or {}
    data = str(run.record["config"]["data"]["name"])
    names = {"nelbo": "negative ELBO", "reconstruction": "reconstruction", "kl": "KL"}
    for name, spoken in names.items():
        value = measured.get(name, tested.get(name))
        if isinstance(value, int | float):
            yield f"{spoken}, nats", f"{value:.2f}", f"the test set of {data}"
    if isinstance(measured.get("nll"), int | float):
        within = f"{measured['k']} importance samples, {measured['nll_examples']:,} test examples"
        yield "negative log-likelihood, nats", f"{measured['nll']:.2f}", within
    if isinstance(measured.get("bits_per_dim"), int | float):
        yield "bits per dimension", f"{measured['bits_per_dim']:.3f}", "of that"


def _data(model: VAE) -> str:
    return model.config.data.name if model.config and model.config.data else "its data"


def _shown(names: Sequence[str], data_root: str | Path | None) -> list[Shown]:
    titles = [title(name) for name in names]
    keys: list[str] = []
    for called in titles:
        slug = re.sub("[^a-z0-9]+", "-", called.lower()).strip("-")[:48] or "model"
        numbered = (slug if i == 1 else f"{slug}-{i}" for i in itertools.count(1))
        keys.append(next(key for key in numbered if key not in keys))
    return [shown_of(key, title, name, data_root) for key, title, name in zip(keys, titles, names, strict=True)]


def _from_environment() -> int | None:
    given = os.environ.get("GRADIO_SERVER_PORT", "")
    if given and not (given.isdecimal() and 0 < int(given) < 65536):
        raise ConfigError(f"GRADIO_SERVER_PORT is {short(given)!r}: a port is a number from 1 to 65535")
    return int(given) if given else None


def _port(host: str, asked: int | None) -> int:
    """The port to listen on.

    Raises:
        ConfigError: where it cannot be listened on, saying why.
    """
    for port in [asked] if asked is not None else range(FIRST_PORT, FIRST_PORT + PORTS):
        why = _refusal(host, port)
        if not why:
            return port
        if asked is not None:
            raise ConfigError(f"port {port} of {host} cannot be listened on ({why}): give another --port")
    raise ConfigError(
        f"no port of {host} from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} can be listened on ({why}): give a --port"
    )


def _refusal(host: str, port: int) -> str:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            if os.name != "nt":
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""


@contextmanager
def _kept_clean() -> Iterator[None]:
    """A block whose files for visitors lie in a folder of their own, which goes with it."""
    with TemporaryDirectory(prefix="vaekit-demo-") as folder:
        before = {name: os.environ.get(name) for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED")}
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _stoppable() -> Iterator[Callable[[], None]]:
    """A block that is given what waits for Ctrl-C or SIGTERM, and is left in peace by them; handlers are put back after.

    A handler does no more than note it, since locks may be held where it runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield _for_ever
        return
    noted: list[int] = []

    def wait() -> None:
        while not noted:
            time.sleep(0.1)

    before = {number: signal.signal(number, lambda number, _: noted.append(number)) for number in _STOPPING}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _for_ever() -> None:
    threading.Event().wait()


_STOPPING = (signal.SIGINT, signal.SIGTERM)


def _print(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
