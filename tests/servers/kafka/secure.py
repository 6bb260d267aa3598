"""A Kafka broker that knows its users, and what each of them may do."""

from __future__ import annotations

from urllib.parse import quote

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from mess.demo.ports import free_port
from tests.servers.certificates import Certificates
from tests.servers.kafka import KafkaServer

PARTNER = "partner"
"""The user that a client with a certificate is."""
CLUSTER = "kafka-cluster"
"""The name of the cluster, as a resource."""
_LISTENER = "listener.name.sasl_ssl"
_MODULE = "org.apache.kafka.common.security"
_SECONDS = 20.0
_ITERATIONS = 4096


class SecureKafka(KafkaServer):
    """A broker that listens for clients with a certificate, for users with a password over TLS, and for anyone, who may
    do everything. Users may do nothing until it is allowed. `plain` are the passwords of those who log in with
    PLAIN; `add` makes those who do with SCRAM-SHA-256."""

    def __init__(self, tls: Certificates, plain: dict[str, str]) -> None:
        self._sasl_port = free_port()
        users = " ".join(f'user_{user}="{password}"' for user, password in plain.items())
        options = {
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
            f"{_LISTENER}.plain.sasl.jaas.config": f"{_MODULE}.plain.PlainLoginModule required {users};",
            f"{_LISTENER}.scram-sha-256.sasl.jaas.config": f"{_MODULE}.scram.ScramLoginModule required;",
            "listener.name.ssl.ssl.principal.mapping.rules": f"RULE:^.*$/{PARTNER}/",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        super().__init__(tls, {"SASL_SSL": self._sasl_port}, **options)
        self._admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def url_of(self, user: str, password: str) -> str:
        """Its url for a user."""
        return f"kafkas://{quote(user, '')}:{quote(password, '')}@127.0.0.1:{self._sasl_port}"

    def add(self, user: str, password: str) -> None:
        """Make a user, or give one another password."""
        secret = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, _ITERATIONS)
        made = self._admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(user, secret, password.encode())], request_timeout=_SECONDS
        )
        made[user].result(_SECONDS)

    def allow(self, user: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Let a user do this with a topic, a group or the cluster."""
        pattern, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
        bindings = [AclBinding(kind, name, pattern, f"User:{user}", "*", each, allow) for each in operations]
        for made in self._admin.create_acls(bindings, request_timeout=_SECONDS).values():
            made.result(_SECONDS)
