"""Options of MongoDB connection strings. The driver ignores those that it does not accept, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from mess.options.secret import names_a_secret

# https://www.mongodb.com/docs/manual/reference/connection-string-options/, as far as the driver supports them.
KNOWN = (  # noqa: SIM905 - a hundred lines otherwise, here and below
    "appName authMechanism authMechanismProperties authSource compressors connectTimeoutMS directConnection "
    "heartbeatFrequencyMS journal loadBalanced localThresholdMS maxConnecting maxIdleTimeMS maxPoolSize "
    "maxStalenessSeconds minPoolSize readConcernLevel readPreference readPreferenceTags replicaSet retryReads "
    "retryWrites serverMonitoringMode serverSelectionTimeoutMS socketTimeoutMS srvMaxHosts srvServiceName ssl "
    "timeoutMS tls tlsAllowInvalidCertificates tlsAllowInvalidHostnames tlsCAFile tlsCertificateKeyFile "
    "tlsCertificateKeyFilePassword tlsCRLFile tlsDisableOCSPEndpointCheck tlsInsecure uuidRepresentation w "
    "waitQueueTimeoutMS wtimeoutMS zlibCompressionLevel"
).split()
# Options of other drivers, which may use the same url.
_ELSEWHERE = frozenset(
    (  # noqa: SIM905
        "autoreconnect connecttimeout family forceserverobjectid fsync gssapiservicename guids heartbeatfrequency "
        "heartbeatinterval heartbeattimeout ipv6 j keepalive keepaliveinitialdelay localthreshold maxidletime "
        "maxlifetime maxlifetimems minheartbeatfrequencyms monitorcommands nodelay poolsize proxyhost proxypassword "
        "proxyport proxyusername retries safe serverselectiontimeout serverselectiontryonce slaveok sockettimeout "
        "sslallowinvalidcertificates sslallowinvalidhostnames sslca sslcert sslinvalidhostnameallowed sslkey sslpass "
        "sslvalidate sslverifycertificate streamtype tlscertificatefile tlscertificaterevocationcheck "
        "tlsdisablecertificaterevocationcheck usenewurlparser useunifiedtopology waitqueuemultiple waitqueuesize "
        "waitqueuetimeout wtimeout"
    ).split()
)
_LOOKED_AT = 100


class Refusal(NamedTuple):
    """An option that the driver does not accept.

    `reason` is the driver's, without any secret in the value; it is empty if the driver does not know the option.
    `is_foreign` is whether another driver knows it. `is_fatal` is whether the driver refuses the value.
    """

    name: str
    value: str
    reason: str = ""
    is_foreign: bool = False
    is_fatal: bool = False


def refusals(url: str) -> Iterator[Refusal]:
    """The options of a url that the driver does not accept."""
    query = url.partition("?")[2]
    for option in islice(query.replace(";", "&").split("&"), _LOOKED_AT if query else 0):
        name, equals, value = option.partition("=")
        if not name or not equals:
            continue  # the driver reports it when it connects
        found = _refused(option)
        if found is None:
            continue
        reason, is_fatal = found
        if reason.startswith("Unknown option"):
            yield Refusal(name, value, is_foreign=name.lower() in _ELSEWHERE)
        elif names_a_secret(name) or name.lower() == "authmechanismproperties":
            yield Refusal(name, value, "the driver does not accept its value", is_fatal=is_fatal)
        else:
            yield Refusal(name, value, reason, is_fatal=is_fatal)


def _refused(option: str) -> tuple[str, bool] | None:
    """The driver's reason, and whether it is more than a warning."""
    from pymongo.uri_parser import split_options

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            split_options(option)
        except OSError:
            return None  # a missing file, which connecting reports
        except Exception as error:
            return str(error), True
    return (str(caught[0].message), False) if caught else None
