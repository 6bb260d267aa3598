"""TLS settings: which certificates to trust, and which to present."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from mess.errors import ConfigError, Problem
from mess.files import check_bounded, read_bounded
from mess.options.base import Options
from mess.options.insecure import UNVERIFIED

_MAX_BYTES = 4 * 1024 * 1024


class ClientCertificate(Options):
    """The client certificate that this relay presents (mTLS). Paths start at the config file's folder."""

    certificate: str
    """A PEM file with the certificate, and any intermediate certificates."""
    key: str | None = None
    """A PEM file with the certificate's private key. Default: the key is in the certificate's file."""
    password: SecretStr | None = None
    """The password of the key, if it is encrypted."""


class Tls(NamedTuple):
    """The same settings in two forms: for Python, and as files for clients that load them themselves.

    `ca` is the file of certificates to trust, None for the system's. `certificate` and `key` are files too, None
    without a client certificate.
    """

    context: ssl.SSLContext
    ca: str | None
    verify: bool
    certificate: str | None = None
    key: str | None = None
    password: str | None = None


class TlsOptions(Options):
    """The options of a connection that may use TLS; a base class of the sinks' options."""

    ca: str | None = None
    """A file of CA certificates (PEM) to trust instead of the system's; a relative path starts at the config file's
    folder."""
    client_certificate: ClientCertificate | None = None
    """Client certificate (mTLS)."""
    verify: bool = True
    """Whether to verify the server's certificate. Turn it off for tests only."""

    def tls_warnings(self) -> Iterator[tuple[str, str]]:
        """What is possibly unwanted: the option's path, and the message."""
        if not self.verify:
            yield "verify", UNVERIFIED

    def tls_context(self, directory: Path) -> ssl.SSLContext:
        """The settings for Python; relative paths start at `directory`.

        Raises ConfigError, with the option at fault, if a file cannot be used.
        """
        if self.ca is None and self.verify and self.client_certificate is None:
            return _usual()
        made = _trusting(directory, self.ca)
        if not self.verify:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        if self.client_certificate is not None:
            _identify(made, directory, self.client_certificate)
        return made

    def tls(self, directory: Path) -> Tls:
        """The settings in both forms. Raises the same errors as `tls_context`."""
        client = self.client_certificate
        made = Tls(
            context=self.tls_context(directory),
            ca=None if self.ca is None else str(directory / self.ca),
            verify=self.verify,
        )
        if client is None:
            return made
        return made._replace(
            certificate=str(directory / client.certificate),
            key=str(directory / (client.key or client.certificate)),
            password=client.password.get_secret_value() if client.password else None,
        )


@cache
def _usual() -> ssl.SSLContext:
    """The settings of all connections without options: they take megabytes, and some ten milliseconds to make."""
    return ssl.create_default_context()


def _trusting(directory: Path, ca: str | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    path = directory / ca
    try:
        check_bounded(path, _MAX_BYTES)
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # includes ssl.SSLError
        raise _mistake(
            f"no certificates can be read from {path}: {error.strerror or error}; use a PEM file with the "
            f"certificate of the authority to trust",
            "ca",
        ) from error


def _identify(made: ssl.SSLContext, directory: Path, client: ClientCertificate) -> None:
    certificate = directory / client.certificate
    key, option = (directory / client.key, "key") if client.key else (certificate, "certificate")
    if b"-----BEGIN CERTIFICATE-----" not in _read(certificate, "certificate"):
        raise _mistake(f"{certificate} contains no certificate; use a PEM file", "client_certificate.certificate")
    if b"PRIVATE KEY-----" not in _read(key, option):
        remedy = "name a PEM file" if client.key else "set key to the file that contains it"
        raise _mistake(f"{key} contains no private key; {remedy}", f"client_certificate.{option}")
    asked = False

    def password() -> str:
        # Always set it: without it, OpenSSL would prompt on the terminal.
        nonlocal asked
        asked = True
        return client.password.get_secret_value() if client.password else ""

    try:
        made.load_cert_chain(certificate, key, password)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or ""
        if "MISMATCH" in reason:
            raise _mistake(
                f"the key in {key} does not belong to the certificate in {certificate}; use the matching one",
                f"client_certificate.{option}",
            ) from error
        if asked:
            what = "does not fit the key" if client.password else "is missing: the key is encrypted"
            raise _mistake(f"the password {what}", "client_certificate.password") from error
        raise _mistake(
            f"certificate and key cannot be used: {reason or error}; both must be complete PEM files",
            "client_certificate",
        ) from error


def _read(path: Path, option: str) -> bytes:
    try:
        return read_bounded(path, _MAX_BYTES)
    except OSError as error:
        raise _mistake(f"{path} cannot be read: {error.strerror}", f"client_certificate.{option}") from error


def _mistake(message: str, path: str) -> ConfigError:
    return ConfigError([Problem(message, path)])
