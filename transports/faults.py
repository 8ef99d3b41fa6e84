"""`Fault`, and the table that turns what the operating system says into one.

Rules of this file:
- Every OSError has a kind; those not in the table are "reset" on an open connection and "local" in a dial.
- `detail` is for people: what happened, in the system's own words, without memory addresses or keys.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

from sans_io.calls.failures import FaultKind
from sans_io.errors import LLMConnectionError, printable

from .loading import need, out_of_descriptors


class Fault(Exception):  # noqa: N818  an answer to the Call, which makes an error of it
    """Why an action could not be done: `kind` (see `sans_io.calls.failures`), `detail` for people, `cause` or None."""

    def __init__(self, kind: FaultKind, detail: str = "", cause: BaseException | None = None) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.cause = cause


def _codes(*names: str) -> frozenset[int]:
    """The numbers that this platform defines; Windows repeats most of them with the prefix WSA."""
    known = (getattr(errno, prefix + name, None) for name in names for prefix in ("", "WSA"))
    return frozenset(number for number in known if number is not None)


_DIAL: Final[tuple[tuple[frozenset[int], FaultKind], ...]] = (
    (_codes("ECONNREFUSED"), "refused"),
    (_codes("ECONNRESET", "ECONNABORTED", "EPIPE", "ENOTCONN"), "reset"),
    (_codes("EMFILE", "ENFILE"), "too_many_files"),
    (
        _codes(
            "ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "EHOSTDOWN", "EADDRNOTAVAIL", "EAFNOSUPPORT", "ETIMEDOUT",
            "EACCES", "EPERM", "EINVAL", "ENETRESET", "EPROTONOSUPPORT",
        ),
        "unreachable",
    ),
)  # fmt: skip


def dial_fault(error: OSError, where: str) -> Fault:
    """The `Fault` for a failed connect. `where` names the address that was tried."""
    text = f"{where}: {error.strerror or error}"
    for numbers, kind in _DIAL:
        if error.errno in numbers:
            return Fault(kind, text, error)
    return Fault("local", text, error)


def connection_fault(error: OSError) -> Fault:
    """The `Fault` for a failed read or write on an open connection: whatever the number, it is unusable."""
    return Fault("reset", error.strerror or str(error), error)


def load(name: str, needs: Callable[[str], None] = need) -> None:
    """Load a module during a call, by `need` or another loader. Raises `Fault`."""
    try:
        needs(name)
    except LLMConnectionError as error:
        if out_of_descriptors(error):
            raise Fault("too_many_files", f"{name} could not be loaded", error.__cause__) from None
        raise Fault("local", error.message, error.__cause__) from None


def unasked(data: bytes) -> Fault:
    """The `Fault` for a new connection that has bytes to read, or ended, before anything was sent."""
    if not data:
        return Fault("reset", "the server closed it before the request was sent")
    said = printable(data.decode("utf-8", "replace"), 64)
    return Fault("reset", f"data came before the request ({said!r}); is base_url the address of an HTTP server?")
