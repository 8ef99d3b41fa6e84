"""Taking the caller's own credentials out of what a server says: some repeat the key, or the whole request.

Rules of this file:
- It runs where an attempt has failed, never on an answer: an answer belongs to the caller as it came.
- Every text of the error is treated, keys of dictionaries included; the rest of it stays as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..http.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..decode.jsontext import JSON
    from ..errors import LLMError
    from ..policy.pool import Route
    from ..providers.base import Operation


def credentials(operation: Operation | None, route: Route) -> tuple[Secret, ...]:
    """All that a request on this route is authorised by."""
    proxy = route.proxy.authorization if route.proxy is not None else None
    fields = () if operation is None else operation.request.headers
    found = [value for _, value in fields if isinstance(value, Secret)]
    return (*found, proxy) if proxy is not None else tuple(found)


def scrub(error: LLMError, secrets: Iterable[Secret]) -> None:
    """Hide these credentials in every text of `error`, wherever the server has put them."""
    for secret in secrets:
        if not secret.hidable:
            continue
        shown = (error.message, error.code, error.error_type, error.request_id, error.body)
        hidden = _hidden(shown, secret)
        if hidden != shown:
            error.message, error.code, error.error_type, error.request_id, error.body = hidden
            error.args = (error.message,)
        partial = error.partial
        if partial is not None:
            # Its text is the model's; the rest is what the server said around it.
            partial.raw = _hidden(partial.raw, secret)
            partial.headers = _hidden(partial.headers, secret)
            partial.request_id = _hidden(partial.request_id, secret)


def _hidden(value: JSON, secret: Secret) -> JSON:
    """Parsed JSON, so it is at most `Limits.max_json_depth` deep."""
    match value:
        case str():
            return secret.hide(value)
        case dict():
            return {secret.hide(name): _hidden(part, secret) for name, part in value.items()}
        case list():
            return [_hidden(part, secret) for part in value]
        case tuple():
            return tuple(_hidden(part, secret) for part in value)
        case _:
            return value
