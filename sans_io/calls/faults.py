"""The words in which a transport tells a Call what went wrong. A transport maps every exception to one of them."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

FaultKind: TypeAlias = Literal[
    "timeout",
    "dns_temporary",
    "dns_failed",
    "refused",
    "unreachable",
    "reset",
    "tls_verify",
    "tls_failed",
    "proxy_refused",
    "too_many_files",
    "pool_closed",
    "auth_callable",
    "local",
]

#: "timeout": the action's deadline passed · "dns_temporary": EAI_AGAIN · "dns_failed": the name does not exist, or has
#: no address · "refused", "unreachable": TCP · "reset": the peer broke the connection (RST, EPIPE, aborted)
#: · "tls_verify": certificate or hostname · "tls_failed": any other TLS failure (alert, plain HTTP, EOF in the
#: handshake) · "proxy_refused": CONNECT was answered by anything but 2xx · "too_many_files": EMFILE, ENFILE
#: · "pool_closed": the loop or pool went away · "auth_callable": the user's callable raised · "local": anything else
FAULT_KINDS: Final[tuple[FaultKind, ...]] = (
    "timeout", "dns_temporary", "dns_failed", "refused", "unreachable", "reset", "tls_verify", "tls_failed",
    "proxy_refused", "too_many_files", "pool_closed", "auth_callable", "local",
)  # fmt: skip
