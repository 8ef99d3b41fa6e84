"""TLS: one context per profile and process, and one layer over memory buffers for every loop. No sockets in here.

Rules of this file:
- Certificates and names are always verified, TLS 1.2 is the least, and there is no switch to turn either off.
- `ssl` is imported at the first https dial, and a context (it reads the certificates: 27 ms) is made in a thread.
- No lock: contexts are kept by single operations of a dict, which nothing can interrupt.
- `unread()` counts ciphertext too: OpenSSL consumes the beginning of a record without saying so, so the boundaries
  of records are tracked here (RFC 8446 section 5.1).
- A failed handshake says what to do about it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import ref

from sans_io.records import dataclass

from .faults import Fault
from .interface import ByteConnection
from .resolver import OTHERS, ThreadJob, Waker
from .sockets import READ_SIZE
from .trust import new_context

if TYPE_CHECKING:
    import ssl

#: Contexts kept, oldest first out: each holds some 800 KiB of certificates.
MAX_CONTEXTS: Final = 64


@dataclass(frozen=True, slots=True)
class TLSProfile:
    """Whom a connection trusts; part of the pool's key. The default is the system's certificates.

    `ca_file`: only the certificates in this PEM file. `own`: a caller's own context, see `of`.
    """

    ca_file: str | None = None
    own: ref[ssl.SSLContext] | None = None

    @classmethod
    def of(cls, context: ssl.SSLContext) -> TLSProfile:
        """The profile of a caller's own context, which the caller keeps alive. The same context, the same profile."""
        own = ref(context)  # one object for each context, and equal to no other's when that is gone
        hash(own)  # which it remembers from now on: a profile is still a key when the context is gone
        return cls(own=own)


_MADE: Final[dict[TLSProfile, ssl.SSLContext]] = {}


def tls_context(profile: object) -> ssl.SSLContext:
    """The one context of a profile (None: the default). Reads files the first time. Raises `Fault`."""
    profile = _profile(profile)
    if profile.own is not None:
        given = profile.own()
        if given is None:
            raise Fault("tls_failed", "the ssl_context= of this client no longer exists")
        return given
    context = _MADE.get(profile)
    if context is None:
        context = _MADE.setdefault(profile, new_context(profile.ca_file))
        for oldest in list(_MADE)[:-MAX_CONTEXTS]:
            _MADE.pop(oldest, None)
    return context


def tls_ready(profile: object, wakeup: Waker) -> ThreadJob[bool]:
    """A job after which `tls_context(profile)` costs nothing."""
    profile = _profile(profile)
    if profile.own is not None or profile in _MADE:
        return ThreadJob.of(True)
    return OTHERS.join(ThreadJob(("tls", profile), "reading the CA certificates", partial(_prepare, profile)), wakeup)


def tls_fault(error: BaseException, name: str) -> Fault:
    """The `Fault` for a failed handshake, and what to do about it."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return Fault(
            "tls_verify", _VERIFY.get(error.verify_code, _VERIFY_OTHER).format(name, error.verify_message), error
        )
    reason = getattr(error, "reason", None) or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"):
        return Fault(
            "tls_failed", f"{name} does not speak TLS on this port; if it is a plain server, use http://", error
        )
    if reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW"):
        return Fault("tls_failed", f"{name} does not support TLS 1.2 or later; the server must be updated", error)
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return Fault("tls_failed", f"{name} closed the connection during the TLS handshake", error)
    if isinstance(error, ssl.SSLError):
        return Fault("tls_failed", f"TLS with {name} failed: {reason or error}", error)
    return Fault("reset", f"the TLS handshake with {name} did not complete: {error}", error)


_TRUST = "if you trust it, pass its CA certificate with ca_file="
#: By OpenSSL's X509_V_ERR_* numbers; {0} is the name asked for, {1} OpenSSL's words.
_VERIFY: Final = {
    9: "the certificate of {0} is not valid yet; is this computer's clock right?",
    10: "the certificate of {0} has expired; the server must renew it (or this computer's clock is wrong)",
    18: f"the certificate of {{0}} is self-signed; {_TRUST}",
    19: f"the certificate chain of {{0}} ends in a CA that is not trusted here; {_TRUST}",
    20: f"the certificate of {{0}} was issued by an unknown CA; {_TRUST}",
    21: f"the certificate of {{0}} was issued by an unknown CA, or the server omits part of the chain; {_TRUST}",
    62: "the certificate is for another host: {1}; check the host in base_url",
    64: "the certificate is for another address: {1}; use the server's name in base_url",
}
_VERIFY_OTHER: Final = "the certificate of {0} was rejected: {1}"


class TLSLayer:
    """One TLS client over memory: ciphertext in and out, plaintext in and out. Any loop, no I/O.

    `handshake()` until it gives True, sending `outgoing()` after each call and feeding what arrives; then `write` and
    `read`. Errors of OpenSSL (`ssl.SSLError`) are raised as they are; see `tls_fault`.
    """

    __slots__ = ("_eof", "_failure", "_fed", "_incoming", "_object", "_outgoing", "_want", "records")

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        import ssl

        self._want = ssl.SSLWantReadError
        self._eof = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self.records = Records()
        self._fed = False
        self._failure: OSError | None = None

    def handshake(self) -> bool:
        """Whether it is done; otherwise more ciphertext is needed."""
        try:
            self._object.do_handshake()
        except self._want:
            return False
        self._fed = True
        return True

    def feed(self, ciphertext: bytes) -> None:
        """The bytes of one read; b"" is the end of the stream."""
        self._fed = True
        if ciphertext:
            self._incoming.write(ciphertext)
            self.records.follow(ciphertext)
        else:
            self._incoming.write_eof()

    def read(self) -> bytes | None:
        """All plaintext there is; b"" at the end, None if more ciphertext is needed first."""
        if self._failure is not None:
            raise self._failure
        if not self._fed:
            return None
        parts: list[bytes] = []
        try:
            while part := self._object.read(READ_SIZE):
                parts.append(part)
        except self._want:
            self._fed = False
        except self._eof:
            # With or without close_notify: the framing of the reply says whether it was complete.
            if not parts:
                return b""
        except OSError as error:
            # What came intact before the broken record is returned first.
            self._failure = error
            if not parts:
                raise
        else:
            if not parts:
                return b""
        return b"".join(parts) if parts else None

    def write(self, plaintext: memoryview) -> None:
        self._object.write(plaintext)

    def outgoing(self) -> bytes:
        """Ciphertext to send now, possibly none."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def unread(self) -> bool:
        """Whether anything arrived that `read` has not given out: plaintext, ciphertext, or a part of a record."""
        if self._failure is not None or self.records.torn:
            return True
        return bool(self._incoming.pending or self._object.pending())

    def version(self) -> str | None:
        return self._object.version()


