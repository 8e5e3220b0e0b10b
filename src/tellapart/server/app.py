"""The application: the JSON API, and the pages beside it.

Nothing is stored between requests: no session, no cookie, no upload.
"""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tellapart.runs.store import Run
from tellapart.server import overlays
from tellapart.server.metrics import CONTENT_TYPE
from tellapart.server.middleware import RequestError, RequestGuard, Scope
from tellapart.server.pages import Pages
from tellapart.server.schemas import (
    Batch,
    Boards,
    Failure,
    Health,
    MapAnswer,
    Prediction,
    RunAnswer,
    Version,
    of_batch,
    of_map,
    of_picture,
    of_run,
)
from tellapart.server.service import PredictionService
from tellapart.server.settings import ServerSettings
from tellapart.server.uploads import parse_request

MOST_IMAGES = 32
_PICTURE = {"schema": {"type": "string", "format": "binary"}}


def create_app(runs: Sequence[Run], options: ServerSettings | None = None) -> FastAPI:
    """Load runs and build the application that answers with them.

    Args:
        runs: Finished runs, one at least; the first answers when none is named.
        options: Limits, device, folders.

    Raises:
        RunError: A run cannot be loaded.
        SystemLimitError: The folder of kept pictures cannot be made.
    """
    desk = PredictionService(runs, options or ServerSettings())
    for run in desk.served:
        run.warm_up()
    app = FastAPI(
        title="tellapart", version=metadata.version("tellapart"), docs_url=None, redoc_url=None, lifespan=_closing(desk),
        description="Answers of finished runs. Pictures are sent as a form (field `image`) or as the bare body.",
    )  # fmt: skip
    pages = Pages(desk, app)

    def explain(scope: Scope, refused: RequestError) -> Response:
        """A refusal, as its sender can read it."""
        return pages.problem(scope, refused) if _reads_pages(scope) else _json(refused)

    app.add_middleware(RequestGuard, options=desk.options, measures=desk.measures, explain=explain)
    app.add_exception_handler(HTTPException, _translated)
    app.add_exception_handler(RequestValidationError, _invalid)
    _add_state(app, desk)
    _add_api(app, desk)
    pages.add_to(app)
    return app


def _closing(desk: PredictionService) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(desk.served.close)

    return lifespan


def _add_state(app: FastAPI, desk: PredictionService) -> None:
    """How the server is."""

    @app.get("/health", tags=["server"])
    async def health() -> Health:
        """Whether every run can answer; needs no token."""
        alive = all(run.batcher.alive for run in desk.served)
        if not alive:
            raise RequestError(503, "a run does not answer any more", "start the server again")
        return Health(status="ok", runs=len(list(desk.served)), waiting=sum(desk.served.waiting().values()))

    @app.get("/version", tags=["server"])
    async def version() -> Version:
        """What runs here."""
        return Version(tellapart=app.version, python=platform.python_version(), runs=[run.id for run in desk.served])

    @app.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts of requests, errors, images and queues, and response times, for Prometheus."""
        return Response(desk.measures.render(desk.served.waiting()), media_type=CONTENT_TYPE)

    @app.get("/api/runs", tags=["runs"])
    async def runs() -> list[RunAnswer]:
        """The runs that answer here; the first one when none is named."""
        return [of_run(run) for run in desk.served]

    @app.get("/api/leaderboard", tags=["runs"])
    async def leaderboard() -> Boards:
        """All finished runs, ranked on validation."""
        boards = await run_in_threadpool(desk.boards.boards)
        return Boards(leaderboards=[board.to_dict() for board in boards])


def _add_api(app: FastAPI, desk: PredictionService) -> None:
    """What is asked about pictures."""

    @app.post("/api/predict", tags=["pictures"], openapi_extra=_body(), responses=_failures(), response_model_exclude_none=True)
    async def predict(request: Request, run: str | None = None, clues: bool = False, stability: bool = False) -> Prediction:
        """The answer to one picture; with clues what its file says, with stability whether other deliveries change it."""
        served = desk.served.get(run)
        upload = (await parse_request(request, desk.options)).uploads[0]
        found = (await desk.predict(served, [upload]))[0]
        if found.proba is None:
            raise RequestError(422, found.reason)
        stable = await desk.stability(served, upload) if stability else None
        return of_picture(served, found, clues=clues, stability=stable)

    @app.post("/api/predict/batch", tags=["pictures"], openapi_extra=_body(many=True), responses=_failures())
    async def batch(request: Request, run: str | None = None, clues: bool = False) -> Batch:
        """The answers to up to 32 pictures, in their order; one that cannot be read is named, the others are answered."""
        served = desk.served.get(run)
        sent = await parse_request(request, desk.options, MOST_IMAGES)
        found = await desk.predict(served, sent.uploads)
        return of_batch(served, found, clues=clues)

    @app.post(
        "/api/explain", tags=["pictures"], openapi_extra=_body(), response_model=MapAnswer,
        responses=_failures() | {200: {"content": {"image/png": {}}, "description": "The picture under its map; or JSON."}},
    )  # fmt: skip
    async def explain(
        request: Request, run: str | None = None, class_name: str | None = None, method: str | None = None,
        format: Literal["png", "json"] = "png",
    ) -> Response:  # fmt: skip
        """Where a run sees the evidence for a class: the picture under its map (PNG), or the map itself (JSON)."""
        served = desk.served.get(run)
        upload = (await parse_request(request, desk.options)).uploads[0]
        found = await desk.explain(served, upload, class_name, method)
        if format == "json":
            content = await run_in_threadpool(of_map, served, upload, found)
            return Response(content.model_dump_json(by_alias=True), media_type="application/json")
        return Response(
            await run_in_threadpool(overlays.overlay_png, found.pixels, found.heatmap.values), media_type="image/png"
        )


def _body(many: bool = False) -> dict[str, Any]:
    """The request's body in the OpenAPI document: read from the stream by ourselves, so described by ourselves."""
    field: dict[str, Any] = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "required": ["image"],
        "properties": {"image": {"type": "array", "items": field} if many else field},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}, "image/*": _PICTURE}}}


def _failures() -> dict[int | str, dict[str, Any]]:
    reasons = {
        400: "no picture, or a malformed form", 401: "the token is missing or wrong", 404: "no such run",
        408: "the request came too slowly", 413: "too many bytes, pixels or pictures", 415: "not an image",
        422: "a damaged picture, or an unknown class or method", 429: "too many requests", 503: "busy: see Retry-After",
        504: "no answer in time",
    }  # fmt: skip
    return {status: {"model": Failure, "description": reason} for status, reason in reasons.items()}


def _reads_pages(scope: Scope) -> bool:
    accepts = b",".join(value for name, value in scope["headers"] if name == b"accept")
    return not scope["path"].startswith("/api/") and b"text/html" in accepts


def _json(refused: RequestError) -> Response:
    content = {"error": refused.message, "hint": refused.hint}
    return JSONResponse(content, refused.status, headers=refused.headers)


async def _translated(request: Request, error: Exception) -> Response:
    """What the framework refuses (unknown path, wrong method) looks like everything else."""
    if not isinstance(error, HTTPException):
        raise error
    hint = "GET /openapi.json describes all paths" if request.url.path.startswith("/api") else ""
    raise RequestError(error.status_code, str(error.detail).lower(), hint, error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    raise RequestError(422, f"{first['loc'][-1]}: {first['msg']}", "GET /openapi.json describes what is expected")
