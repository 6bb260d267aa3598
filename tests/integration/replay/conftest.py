"""What the replay tests share with those of the relay."""

from tests.integration.relay.conftest import lab, receiver

__all__ = ["lab", "receiver"]
