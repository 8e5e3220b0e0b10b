"""The web page: the same answers as the API, for people. Its main path is a plain form; the script only makes it nicer.

    GET  /                 choose, drop or paste a picture
    POST /                 the whole answer on one page: the way without a script
    POST /parts/<part>     one part of it (verdict, map, nearest, stability), for the script, which sends the picture again
    GET  /leaderboard, /runs/<id>, /compare, /api

Static files are read when the server starts: no path from a request reaches the disk. Templates escape everything.
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
from tellapart.server.models import ServedModel
from tellapart.server.schemas import metadata_items
from tellapart.server.service import PredictionService, UploadResult, as_http_error
from tellapart.server.uploads import ParsedForm, Upload, parse_request

HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_STATUS = {
    400: "That did not work", 401: "A token is needed", 403: "Not from here", 404: "There is no such page",
    405: "Not like this", 408: "Too slow", 413: "Too large", 415: "Not a picture", 421: "Wrong address",
    422: "That cannot be answered", 429: "Too many requests", 503: "Not now", 504: "That took too long",
}  # fmt: skip
_SHOWN = ("accuracy", "balanced-accuracy", "macro-f1", "auroc", "log-loss", "brier", "ece")
Context = dict[str, Any]
#: Parts that take longer than a verdict: how each is made.
Part = Callable[[ServedModel, Upload], Awaitable[Context]]


class Pages:
    """Makes pages and fragments.

    Args:
        desk: Who answers.
        app: Whose endpoints the page of the API lists.
    """

    def __init__(self, desk: PredictionService, app: FastAPI) -> None:
        self.desk, self.app = desk, app
        self.templates = environment().overlay(
            loader=ChoiceLoader([FileSystemLoader(folder, encoding="utf-8") for folder in (HERE / "templates", REPORT)])
        )
        self.templates.filters["percent"] = lambda share: percent(share).replace(" ", "\u00a0")
        self.static = {
            path.name: (path.read_bytes(), _TYPES[path.suffix])
            for path in sorted((HERE / "static").iterdir())
            if path.suffix in _TYPES
        }
        self.slow: dict[str, Part] = {"map": self._map, "nearest": self._nearest, "stability": self._stability}

    def add_to(self, app: FastAPI) -> None:
        """Register all pages."""
        for path, endpoint in {
            "/": self.ask, "/leaderboard": self.leaderboard, "/runs/{run_id}": self.run, "/compare": self.compare,
            "/api": self.api, "/static/{name}": self.file, "/favicon.ico": self.icon,
        }.items():  # fmt: skip
            app.get(path, include_in_schema=False)(endpoint)
        app.post("/", include_in_schema=False)(self.answer)
        app.post("/parts/{part}", include_in_schema=False)(self.part)

    # --- pictures ---------------------------------------------------------------------------------------------------------

    async def ask(self, run: str | None = None) -> Response:
        """The form."""
        return self._page("ask.html", chosen=self.desk.served.get(run), done=None)

    async def answer(self, request: Request) -> Response:
        """The form again, with the whole answer below it."""
        sent = await parse_request(request, self.desk.options)
        run, upload = self._chosen(sent)
        content = await self._verdict(run, upload)
        for name, make in self.slow.items():
            content[name] = await self._or_reason(make, run, upload) if sent.fields.get(name) else None
        return self._page("ask.html", chosen=run, done=content, wanted=[n for n in self.slow if sent.fields.get(n)])

    async def part(self, request: Request, part: str) -> Response:
        """One part of an answer, as a fragment."""
        if part not in ("verdict", *self.slow):
            raise RequestError(404, f"there is no part {part[:50]}")
        sent = await parse_request(request, self.desk.options)
        run, upload = self._chosen(sent)
        if part == "verdict":
            return self._render("_verdict.html", done=await self._verdict(run, upload))
        content = {part: await self._or_reason(self.slow[part], run, upload)}
        return self._render(f"_{part}.html", 200, None, **content)

    def _chosen(self, sent: ParsedForm) -> tuple[ServedModel, Upload]:
        return self.desk.served.get(sent.fields.get("run")), sent.uploads[0]

    async def _verdict(self, run: ServedModel, upload: Upload) -> Context:
        found = (await self.desk.predict(run, [upload]))[0]
        if found.proba is None or found.verdict is None:
            raise RequestError(422, found.reason, "send another picture")
        picture = await as_http_error(run_in_threadpool(self._preview, upload))
        return {"run": run, "upload": upload, "picture": picture, "clues": metadata_items(upload), **_bars(run, found)}

    def _preview(self, upload: Upload) -> overlays.Preview:
        return overlays.preview(upload.content, upload.name, self.desk.options.max_pixels)

    async def _or_reason(self, make: Part, run: ServedModel, upload: Upload) -> Context:
        """A part; where it cannot be had, the reason in its place: the verdict stands without it."""
        try:
            return await make(run, upload)
        except RequestError as refused:
            return {"reason": refused.message, "hint": refused.hint, "again": refused.status == 503}

    async def _map(self, run: ServedModel, upload: Upload) -> Context:
        found = await self.desk.explain(run, upload, None, None)
        layer = await run_in_threadpool(lambda: overlays.as_uri(overlays.colorize(found.heatmap.values), "png"))
        picture = await as_http_error(run_in_threadpool(self._preview, upload))
        return {
            "picture": picture, "layer": layer, "class_name": found.heatmap.class_name, "method": found.heatmap.method,
            "empty": not found.heatmap.values.any(), "note": found.note,
        }  # fmt: skip

    async def _nearest(self, run: ServedModel, upload: Upload) -> Context:
        found = await self.desk.nearest(run, upload)
        pictures = await run_in_threadpool(lambda: [embed(p, n.id) for p, n in zip(found.pictures, found.found, strict=True)])
        near = list(zip(found.found, pictures, strict=True))
        return {"near": near, "by": found.by, "training": found.training, "usual": found.usual}

    async def _stability(self, run: ServedModel, upload: Upload) -> Context:
        found: Stability = await self.desk.stability(run, upload)
        first = found.versions[0]
        label = int(first.proba.argmax())
        rows = [(v.name, v.decision, float(v.proba[label]), v.decision != first.decision) for v in found.versions]
        return {"found": found, "rows": rows, "class_name": run.run.classes[label]}

    # --- runs -------------------------------------------------------------------------------------------------------------

    async def leaderboard(self) -> Response:
        """All runs."""
        boards = await run_in_threadpool(self.desk.boards.boards)
        return self._page("leaderboard.html", boards=boards, served={run.id for run in self.desk.served})

    async def run(self, run_id: str) -> Response:
        """One run: scores, curves, confusion matrix."""
        shown = await run_in_threadpool(self.desk.boards.page, run_id)
        served = {run.id for run in self.desk.served}
        return self._page("run.html", shown=shown, metrics_shown=_shown(shown.row), served=served)

    async def compare(self, a: str = "", b: str = "") -> Response:
        """Two runs on the same images."""
        boards = await run_in_threadpool(self.desk.boards.boards)
        versus = await run_in_threadpool(self.desk.boards.versus, a, b) if a and b else None
        return self._page("compare.html", boards=boards, a=a, b=b, versus=versus)

    async def api(self) -> Response:
        """What programs may ask, from the OpenAPI document."""
        found = [
            (method.upper(), path, of.get("description", ""), [p["name"] for p in of.get("parameters", [])])
            for path, methods in self.app.openapi()["paths"].items()
            for method, of in methods.items()
        ]
        return self._page("api.html", endpoints=found)

    async def file(self, name: str) -> Response:
        """A static file, by its name among those that there are."""
        if name not in self.static:
            raise RequestError(404, "there is no such file")
        content, kind = self.static[name]
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    async def icon(self) -> Response:
        """What browsers ask for by themselves."""
        return await self.file("icon.svg")

    def problem(self, scope: Scope, refused: RequestError) -> Response:
        """A refusal for a person: a page, or for the script a fragment."""
        content = {"title": _STATUS.get(refused.status, "That did not work"), "refused": refused}
        if scope["path"].startswith("/parts/"):
            return self._render("_problem.html", refused.status, refused.headers, **content)
        return self._page("problem.html", refused.status, refused.headers, **content)

    def _page(self, template: str, status: int = 200, headers: dict[str, str] | None = None, **content: Any) -> Response:
        usual = {
            "version": metadata.version("tellapart"), "runs": list(self.desk.served), "metrics": METRICS, "lower": LOWER,
            "options": self.desk.options, "wanted": list(self.slow), "here": template,
        }  # fmt: skip
        return self._render(template, status, headers, **(usual | content))

    def _render(self, template: str, status: int = 200, headers: dict[str, str] | None = None, **content: Any) -> Response:
        return HTMLResponse(self.templates.get_template(template).render(**content), status, headers)


def _bars(run: ServedModel, found: UploadResult) -> Context:
    """Probabilities, the most probable class first."""
    proba = [] if found.proba is None else [float(p) for p in found.proba]
    bars = sorted(zip(run.run.classes, proba, strict=True), key=lambda one: -one[1])
    return {"bars": bars, "verdict": found.verdict, "kept": found.kept}


def _shown(row: Row) -> list[str]:
    known = {metric for split in ("valid", "test") for metric in row.scores(split)}
    return [metric for metric in _SHOWN if metric in known]


# --- figures for a page that forbids inline styles --------------------------------------------------------------------
