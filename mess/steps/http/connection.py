"""Connections to an endpoint: whether one can be made, and if not, why, and how to fix it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

import aiohttp
from yarl import URL

from mess.container import localhost_hint
from mess.errors import EndpointDown

_ALERT = 0.5
"""Seconds that an endpoint has to reject our certificate. With TLS 1.3 it only checks the certificate after the
handshake is complete on our side."""

# OpenSSL's codes of X509_verify_cert (x509_vfy.h).
_NOT_YET, _EXPIRED, _HOSTNAME, _ADDRESS = 9, 10, 62, 64
_UNKNOWN = frozenset({2, 18, 19, 20, 21})

# The peer's TLS alerts, by OpenSSL's names.
_ALERTS = {
    "CERTIFICATE_REQUIRED": "it asks for a client certificate; set client_certificate",
    "ALERT_UNKNOWN_CA": "it does not trust the client certificate's authority; set another client_certificate",
    "ALERT_CERTIFICATE_EXPIRED": "it says that the client certificate has expired; renew it",
    "ALERT_BAD_CERTIFICATE": "it does not accept the client certificate; set another client_certificate",
    "ALERT_CERTIFICATE_UNKNOWN": "it does not accept the client certificate; set another client_certificate",
    "HANDSHAKE_FAILURE": "it aborts the TLS handshake; it may require a client certificate (client_certificate), "
    "or for another version of TLS",
    "WRONG_VERSION_NUMBER": "it does not use TLS on this port; did you mean http://, or another port?",
    "ALERT_PROTOCOL_VERSION": "it supports no secure version of TLS; it needs TLS 1.2 or newer",
}


async def attempt(url: URL, tls: ssl.SSLContext, timeout: float) -> str:
    """Connect to a URL's host, with TLS for https, and disconnect again; nothing is sent.

    Returns the result in a few words. Raises EndpointDown if no connection can be made within `timeout` seconds.
    """
    secure = url.scheme == "https"
    host, port = url.raw_host or "", url.port or 0
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=tls if secure else None, server_hostname=host if secure else None
            )
            try:
                if secure and await _hung_up(reader):
                    raise EndpointDown(
                        f"{host}:{port} hangs up after the TLS handshake; "
                        "it may ask for a client certificate (client_certificate)"
                    )
            finally:
                writer.transport.abort()
                with suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError as error:
        raise EndpointDown(f"no connection to {host}:{port} within {timeout:g} s; is it the right host?") from error
    except OSError as error:
        raise EndpointDown(trouble(error, url)) from error
    return f"{url.origin()} accepts connections"


async def _hung_up(reader: asyncio.StreamReader) -> bool:
    """Whether the other side closes the connection before it has been asked anything."""
    with suppress(TimeoutError):
        return not await asyncio.wait_for(reader.read(1), _ALERT)
    return False


def failure(error: aiohttp.ClientError, url: URL) -> EndpointDown:
    """The error for a request that got no answer because of its connection.

    Only a connection that was made and then broke during the request may be the event's fault. One that could not be
    made concerns the host, and so every URL there.
    """
    made = not isinstance(error, aiohttp.ClientConnectorError) and not isinstance(_inner(error), ssl.SSLError)
    ended = isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError))
    return EndpointDown(trouble(error, url), event_may_be_cause=made and ended, shared=not made)


def trouble(error: Exception, url: URL) -> str:
    """Why a connection to a URL's host cannot be made or broke, and how to fix it."""
    host = url.host
    if isinstance(error, aiohttp.ClientResponseError):
        # Its text contains the whole URL, whose path is often a secret.
        return f"what {host}:{url.port} answers is not HTTP: {error.message.partition(chr(10))[0].rstrip(':')}"
    inner = _inner(error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return _untrusted(inner, host or "")
    text = str(inner)
    for name, words in _ALERTS.items():
        if name in text.replace(" ", "_").upper():
            return f"{host}: {words}"
    if isinstance(inner, (socket.gaierror, aiohttp.ClientConnectorDNSError)):
        return f"no address found for {host}; is the endpoint's host correct?"
    if isinstance(inner, ConnectionRefusedError):
        hint = localhost_hint([host or ""])
        return f"nothing is listening at {host}:{url.port}; is the endpoint running?" + (f" {hint}" if hint else "")
    if isinstance(inner, ssl.SSLError):
        return f"no TLS connection to {host}: {inner.reason or inner}"
    return f"{type(inner).__name__}: {text}" if text else type(inner).__name__


def _inner(error: BaseException) -> BaseException:
    """The system's or OpenSSL's error behind aiohttp's."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    if isinstance(error, aiohttp.ClientError) and isinstance(error.__cause__, OSError):
        return error.__cause__
    return error


def _untrusted(error: ssl.SSLCertVerificationError, host: str) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        return f"the certificate of {host} has expired; renew it there"
    if code == _NOT_YET:
        return f"the certificate of {host} is not valid yet; check the clocks on both sides"
    if code in (_HOSTNAME, _ADDRESS):
        return f"the certificate of {host} is for another host; in endpoint, use the host that it was issued for"
    if code in _UNKNOWN:
        return f"the certificate of {host} is from an unknown authority; set ca to that authority's certificate"
    return f"the certificate of {host} cannot be trusted: {error.verify_message}"


async def beginning(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """An answer's body, or at least the first `limit` bytes if it is longer. A truncated body is accepted as it is,
    since only the status matters."""
    answer = b""
    try:
        while chunk := await response.content.readany():
            answer += chunk
            if len(answer) > limit:
                response.close()  # a connection with this much left to read is not worth keeping
                break
    except (aiohttp.ClientError, TimeoutError):
        response.close()
    return answer
