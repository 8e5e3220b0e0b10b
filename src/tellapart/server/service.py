"""The served runs, and the prediction service that the API and the web page share."""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import threading
import time
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool

from tellapart.data.metadata import MetadataItem
from tellapart.errors import ImageError, SystemLimitError, TellapartError, unknown_name
from tellapart.inference.decision import DecisionRule
from tellapart.inference.nearest import Nearest
from tellapart.inference.prediction import Stability
from tellapart.inference.predictor import load_predictor, reading_of
from tellapart.perturbations.recompression import AS_IS, RECOMPRESSIONS
from tellapart.perturbations.stability import summarize
from tellapart.runs.store import Run
from tellapart.server import overlays
from tellapart.server.batching import AnswerOrReason, BackgroundWorker, Batcher, QueueFull, Step
from tellapart.server.budget import Busy, TooMuchMemory
from tellapart.server.confidence import Assessment, Confidence
from tellapart.server.decoders import Decoders, Picture
from tellapart.server.explanations import Explanation, Explanations, NotReady
from tellapart.server.leaderboards import LeaderboardService
from tellapart.server.metrics import Metrics
from tellapart.server.middleware import RequestError
from tellapart.server.settings import ServerSettings
from tellapart.server.upload_log import UploadLog
from tellapart.server.uploads import Receiver, Upload, UploadResult

_LOG = logging.getLogger("tellapart.server")
_LOADING = 3.0  # seconds that a request waits while the server is still loading
_RETRY_AFTER = {"retry-after": "1"}
_PATIENCE = 10.0  # seconds at most that an image waits for memory and a process
T = TypeVar("T")
_now = time.monotonic


class ServedModel:
    """One run, loaded once, with its queue.

    Args:
        run: A finished run.
        options: Limits, device, folders.
        metrics: Counts the batches.
        decoders: Decode the uploads.
    """

    def __init__(self, run: Run, options: ServerSettings, metrics: Metrics, decoders: Decoders) -> None:
        self.run, self.options, self.metrics, self.decoders = run, options, metrics, decoders
        self.predictor = load_predictor(run, options.settings)
        self.reading, self._rule = self.predictor.reading, DecisionRule(run)
        self.confidence = Confidence(run)
        self.explanations = Explanations(run, options)
        on_batch = functools.partial(metrics.batch, run.id)
        self.batcher = Batcher(self.predictor.predict_batch, run.id, options.batch, options.waiting, on_batch)
        self.work, self._prepared = BackgroundWorker(run.id), threading.Event()

    @property
    def id(self) -> str:
        """Id of the run."""
        return self.run.id

    def warm_up(self) -> None:
        """Predict one image, so that the first request is not slower than others; load the explainers in the background."""
        target = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), 128, np.uint8)).save(target, "png")
        self.predictor.predict_batch([target.getvalue()])
        self.work.submit(self._prepare)

    async def predict(self, uploads: Sequence[Upload]) -> list[AnswerOrReason]:
        """Predict images: the answer for each, or the reason why it cannot be read.

        Each image waits for its own memory, so many large ones are never in memory at once.
        """
        return await _all([self._predict_one(upload) for upload in uploads])

    async def explain(self, upload: Upload, class_name: str | None, method: str | None) -> Explanation:
        """Compute a heatmap; see `Explanations.heatmap`."""
        await self._wait_until_prepared()
        side, crop = self.explanations.size
        picture = await self.decoders.picture(upload.content, upload.name, upload.header, side, crop)
        return await self.work.run(lambda step: self.explanations.heatmap(picture, class_name, method, step))

    async def stability(self, upload: Upload) -> Stability:
        """Predict the image again after compression and scaling."""
        rows = []
        for version in RECOMPRESSIONS:
            answer = await self._predict_one(upload, "" if version == AS_IS else version)
            if isinstance(answer, str):
                raise ImageError(upload.name, answer)
            rows.append(answer.proba)
        return summarize(np.stack(rows), self._rule)

    async def nearest(self, upload: Upload) -> Nearest:
        """Find the nearest training images."""
        await self._wait_until_prepared()
        images = await self.work.run(lambda _: self.explanations.training_images())
        reading = reading_of((images.inputs,))
        async with self.decoders.opened(upload.content, upload.name, upload.header, reading) as content:

            def search(step: Step) -> Nearest:
                step()
                return images.search(content, upload.name)

            return await self.work.run(search)

    def stuck(self, now: float) -> str:
        """A sentence if a thread has worked on one item for longer than a request may take; else "".

        Args:
            now: Seconds of the monotonic clock.
        """
        for work, stopwatch in (("batch", self.batcher.stopwatch), ("explanation", self.work.stopwatch)):
            seconds = stopwatch.seconds(now)
            if seconds > self.options.timeout:
                return f"{self.id} has worked on one {work} for {seconds:,.0f} s, longer than a request may take"
        return ""

    async def _predict_one(self, upload: Upload, version: str = "") -> AnswerOrReason:
        try:
            async with self.decoders.opened(upload.content, upload.name, upload.header, self.reading, version) as content:
                return (await self.batcher.predict([content]))[0]
        except ImageError as error:
            self.metrics.unreadable(self.id)
            return error.reason
        except TooMuchMemory as error:
            self.metrics.unreadable(self.id)
            return error.message

    def _prepare(self) -> None:
        try:
            self.explanations.prepare()
        finally:  # an error is raised again, and reported, at the first request
            self._prepared.set()

    async def _wait_until_prepared(self) -> None:
        deadline = time.monotonic() + _LOADING
        while not self._prepared.is_set():
            if time.monotonic() > deadline:
                raise NotReady("the server has just started and is still loading", hint="try again in a moment")
            await asyncio.sleep(0.05)

    def close(self) -> None:
        """Predict the images in the queue, then stop."""
        self.batcher.close()
        self.work.close()


