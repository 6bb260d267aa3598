"""The TLS settings of connections."""

from __future__ import annotations

import ssl
from pathlib import Path

from mess.options.tls import TlsOptions


def test_thousands_of_steps_without_tls_options_share_their_settings() -> None:
    """They take megabytes, and some ten milliseconds to make: with 2,000 pipelines, a minute."""
    usual = TlsOptions().tls_context(Path())
    assert TlsOptions().tls_context(Path("elsewhere")) is usual
    assert usual.verify_mode is ssl.CERT_REQUIRED


def test_settings_with_options_are_a_connection_s_own() -> None:
    unverified = TlsOptions(verify=False).tls_context(Path())
    assert unverified.verify_mode is ssl.CERT_NONE
    assert TlsOptions().tls_context(Path()).verify_mode is ssl.CERT_REQUIRED
