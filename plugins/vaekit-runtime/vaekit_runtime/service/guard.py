"""What stands before the routes: how much is held, who still waits, and what is said when something is wrong."""

import asyncio
import logging
import time
from contextlib import ExitStack

from vaekit_runtime.service.exchange import App, Exchange, Gone, Message, Receive, Scope, Send
from vaekit_runtime.service.limits import Limits
from vaekit_runtime.service.metrics import Metrics
from vaekit_runtime.service.refused import Refused

ALWAYS = ("/health", "/metrics")
"""Routes that are answered while the service stops."""
_log = logging.getLogger("vaekit_runtime.service")


class Guard:
    """An ASGI app around the routes.

    A body is read whole before a route sees it. A route whose client goes away is cancelled. `scope["state"]["until_sent"]` is
    an ExitStack that a route may enter what it holds until its answer has been sent.

    Args:
        app: the routes.
        paths: of them; requests for others are counted as one.
        limits: on what is sent.
        metrics: that count the requests.

    Attributes:
        draining: whether nothing new is taken.
        at_once: requests that are being read and answered.
    """

    def __init__(self, app: App, paths: frozenset[str], limits: Limits, metrics: Metrics) -> None:
        self.draining = False
        self.at_once = 0
        self._app = app
        self._paths = paths
        self._limits = limits
        self._metrics = metrics
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        exchange = Exchange(receive, send, self._limits, lambda: self.draining)
        self.at_once += 1
        try:
            await self._answered(scope, exchange)
        except (Gone, TimeoutError):  # nobody listens, or takes what is sent
            exchange.give_up()
        finally:
            self.at_once -= 1
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.answered(path, exchange.status, time.perf_counter() - begun)

    async def _answered(self, scope: Scope, exchange: Exchange) -> None:
        """Have a request answered, or refused."""
        with ExitStack() as held:
            try:
                if self.draining and scope["path"] not in ALWAYS:
                    raise Refused(503, "the service is stopping: ask another, or again when it is back", retry=True)
                body = await exchange.read(scope, lambda size: self._claim(size, held))
                scope.setdefault("state", {})["until_sent"] = held
                await self._while_wanted(scope, body, exchange)
            except Refused as refused:
                await exchange.refuse(refused)
            except (Gone, TimeoutError):
                raise
            except asyncio.CancelledError:
                if not self.draining:
                    raise
                await exchange.refuse(Refused(503, "the service stopped before this was computed: ask another", retry=True))
            except Exception:  # of which the app has told the client no more than that it happened
                _log.exception("%s %s failed", scope["method"], scope["path"])

    def _claim(self, size: int, held: ExitStack) -> None:
        """Count bytes that are held until the answer has been sent."""
        if self._held + size > self._limits.max_held:
            raise Refused(429, "too much is being sent at once: ask again in a second", retry=True)
        self._held += size
        held.callback(self._release, size)

    def _release(self, size: int) -> None:
        self._held -= size

    async def _while_wanted(self, scope: Scope, body: bytes, exchange: Exchange) -> None:
        """Have a request answered, unless its client goes away meanwhile."""
        parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        answering = asyncio.current_task()
        assert answering is not None
        gone = False

        async def watch() -> None:
            nonlocal gone
            await exchange.gone()
            if not exchange.whole:
                gone = True
                answering.cancel()

        async def replayed() -> Message:
            return parts.pop() if parts else await asyncio.get_running_loop().create_future()

        watching = asyncio.create_task(watch())
        try:
            await self._app(scope, replayed, exchange.send)
        except asyncio.CancelledError:
            if not gone or answering.uncancel() > 0:
                raise
            raise Gone from None
        finally:
            watching.cancel()
