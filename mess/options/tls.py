"""What is needed to trust an endpoint or a broker, and to be trusted by it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, SecretStr

from mess.errors import ConfigError, Problem
from mess.files import check_bounded, read_bounded

_MAX_BYTES = 4 * 1024 * 1024


class ClientCertificate(BaseModel):
    """A certificate that the other side knows this relay by. Paths start at the config file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    certificate: str
    """A file (PEM) with the certificate, and those of the authorities between it and the one that the other side
    trusts."""
    key: str | None = None
    """A file (PEM) with the certificate's private key. Default: it stands in the certificate's file."""
    password: SecretStr | None = None
    """What the key is encrypted with, when it is."""


class Tls(NamedTuple):
    """The same settings twice: as Python takes them, and as files for clients that read those by themselves.

    `ca` is the file of certificates to trust, None for the system's; `certificate` and `key` are files too, None
    without a client certificate.
    """

    context: ssl.SSLContext
    ca: str | None
    verify: bool
    certificate: str | None = None
    key: str | None = None
    password: str | None = None


def settings(directory: Path, *, ca: str | None, verify: bool, client: ClientCertificate | None) -> Tls:
    """The TLS settings for a broker. Raises what `context` raises."""
    made = Tls(
        context(directory, ca=ca, verify=verify, client=client), None if ca is None else str(directory / ca), verify
    )
    if client is None:
        return made
    return made._replace(
        certificate=str(directory / client.certificate),
        key=str(directory / (client.key or client.certificate)),
        password=client.password.get_secret_value() if client.password else None,
    )


def context(directory: Path, *, ca: str | None, verify: bool, client: ClientCertificate | None) -> ssl.SSLContext:
    """The TLS settings for an endpoint; relative paths start at `directory`.

    Raises ConfigError, with the option at fault, for files that cannot be used.
    """
    made = _trusting(directory, ca)
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if client is not None:
        _identify(made, directory, client)
    return made


def _trusting(directory: Path, ca: str | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    path = directory / ca
    try:
        check_bounded(path, _MAX_BYTES)
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one of them
        raise _mistake(
            f"no certificates can be read from {path}: {error.strerror or error}; name a PEM file with the certificate "
            "of the authority to trust",
            "ca",
        ) from error


def _identify(made: ssl.SSLContext, directory: Path, client: ClientCertificate) -> None:
    certificate = directory / client.certificate
    key, option = (directory / client.key, "key") if client.key else (certificate, "certificate")
    if b"-----BEGIN CERTIFICATE-----" not in _read(certificate, "certificate"):
        raise _mistake(f"{certificate} holds no certificate; name a PEM file", "client_certificate.certificate")
    if b"PRIVATE KEY-----" not in _read(key, option):
        remedy = "name a PEM file" if client.key else "name the file that does under key"
        raise _mistake(f"{key} holds no private key; {remedy}", f"client_certificate.{option}")
    asked = False

    def password() -> str:
        # Given always: without it, OpenSSL would ask at the terminal.
        nonlocal asked
        asked = True
        return client.password.get_secret_value() if client.password else ""

    try:
        made.load_cert_chain(certificate, key, password)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or ""
        if "MISMATCH" in reason:
            raise _mistake(
                f"the key in {key} is not that of the certificate in {certificate}; name its own",
                f"client_certificate.{option}",
            ) from error
        if asked:
            what = "is not what the key is encrypted with" if client.password else "is missing: the key is encrypted"
            raise _mistake(f"the password {what}", "client_certificate.password") from error
        raise _mistake(
            f"certificate and key cannot be used: {reason or error}; both must be PEM, and whole", "client_certificate"
        ) from error


def _read(path: Path, option: str) -> bytes:
    try:
        return read_bounded(path, _MAX_BYTES)
    except OSError as error:
        raise _mistake(f"{path} cannot be read: {error.strerror}", f"client_certificate.{option}") from error


def _mistake(message: str, path: str) -> ConfigError:
    return ConfigError([Problem(message, path)])
