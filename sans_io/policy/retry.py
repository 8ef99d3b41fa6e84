"""Whether and when a failed attempt is retried: tables, backoff, budget. `http.server_hints` reads hints.

    failure ──classify()──> class ──RetryState.on_failure()──> Again(at) | Stop(why)

Rules of this file:
- Retryability is data: a frozen `RetryTable` per codec, looked up by code, then status, or by fault (§ "tables"), where
  the error's own class does not say it already.
- No dice: jitter comes from a 64-bit seed, so a run can be replayed.
- A server's hint is never shortened: later than the deadline or beyond `max_retry_after` means stop, not clamp.
- The budget never waits: if it is empty, the original error is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias

from ..errors import LLMAuthError, LLMBadRequestError, LLMError, LLMNotFoundError, LLMQuotaError, LLMRateLimitError
from ..limits import is_count, is_seconds, shown
from ..records import dataclass, field
from .dice import Dice

RetryClass: TypeAlias = Literal["A", "B", "B1", "C", "D", "E", "E1"]

#: Unseen by the server: name resolution, connect, TLS, or a reused connection that was dead when it was written to.
TRANSPARENT: Final = "A"
#: Likely to pass: retried with backoff.
TRANSIENT: Final = "B"
#: Transient the first time it happens in a call, fatal the second.
ONCE: Final = "B1"
#: The server asks for fewer requests: longer backoff, or its own hint.
THROTTLED: Final = "C"
#: It would fail again.
FATAL: Final = "D"
#: It may have run and been billed: no byte came back, or a gateway had no answer to pass on.
AMBIGUOUS: Final = "E"
#: Ambiguous the first time it happens in a call, fatal the second: a reply came and was unusable.
AMBIGUOUS_ONCE: Final = "E1"

#: What `retry_ambiguous=False` does not try again, and what sets `may_be_billed`.
MAY_HAVE_RUN: Final[frozenset[RetryClass]] = frozenset((AMBIGUOUS, AMBIGUOUS_ONCE))
_ONLY_ONCE: Final[frozenset[RetryClass]] = frozenset((ONCE, AMBIGUOUS_ONCE))

#: Errors whose request would fail again.
_FINAL: Final = (LLMAuthError, LLMBadRequestError, LLMNotFoundError, LLMQuotaError)

_STATUSES: Final[Mapping[int, RetryClass]] = {
    400: FATAL, 401: FATAL, 402: FATAL, 403: FATAL, 404: FATAL, 408: TRANSIENT, 409: FATAL, 413: FATAL, 422: FATAL,
    429: THROTTLED, 498: THROTTLED, 500: TRANSIENT, 502: AMBIGUOUS, 503: TRANSIENT, 504: AMBIGUOUS, 520: TRANSIENT,
    521: TRANSIENT, 522: TRANSIENT, 523: TRANSIENT, 524: AMBIGUOUS, 529: THROTTLED, 530: TRANSIENT,
}  # fmt: skip

_CODES: Final[Mapping[str, RetryClass]] = {
    "insufficient_quota": FATAL,
    "quota": FATAL,
    "content_filter": FATAL,
    "context_length_exceeded": FATAL,
    "overloaded": THROTTLED,
    "overloaded_error": THROTTLED,
    "rate_limit_error": THROTTLED,
    "rate_limit_exceeded": THROTTLED,
    "slow_down": THROTTLED,
}

#: Codes that say no more than that the request failed. A status says more: a request that ended in a gateway's 504 may
#: have run whatever code its body has, and such a code does not make a 401 retryable.
_EVENTS: Final[Mapping[str, RetryClass]] = {
    "api_error": TRANSIENT,
    "server_error": TRANSIENT,
    "timeout_error": AMBIGUOUS,
}

#: What happened to an attempt other than an answer with a status. "stale" is a reused connection that took no request,
#: or died within a round trip of it without a byte; "no_reply" is any other that died without a byte after the request
#: was sent; "first_token" the timer.
_FAULTS: Final[Mapping[str, RetryClass]] = {
    "refused": TRANSPARENT,
    "unreachable": TRANSPARENT,
    "connect_reset": TRANSPARENT,
    "connect_timeout": TRANSPARENT,
    "dns_temporary": TRANSPARENT,
    "tls_failed": TRANSPARENT,
    "stale": TRANSPARENT,
    "dns_failed": FATAL,
    "tls_verify": FATAL,
    "proxy_refused": FATAL,
    "too_many_files": FATAL,
    "pool_timeout": FATAL,
    "pool_closed": FATAL,
    "auth_callable": FATAL,
    "local": FATAL,
    "write_failed": TRANSIENT,
    "write_timeout": TRANSIENT,
    "no_reply": AMBIGUOUS,
    "first_token": AMBIGUOUS,
    "truncated": AMBIGUOUS_ONCE,
    "garbled": AMBIGUOUS_ONCE,
    "oversize": AMBIGUOUS_ONCE,
    "wrong_type": AMBIGUOUS_ONCE,
    "idle": AMBIGUOUS,
    "redirect": FATAL,
    "deadline": FATAL,
    "cancelled": FATAL,
}


@dataclass(frozen=True, slots=True)
class RetryTable:
    """Retryability as data. `codes` (a provider's error code or type) wins over `statuses`; `events` are codes that
    count only where there is no status, in an error event inside a 2xx; `faults` is the rest.
    """

    statuses: Mapping[int, RetryClass]
    codes: Mapping[str, RetryClass]
    events: Mapping[str, RetryClass]
    faults: Mapping[str, RetryClass]

    def of_fault(self, condition: str) -> RetryClass:
        return self.faults.get(condition, FATAL)

    def of_error(self, error: LLMError, status: int | None) -> RetryClass:
        """The class of an error that a reply was read as, whose own class all the evidence has chosen; `status` is that
        of the reply, or one named inside a 2xx. What is too large (413) never fits, even where a rate is too small.
        """
        if isinstance(error, _FINAL) or status == 413:
            return FATAL
        if isinstance(error, LLMRateLimitError):
            return THROTTLED
        return self.of_reply(status, error.code, error.error_type)

    def of_reply(self, status: int | None, code: str | None, error_type: str | None) -> RetryClass:
        """The class of an error reply, or of an error event inside a stream (`status` None)."""
        words = [word for word in (code, error_type) if word is not None]
        for word in words:
            if word in self.codes:
                return self.codes[word]
        if status is None or 200 <= status < 300:
            return next((self.events[word] for word in words if word in self.events), FATAL)
        known = self.statuses.get(status)
        if known is not None:
            return known
        return TRANSIENT if 500 <= status < 600 else FATAL


def retry_table(
    *,
    statuses: Mapping[int, RetryClass] = MappingProxyType({}),
    codes: Mapping[str, RetryClass] = MappingProxyType({}),
    events: Mapping[str, RetryClass] = MappingProxyType({}),
    faults: Mapping[str, RetryClass] = MappingProxyType({}),
) -> RetryTable:
    """The common table with a provider's own cells."""
    return RetryTable(
        statuses=MappingProxyType({**_STATUSES, **statuses}),
        codes=MappingProxyType({**_CODES, **codes}),
        events=MappingProxyType({**_EVENTS, **events}),
        faults=MappingProxyType({**_FAULTS, **faults}),
    )


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently. Seconds.

    `max_retries` counts every attempt after the first except two: the one free retry when a reused connection turns
    out to be dead as it is written to, and the one with a renewed credential. Backoff is full jitter: uniform in
    (0, base * 2**n), at most `max_backoff`; what a server asks for is a floor under it. `max_retry_after`: a server
    asking for more is not waited for.

    `retry_ambiguous=False` raises at once, with `may_be_billed`, where the request may have run: nothing came back, a
    2xx answer was cut, garbled, compressed, too large or of the wrong type, a stream ended before its first event, the
    status was 502, 504 or 524, or an error event reported a timeout. Any other error that the server itself reports
    (408, 429, 500, 503, an error event) is its word that there will be no answer, and is retried.
    """

    max_retries: int = 3
    base_transient: float = 0.5
    base_throttled: float = 2.0
    max_backoff: float = 30.0
    max_retry_after: float = 60.0
    retry_ambiguous: bool = True

    def __post_init__(self) -> None:
        if not is_count(self.max_retries):
            raise ValueError(f"max_retries must be an integer of at least 0, not {shown(self.max_retries)}")
        for name in ("base_transient", "base_throttled", "max_backoff", "max_retry_after"):
            value = getattr(self, name)
            if not is_seconds(value):
                raise ValueError(f"RetryPolicy.{name} must be a number of seconds of at least 0, not {shown(value)}")


class Budget(Protocol):
    """What a Call needs from a budget; `cloud` wraps one in a lock where threads share it."""

    def take(self, cost: int, now: float) -> int | None: ...
    def refund(self, cost: int) -> None: ...
    def on_success(self) -> None: ...


class RetryBudget:
    """Tokens shared by all calls of one (origin, credential), so that an outage does not cause a storm of retries.

    500 tokens; a retry takes its cost, given back when it succeeds; a call without a retry adds one. An empty budget
    still lets `floor` retries a minute through. Hence in any window: cost of the retries that failed
    <= 500 + clean successes + cost of the floor's. What a throttling server schedules costs nothing. It follows
    the retry quota of the AWS SDKs.
    """

    __slots__ = ("_floored", "floor", "max_tokens", "tokens")

    def __init__(self, max_tokens: int = 500, floor: int = 6) -> None:
        self.max_tokens = max_tokens
        self.tokens = max_tokens
        self.floor = floor
        #: When the last retries on an empty budget were made. A tuple, since most budgets never have one: an empty
        #: deque takes 600 bytes, and a server of many tenants keeps thousands of budgets.
        self._floored: tuple[float, ...] = ()

    @property
    def untouched(self) -> bool:
        """Whether forgetting this budget changes nothing."""
        return self.tokens == self.max_tokens and not self._floored

    def take(self, cost: int, now: float) -> int | None:
        """The tokens taken for a retry (0 for one that the floor allows), or None if there may be no retry."""
        if cost <= self.tokens:
            self.tokens -= cost
            return cost
        recent = tuple(at for at in self._floored if now - at < 60.0)
        if len(recent) >= self.floor:
            return None
        self._floored = (*recent, now)
        return 0

    def refund(self, cost: int) -> None:
        self.tokens = min(self.max_tokens, self.tokens + cost)

    def on_success(self) -> None:
        self.tokens = min(self.max_tokens, self.tokens + 1)


#: Tokens that a retry costs. A throttled one for which the server has named the time is no outage: it costs nothing.
COSTS: Final[Mapping[RetryClass, int]] = MappingProxyType(
    {"A": 14, "B": 14, "B1": 14, "C": 14, "D": 0, "E": 14, "E1": 14}
)
HINTED_COST: Final = 0


@dataclass(frozen=True, slots=True)
class Again:
    """Try again at `at`, which is `delay` seconds away; `reason` is "backoff", "server" or "immediate"."""

    at: float
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Raise. `suppressed` says why a retryable failure is raised: "budget", "retry_after", "deadline" or None."""

    suppressed: str | None = None


@dataclass(slots=True)
class RetryState:
    """The retries of one call. `on_failure` after each failed attempt, `on_success` once at the end."""

    policy: RetryPolicy
    budget: Budget
    seed: int
    retries: int = 0
    _taken: int = 0
    _seen: set[str] = field(default_factory=set)
    _dice: Dice | None = None

    def on_failure(
        self, condition: str, retry_class: RetryClass, hint: float | None, now: float, deadline: float
    ) -> Again | Stop:
        """`hint` is the server's (seconds); `deadline` bounds the start of the next attempt."""
        if retry_class == FATAL or (retry_class in MAY_HAVE_RUN and not self.policy.retry_ambiguous):
            return Stop()
        if retry_class in _ONLY_ONCE:
            if condition in self._seen:
                return Stop()
            self._seen.add(condition)
        if condition == "stale" and "stale" not in self._seen:
            self._seen.add("stale")
            return Again(now, 0.0, "immediate") if now < deadline else Stop("deadline")
        if self.retries >= self.policy.max_retries:
            return Stop()
        if hint is not None and hint > self.policy.max_retry_after:
            return Stop("retry_after")
        delay = self._delay(retry_class, hint)
        if now + delay >= deadline:
            return Stop("deadline")
        cost = HINTED_COST if retry_class == THROTTLED and hint is not None else COSTS[retry_class]
        taken = self.budget.take(cost, now) if cost else 0
        if taken is None:
            return Stop("budget")
        # Refunded when this retry succeeds: never more than was taken.
        self._taken = taken
        self.retries += 1
        return Again(now + delay, delay, "backoff" if hint is None else "server")

    def on_success(self) -> None:
        if self._taken:
            self.budget.refund(self._taken)
        elif self.retries == 0:
            self.budget.on_success()

    def _delay(self, retry_class: RetryClass, hint: float | None) -> float:
        if self._dice is None:
            self._dice = Dice(self.seed)
        base = self.policy.base_throttled if retry_class == THROTTLED else self.policy.base_transient
        backoff = self._dice.roll() * min(self.policy.max_backoff, base * 2.0 ** min(self.retries, 60))
        if hint is None:
            return backoff
        # A hint of 0 must not make all clients retry at once.
        return max(hint, backoff) + self._dice.roll() * min(1.0, hint / 10)
