"""The control socket: HTTP/1.1 with JSON over a Unix socket, served by the director process.

Whoever may open the socket (mode 0660, group lvsd) may read; root and `operators=` may change,
which SO_PEERCRED decides for each connection. The server knows nothing of pools or kernels: it
asks a `Desk`, which the director implements. Hostile requests end in a status code: headers,
bodies and connections are bounded, every request has a time limit, and a desk that fails costs
its caller a 500 and nobody else anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Protocol, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from lvsd import log
from lvsd.control import metrics
from lvsd.control.following import RUN_HEADER, Followers, TooMany
from lvsd.control.history import History
from lvsd.control.status import Failure, PlanResult, ReloadResult, Status, Touched

#: Seconds a request may take from its first byte to its answer; a stepdown waits for the peer.
TIME_LIMIT = 30.0
#: Seconds a connection may stay open without sending a whole request.
IDLE_LIMIT = 10.0
MAX_BODY = 64 << 10
MAX_CONNECTIONS = 64
#: Of these, how many are for root alone: readers cannot lock it out.
RESERVED = 16
EVENTS = "/v1/events"
#: A day, which is longer than anybody means to wait for a drain.
MAX_DEADLINE = 7 * 86400.0

_UCRED = struct.Struct("iII")
Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]


class Desk(Protocol):
    """What the director offers to operators."""

    async def status(self) -> Status:
        """Everything at a glance."""
        ...

    async def drain(self, real: str, virtual: str | None, deadline: float | None) -> list[str]:
        """Take `real` (`ADDRESS` or `ADDRESS:PORT`) out of service in one or in all virtuals.

        `deadline` is seconds from now, after which the real counts as drained whatever is still
        connected. Returns `VIRTUAL REAL` for each one touched. Raises LookupError with a text for
        the operator when nothing matches.
        """
        ...

    async def undrain(self, real: str, virtual: str | None) -> list[str]:
        """Put `real` back into service. Returns and raises as `drain`."""
        ...

    async def reload(self) -> ReloadResult:
        """Read the configuration again and follow it; a bad one changes nothing."""
        ...

    async def plan(self) -> PlanResult:
        """What a reload would change in the kernel now; changes nothing."""
        ...

    async def stepdown(self, name: str, undo: bool) -> str:
        """Give up mastership of the router `name` ("" all), or take part again with `undo`.

        Returns "" when done, else the reason why not. Raises LookupError for an unknown name.
        """
        ...

    @property
    def history(self) -> History:
        """What happened lately."""
        ...

    def operators(self) -> Collection[str]:
        """Names of the users who may change things besides root."""
        ...


class DrainRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /v1/drain; `deadline` is seconds from now."""

    real: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    virtual: Annotated[str, msgspec.Meta(max_length=300)] | None = None
    deadline: Annotated[float, msgspec.Meta(gt=0, le=MAX_DEADLINE)] | None = None


class UndrainRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /v1/undrain."""

    real: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    virtual: Annotated[str, msgspec.Meta(max_length=300)] | None = None


class StepdownRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /v1/stepdown; no name means every router."""

    name: Annotated[str, msgspec.Meta(max_length=300)] = ""
    undo: bool = False


async def serve(listening: socket.socket, desk: Desk) -> ControlServer:
    """Answer on `listening`, a listening AF_UNIX stream socket, until the result is closed.

    The socket stays open and its path in place afterwards: another process may share it.
    """
    listening.setblocking(False)
    followers = Followers(desk.history)
    server = _Server(_Requests(desk), followers)
    loop = asyncio.get_running_loop()
    # create_server, since create_unix_server removes the path when it closes (Python 3.13).
    acceptor = await loop.create_server(server, sock=listening.dup(), backlog=MAX_CONNECTIONS)
    return ControlServer(acceptor, server, desk.history)


class ControlServer:
    """A serving control socket."""

    def __init__(self, acceptor: asyncio.Server, server: _Server, history: History) -> None:
        self._acceptor = acceptor
        self._server = server
        self._history = history

    async def close(self) -> None:
        """Stop accepting, give running requests a second, then cut them off."""
        self._acceptor.close()
        self._history.close()
        self._server.pre_shutdown()
        await self._server.shutdown(timeout=1.0)


