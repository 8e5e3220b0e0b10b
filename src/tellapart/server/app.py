"""The FastAPI application: the JSON API, and the pages next to it.

The server is stateless between requests: no sessions, no cookies, no stored uploads (unless it was started with `--keep`).
"""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import metadata as package_metadata
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
    BatchPrediction,
    Failure,
    Health,
    HeatmapInfo,
    Leaderboards,
    Prediction,
    RunInfo,
    Version,
)
from tellapart.server.service import PredictionService
from tellapart.server.settings import ServerSettings

MAX_IMAGES = 32  # of one batch request
_IMAGE = {"type": "string", "format": "binary"}


def create_app(runs: Sequence[Run], options: ServerSettings | None = None) -> FastAPI:
    """Load runs and build the application that serves them.

    Args:
        runs: Finished runs, at least one; the first is used when a request names none.
        options: Limits, device, folders.

    Raises:
        RunError: A run cannot be loaded.
        SystemLimitError: The folder of `options.keep` cannot be created.
    """
    service = PredictionService(runs, options or ServerSettings())
    for model in service.models:
        model.warm_up()
    app = FastAPI(
        title="tellapart", version=package_metadata.version("tellapart"), docs_url=None, redoc_url=None,
        lifespan=_lifespan(service),
        description="Predictions of finished runs. Send images as a form (field `image`) or as the request body.",
    )  # fmt: skip
    app.state.service = service
    pages = Pages(service, app)

    def render_error(scope: Scope, error: RequestError) -> Response:
        """An error as a page for browsers, as JSON for programs."""
        return pages.error(scope, error) if _accepts_html(scope) else _json_error(error)

    app.add_middleware(RequestGuard, options=service.options, metrics=service.metrics, render_error=render_error)
    app.add_exception_handler(HTTPException, _raise_http_error)
    app.add_exception_handler(RequestValidationError, _raise_validation_error)
    _add_server_routes(app, service)
    _add_image_routes(app, service)
    pages.add_to(app)
    return app


def _lifespan(service: PredictionService) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.close)

    return lifespan


def _add_server_routes(app: FastAPI, service: PredictionService) -> None:
    @app.get("/health", tags=["server"])
    async def health() -> Health:
        """Whether every run can predict; needs no token."""
        if problem := service.problem():
            raise RequestError(503, problem, "restart the server if this lasts")
        return Health(status="ok", runs=len(list(service.models)), waiting=sum(service.models.waiting().values()))

    @app.get("/version", tags=["server"])
    async def version() -> Version:
        """Versions of tellapart and Python, and the ids of the served runs."""
        return Version(tellapart=app.version, python=platform.python_version(), runs=[model.id for model in service.models])

    @app.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts of requests, errors, images and queues, and response times, for Prometheus."""
        return Response(service.metrics.render(service.models.waiting()), media_type=CONTENT_TYPE)

    @app.get("/api/runs", tags=["runs"])
    async def runs() -> list[RunInfo]:
        """The served runs; the first is used when a request names none."""
        return [RunInfo.from_model(model) for model in service.models]

    @app.get("/api/leaderboard", tags=["runs"])
    async def leaderboard() -> Leaderboards:
        """All finished runs, ranked on validation."""
        boards = await run_in_threadpool(service.leaderboards.all)
        return Leaderboards(leaderboards=[board.to_dict() for board in boards])


def _add_image_routes(app: FastAPI, service: PredictionService) -> None:
    @app.post("/api/predict", tags=["images"], openapi_extra=_body(), responses=_errors(), response_model_exclude_none=True)
    async def predict(request: Request, run: str | None = None, metadata: bool = False, stability: bool = False) -> Prediction:
        """Predict one image. Optionally add the file's metadata, and the stability under compression and scaling."""
        model = service.models.get(run)
        async with service.receiver.receive(request) as form:
            upload = form.uploads[0]
            result = (await service.predict(model, [upload]))[0]
            if result.proba is None:
                raise RequestError(422, result.error)
            stable = await service.stability(model, upload) if stability else None
            items = await service.metadata(upload) if metadata else None
            return Prediction.from_result(model, result, metadata=items, stability=stable)

    @app.post("/api/predict/batch", tags=["images"], openapi_extra=_body(many=True), responses=_errors())
    async def batch(request: Request, run: str | None = None, metadata: bool = False) -> BatchPrediction:
        """Predict up to 32 images. The results are in the same order; images that cannot be read have an error instead."""
        model = service.models.get(run)
        async with service.receiver.receive(request, MAX_IMAGES) as form:
            results = await service.predict(model, form.uploads)
            items = [await service.metadata(one.upload) if metadata and not one.error else None for one in results]
            return BatchPrediction.from_results(model, results, items)

    @app.post(
        "/api/explain", tags=["images"], openapi_extra=_body(), response_model=HeatmapInfo,
        responses=_errors() | {200: {"content": {"image/png": {}}, "description": "Image with heatmap as PNG, or JSON."}},
    )  # fmt: skip
    async def explain(
        request: Request, run: str | None = None, class_name: str | None = None, method: str | None = None,
        format: Literal["png", "json"] = "png",
    ) -> Response:  # fmt: skip
        """Location of the evidence for a class: the image with a heatmap (PNG), or the heatmap alone (JSON)."""
        model = service.models.get(run)
        async with service.receiver.receive(request) as form:
            upload = form.uploads[0]
            explanation = await service.explain(model, upload, class_name, method)
        if format == "json":
            content = await run_in_threadpool(HeatmapInfo.from_explanation, model, upload, explanation)
            return Response(content.model_dump_json(by_alias=True), media_type="application/json")
        png = await run_in_threadpool(overlays.overlay_png, explanation.pixels, explanation.heatmap.values)
        return Response(png, media_type="image/png")


def _body(many: bool = False) -> dict[str, Any]:
    """The request body in the OpenAPI document; FastAPI cannot derive it, since `parse_request` reads the stream."""
    form = {
        "type": "object",
        "required": ["image"],
        "properties": {"image": {"type": "array", "items": _IMAGE} if many else _IMAGE},
    }
    content = {"multipart/form-data": {"schema": form}, "image/*": {"schema": _IMAGE}}
    return {"requestBody": {"required": True, "content": content}}


def _errors() -> dict[int | str, dict[str, Any]]:
    reasons = {
        400: "no image, or a malformed form", 401: "missing or wrong token", 404: "no such run",
        408: "the request was received too slowly", 413: "too many bytes, pixels or images", 415: "not an image",
        422: "a corrupt image, or an unknown class or method", 429: "too many requests", 503: "busy: see Retry-After",
        504: "timeout",
    }  # fmt: skip
    return {status: {"model": Failure, "description": reason} for status, reason in reasons.items()}


def _accepts_html(scope: Scope) -> bool:
    accepts = b",".join(value for name, value in scope["headers"] if name == b"accept")
    return not scope["path"].startswith("/api/") and b"text/html" in accepts


def _json_error(error: RequestError) -> Response:
    return JSONResponse({"error": error.message, "hint": error.hint}, error.status, headers=error.headers)


async def _raise_http_error(request: Request, error: Exception) -> Response:
    """Give errors of the framework (unknown path, wrong method) the format of all others."""
    if not isinstance(error, HTTPException):
        raise error
    hint = "GET /openapi.json describes all paths" if request.url.path.startswith("/api") else ""
    raise RequestError(error.status_code, str(error.detail).lower(), hint, error.headers)


async def _raise_validation_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    raise RequestError(422, f"{first['loc'][-1]}: {first['msg']}", "GET /openapi.json describes the parameters")
