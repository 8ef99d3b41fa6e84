"""A request whose body is too large to be held: what is sent next is asked for piece by piece.

Rules of this file:
- The body is somebody else's, whose length does not change; its pieces may be asked for again from the beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from .http11 import HTTPRequest

if TYPE_CHECKING:
    from .http11 import RequestHead
    from .proxies import Proxy

Piece: TypeAlias = "slice[int | None, int | None, None]"


class Content(Protocol):
    """Bytes that need not be in memory. A piece may be shorter than what was asked for, but not empty."""

    def __len__(self) -> int: ...
    def __getitem__(self, piece: Piece, /) -> memoryview: ...


class UploadRequest(HTTPRequest):
    """A request with `content` as its body. `body` is empty: nothing that logs or compares requests reads a file."""

    __slots__ = ("content",)

    def __init__(self, head: RequestHead, content: Content) -> None:
        super().__init__(head)
        self.content = content

    def wire(self, proxy: Proxy | None = None) -> memoryview:
        """The head and the content as one, once for each attempt. It has a length and slices, as the type says."""
        return cast("memoryview", _Joined(self.head.render_head(len(self.content), proxy), self.content))

    def __repr__(self) -> str:
        return f"UploadRequest({self.head._shown()}, content=<{len(self.content)} bytes>)"


class _Joined:
    def __init__(self, head: memoryview, content: Content) -> None:
        self._head = head
        self._content = content

    def __len__(self) -> int:
        return len(self._head) + len(self._content)

    def __getitem__(self, piece: Piece) -> memoryview:
        start, stop, _ = piece.indices(len(self))
        before = len(self._head)
        return self._head[start:stop] if start < before else self._content[start - before : stop - before]
