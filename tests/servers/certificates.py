"""Certificates for servers of one's own, and for their clients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme


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
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(files.server)
        authority.issue_cert("mess@shop.example").private_key_and_cert_chain_pem.write_to_path(files.client)
        for file in (files.server, files.client):
            Path(file).chmod(0o644)
        return files

    @property
    def options(self) -> dict[str, Any]:
        """The step's options for a server that asks for the client's certificate."""
        return {"ca": self.ca, "client_certificate": {"certificate": self.client}}
