"""One try of a call: how far it got and how it ended, until it becomes a row of the ledger.

Rules of this file:
- It records; it decides nothing. What happens next is the Call's business, what a failure means is in `failures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..chat.response import Attempt, deferred
from ..errors import LLMError
from ..http.rate_limits import rate_limits
from ..policy.deadline import NEVER
from .scrub import credentials, scrub

if TYPE_CHECKING:
    from ..policy.pool import Route
    from ..policy.retry import Again
    from ..providers.base import Operation
    from .exchange import Exchange
    from .failures import ReportedFault


class Try:
    """The state of one attempt. `condition` is "ok" or the word for the retry table and the ledger."""

    __slots__ = (
        "condition", "connection", "content_at", "content_seen", "delivered_at", "error", "exchange", "finish_at",
        "keepalives_seen", "overdue", "reason", "sent", "sent_at", "started_at", "view", "write_failure",
    )  # fmt: skip

    def __init__(self, reason: str, now: float) -> None:
        self.reason = reason
        self.started_at = now
        #: "new" or "reused" once a connection was granted.
        self.connection: str | None = None
        self.exchange: Exchange | None = None
        self.condition = "ok"
        self.error: LLMError | None = None
        #: The request, and how many bytes of it were written.
        self.view = memoryview(b"")
        self.sent = 0
        self.sent_at = now
        #: Why writing failed, while we look for an early answer.
        self.write_failure: ReportedFault | None = None
        #: When the idle timer was last restarted (first, when the request was sent), and the exchange's counters then.
        self.content_at = now
        self.content_seen = 0
        self.keepalives_seen = 0
        #: When events were last handed over.
        self.delivered_at = now
        #: Until when we read on after all that counts has come.
        self.finish_at = NEVER
        #: The user asked for more after the deadline of the whole call: what had arrived was looked at.
        self.overdue = False

    @property
    def reused(self) -> bool:
        return self.connection == "reused"

    @property
    def may_be_billed(self) -> bool:
        """The request was sent in full, and no answer refuses it. (Of a gateway's status the Call asks the table.)"""
        exchange = self.exchange
        return (
            exchange is not None and exchange.sent_all and (exchange.head is None or 200 <= exchange.head.status < 300)
        )

    def failed(
        self, error: LLMError, condition: str, operation: Operation | None, route: Route, *, stream: bool
    ) -> None:
        """End with this error; it gets what the reply's head and body say, without our credentials in it."""
        self.error = error
        self.condition = condition
        exchange = self.exchange
        if exchange is not None:
            if exchange.head is not None:
                error.status_code = error.status_code or exchange.head.status
                error.rate_limits = error.rate_limits or rate_limits(exchange.head.headers)
                if operation is not None and error.request_id is None:
                    error.request_id = operation.request_id(exchange.head.headers)
            if stream and error.partial is None:
                error.partial = exchange.response()
        secrets = credentials(operation, route)
        scrub(error, secrets)
        if isinstance(error.__cause__, LLMError):
            scrub(error.__cause__, secrets)

    def row(self, number: int, now: float, operation: Operation | None, again: Again | None) -> Attempt:
        """The row of the ledger; `again` is the decision about the next attempt."""
        head = None if self.exchange is None else self.exchange.head
        return Attempt(
            number=number,
            started_at=self.started_at,
            ended_at=now,
            reason=self.reason,
            connection=self.connection,
            status=None if head is None else head.status,
            outcome="ok" if self.error is None else self.condition,
            error=None if self.error is None else type(self.error).__name__,
            request_id=self._request_id(operation),
            delay=None if again is None else again.delay,
            delay_reason=None if again is None else again.reason,
        )

    def _request_id(self, operation: Operation | None) -> str | None:
        """Found when somebody looks."""
        if self.error is not None and self.error.request_id is not None:
            return self.error.request_id
        head = None if self.exchange is None else self.exchange.head
        if head is None or operation is None:
            return None
        return deferred(head.read, operation.request_id)
