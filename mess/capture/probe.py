"""Asks one server of a MongoDB deployment directly, without the driver.

The driver retries, and does not report at which stage it failed. This makes one attempt, so that an error can name the
stage and the remedy.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import bson

_SECONDS = 1.0
_OP_MSG = 2013
_HEADER = struct.Struct("<iiii")
_LARGEST_REPLY = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """The result: the reply to `hello` or, if that is empty, what is wrong and how to fix it."""

    hello: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    remedy: str = ""


async def probe(host: str, port: int, tls: ssl.SSLContext | None, option: str) -> Found:
    """Resolve the name, connect, and ask for `hello`; takes at most about a second and a half.

    `tls` are the TLS settings of the connection string, None without TLS. `option` is the config key of the connection
    string, for the remedy.
    """
    loop = asyncio.get_running_loop()
    stage = "resolve"
    try:
        async with asyncio.timeout(_SECONDS):
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            stage = "connect"
            sock = await _connect(addresses)
            stage = "talk"
            return Found(hello=await _hello(sock, tls, host))
    except TimeoutError:
        if stage == "resolve":
            return Found({}, f"the name {host} is not resolved within {_SECONDS:g} s", f"Check DNS, and {option}")
        if stage == "connect":
            return Found(
                {},
                f"nothing answers a connection attempt within {_SECONDS:g} s",
                f"Check the address in {option}, and firewalls in between",
            )
        return Found(
            {},
            "it accepts connections but does not answer",
            f"Check that {option} names MongoDB's port, and that the server is not suspended or overloaded",
        )
    except socket.gaierror:
        return Found({}, f"the host name {host} is unknown", f"Check the host in {option}")
    except ConnectionRefusedError:
        return Found(
            {},
            "the connection is refused",
            f"Check that mongod is running there, and that {option} names the right host and port",
        )
    except ssl.SSLCertVerificationError as error:
        return Found(
            {},
            f"its TLS certificate is not accepted: {error.verify_message}",
            f"Name the authority that issued it by tlsCAFile=… in {option}, and the host as the certificate does",
        )
    except (OSError, EOFError) as error:
        if stage != "talk":
            return Found({}, _text(error), f"Check the host in {option}")
        return await _after_a_broken_connection(addresses, error, tls, host, option)
    except (ValueError, bson.errors.BSONError):
        return _not_mongodb(option)


async def _after_a_broken_connection(
    addresses: list[Any], error: Exception, tls: ssl.SSLContext | None, host: str, option: str
) -> Found:
    """Which of the two sides expects TLS, if a connection was closed before the server answered."""
    other = _unverified() if tls is None else None
    try:
        async with asyncio.timeout(_SECONDS / 2):
            await _hello(await _connect(addresses), other, host)
        answers = True
    except ssl.SSLError as failure:
        # An alert is TLS, too: the server may require a client certificate.
        answers = tls is None and "ALERT" in (failure.reason or "")
    except (OSError, EOFError, TimeoutError, ValueError, bson.errors.BSONError):
        answers = False
    if answers and tls is None:
        return Found({}, "it expects TLS", f"Add tls=true to {option}")
    if answers:
        return Found({}, f"it does not use TLS, which {option} asks for", f"Remove tls=true from {option}")
    if tls is None:
        return _not_mongodb(option)
    return Found(
        {},
        f"the TLS handshake fails ({_text(error)})",
        f"If the server requires a client certificate, set tlsCertificateKeyFile=… in {option}",
    )


def _not_mongodb(option: str) -> Found:
    return Found({}, "the server there does not use MongoDB's protocol", f"Check host and port in {option}")


async def _connect(addresses: list[Any]) -> socket.socket:
    """A TCP connection to the first of `addresses` that accepts one. Raises the OSError of the last one."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError("no address")


async def _hello(sock: socket.socket, tls: ssl.SSLContext | None, host: str) -> Mapping[str, Any]:
    """The server's reply. Raises OSError or EOFError for a broken connection, ValueError or BSONError for a reply that
    is not MongoDB's."""
    try:
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=tls, server_hostname=host if tls is not None else None
        )
    except BaseException:
        sock.close()
        raise
    try:
        body = b"\0\0\0\0\0" + bson.encode({"hello": 1, "$db": "admin"})
        writer.write(_HEADER.pack(_HEADER.size + len(body), 1, 0, _OP_MSG) + body)
        length, _, _, kind = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if kind != _OP_MSG or not _HEADER.size < length <= _LARGEST_REPLY:
            raise ValueError("not a reply")
        reply = await reader.readexactly(length - _HEADER.size)
        return bson.decode(reply[5:])
    finally:
        writer.transport.abort()


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _text(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
