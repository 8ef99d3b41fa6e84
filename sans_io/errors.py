"""The one exception tree: every error that a user of the clients can meet.

Rules of this file:
- Every failure is an `LLMError`; what a library or the OS raised is its `__cause__`, never the error itself.
- An error carries data, not objects that hold sockets, keys or loops, so it can be pickled and logged.
- Constructors take keywords with defaults, so that a layer fills in what it knows and later layers add the rest.
- Text from a server goes into a message through `printable` only.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .chat.response import Attempt, ChatResponse
    from .decode.jsontext import JSON
    from .http.rate_limits import RateLimitState

#: How many characters of server text an error message shows; the parsed body is kept beside it.
MAX_SERVER_TEXT = 500


class LocalProtocolError(RuntimeError):
    """Our own code (or an embedder's) called a machine out of turn. Never raised because of received bytes."""


class LLMError(Exception):
    """Base of every failure of a call.

    Attributes: `message` (one clear line, control characters escaped), `status_code` (HTTP status or None), `code`
    (the provider's or our machine-readable code), `error_type` (the provider's error type), `request_id`,
    `retry_after` (seconds or None), `provider`, `model`, `attempts` (tuple of `Attempt`), `partial` (`ChatResponse`
    with what had arrived, or None), `may_be_billed`, `body` (parsed error body, bounded), `phase` (where the call
    was: "acquire", "connect", "write", "head", "body", "stream", "backoff" or None), `retry_suppressed` ("budget",
    "retry_after", "deadline" or None: why a retryable error was raised nevertheless), `rate_limits` (what the reply's
    head says about rate limits, as `ChatResponse.rate_limits`).
    """

    rate_limits: Mapping[tuple[str, str], RateLimitState] = MappingProxyType({})

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        code: str | None = None,
        error_type: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        provider: str | None = None,
        model: str | None = None,
        attempts: tuple[Attempt, ...] = (),
        partial: ChatResponse | None = None,
        may_be_billed: bool = False,
        body: JSON = None,
        phase: str | None = None,
        retry_suppressed: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.code = code
        self.error_type = error_type
        self.request_id = request_id
        self.retry_after = retry_after
        self.provider = provider
        self.model = model
        self.attempts = attempts
        self.partial = partial
        self.may_be_billed = may_be_billed
        self.body = body
        self.phase = phase
        self.retry_suppressed = retry_suppressed

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        shown = [repr(self.message)]
        for name in ("status_code", "code", "retry_after", "request_id", "phase"):
            value = getattr(self, name)
            if value is not None:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message,), dict(self.__dict__))


class LLMAuthError(LLMError):
    """401, 403, or no key given where the provider needs one."""


class LLMRateLimitError(LLMError):
    """429: too many requests or tokens at the moment. `retry_after`: seconds to wait, if the server said so."""


class LLMQuotaError(LLMError):
    """The account has no credit or reached its spending limit (402, billing and quota codes). Waiting does not help."""


class LLMBadRequestError(LLMError):
    """400, 413, 422, other 4xx, or a mistake in the caller's arguments found before anything was sent."""


class LLMContextLengthError(LLMBadRequestError):
    """The prompt does not fit the model. `limit` and `requested` are in tokens, None where the server did not say."""

    def __init__(
        self, message: str = "", *, limit: int | None = None, requested: int | None = None, **fields: JSON
    ) -> None:
        super().__init__(message, **fields)
        self.limit = limit
        self.requested = requested


class LLMContentFilterError(LLMBadRequestError):
    """The provider's content filter refused the request."""


class LLMNotFoundError(LLMError):
    """404: no such model, deployment or path."""


class LLMServerError(LLMError):
    """408, 409, 498, 5xx, 529 or the same reported inside a stream. `code` is "overloaded" where that is the cause."""


class LLMTimeoutError(LLMError):
    """A deadline passed, before or after the first event. `phase` says where, `partial` what had arrived."""


class LLMConnectionError(LLMError):
    """No connection, or it broke before the first event: dns, tcp, tls, proxy, reset, no free connection."""


class LLMStreamError(LLMError):
    """A stream was cut after its first event, ended without its end, or was cancelled by another party."""


class LLMProtocolError(LLMError):
    """The bytes are not the protocol: broken framing, wrong content type, a cap exceeded, a redirect, a coded body."""


# Where users import them from is what tracebacks call them.
for _class in (LLMError, *LLMError.__subclasses__(), *LLMBadRequestError.__subclasses__()):
    _class.__module__ = "cloud.llm"
del _class

#: Characters that `str.isprintable` lets through or that change how the rest of the line is read (Unicode TR 36):
#: bidirectional controls and line separators.
_DANGEROUS: Final = frozenset("\u2028\u2029\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, limit: int = MAX_SERVER_TEXT) -> str:
    """At most `limit` characters of `text`, white space folded, everything that could control a terminal escaped."""
    folded = " ".join(text[: 4 * limit].split())
    shown = folded if folded.isprintable() and folded.isascii() else "".join(map(_escaped, folded))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _escaped(character: str) -> str:
    if character.isprintable() and character not in _DANGEROUS:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
