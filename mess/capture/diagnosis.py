"""Finds out why MongoDB cannot be reached, with the server concerned and the remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from mess.capture.client import connection_string_of
from mess.capture.connection_string import Address, ConnectionString, written
from mess.capture.probe import Found, probe
from mess.container import localhost_hint

_MOST_SERVERS = 7


class _Verdict(NamedTuple):
    """What is wrong with a server, and the remedy; both empty if nothing is."""

    problem: str
    remedy: str


_WELL = _Verdict("", "")


async def diagnose(client: Any) -> str | None:
    """Ask each server of a client's MongoDB once why it cannot be reached, and return the reason and the remedy.

    None if nothing is wrong, and for a client that was not created by `connect`. Takes at most two seconds.
    """
    given = connection_string_of(client)
    if given is None:
        return None
    topology = client.topology_description
    known = [address for address in topology.server_descriptions() if address[0] != given.hosts]
    if given.is_srv and not known:
        return _sentence(given, _Verdict("its servers are not found in DNS", f"Check the host in {given.option}"), [])
    try:
        tls = given.tls
    except (OSError, ValueError) as error:
        return _sentence(given, _Verdict(f"its TLS files cannot be read ({error})", f"Check {given.option}"), [])
    addresses = [address for address in known or given.addresses if address[1] is not None][:_MOST_SERVERS]
    found = await asyncio.gather(*(probe(host, port, tls, given.option) for host, port in addresses))
    verdicts = {
        address: _judge(each, topology.replica_set_name, given.option)
        for address, each in zip(addresses, found, strict=True)
    }
    if any(_serves(each.hello) and verdicts[address] == _WELL for address, each in zip(addresses, found, strict=True)):
        return None
    return _sentence(given, _verdict_of_all(given, verdicts), [host for host, _ in addresses])


def _serves(hello: Mapping[str, Any]) -> bool:
    return bool(hello.get("isWritablePrimary"))  # a mongos reports this too


def _judge(found: Found, wanted: str | None, option: str) -> _Verdict:
    hello = found.hello
    if not hello:
        return _Verdict(found.problem, found.remedy)
    name = hello.get("setName")
    if hello.get("isreplicaset"):
        return _Verdict("its replica set has not been initiated", "Run rs.initiate() once, in mongosh")
    if wanted and name is None:
        return _Verdict(
            "it does not belong to a replica set", f"Start mongod with --replSet {wanted} and run rs.initiate() once"
        )
    if wanted and name != wanted:
        return _Verdict(
            f"it belongs to the replica set {name}, and {option} names {wanted}",
            f"Write replicaSet={name} in {option}",
        )
    return _WELL


def _verdict_of_all(given: ConnectionString, verdicts: Mapping[Address, _Verdict]) -> _Verdict:
    problems = dict.fromkeys(verdict for verdict in verdicts.values() if verdict != _WELL)
    if not verdicts or not problems:
        whole = _Verdict(
            "the replica set has no primary at present", "It elects one as soon as most of its members are up"
        )
    elif len(set(verdicts.values())) == 1:
        whole = next(iter(problems))
    else:
        texts = [
            f"{written(address)}: {verdict.problem or 'it answers, and is not primary'}"
            for address, verdict in verdicts.items()
        ]
        whole = _Verdict("no primary is reached (" + "; ".join(texts) + ")", next(iter(problems)).remedy)
    strangers = [written(address) for address in verdicts if address not in given.addresses]
    if strangers and problems and not given.is_srv:
        whole = _Verdict(
            f"the replica set names its members {', '.join(strangers)}, and there {whole.problem}",
            f"{whole.remedy}. If those names are valid only elsewhere, make them resolve here, or add "
            f"directConnection=true to {given.option}",
        )
    return whole


def _sentence(given: ConnectionString, verdict: _Verdict, hosts: list[str]) -> str:
    hint = localhost_hint(hosts)
    return f"cannot reach MongoDB at {given.hosts}: {verdict.problem}. {verdict.remedy}" + (f". {hint}" if hint else "")
