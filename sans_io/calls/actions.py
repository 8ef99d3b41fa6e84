"""What a Call asks of its transport. One action is outstanding at a time (R3); asking again returns an equal one.

Each docstring names the input that answers it. Any action may be answered by `on_error(kind, now, ...)` instead.
Those of every call are not frozen: a frozen dataclass costs 1,000 instructions a field to make, a plain one 150.
Nobody changes one but the Call itself, which keeps its one `Receive` and moves the deadline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ..http.proxies import Proxy
from ..http.tunnel import Tunnel
from ..limits import DEFAULT_LIMITS, Limits
from ..policy.pool import Route
from ..records import dataclass

if TYPE_CHECKING:
    from ..chat.events import Event


@dataclass(frozen=True, slots=True)
class Authorize:
    """Ask the caller's callable for a fresh credential. Answer `on_authorized(operation, now)`.

    `refresh` is True for the one time it is asked again after a 401.
    """

    refresh: bool
    deadline: float


@dataclass(slots=True)
class Acquire:
    """Take a seat in the pool for this route. Answer `on_acquired(reused, now)`.

    `fresh` True: do not grant an idle connection (the last one turned out dead), dial.
    """

    route: Route
    deadline: float
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Tcp:
    """A step of `Connect`: resolve the host and open a TCP connection."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TunnelThrough:
    """A step of `Connect`: run an HTTP CONNECT exchange on the connection (send `tunnel.request()`, feed replies)."""

    tunnel: Tunnel


@dataclass(frozen=True, slots=True)
class StartTLS:
    """A step of `Connect`: TLS over what stands, verifying `name` (a DNS name or an IP address)."""

    name: str


Step: TypeAlias = Tcp | TunnelThrough | StartTLS


@dataclass(frozen=True, slots=True)
class Connect:
    """Dial, doing the steps in order. Answer `on_connected(now)`."""

    steps: tuple[Step, ...]
    deadline: float


@dataclass(slots=True)
class Send:
    """Write all of `data` (a memoryview, so that a traceback's locals never show a key). Answer `on_sent(now, early)`.

    `more` True: this is not the last piece; `early` then says whether the peer has answered already (`unread()`).
    """

    data: memoryview
    deadline: float
    more: bool = False


@dataclass(slots=True)
class Receive:
    """Read once. Answer `on_data(data, now)`, or `on_eof(now)` at the end of the stream.

    Once the deadline has passed, or where it had passed before, look without waiting: everything that has arrived by
    now is data, and only nothing at all is a timeout.
    """

    max_bytes: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing until the absolute time `until`. Answer `on_waited(now)`."""

    until: float


@dataclass(slots=True)
class Deliver:
    """Hand these events to the user, in order. Answer `on_delivered(now)` once the user asks for more."""

    events: list[Event]


@dataclass(slots=True)
class Release:
    """Give the seat (and the connection on it, if any) back to the pool. Answer `on_released(now)`.

    `reusable` False means: destroy the connection. `idle_hint` is what the server promised with `Keep-Alive:
    timeout=` (seconds, already reduced), or None.
    """

    reusable: bool
    idle_hint: float | None = None


Action: TypeAlias = Authorize | Acquire | Connect | Send | Receive | Wait | Deliver | Release


def dial_steps(route: Route, limits: Limits = DEFAULT_LIMITS) -> tuple[Step, ...]:
    """TCP to the proxy or the origin; for https a tunnel through the proxy, then TLS with the origin's own name."""
    origin, proxy = route.origin, route.proxy
    peer = origin if proxy is None else proxy
    steps: tuple[Step, ...] = (Tcp(peer.host, peer.port),)
    if origin.scheme != "https":
        return steps
    if proxy is not None:
        steps = (*steps, TunnelThrough(Tunnel(origin, proxy, limits)))
    return (*steps, StartTLS(origin.host))


def forwarding_proxy(route: Route) -> Proxy | None:
    """The proxy that must see the whole request (plain http is forwarded, https is tunnelled)."""
    return route.proxy if route.origin.scheme == "http" else None
