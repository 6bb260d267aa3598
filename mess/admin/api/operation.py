"""An operation of the API: checks access and input, calls its function, and answers."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from mess.admin.api.access import CHANGES, Access, Grant
from mess.admin.api.relay import ApiRelay
from mess.admin.api.shared_answers import SharedAnswers
from mess.admin.connections import BODY_LIMIT
from mess.admin.json_response import encoded, json_response, response_of
from mess.errors import ConfigError, StateError
from mess.relay.ha.role_status import ask_the_active
from mess.relay.status import RelayStatus
from mess.state.store import StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.admin")

_SECONDS = 8.0
"""Less than a connection waits for its answer."""
_SHOWN = 3
_PATH_SHOWN = 100  # characters

M = TypeVar("M", bound=BaseModel)
Allowed = Literal["open", "private", "change"]


class Problem(Exception):
    """A request that is not carried out: the answer's status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(slots=True)
class Call:
    """A request to the API, of which access and input have been checked."""

    relay: ApiRelay
    grant: Grant
    request: web.Request
    body: Any = None
    query: Any = None

    @property
    def store(self) -> StateStore:
        """The relay's state. Raises Problem if it is not open."""
        if (store := self.relay.store) is None:
            raise Problem(503, f"the relay's state is not open yet: {self.relay.starting or 'starting'}")
        return store

    @property
    def status(self) -> RelayStatus:
        """What the client may know about the relay."""
        status = self.relay.status
        return status if self.grant.private and self.payloads else status.discreet

    @property
    def payloads(self) -> bool:
        """Whether documents may be shown at all."""
        return self.relay.loaded.config.admin.payloads

    def part(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]

    @property
    def who(self) -> str:
        """Who asks, in a few words."""
        return f"an API client at {self.request.remote or 'an unknown address'}"


@dataclass(frozen=True)
class Operation:
    """An operation. `run` answers a call with a model of the type `answer`; or, if it is `lasting`, with a response
    that it has sent by itself, as a stream of such models.

    `allowed` says who may call it: `open` to everyone, `private` for those who may see documents, `change` for those
    who may change something. `body` and `query` are the models of its input, and `errors` the statuses of its answers
    besides those that any operation may have. A `shared` answer is the same for all clients who may know as much.
    What needs the `active` process is refused by a standby.
    """

    method: str
    path: str
    summary: str
    run: Callable[[Call], Awaitable[BaseModel | web.StreamResponse]]
    answer: type[BaseModel]
    allowed: Allowed = "private"
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    errors: Sequence[int] = field(default=())
    lasting: bool = False
    shared: bool = False
    active: bool = False

    def handler(
        self, relay: ApiRelay, access: Access, shared: SharedAnswers
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The function that aiohttp calls."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                async with asyncio.timeout(None if self.lasting else _SECONDS):
                    call = Call(relay, admitted(request, access, self.allowed), request)
                    if self.active and (role := relay.role) is not None and role.name == "standby":
                        raise Problem(409, ask_the_active(role))
                    if self.shared and (known := shared.get(self.path, call.grant)) is not None:
                        return response_of(known)
                    began = time.monotonic()
                    call.query = _parsed(self.query, _query(request)) if self.query is not None else None
                    call.body = await _body(self.body, request)
                    found = await self.run(call)
            except Problem as problem:
                headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else None
                return json_response({"error": str(problem)}, problem.status, headers)
            except ConfigError as error:
                return json_response({"error": str(error)}, 400)
            except StateError as error:
                return json_response({"error": str(error)}, 503)
            except TimeoutError:
                return json_response({"error": f"no result within {_SECONDS:g} s; the state may not respond"}, 503)
            if isinstance(found, web.StreamResponse):
                return found
            body = encoded(found.model_dump(mode="json"))
            if self.shared:
                shared.keep(self.path, call.grant, body, seconds=time.monotonic() - began)
            elif self.allowed == "change":
                shared.clear()
            return response_of(body)

        return handle


def admitted(request: web.Request, access: Access, allowed: Allowed) -> Grant:
    """What the sender may do. Raises Problem if that is not enough."""
    grant = access.judge(request)
    if grant.wrong:
        _wrong_tokens.tell(request)
    if allowed == "open" or (grant.private and allowed == "private"):
        return grant
    if not grant.private:
        raise Problem(grant.status, grant.why or "")
    if CHANGES not in request.headers:
        raise Problem(403, f"requests that change something need the header {CHANGES}: 1")
    return grant


class _WrongTokens:
    """Logs wrong tokens, at most once a second: anyone can send any number of them."""

    def __init__(self) -> None:
        self._count = 0
        self._told_at = -math.inf

    def tell(self, request: web.Request) -> None:
        self._count += 1
        now = time.monotonic()
        if now - self._told_at >= 1.0:
            log.warning("wrong token", remote=request.remote, path=request.path[:_PATH_SHOWN], count=self._count)
            self._count, self._told_at = 0, now


_wrong_tokens = _WrongTokens()


def _query(request: web.Request) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in request.query.items():
        if name in given:
            raise Problem(400, f"{name} is given twice")
        given[name] = value
    return given


async def _body(model: type[M] | None, request: web.Request) -> M | None:
    if model is None:
        return None
    if request.content_length is not None and request.content_length > BODY_LIMIT:
        raise Problem(413, f"the body is larger than {BODY_LIMIT} bytes")
    try:
        data = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Problem(413, f"the body is larger than {BODY_LIMIT} bytes") from None
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    return _parsed(model, value)


def _parsed(model: type[M], value: Any) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, each['loc'])) or 'the body'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise Problem(400, "; ".join(problems[:_SHOWN]) + more) from None
