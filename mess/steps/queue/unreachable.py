"""Messages about unreachable brokers, the same for all brokers."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from mess.container import host_names, localhost_hint
from mess.errors import EndpointDown

_REFUSED = ("connection refused", "connect call failed", "errno 111")
_UNKNOWN = ("name or service not known", "nodename nor servname", "temporary failure in name resolution")


def unreachable(about: str, hosts: str, error: BaseException | str) -> EndpointDown:
    """The error for a connection that cannot be made, with its reason and the remedy.

    `about` names the broker (`redis at host:6379`) and `hosts` is the `host:port,…` of its url. `error` is what the
    client raised, or the reason in words.
    """
    if _is(error, ConnectionRefusedError, _REFUSED):
        text = "the connection is refused; make sure that it is running, and check host and port in the url"
    elif _is(error, socket.gaierror, _UNKNOWN):
        text = "the host name is unknown; check the host in the url"
    else:
        reason = str(error) or type(error).__name__
        text = f"{reason.rstrip('.')}; make sure that it is running, and check the url"
    hint = localhost_hint(host_names(hosts))
    return EndpointDown(f"{about}: {text}" + (f". {hint}" if hint else ""))


def is_connection_failure(error: BaseException) -> bool:
    """Whether an error means that no connection could be made, rather than that one was lost or a login refused."""
    if _is(error, ConnectionRefusedError, _REFUSED) or _is(error, socket.gaierror, _UNKNOWN):
        return True
    unreachable_numbers = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN)
    return any(isinstance(each, OSError) and each.errno in unreachable_numbers for each in _chain(error))


def _is(error: BaseException | str, kind: type[BaseException], words: tuple[str, ...]) -> bool:
    if isinstance(error, str):
        return any(word in error.lower() for word in words)
    # A client that tries several addresses joins their errors into one text.
    return any(isinstance(each, kind) for each in _chain(error)) or _is(str(error), kind, words)


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