class Records:
    """Tracks the boundaries of TLS records in ciphertext cut anywhere (RFC 8446 section 5.1)."""

    __slots__ = ("_header", "_left", "first")

    def __init__(self) -> None:
        #: Length of the first record with its header; 0 before that is known.
        self.first = 0
        #: Bytes still to come of the record that has begun, and what has come of a header that is not whole.
        self._left = 0
        self._header = b""

    @property
    def torn(self) -> bool:
        """Whether a record has begun and not ended."""
        return bool(self._left or self._header)

    def follow(self, data: bytes) -> None:
        if self._header:
            data = self._header + data
            self._header = b""
        position, size = self._left, len(data)
        while position < size:
            if size - position < _RECORD_HEADER:
                self._header = data[position:]
                position = size
                break
            length = _RECORD_HEADER + (data[position + 3] << 8 | data[position + 4])
            self.first = self.first or length
            position += length
        self._left = position - size


_RECORD_HEADER: Final = 5


class TLSConnection:
    """TLS over a connection of any event loop."""

    __slots__ = ("_connection", "_held", "_layer")

    def __init__(self, connection: ByteConnection, layer: TLSLayer) -> None:
        self._connection = connection
        self._layer = layer
        #: Plaintext (or b"", the end) that `answered` has read.
        self._held: bytes | None = None

    async def receive(self, max_bytes: int, deadline: float) -> bytes:
        layer, connection = self._layer, self._connection
        if self._held is not None:
            data, self._held = self._held, None
            return data
        while (plaintext := self._read()) is None:
            answer = layer.outgoing()
            if answer:  # a key update asks for one
                await connection.send(memoryview(answer), deadline)
            layer.feed(await connection.receive(max_bytes, deadline))
        return plaintext

    async def send(self, data: memoryview, deadline: float) -> None:
        try:
            self._layer.write(data)
        except OSError as error:
            raise _broken(error) from None
        await self._connection.send(memoryview(self._layer.outgoing()), deadline, self.answered)

    def unread(self) -> bool:
        return self.answered() or self._layer.unread()

    def answered(self) -> bool:
        """Session tickets arrive unasked after the handshake, so what is there has to be decrypted first."""
        for _ in range(_UNASKED):
            if self._held is not None:
                return True
            ciphertext = self._connection.take()
            if ciphertext is None:
                return False
            self._layer.feed(ciphertext)
            try:
                self._held = self._layer.read()
            except OSError:
                self._held = b""
        return True

    def _read(self) -> bytes | None:
        try:
            return self._layer.read()
        except OSError as error:
            raise _broken(error) from None

    def abort(self) -> None:
        self._connection.abort()

    def shutdown(self) -> None:
        self._connection.shutdown()

    def forget(self) -> None:
        self._connection.forget()


#: Reads without any plaintext before the peer is treated as if it had answered.
_UNASKED: Final = 16


def _broken(error: OSError) -> Fault:
    return Fault("reset", f"TLS: {getattr(error, 'reason', None) or error}", error)


async def start_tls(connection: ByteConnection, profile: object, name: str, deadline: float) -> TLSConnection:
    """The handshake over an open connection. Raises `Fault`; the caller then closes the connection."""
    try:
        layer = TLSLayer(tls_context(profile), name)
        while not layer.handshake():
            await _flush(layer, connection, deadline)
            layer.feed(await connection.receive(READ_SIZE, deadline))
        await _flush(layer, connection, deadline)
    except (OSError, ValueError) as error:
        raise tls_fault(error, name) from None
    return TLSConnection(connection, layer)


async def _flush(layer: TLSLayer, connection: ByteConnection, deadline: float) -> None:
    ciphertext = layer.outgoing()
    if ciphertext:
        await connection.send(memoryview(ciphertext), deadline)


def _profile(profile: object) -> TLSProfile:
    return profile if isinstance(profile, TLSProfile) else _DEFAULT


_DEFAULT: Final = TLSProfile()


def _prepare(profile: TLSProfile) -> bool:
    tls_context(profile)
    return True
