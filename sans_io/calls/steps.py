"""From a route to the steps of its dial; the one place that knows what a proxy changes."""

from __future__ import annotations

from ..http.proxies import Proxy
from ..http.tunnel import Tunnel
from ..policy.limits import DEFAULT_LIMITS, Limits
from ..policy.pool import Route
from .actions import StartTLS, Step, Tcp, TunnelThrough


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
