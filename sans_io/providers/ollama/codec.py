"""Ollama's native API: `ChatRequest` in, requests out, and how their replies are read.

Rules of this file:
- A codec is immutable: configuration, and request heads that were built before.
- No key is needed; one that is given (ollama.com, a proxy) travels as `Authorization: Bearer`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from ...chat.messages import ChatRequest, encode_body
from ...decode.jsontext import JSONObject
from ...http.http11 import HTTPRequest, RequestHead, RequestHeaders
from ...http.secret import Secret
from ...http.urls import BaseURL
from ...limits import DEFAULT_LIMITS, Limits
from ...policy.retry import retry_table
from ..base import Operation, ReplyForm, ReplyReader
from ..endpoint import Endpoint, GivenHeaders
from ..failures import QUOTA_CODES, new_operation
from .messages import build_body
from .names import checked_name
from .reply import (
    FINISH_REASONS,
    PROVIDER,
    RULES,
    ChatStreamReader,
    OllamaModelsReader,
    PullReader,
    VersionReader,
    WholeChatReader,
)

__all__ = ["FINISH_REASONS", "RETRY_TABLE", "OllamaCodec", "parse_ollama_host"]

#: The common table fits: 503 "server busy" comes with the code "overloaded", a 404 is a model that is not there.
RETRY_TABLE: Final = retry_table(codes=QUOTA_CODES)

_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = "11434"


class OllamaCodec:
    """Requests and readers for one server, given by its base URL or an `Endpoint`.

    Raises `LLMBadRequestError` for a header that cannot be sent.
    """

    def __init__(
        self,
        base_url: BaseURL | Endpoint,
        *,
        credential: Secret | None = None,
        headers: GivenHeaders = (),
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if not isinstance(base_url, Endpoint):
            base_url = Endpoint(base_url, credential=credential, headers=headers)
        self.endpoint = base_url
        self.limits = limits
        # Built at once, so that a value that cannot be sent is refused where it was given.
        self.head("POST", "api/chat")

    def with_credential(self, secret: Secret) -> OllamaCodec:
        """The same codec with another credential."""
        return OllamaCodec(self.endpoint.with_credential(secret), limits=self.limits)

    def build(self, chat: ChatRequest) -> HTTPRequest:
        """The request for `chat`. Raises `LLMBadRequestError` naming what the API does not support."""
        body = encode_body(build_body(chat))
        return HTTPRequest(self.head("POST", "api/chat", chat.extra_headers), body)

    def operation(self, chat: ChatRequest) -> Operation:
        """`POST /api/chat`, and how its reply is read."""
        reader = ChatStreamReader if chat.stream else WholeChatReader
        called = (call.get("id") for message in chat.messages for call in message.get("tool_calls") or ())
        taken = frozenset(label for label in called if isinstance(label, str))
        form: ReplyForm = "ndjson" if chat.stream else "json"
        return self.operation_of(self.build(chat), form, chat.model, partial(reader, chat.model, taken, self.limits))

    def models_operation(self) -> Operation:
        """`GET /api/tags`; the reader's `models` are the names, and `response().raw` is the whole list."""
        request = HTTPRequest(self.head("GET", "api/tags"))
        return self.operation_of(request, "json", None, partial(OllamaModelsReader, PROVIDER, self.limits))

    def version_operation(self) -> Operation:
        """`GET /api/version`, the cheapest sign of life; the reader's `version` is the server's."""
        request = HTTPRequest(self.head("GET", "api/version"))
        return self.operation_of(request, "json", None, partial(VersionReader, PROVIDER, self.limits))

    def pull_operation(self, model: str, insecure: bool = False) -> Operation:
        """`POST /api/pull`: its events are `PullProgress`. Whole only if the last status is "success"."""
        body: JSONObject = {"model": checked_name(model), "stream": True}
        if insecure:
            body["insecure"] = True
        return self.asking("POST", "api/pull", body, "ndjson", model, partial(PullReader, model, self.limits))

    def asking(
        self,
        method: str,
        path: str,
        body: JSONObject,
        form: ReplyForm,
        model: str | None,
        new_reader: Callable[[], ReplyReader],
    ) -> Operation:
        """An operation with a JSON body (`management` makes its own)."""
        request = HTTPRequest(self.head(method, path), encode_body(body))
        return self.operation_of(request, form, model, new_reader)

    def head(self, method: str, path: str, extra: RequestHeaders = ()) -> RequestHead:
        """The head of a request to `path`."""
        fields: RequestHeaders = (("Accept", "application/json"),)
        if method == "DELETE":
            fields += (("Content-Type", "application/json"),)
        return self.endpoint.head(method, path, fields, extra)

    def operation_of(
        self, request: HTTPRequest, form: ReplyForm, model: str | None, new_reader: Callable[[], ReplyReader]
    ) -> Operation:
        """An operation with a request as it is."""
        return new_operation(
            request, form, new_reader, provider=PROVIDER, model=model, retry_table=RETRY_TABLE, rules=RULES
        )


def parse_ollama_host(text: str) -> str:
    """The base URL that a value of `OLLAMA_HOST` means, by the rules of Ollama's own client (Go, `envconfig.Host` and
    `ConnectableHost`).

    White space and quotes around it are trimmed; without a scheme it is http with port 11434, with one the scheme's
    own port; a port that is none gives the default; "ollama.com" is https; nothing, and the address that means every
    address of a server ("0.0.0.0", "::"), is this machine. Give the result to `parse_base_url`, which refuses what is
    no URL.
    """
    text = text.strip().strip("\"'").strip()
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    default_port = {"http": "80", "https": "443"}.get(scheme, _DEFAULT_PORT)
    if not separator:
        scheme, rest, default_port = "http", text, _DEFAULT_PORT
        if rest == "ollama.com":
            scheme, rest = "https", "ollama.com:443"
    authority, _, path = rest.partition("/")
    if "@" in authority or not set(authority).isdisjoint("?#"):
        # Not a host: the URL parser says what is wrong with it, without showing it.
        return f"{scheme}://{rest}"
    host, port = _host_and_port(authority)
    if not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        port = default_port
    path = path.strip("/")
    return f"{scheme}://{host}:{port}" + (f"/{path}" if path else "")


def _host_and_port(authority: str) -> tuple[str, str]:
    """(host as it stands in a URL, port or ""), the host being one that can be dialled."""
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else ""
    elif authority.count(":") > 1:
        host, port = authority, ""
    else:
        host, _, port = authority.partition(":")
    if ":" not in host:
        return (host if host not in ("", "0.0.0.0") else _DEFAULT_HOST), port  # noqa: S104 - it is replaced
    return ("[::1]" if not host.strip(":0") else f"[{host}]"), port