class _Faults(logging.Handler):
    """aiohttp's complaints as events of ours: only a desk that fails is worth a line."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, HttpProcessingError):
            log.get().error("control_failed", error=repr(error), exc_info=error)


_faults = logging.Logger("lvsd.control", logging.WARNING)
_faults.addHandler(_Faults())


class _Server(web.Server):
    """Bounds the number of connections, and the time one may sit there without a request."""

    def __init__(self, requests: _Requests, followers: Followers) -> None:
        super().__init__(
            self._serve,
            keepalive_timeout=IDLE_LIMIT,
            lingering_time=0,
            auto_decompress=False,
            access_log=None,
            logger=_faults,
        )
        self._requests = requests
        self._followers = followers
        self._busy: set[web.RequestHandler] = set()
        self._expiry: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        limit = MAX_CONNECTIONS if peer_uid(transport) == 0 else MAX_CONNECTIONS - RESERVED
        if len(self.connections) > limit:
            # Not at once: aiohttp's handler must have begun before it can be ended.
            asyncio.get_running_loop().call_soon(transport.abort)
            return
        self._watch(handler)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        if expiry := self._expiry.pop(handler, None):
            expiry.cancel()

    def _watch(self, handler: web.RequestHandler) -> None:
        loop = asyncio.get_running_loop()
        self._expiry[handler] = loop.call_later(IDLE_LIMIT, self._expire, handler)

    def _expire(self, handler: web.RequestHandler) -> None:
        if handler in self._busy:
            self._watch(handler)
        elif handler.transport is not None:
            handler.transport.abort()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = request.protocol
        self._busy.add(handler)
        try:
            if request.path == EVENTS and request.query.get("follow"):
                return await self._follow(request)
            async with asyncio.timeout(TIME_LIMIT):
                return await self._requests.answer(request)
        except TimeoutError:
            return _failure(504, f"no answer within {TIME_LIMIT:g} s")
        finally:
            self._busy.discard(handler)

    async def _follow(self, request: web.BaseRequest) -> web.StreamResponse:
        """The one answer that has no end of its own, and so no limit in time."""
        if request.method != "GET":
            return _failure(405, "this path takes GET", {"Allow": "GET"})
        try:
            return await self._followers.follow(request, *_position(request))
        except _Refused as refused:
            return _failure(refused.status, refused.text)
        except TooMany as refusal:
            return _failure(503, str(refusal))


class _Requests:
    """One method per path; each raises `_Refused` for what it will not do."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._paths: dict[str, dict[str, Handler]] = {
            "/v1/status": {"GET": self._status},
            EVENTS: {"GET": self._events},
            "/v1/plan": {"GET": self._plan},
            "/v1/drain": {"POST": self._drain},
            "/v1/undrain": {"POST": self._undrain},
            "/v1/reload": {"POST": self._reload},
            "/v1/stepdown": {"POST": self._stepdown},
            "/metrics": {"GET": self._metrics},
        }

    async def answer(self, request: web.BaseRequest) -> web.Response:
        methods = self._paths.get(request.path)
        if methods is None:
            return _failure(404, "no such path; see docs/commands.md for those that exist")
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(methods)
            return _failure(405, f"this path takes {allowed}", {"Allow": allowed})
        try:
            if request.method == "POST":
                self._authorise(request)
            return await handler(request)
        except _Refused as refused:
            return _failure(refused.status, refused.text)
        except LookupError as unknown:
            return _failure(404, str(unknown.args[0]) if unknown.args else "not found")

    def _authorise(self, request: web.BaseRequest) -> None:
        """Changing is for root and the configured operators."""
        uid = peer_uid(request.transport)
        if uid == 0:
            return
        if uid is not None:
            for name in self._desk.operators():
                with contextlib.suppress(KeyError):  # a name this host does not know
                    if pwd.getpwnam(name).pw_uid == uid:
                        return
        raise _Refused(403, "only root and the users named by operators= may change things")

    async def _status(self, request: web.BaseRequest) -> web.Response:
        return _json(await self._desk.status())

    async def _events(self, request: web.BaseRequest) -> web.Response:
        history = self._desk.history
        body = b"[" + b",\n".join(history.since(*_position(request))[0]) + b"]\n"
        headers = {RUN_HEADER: history.run}
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _plan(self, request: web.BaseRequest) -> web.Response:
        return _json(await self._desk.plan())

    async def _drain(self, request: web.BaseRequest) -> web.Response:
        wish = await _body(request, DrainRequest)
        touched = await self._desk.drain(wish.real, wish.virtual, wish.deadline)
        return _json(Touched(touched=touched))

    async def _undrain(self, request: web.BaseRequest) -> web.Response:
        wish = await _body(request, UndrainRequest)
        return _json(Touched(touched=await self._desk.undrain(wish.real, wish.virtual)))

    async def _reload(self, request: web.BaseRequest) -> web.Response:
        return _json(await self._desk.reload())

    async def _stepdown(self, request: web.BaseRequest) -> web.Response:
        wish = await _body(request, StepdownRequest)
        if error := await self._desk.stepdown(wish.name, wish.undo):
            raise _Refused(409, error)
        return _json(Touched(touched=[wish.name] if wish.name else []))

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        text = metrics.render(await self._desk.status())
        return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})


class _Refused(Exception):
    """A request that gets `status` and `text` instead of an answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def _position(request: web.BaseRequest) -> tuple[int, str]:
    """`since=` and `run=` of a request for events."""
    since = request.query.get("since", "0")
    if not (since.isascii() and since.isdigit() and len(since) <= 15):
        raise _Refused(400, "since= takes the number of an event")
    return int(since), request.query.get("run", "")


def peer_uid(transport: asyncio.BaseTransport | None) -> int | None:
    """The user at the other end (SO_PEERCRED, unix(7)); None when it is already gone."""
    peer = transport.get_extra_info("socket") if transport is not None else None
    if peer is None:
        return None
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _pid, uid, _gid = _UCRED.unpack(credentials)
    return int(uid)


Body = TypeVar("Body", bound=msgspec.Struct)


async def _body(request: web.BaseRequest, kind: type[Body]) -> Body:
    """The request's JSON as `kind`; an empty body counts as `{}`."""
    received = bytearray()
    async for chunk in request.content.iter_any():
        received += chunk
        if len(received) > MAX_BODY:
            raise _Refused(413, f"the body is longer than {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(bytes(received) or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(400, f"the body is not what this path takes: {error}") from error


def _json(answer: msgspec.Struct) -> web.Response:
    body = msgspec.json.encode(answer) + b"\n"
    return web.Response(body=body, content_type="application/json")


def _failure(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode(Failure(error=text)) + b"\n"
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