class ServedModels:
    """All runs of one server. The first is used when a request names none.

    Args:
        runs: Finished runs.
        options: Limits, device, folders.
        metrics: Counts the batches.
        decoders: Decode the uploads.
    """

    def __init__(self, runs: Sequence[Run], options: ServerSettings, metrics: Metrics, decoders: Decoders) -> None:
        self._models = {run.id: ServedModel(run, options, metrics, decoders) for run in runs}

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def get(self, run_id: str | None) -> ServedModel:
        """One run by its id; the first if `run_id` is empty. Only served runs are looked up, never the disk.

        Raises:
            RequestError: This server has no such run.
        """
        if not run_id:
            return next(iter(self))
        if run_id not in self._models:
            raise RequestError(404, unknown_name("run", run_id[:100], self._models), "GET /api/runs lists the served runs")
        return self._models[run_id]

    def waiting(self) -> dict[str, int]:
        """Number of images in the queue of each run."""
        return {model.id: model.batcher.waiting for model in self}

    def close(self) -> None:
        """Stop all runs."""
        for model in self:
            model.close()


class PredictionService:
    """Prediction service of the API and the pages.

    Args:
        runs: Finished runs; the first is used when a request names none.
        options: Limits, device, folders.

    Raises:
        RunError: A run cannot be loaded.
        SystemLimitError: The folder of `options.keep` cannot be created.
    """

    def __init__(self, runs: Sequence[Run], options: ServerSettings) -> None:
        self.options, self.metrics = options, Metrics()
        self.upload_log = UploadLog(options.keep) if options.keep else None
        self.leaderboards = LeaderboardService(runs, options.settings.runs, options.settings.images)
        self.decoders = Decoders(options.memory, options.max_pixels, min(_PATIENCE, options.timeout / 3))
        self.receiver = Receiver(options, self.decoders)
        try:
            self.models = ServedModels(runs, options, self.metrics, self.decoders)
        except BaseException:
            self.decoders.close()
            raise

    async def predict(self, model: ServedModel, uploads: Sequence[Upload]) -> list[UploadResult]:
        """Predict uploaded images, in one batch where possible."""
        readable = [upload for upload in uploads if not upload.error]
        predicted = iter(await as_http_error(model.predict(readable)))
        results = []
        for upload in uploads:
            answer = upload.error or next(predicted)
            if isinstance(answer, str):
                results.append(UploadResult(upload, error=upload.error or f"{upload.name}: {answer}"))
                continue
            assessment = model.confidence.assess(answer.proba)
            stored = await self._store(model, upload, answer.proba, assessment)
            results.append(UploadResult(upload, answer.proba, assessment, stored=stored, face_found=answer.face_found))
        return results

    async def explain(self, model: ServedModel, upload: Upload, class_name: str | None, method: str | None) -> Explanation:
        """Compute a heatmap; see `Explanations.heatmap`."""
        return await as_http_error(model.explain(upload, class_name, method))

    async def stability(self, model: ServedModel, upload: Upload) -> Stability:
        """Predict the image again after compression and scaling."""
        return await as_http_error(model.stability(upload))

    async def nearest(self, model: ServedModel, upload: Upload) -> Nearest:
        """Find the nearest training images."""
        return await as_http_error(model.nearest(upload))

    async def metadata(self, upload: Upload) -> list[MetadataItem]:
        """Read what the file says about itself."""
        return await as_http_error(self.decoders.metadata(upload.content, upload.name))

    async def preview(self, upload: Upload) -> Picture:
        """Decode the image to the size of a preview."""
        return await as_http_error(self.decoders.picture(upload.content, upload.name, upload.header, overlays.MAX_SIDE))

    def problem(self) -> str:
        """A sentence if a run cannot predict; else ""."""
        if not all(model.batcher.alive for model in self.models):
            return "the prediction thread of a run has stopped"
        return next(filter(None, (model.stuck(_now()) for model in self.models)), "")

    def close(self) -> None:
        """Predict the images in the queues, then end all threads and processes."""
        self.models.close()
        self.decoders.close()

    async def _store(self, model: ServedModel, upload: Upload, proba: np.ndarray, assessment: Assessment) -> bool:
        """Store an image if the server was started with `--keep`. A full disk is logged; the request still succeeds."""
        if self.upload_log is None:
            return False
        prediction = {
            "run": model.id, "decision": assessment.decision, "confidence": assessment.confidence,
            "probabilities": dict(zip(model.run.classes, map(float, proba), strict=True)),
        }  # fmt: skip
        try:
            await run_in_threadpool(self.upload_log.store, upload.content, upload.name, prediction)
        except SystemLimitError as error:
            _LOG.error("an uploaded image could not be stored: %s", error.message)
            return False
        return True


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it at once. The first error ends the rest and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def as_http_error(work: Awaitable[T]) -> T:
    """Wait for a result; an error that the client can do something about becomes an HTTP error.

    Raises:
        RequestError: 503 if the server is busy or something is still loading; 413 if the image is too large; 422 if the
            image or a parameter is invalid.
    """
    try:
        return await work
    except (QueueFull, Busy):
        raise RequestError(503, "the server is busy", "try again in a moment", _RETRY_AFTER) from None
    except NotReady as error:
        raise RequestError(503, error.message, error.hint or "", {"retry-after": "3"}) from None
    except TooMuchMemory as error:
        raise RequestError(413, error.message, error.hint or "") from None
    except TellapartError as error:
        raise RequestError(422, error.message, error.hint or "") from None
