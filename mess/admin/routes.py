"""The admin server's endpoints."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mess.admin import console
from mess.admin.api.access import Access
from mess.admin.api.relay import ApiRelay
from mess.admin.api.routes import add_to
from mess.admin.connections import BODY_LIMIT, Connection
from mess.admin.hosts import Hosts
from mess.admin.json_response import NOT_KEPT, json_response
from mess.admin.view import Controls, View
from mess.telemetry.logging import get_logger
from mess.telemetry.metrics import CONTENT_TYPE

log = get_logger("mess.admin")

_LINKS = ("/app/", "/count", "/status", "/healthz", "/readyz", "/metrics")
# The Node.js tool allowed pages of any origin to read its count.
_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}
# Probes and scrapers use any name for the relay, and these pages contain nothing confidential.
_ANY_HOST = frozenset({"/healthz", "/readyz", "/metrics"})

CONTROLS = web.AppKey("controls", Controls)
"""The application's key for the relay's controls."""


def make_app(view: View, controls: Controls, hosts: Hosts, relay: ApiRelay | None = None) -> web.Application:
    """The application, which shows `view` to requests whose Host header is accepted by `hosts`. Routes that act on the
    relay find its `controls` in `request.app[CONTROLS]`. With a `relay`, there is an API for it."""
    access, payloads = None, True
    if relay is not None:
        admin = relay.loaded.config.admin
        access, payloads = Access(admin), admin.payloads
    pages = _Pages(view, access, payloads=payloads)
    app = web.Application(middlewares=[_reporting, _errors_as_json, _only_for(hosts)], client_max_size=BODY_LIMIT)
    if relay is not None and access is not None:
        add_to(app, relay, access)
    app[CONTROLS] = controls
    app.on_response_prepare.append(_without_server)
    app.add_routes(
        [
            web.get("/", pages.root),
            web.get("/count", pages.count),
            web.get("/status", pages.status),
            web.get("/healthz", pages.healthz),
            web.get("/readyz", pages.readyz),
            web.get("/metrics", pages.metrics),
            *console.routes(),
        ]
    )
    return app


class _Pages:
    def __init__(self, view: View, access: Access | None, *, payloads: bool) -> None:
        self._view = view
        self._access = access
        self._payloads = payloads

    def _for(self, request: web.Request) -> View:
        """What the sender of a request may see."""
        private = self._access is None or self._access.judge(request).private
        return self._view if private and self._payloads else self._view.discreet

    async def root(self, request: web.Request) -> web.Response:
        status = self._for(request).status()
        about = {"changed": self._view.changed, "name": status.get("name"), "version": status.get("version")}
        return json_response({**about, "links": {path.strip("/"): path for path in _LINKS}}, headers=_ANY_ORIGIN)

    async def count(self, request: web.Request) -> web.Response:
        return json_response({"changed": self._view.changed}, headers=_ANY_ORIGIN)

    async def status(self, request: web.Request) -> web.Response:
        return json_response(self._for(request).status())

    async def healthz(self, request: web.Request) -> web.Response:
        # Any answer shows that the process is alive and its event loop runs.
        return json_response({"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        view = self._for(request)
        reasons, sinks, warnings = view.problems(), view.sink_problems(), view.warnings()
        if request.query.get("sinks", "").lower() in ("true", "1"):
            reasons = reasons + sinks
        else:
            warnings = sinks + warnings
        answer = {"ready": not reasons, "reasons": reasons, "warnings": warnings}
        if (role := view.role()) is not None:
            answer["role"] = role
        return json_response(answer, 503 if reasons else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._view.metrics(), headers={**NOT_KEPT, "Content-Type": CONTENT_TYPE})


async def _without_server(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)


@web.middleware
async def _reporting(request: web.Request, handler: Handler) -> web.StreamResponse:
    if isinstance(request.protocol, Connection):
        request.protocol.answering()
    return await handler(request)


def _only_for(hosts: Hosts) -> Middleware:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in _ANY_HOST:
            name = hosts.refused(request.headers.getall("Host", ()))
            if name is not None:
                return json_response(
                    {
                        "error": f"this server does not answer to the host name {name}; use its IP address or "
                        f"localhost, or add the name to the config: admin: {{hosts: [{name}]}}"
                    },
                    web.HTTPMisdirectedRequest.status_code,
                )
        return await handler(request)

    return check


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        return json_response(
            {"error": f"{request.path} does not support {request.method}"},
            error.status,
            {"Allow": error.headers["Allow"]},
        )
    except web.HTTPNotFound:
        return json_response({"error": f"there is no {request.path}", "links": ["/", *_LINKS]}, 404)
    except web.HTTPException as error:
        return json_response({"error": error.reason}, error.status)
    except Exception:
        log.exception("page failed", path=request.path)
        return json_response({"error": "internal error; see the relay's log"}, 500)
