"""Where requests go and as whom: base URL, credential and the header fields that every request carries.

Rules of this file:
- It knows no wire: a codec gives the path and the fields of its own, and several codecs may share one endpoint.
- Heads are built once for each path and kept; a credential is a `Secret` and appears in no repr.
- A field that the caller gave wins over ours of the same name. On OpenAI's wire, where `Authorization` and `api-key`
  stand for each other, either of them wins over the credential.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ..http.http11 import RequestHead, RequestHeaders, merge_headers
from ..http.secret import Secret
from .registry import CARRIERS

if TYPE_CHECKING:
    from ..http.urls import BaseURL

#: The header that carries a credential: "bearer" is `Authorization: Bearer`, the others are named as they are.
Auth: TypeAlias = Literal["bearer", "api-key", "x-api-key", "none"]
GivenHeaders: TypeAlias = Mapping[str, str | Secret] | Iterable[tuple[str, str | Secret]]

#: Heads kept: one per path, and a path holds a model's name in Azure's deployment style only.
_MAX_HEADS: Final = 64
_JSON: Final = ("Content-Type", "application/json")


class Endpoint:
    """One server, one credential. `head(method, path)` is the head of a request to it.

    `headers` are the caller's. Raises `LLMBadRequestError` for a header that cannot be sent.
    """

    __slots__ = ("_auth", "_credential", "_headers", "_heads", "base_url")

    def __init__(
        self,
        base_url: BaseURL,
        *,
        credential: Secret | None = None,
        auth: Auth = "bearer",
        headers: GivenHeaders = (),
    ) -> None:
        self.base_url = base_url
        self._auth: Auth = auth
        self._credential = credential
        self._headers = merge_headers((), headers)
        self._heads: dict[tuple[str, str, RequestHeaders], RequestHead] = {}

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url.shown})"

    def with_credential(self, credential: Secret | None) -> Endpoint:
        """The same server with another credential: rotating keys, one endpoint for each."""
        return Endpoint(self.base_url, credential=credential, auth=self._auth, headers=self._headers)

    def head(self, method: str, path: str, fields: RequestHeaders = (), extra: RequestHeaders = ()) -> RequestHead:
        """The head of a request to `path`, with a wire's own `fields`; `extra` are the caller's for this request."""
        key = (method, path, fields)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            target = self.base_url.target(path)
            ours = (*fields, _JSON) if method == "POST" else fields
            headers = merge_headers(self._authorized(ours), self._headers)
            head = self._heads[key] = RequestHead(method, self.base_url.origin, target, headers)
        if extra:
            given = head.headers
            if any(name.lower() in CARRIERS for name, _ in extra):
                # As with the caller's headers for all requests: a credential of theirs travels alone.
                given = tuple(field for field in given if field[0].lower() not in CARRIERS)
            return RequestHead(method, head.origin, head.target, merge_headers(given, extra))
        return head

    def _authorized(self, fields: RequestHeaders) -> RequestHeaders:
        if self._credential is None or self._auth == "none":
            return fields
        # A gateway's credential is not accompanied by the vendor's.
        if not CARRIERS.isdisjoint(name.lower() for name, _ in self._headers):
            return fields
        if self._auth == "bearer":
            return (*fields, ("Authorization", self._credential.bearer()))
        return (*fields, (self._auth, self._credential))
