"""What the header fields of a reply say beside the protocol: the request id. Rate limits are in `http.rate_limits`.

Rules of this file:
- A value that is not what it should be is left out, never an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import printable
from ..http.rate_limits import go_duration, rate_limit, rate_limits, rfc3339

if TYPE_CHECKING:
    from .base import Headers

__all__ = ["go_duration", "rate_limit", "rate_limits", "request_id", "rfc3339"]

#: OpenAI, Groq, Mistral and most others; Anthropic; Azure; OpenRouter; Amazon; LiteLLM's own, beside its upstream's.
_REQUEST_IDS: Final = {
    "x-request-id": 0,
    "request-id": 1,
    "apim-request-id": 2,
    "x-ms-request-id": 3,
    "x-generation-id": 4,
    "x-amzn-requestid": 5,
    "x-litellm-call-id": 6,
}


def request_id(headers: Headers) -> str | None:
    """The provider's id of this request, at most 200 printable characters, or None."""
    found, rank = None, len(_REQUEST_IDS)
    for name, value in headers:
        if name in _REQUEST_IDS and _REQUEST_IDS[name] < rank and value:
            found, rank = value, _REQUEST_IDS[name]
    return None if found is None else printable(found, 200)
