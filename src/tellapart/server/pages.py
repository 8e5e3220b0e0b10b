"""The web page: the same predictions as the API. It works as a plain form; a script adds drop, paste and updates without
reload.

    GET  /                 the form: choose, drop or paste an image
    POST /                 the form with the whole result, for browsers without scripts
    POST /parts/<part>     one part of the result (prediction, map, nearest, stability), for the script, which resends the image
    GET  /leaderboard, /runs/<id>, /compare, /api

Static files are read when the server starts; no path from a request reaches the disk. Templates escape all values.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from jinja2 import ChoiceLoader, FileSystemLoader
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from tellapart.inference.prediction import Stability
from tellapart.leaderboards.row import Row
from tellapart.reports.report import LOWER, METRICS
from tellapart.reports.templating import TEMPLATES as REPORT
from tellapart.reports.templating import environment
from tellapart.reports.thumbnails import embed
from tellapart.server import overlays
from tellapart.server.confidence import percent
from tellapart.server.middleware import RequestError, Scope
from tellapart.server.service import PredictionService, ServedModel
from tellapart.server.uploads import ParsedForm, Upload, UploadResult

HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_TITLES = {
    400: "Invalid request", 401: "A token is required", 403: "Request from another site", 404: "Not found",
    405: "Method not allowed", 408: "The upload was too slow", 413: "Too large", 415: "Not an image", 421: "Wrong address",
    422: "This image cannot be predicted", 429: "Too many requests", 503: "The server is busy", 504: "Timeout",
}  # fmt: skip
_RUN_METRICS = ("accuracy", "balanced-accuracy", "macro-f1", "auroc", "log-loss", "brier", "ece")
Context = dict[str, Any]
#: Computes a part of the result that takes longer than the prediction.
Part = Callable[[ServedModel, Upload], Awaitable[Context]]


class Pages:
    """Renders pages and fragments.

    Args:
        service: Prediction service.
        app: Application, whose endpoints are listed on the page of the API.
    """

    def __init__(self, service: PredictionService, app: FastAPI) -> None:
        self.service, self.app = service, app
        self.templates = environment().overlay(
            loader=ChoiceLoader([FileSystemLoader(folder, encoding="utf-8") for folder in (HERE / "templates", REPORT)])
        )
        self.templates.filters["percent"] = lambda share: percent(share).replace(" ", "\u00a0")
        self.static = {
            path.name: (path.read_bytes(), _TYPES[path.suffix])
            for path in sorted((HERE / "static").iterdir())
            if path.suffix in _TYPES
        }
        self.parts: dict[str, Part] = {"map": self._map, "nearest": self._nearest, "stability": self._stability}

    def add_to(self, app: FastAPI) -> None:
        """Register all pages."""
        for path, endpoint in {
            "/": self.upload_form, "/leaderboard": self.leaderboard, "/runs/{run_id}": self.run, "/compare": self.compare,
            "/api": self.api, "/static/{name}": self.file, "/favicon.ico": self.icon,
        }.items():  # fmt: skip
            app.get(path, include_in_schema=False)(endpoint)
        app.post("/", include_in_schema=False)(self.upload)
        app.post("/parts/{part}", include_in_schema=False)(self.part)

    # --- images -----------------------------------------------------------------------------------------------------------

    async def upload_form(self, run: str | None = None) -> Response:
        """The form."""
        return self._page("upload.html", selected=self.service.models.get(run), result=None)

    async def upload(self, request: Request) -> Response:
        """The form with the whole result below it."""
        async with self.service.receiver.receive(request) as form:
            model, upload = self._model_and_upload(form)
            content = await self._prediction(model, upload)
            requested = [name for name in self.parts if form.fields.get(name)]
            for name, compute in self.parts.items():
                content[name] = await self._part_or_error(compute, model, upload) if name in requested else None
        return self._page("upload.html", selected=model, result=content, requested=requested)

    async def part(self, request: Request, part: str) -> Response:
        """One part of a result, as a fragment."""
        if part not in ("prediction", *self.parts):
            raise RequestError(404, f"unknown part {part[:50]!r}")
        async with self.service.receiver.receive(request) as form:
            model, upload = self._model_and_upload(form)
            if part == "prediction":
                return self._render("_prediction.html", result=await self._prediction(model, upload))
            content = {part: await self._part_or_error(self.parts[part], model, upload)}
        return self._render(f"_{part}.html", 200, None, **content)

    def _model_and_upload(self, form: ParsedForm) -> tuple[ServedModel, Upload]:
        return self.service.models.get(form.fields.get("run")), form.uploads[0]

    async def _prediction(self, model: ServedModel, upload: Upload) -> Context:
        result = (await self.service.predict(model, [upload]))[0]
        if result.proba is None or result.assessment is None:
            raise RequestError(422, result.error, "choose another image")
        image, items = await self._preview(upload), await self.service.metadata(upload)
        return {"model": model, "upload": upload, "image": image, "metadata": items, **_bars(model, result)}

    async def _preview(self, upload: Upload) -> overlays.Preview:
        picture = await self.service.preview(upload)
        return await run_in_threadpool(overlays.preview, picture.pixels)

    async def _part_or_error(self, compute: Part, model: ServedModel, upload: Upload) -> Context:
        """A part, or the reason why it is missing: the prediction is shown without it."""
        try:
            return await compute(model, upload)
        except RequestError as error:
            return {"error": error.message, "hint": error.hint, "retry": error.status == 503}

    async def _map(self, model: ServedModel, upload: Upload) -> Context:
        explanation = await self.service.explain(model, upload, None, None)
        heatmap = explanation.heatmap
        layer = await run_in_threadpool(lambda: overlays.as_uri(overlays.colorize(heatmap.values), "png"))
        image = await self._preview(upload)
        return {
            "image": image, "layer": layer, "class_name": heatmap.class_name, "method": heatmap.method,
            "empty": not heatmap.values.any(), "note": explanation.note,
        }  # fmt: skip

    async def _nearest(self, model: ServedModel, upload: Upload) -> Context:
        nearest = await self.service.nearest(model, upload)
        thumbnails = await run_in_threadpool(
            lambda: [embed(picture, one.id) for picture, one in zip(nearest.pictures, nearest.found, strict=True)]
        )
        images = list(zip(nearest.found, thumbnails, strict=True))
        return {"images": images, "features": nearest.by, "training": nearest.training, "typical": nearest.usual}

    async def _stability(self, model: ServedModel, upload: Upload) -> Context:
        result: Stability = await self.service.stability(model, upload)
        return result.to_dict()

    # --- runs -------------------------------------------------------------------------------------------------------------

    async def leaderboard(self) -> Response:
        """All runs."""
        boards = await run_in_threadpool(self.service.leaderboards.all)
        return self._page("leaderboard.html", boards=boards, served={model.id for model in self.service.models})

    async def run(self, run_id: str) -> Response:
        """One run: scores, curves, confusion matrix."""
        page = await run_in_threadpool(self.service.leaderboards.run_page, run_id)
        served = {model.id for model in self.service.models}
        return self._page("run.html", page=page, metrics_shown=_metrics_of(page.row), served=served)

    async def compare(self, a: str = "", b: str = "") -> Response:
        """Two runs on the same images."""
        boards = await run_in_threadpool(self.service.leaderboards.all)
        comparison = await run_in_threadpool(self.service.leaderboards.compare, a, b) if a and b else None
        return self._page("compare.html", boards=boards, a=a, b=b, comparison=comparison)

    async def api(self) -> Response:
        """The endpoints of the API, from the OpenAPI document."""
        endpoints = [
            (method.upper(), path, about.get("description", ""), [p["name"] for p in about.get("parameters", [])])
            for path, methods in self.app.openapi()["paths"].items()
            for method, about in methods.items()
        ]
        return self._page("api.html", endpoints=endpoints)

    async def file(self, name: str) -> Response:
        """A static file, looked up by its name among those in memory."""
        if name not in self.static:
            raise RequestError(404, "there is no such file")
        content, kind = self.static[name]
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    async def icon(self) -> Response:
        """The icon that browsers request by default."""
        return await self.file("icon.svg")

    def error(self, scope: Scope, error: RequestError) -> Response:
        """An error as a page, or as a fragment for the script."""
        content = {"title": _TITLES.get(error.status, "Error"), "error": error}
        if scope["path"].startswith("/parts/"):
            return self._render("_error.html", error.status, error.headers, **content)
        return self._page("error.html", error.status, error.headers, **content)

    def _page(self, template: str, status: int = 200, headers: dict[str, str] | None = None, **content: Any) -> Response:
        defaults = {
            "version": metadata.version("tellapart"), "models": list(self.service.models), "metrics": METRICS, "lower": LOWER,
            "options": self.service.options, "requested": list(self.parts), "here": template,
        }  # fmt: skip
        return self._render(template, status, headers, **(defaults | content))

    def _render(self, template: str, status: int = 200, headers: dict[str, str] | None = None, **content: Any) -> Response:
        return HTMLResponse(self.templates.get_template(template).render(**content), status, headers)


def _bars(model: ServedModel, result: UploadResult) -> Context:
    """Probabilities, the most probable class first."""
    proba = [] if result.proba is None else [float(p) for p in result.proba]
    bars = sorted(zip(model.run.classes, proba, strict=True), key=lambda one: -one[1])
    return {"bars": bars, "assessment": result.assessment, "stored": result.stored, "face_found": result.face_found}


def _metrics_of(row: Row) -> list[str]:
    known = {metric for split in ("valid", "test") for metric in row.scores(split)}
    return [metric for metric in _RUN_METRICS if metric in known]
