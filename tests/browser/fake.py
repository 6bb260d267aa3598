"""A server that answers like the admin API, with the console, for a relay that does not exist.

To look at the console: `python -m tests.browser.fake busy --port 8099`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

from mess.admin import console
from mess.admin.api import models as m
from tests.browser.documents import body, change, letter, place, tail_event
from tests.browser.records import backfill, checkpoints, config, gaps
from tests.browser.scenarios import SCENARIOS, World, now

T = TypeVar("T", bound=BaseModel)


class Fake:
    """The routes. `token` protects documents and changes; while `away`, every connection is dropped."""

    def __init__(self, scenario: str = "busy", *, token: str | None = None) -> None:
        self.world = World(scenario)
        self.token = token
        self.away = False
        self.requests: list[tuple[str, str, Any]] = []
        self.backfills = [backfill(each) for each in range(3)] if self.world.status().backfills else []
        self.replays: list[m.Replay] = []
        self.letters = {each.id: each for each in (letter(n, scenario) for n in range(self.world.letters or 0))}
        self.events_per_second = 20.0

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        api = "/api/v1"
        app.add_routes(console.routes())
        app.add_routes(
            [
                web.get(f"{api}/status", self._status),
                web.post(f"{api}/pause", self._pause),
                web.post(f"{api}/resume", self._resume),
                web.get(f"{api}/dead-letters", self._letters),
                web.get(f"{api}/dead-letters/{{id}}", self._letter),
                web.post(f"{api}/dead-letters/replay", self._replay),
                web.post(f"{api}/dead-letters/discard", self._discard),
                web.get(f"{api}/replays", self._answer(lambda: m.Replays(replays=self._progress()))),
                web.get(f"{api}/events", self._events),
                web.get(f"{api}/events/{{id}}", self._place),
                web.get(f"{api}/backfills", self._answer(lambda: m.Backfills(backfills=self.backfills))),
                web.post(f"{api}/backfills/{{id}}", self._wish),
                web.get(f"{api}/gaps", self._answer(lambda: gaps(self.world.status()))),
                web.get(f"{api}/checkpoints", self._answer(lambda: checkpoints(self.world.status()))),
                web.post(f"{api}/try", self._try),
                web.post(f"{api}/reload", self._reload),
                web.get(f"{api}/config", self._answer(config)),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
        if self.away:
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable
        opened = not request.path.startswith("/api/") or request.path.split("/")[3] in (
            "status",
            "backfills",
            "checkpoints",
        )
        if request.method == "POST":
            self.requests.append((request.method, request.path, await request.json()))
            if request.headers.get("mess-request") != "1":
                return _error("the header mess-request is missing", 403)
        if (request.method == "POST" or not opened) and not self._allowed(request):
            return _error("the token is missing or wrong; it is admin.token in the config", 401)
        return await handler(request)

    def _allowed(self, request: web.Request) -> bool:
        return self.token is None or request.headers.get("Authorization") == f"Bearer {self.token}"

    def _answer(self, make: Callable[[], BaseModel]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            return _json(make())

        return handler

    async def _status(self, request: web.Request) -> web.Response:
        status, allowed = self.world.status(), self._allowed(request)
        why = None if allowed else "documents and changes need the token (admin.token in the config)"
        access = m.Access(documents=allowed, changes=allowed, payloads=True, why=why)
        return _json(status.model_copy(update={"access": access if self.token else self.world.access}))

    async def _pause(self, request: web.Request) -> web.Response:
        wanted = await _body(request, m.PauseRequest)
        pause = m.Pause(since=now(), by="127.0.0.1", reason=wanted.reason)
        target = m.Target(**wanted.model_dump(exclude={"reason"}))
        self.world.pauses.append(m.Paused(target=target, pause=pause, applies=True))
        return _json(m.Pauses(pauses=self.world.pauses))

    async def _resume(self, request: web.Request) -> web.Response:
        target = await _body(request, m.Target)
        self.world.pauses = [each for each in self.world.pauses if each.target != target]
        return _json(m.Pauses(pauses=self.world.pauses))

    def _matching(self, wanted: m.LetterFilter) -> list[m.WholeLetter]:
        return [
            each
            for each in reversed(self.letters.values())
            if wanted.pipeline in (None, each.pipeline)
            and wanted.step in (None, each.step)
            and (wanted.reason or "").lower() in (each.reason + each.error).lower()
            and (wanted.ids is None or each.id in wanted.ids)
        ]

    async def _letters(self, request: web.Request) -> web.Response:
        query = m.LetterQuery(**request.query)
        limit, after, found = query.limit, query.after, self._matching(query)
        start = 1 + [each.id for each in found].index(after) if after else 0
        shown = [
            m.Letter(**each.model_dump(include=set(m.Letter.model_fields))) for each in found[start : start + limit]
        ]
        more = shown[-1].id if start + limit < len(found) else None
        return _json(m.Letters(letters=shown, total=len(found), next=more))

    async def _letter(self, request: web.Request) -> web.Response:
        found = self.letters.get(request.match_info["id"])
        return _json(found) if found else _error("there is no such dead letter", 404)

    async def _act(self, request: web.Request) -> tuple[list[m.WholeLetter], m.LetterAction, web.Response | None]:
        action = await _body(request, m.LetterAction)
        found = self._matching(action.filter)
        if action.expected not in (None, len(found)):
            return found, action, _error(f"{len(found)} dead letters match now, not {action.expected}", 409)
        if not action.dry_run:
            for each in found:
                del self.letters[each.id]
            self.world.letters = len(self.letters)
        return found, action, None

    async def _replay(self, request: web.Request) -> web.Response:
        found, action, refused = await self._act(request)
        if refused:
            return refused
        if not action.dry_run:
            made = m.Replay(
                id=f"r{len(self.replays)}",
                state="running",
                started=now(),
                ended=None,
                total=len(found),
                handled=0,
                delivered=0,
                kept=0,
                reasons={},
            )
            self.replays.insert(0, made)
        by = {"shop.orders": len(found)} if found else {}
        replay = None if action.dry_run else self.replays[0].id
        return _json(m.LetterResult(matching=len(found), by_pipeline=by, done=0, replay=replay))

    async def _discard(self, request: web.Request) -> web.Response:
        found, action, refused = await self._act(request)
        if refused:
            return refused
        done = 0 if action.dry_run else len(found)
        return _json(
            m.LetterResult(matching=len(found), by_pipeline={"shop.orders": len(found)}, done=done, replay=None)
        )

    def _progress(self) -> list[m.Replay]:
        for index, each in enumerate(self.replays):
            handled = min(each.total, each.handled + max(1, each.total // 2))
            over = {"state": "done", "ended": now()} if handled == each.total else {}
            self.replays[index] = each.model_copy(update={"handled": handled, "delivered": handled, **over})
        return self.replays

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        bodies, number = request.query.get("bodies", "true") == "true", 0
        while not self.away:
            number += 1
            event = tail_event(number, self.world.scenario, bodies=bodies)
            text = f"event: change\nid: {event['id']}\ndata: {json.dumps(event)}\n\n"
            if request.query.get("outcome") in (None, "", event["outcome"]):
                await response.write(text.encode())
            if number % 50 == 0:
                await response.write(b': \n\nevent: lost\ndata: {"count": 7}\n\n')
            await asyncio.sleep(1 / self.events_per_second)
        return response

    async def _place(self, request: web.Request) -> web.Response:
        return _json(place(request.match_info["id"]))

    async def _wish(self, request: web.Request) -> web.Response:
        wish = await _body(request, m.BackfillWish)
        for index, each in enumerate(self.backfills):
            if each.id == request.match_info["id"]:
                self.backfills[index] = each.model_copy(update={"state": wish.wanted})
                return _json(self.backfills[index])
        return _error("there is no such backfill", 404)

    async def _reload(self, request: web.Request) -> web.Response:
        text = ["config.yml:7: pipelin: unknown key; did you mean pipeline?"]
        self.world.reload = m.Reload(time=now(), ok=False, text=text)
        return _json(self.world.reload)

    async def _try(self, request: web.Request) -> web.Response:
        wanted = await _body(request, m.TryRequest)
        steps = [
            ("filter", "passed", change(4), None),
            ("field-map", "passed", body(4), None),
            ("http", "would_send", body(4), "https://hooks.example.com/orders"),
        ]
        made = [
            m.TriedStep(
                step=s, result=r, body=b, destination=d, headers={"webhook-id": "msg_1"} if d else None, error=None
            )
            for s, r, b, d in steps
        ]
        return _json(m.Tried(pipeline=wanted.pipeline or "shop.orders", steps=made))


async def _body(request: web.Request, model: type[T]) -> T:
    return model.model_validate(await request.json())


def _json(model: BaseModel, status: int = 200) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json", status=status)


def _error(text: str, status: int) -> web.Response:
    return _json(m.Error(error=text), status)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--token")
    given = parser.parse_args()
    web.run_app(Fake(given.scenario, token=given.token).app(), host="127.0.0.1", port=given.port, print=None)
