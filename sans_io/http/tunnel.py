"""A tunnel through an HTTP proxy: CONNECT as an exchange of its own (RFC 9110 section 9.3.6).

Rules of this file:
- Proxy credentials are in this request and in forwarded plain-http requests, nowhere else.
- Bytes after the head of a 2xx are an error: the client speaks first in TLS, so no honest peer has sent anything yet.
- The proxy's answer has its own small cap, and its body is never read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..limits import DEFAULT_LIMITS, Limits
from ..records import replace
from .http11 import HTTPExchange, render_connect

if TYPE_CHECKING:
    from .proxies import Proxy
    from .urls import Origin


class Tunnel:
    """Send `request()`, then feed `receive_data` until `done` or `error` is set; then begin TLS, or close.

    `done`: the proxy opened the tunnel. `error`: one line saying why not. `surplus`: bytes followed a 2xx head
    (`error` is set as well). A tunnel serves one connection.
    """

    __slots__ = ("_exchange", "done", "error", "origin", "proxy")

    def __init__(self, origin: Origin, proxy: Proxy, limits: Limits = DEFAULT_LIMITS) -> None:
        self.origin = origin
        self.proxy = proxy
        self._exchange = HTTPExchange("CONNECT", replace(limits, max_head=min(limits.max_head, limits.max_tunnel_head)))
        self.done = False
        self.error: str | None = None

    @property
    def surplus(self) -> bool:
        return self._exchange.surplus

    def request(self) -> memoryview:
        """The bytes to send first."""
        return render_connect(self.origin, self.proxy)

    def receive_data(self, data: bytes) -> None:
        """Bytes from the proxy, cut anywhere. Look at `done` and `error` afterwards."""
        if self.error is None:
            self._exchange.receive_data(data)
            self._judge()

    def receive_eof(self) -> None:
        """The proxy closed the connection."""
        if self.error is None and not self.done:
            self._exchange.receive_eof()
            self._judge()

    def _judge(self) -> None:
        exchange = self._exchange
        head = exchange.head
        if exchange.surplus:
            self.done = False
            self.error = "the proxy sent data through the tunnel before it was used"
        elif head is not None and 200 <= head.status < 300:
            self.done = True
        elif head is not None:
            # The reason phrase is the proxy's own text: shown short and without control characters.
            reason = "".join(char for char in head.reason if char.isprintable())
            if self.proxy.authorization is not None:
                reason = self.proxy.authorization.hide(reason)
            self.error = f"the proxy refused the tunnel: {head.status} {reason[:80]}".rstrip()
            if head.status == 407:
                self.error += " (put its user name and password into the proxy URL)"
        elif exchange.error is not None:
            self.error = f"the proxy gave no valid HTTP reply: {exchange.error.message}"

    def __repr__(self) -> str:
        return f"Tunnel({self.origin}, {self.proxy!r})"
