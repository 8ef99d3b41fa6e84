"""TLS client contexts, and where systems keep the certificates they trust.

Rules of this file:
- Certificates and names are always verified, TLS 1.2 is the least, and there is no switch to turn either off.
- macOS and Windows verify by themselves (truststore). Elsewhere the first source with certificates is read, once: the
  environment, OpenSSL's own paths, those of the distributions, and the bundle that comes with httpcore.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .faults import Fault, load
from .loading import out_of_descriptors

if TYPE_CHECKING:
    import ssl

#: Where distributions keep their bundle, in the order of how many machines have it.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, BSDs
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD
)


def new_context(ca_file: str | None) -> ssl.SSLContext:
    """A client context that trusts the certificates in `ca_file`, or the system's. Reads files. Raises `Fault`."""
    load("ssl")
    import ssl

    if ca_file is None and sys.platform in ("darwin", "win32"):
        load("truststore")
        import truststore

        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificates and names by itself
        _load_trust(context, ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_trust(context: ssl.SSLContext, ca_file: str | None) -> None:
    """The first source that has certificates in it."""
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:
            _see_descriptors(error)
            raise Fault("tls_verify", f"no certificates found in ca_file {ca_file!r}: {error}", error) from None
        return
    tried: list[str] = []
    for path in _trust_paths():
        tried.append(str(path))
        try:
            if path.is_dir():
                # OpenSSL looks into a directory of hashed names when it verifies.
                if not any(path.glob("*.[0-9]")):
                    continue
                context.load_verify_locations(capath=path)
                return
            context.load_verify_locations(cafile=path)
        except OSError as error:
            _see_descriptors(error)
            continue
        if context.cert_store_stats()["x509_ca"]:
            return
    raise Fault("tls_verify", f"no CA certificates found in {', '.join(tried)}; pass a PEM file with ca_file=")


def _trust_paths() -> Iterator[Path]:
    import ssl

    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if os.environ.get(variable):
            yield Path(os.environ[variable])
    known = ssl.get_default_verify_paths()
    yield Path(known.openssl_cafile)
    for bundle in _BUNDLES:
        yield Path(bundle)
    yield Path(known.openssl_capath)
    load("certifi")
    import certifi  # comes with httpcore

    yield Path(certifi.where())


def _see_descriptors(error: OSError) -> None:
    """Raise `Fault` if no descriptor was left: that says nothing about what is trusted."""
    if out_of_descriptors(error):
        raise Fault("too_many_files", "the CA certificates could not be read", error) from None
