"""Certificates for servers of one's own, and for their clients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True)
class Certificates:
    """Files (PEM): an authority's certificate, a server's for 127.0.0.1 with its key, and a client's."""

    ca: str
    server: str
    client: str

    @classmethod
    def made(cls, folder: Path) -> Certificates:
        """Make them in a folder."""
        authority = trustme.CA()
        files = cls(str(folder / "ca.pem"), str(folder / "server.pem"), str(folder / "client.pem"))
        authority.cert_pem.write_to_path(files.ca)
        _write(authority.issue_cert("127.0.0.1"), files.server)
        _write(authority.issue_cert("mess@shop.example"), files.client)
        return files

    @property
    def options(self) -> dict[str, Any]:
        """The step's options for a server that asks for the client's certificate."""
        return {"ca": self.ca, "client_certificate": {"certificate": self.client}}


def _write(issued: trustme.LeafCert, file: str) -> None:
    # Java takes no other form of a key.
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    form = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    Path(file).write_bytes(form + b"".join(each.bytes() for each in issued.cert_chain_pems))
