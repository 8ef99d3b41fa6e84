"""A tunnel through an HTTP proxy: CONNECT as an exchange of its own (RFC 9110 section 9.3.6).

Rules of this file:
- Proxy credentials are in this request and in forwarded plain-http requests, nowhere else.
- Bytes after the head of a 2xx are an error: the client speaks first in TLS, so no honest peer has sent anything yet.
- The proxy's answer has its own small cap, and its body is never read.
- A gateway's status (502, 503, 504) says that the server was not reached: another time it may be. Any other refusal
  would come again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..limits import DEFAULT_LIMITS, Limits
from ..records import replace
from .http11 import HTTPExchange, render_connect

if TYPE_CHECKING:
    from .heads import ResponseHead
    from .proxies import Proxy
    from .urls import Origin


def refusal(head: ResponseHead, proxy: Proxy) -> str:
    """What a proxy answered, and what to do about it."""
    # The reason phrase is the proxy's own text: shown short and without control characters.
    reason = "".join(char for char in head.reason if char.isprintable())
    if proxy.authorization is not None:
        reason = proxy.authorization.hide(reason)
    shown = f"{head.status} {reason[:80]}".rstrip()
    if head.status in (401, 407):
        given = proxy.authorization is not None
        shown += (
            f" ({'check the' if given else 'put its'} user name and password {'in' if given else 'into'} the proxy URL)"
        )
    return shown


class Tunnel:
    """Send `request()`, then feed `receive_data` until `done` or `error` is set; then begin TLS, or close.

    `done`: the proxy opened the tunnel. `error`: one line saying why not; `unreached`: because the proxy did not reach
    the server. `surplus`: bytes followed a 2xx head (`error` is set as well). A tunnel serves one connection.
    """

    __slots__ = ("_exchange", "done", "error", "origin", "proxy", "unreached")

    def __init__(self, origin: Origin, proxy: Proxy, limits: Limits = DEFAULT_LIMITS) -> None:
        self.origin = origin
        self.proxy = proxy
        self._exchange = HTTPExchange("CONNECT", replace(limits, max_head=min(limits.max_head, limits.max_tunnel_head)))
        self.done = False
        self.error: str | None = None
        self.unreached = False

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
            self.error = f"the proxy refused the tunnel: {refusal(head, self.proxy)}"
            self.unreached = head.status in (502, 503, 504)
        elif exchange.error is not None:
            self.error = f"the proxy gave no valid HTTP reply: {exchange.error.message}"

    def __repr__(self) -> str:
        return f"Tunnel({self.origin}, {self.proxy!r})"
