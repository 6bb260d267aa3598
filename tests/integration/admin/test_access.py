"""Who may see documents and the config, and who may change something."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.admin.conftest import CHANGE
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer
from tests.waiting import until

TOKEN = "correct horse battery"
PRIVATE = ["/dead-letters", "/dead-letters/x", "/replays", "/gaps", "/config"]
CHANGES = ["/pause", "/resume", "/dead-letters/replay", "/dead-letters/discard", "/try", "/reload", "/backfills/x"]


async def test_with_a_token_everything_private_needs_it(running: Callable[..., Any], capsys: Any) -> None:
    async with running(admin={"port": 0, "token": TOKEN}) as (_, api):
        for given in (None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer caf\xe9"):
            headers = {} if given is None else {"Authorization": given}
            for path in PRIVATE:
                status, answer = await api.get(path, headers=headers)
                assert status == 401, (path, given, answer)
                assert "admin.token" in answer["error"]
            for path in CHANGES:
                assert (await api.post(path, {}, headers={**headers, **CHANGE}))[0] == 401, (path, given)
            status, answer = await api.get("/status", headers=headers)
            assert status == 200
            assert answer["access"]["documents"] is False
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert (await api.get("/dead-letters", headers=right))[0] == 200
        assert (await api.get("/status", headers=right))[1]["access"]["changes"] is True
        assert TOKEN not in str(await api.get("/config", headers=right))
    assert TOKEN not in capsys.readouterr().out


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Anything", "Via", "X-Real-IP"])
async def test_without_a_token_a_proxy_gets_no_documents(running: Callable[..., Any], header: str) -> None:
    async with running() as (_, api):
        for path in PRIVATE:
            status, answer = await api.get(path, headers={header: "1.2.3.4"})
            assert status == 403, path
            assert "admin.token" in answer["error"]
        for path in CHANGES:
            assert (await api.post(path, {}, headers={header: "1.2.3.4", **CHANGE}))[0] == 403, path
        assert (await api.get("/status", headers={header: "1.2.3.4"}))[0] == 200


async def test_without_a_token_a_server_for_other_machines_gives_no_documents(running: Callable[..., Any]) -> None:
    async with running(admin={"port": 0, "host": "0.0.0.0"}) as (_, api):
        assert (await api.get("/dead-letters"))[0] == 403
        assert (await api.post("/pause", {"stream": "x"}))[0] == 403
        _, status = await api.get("/status")
        assert status["access"] == {
            "documents": False,
            "changes": False,
            "payloads": True,
            "why": status["access"]["why"],
        }
        assert "admin.token" in status["access"]["why"]


async def test_a_form_of_another_page_changes_nothing(running: Callable[..., Any]) -> None:
    """Browsers send forms and links anywhere, but never with a header of their own."""
    async with running() as (relay, api):
        status, answer = await api.post("/pause", {"pipeline": "top level"}, headers={})
        assert status == 403
        assert "mess-request" in answer["error"]
        assert relay.pauses.known == []


async def test_bodies_that_do_not_fit_get_a_clear_answer(running: Callable[..., Any]) -> None:
    async with running() as (_, api):
        for body, status in [
            (b"{", 400),
            (b"[]", 400),
            (b'{"pipeline": 5}', 400),
            (b'{"pipelin": "x"}', 400),
            (b"{}", 400),
            (b'{"stream": "x", "pipeline": "y"}', 400),
            (b"[" * 100_000, 400),
            (b'{"reason": "' + b"x" * 501 + b'", "pipeline": "top level"}', 400),
            (b'{"pipeline": "' + b"x" * 2_000_000 + b'"}', 413),
            (b'{"pipeline": "\\ud800"}', 400),
            (b'{"pipeline": "none such"}', 404),
        ]:
            async with api._session.post(f"{api.url}/pause", data=io.BytesIO(body), headers=CHANGE) as got:
                assert got.status == status, (body[:50], await got.text())
                assert (await got.json())["error"]


SECRET = "Ada-Lovelace"


@pytest.mark.parametrize(
    ("admin", "headers", "shown"),
    [
        pytest.param({}, {}, True, id="on the relay's machine"),
        pytest.param({}, {"Via": "1.1 proxy"}, False, id="through a proxy"),
        pytest.param({"token": TOKEN}, {}, False, id="without the token"),
        pytest.param({"token": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}, True, id="with the token"),
        pytest.param({"payloads": False}, {}, False, id="payloads off"),
    ],
)
@pytest.mark.parametrize("status", [503, 422])
async def test_what_a_sink_repeats_of_a_document_is_only_for_those_who_may_see_documents(
    lab: Lab, running: Callable[..., Any], admin: dict[str, Any], headers: dict[str, str], *, shown: bool, status: int
) -> None:
    """A sink that answers with the event it got: neither that nor the document's key is on any page."""
    lab.receiver.respond = lambda request: Answer(status, body=b"no: " + request.body[-300:])
    pages = ["/status", "/readyz", "/readyz?sinks=true"]
    calls = ["/status", "/streams", "/pipelines", "/gaps", "/dead-letters", "/replays"]
    options: dict[str, Any] = (
        {"window": {"max_events": 3}} if status == 503 else {"pipeline": [{**lab.http, "on_failure": "skip"}]}
    )
    async with running(admin={"port": 0, **admin}, **options) as (relay, api):
        lab.db.orders.insert_many([{"_id": f"{SECRET}-{number}"} for number in range(5)])
        if status == 503:
            await until(lambda: any(runner.trouble for runner in relay.step_runners), "the sink is known to be down")
            await until(lambda: relay.runners[0].window.full, "a full window")
        else:
            await until(lambda: relay.status.gaps(), "the skipped events")
        found = [(await lab.get(relay, page, headers=headers))[1] for page in pages]
        found += [json.dumps((await api.get(call, headers=headers))[1]) for call in calls]
        if status == 503:
            oldest = relay.runners[0].window.oldest
            assert oldest is not None
            found.append(json.dumps((await api.get(f"/events/{oldest.id}", headers=headers))[1]))
            assert f"answered {status}" in found[0]
    assert any(SECRET in text for text in found) == shown


async def test_without_payloads_no_filter_tells_what_is_in_a_reason(running: Callable[..., Any]) -> None:
    async with running(admin={"port": 0, "payloads": False}) as (_, api):
        status, answer = await api.get("/dead-letters", params={"reason": "Ada"})
        assert status == 403
        assert "payloads" in answer["error"]
        for call in ("replay", "discard"):
            assert (await api.post(f"/dead-letters/{call}", {"filter": {"reason": "A"}, "dry_run": True}))[0] == 403


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
async def test_a_time_that_no_calendar_has_is_an_error_of_the_client(running: Callable[..., Any], time: str) -> None:
    async with running() as (_, api):
        for name in ("since", "until"):
            status, answer = await api.get("/dead-letters", params={name: time})
            assert status == 400, answer


async def test_wrong_tokens_do_not_fill_the_log(running: Callable[..., Any], capsys: Any) -> None:
    """Whoever reaches the server can send any number of them, to paths of any length."""
    async with running(admin={"port": 0, "token": TOKEN}) as (_, api):
        capsys.readouterr()
        for _ in range(50):
            assert (await api.get("/events/" + "x" * 3000, headers={"Authorization": "Bearer wrong"}))[0] == 401
        logged = capsys.readouterr().out
    assert "wrong token" in logged
    assert len(logged) < 3000
