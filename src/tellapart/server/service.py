"""What the API and the page share: pictures in, answers out, and what to say when there is none."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from starlette.concurrency import run_in_threadpool

from tellapart.errors import SystemLimitError, TellapartError
from tellapart.inference.nearest import Nearest
from tellapart.inference.prediction import Stability
from tellapart.runs.store import Run
from tellapart.server.batching import QueueFull
from tellapart.server.confidence import ConfidenceLevel
from tellapart.server.explanations import Explanation, NotReady
from tellapart.server.leaderboards import LeaderboardService
from tellapart.server.metrics import Metrics
from tellapart.server.middleware import RequestError
from tellapart.server.models import ServedModel, ServedModels
from tellapart.server.settings import ServerSettings
from tellapart.server.upload_log import UploadLog
from tellapart.server.uploads import Upload

_LOG = logging.getLogger("tellapart.server")
_BUSY = {"retry-after": "1"}
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class UploadResult:
    """One picture with its answer, or with what is wrong with it.

    Attributes:
        upload: The picture.
        proba: (C,) float32; None when it cannot be read.
        verdict: What is said of it; None likewise.
        reason: Why it cannot be read; "" when it can.
        kept: Whether it is kept.
    """

    upload: Upload
    proba: np.ndarray | None = None
    verdict: ConfidenceLevel | None = None
    reason: str = ""
    kept: bool = False


class PredictionService:
    """Everything that a request needs.

    Args:
        runs: Finished runs; the first one answers when none is named.
        options: Limits, device, folders.

    Raises:
        RunError: A run cannot be loaded.
        SystemLimitError: The folder of kept pictures cannot be made.
    """

    def __init__(self, runs: Sequence[Run], options: ServerSettings) -> None:
        self.options, self.measures = options, Metrics()
        self.keeper = UploadLog(options.keep) if options.keep else None
        self.served = ServedModels(runs, options, self.measures)
        self.boards = LeaderboardService(runs, options.settings.runs)

    async def predict(self, run: ServedModel, uploads: Sequence[Upload]) -> list[UploadResult]:
        """Ask about some pictures, all at once."""
        good = [upload for upload in uploads if not upload.reason]
        said = iter(await as_http_error(run.predict([upload.content for upload in good])) if good else ())
        found = []
        for upload in uploads:
            one = upload.reason or next(said)
            if isinstance(one, str):
                found.append(UploadResult(upload, reason=upload.reason or f"{upload.name}: {one}"))
                continue
            verdict = run.certainty.verdict(one)
            found.append(UploadResult(upload, one, verdict, kept=await self._keep(run, upload, one, verdict)))
        return found

    async def explain(self, run: ServedModel, upload: Upload, class_name: str | None, method: str | None) -> Explanation:
        """Where it looks."""
        return await as_http_error(run.explain(upload.content, upload.name, class_name, method))

    async def stability(self, run: ServedModel, upload: Upload) -> Stability:
        """Whether the answer survives other deliveries."""
        return await as_http_error(run.stability(upload.content, upload.name))

    async def nearest(self, run: ServedModel, upload: Upload) -> Nearest:
        """What the run is reminded of."""
        return await as_http_error(run.nearest(upload.content, upload.name))

    async def _keep(self, run: ServedModel, upload: Upload, proba: np.ndarray, verdict: ConfidenceLevel) -> bool:
        """Keep a picture, where that was asked for. A full disk costs nobody an answer, and is said aloud."""
        if self.keeper is None:
            return False
        shares = dict(zip(run.run.classes, map(float, proba), strict=True))
        answer = {"run": run.id, "verdict": verdict.name, "certainty": verdict.certainty, "probabilities": shares}
        try:
            await run_in_threadpool(self.keeper.keep, upload.content, upload.name, answer)
        except SystemLimitError as error:
            _LOG.error("a picture is not kept: %s", error.message)
            return False
        return True


async def as_http_error(work: Awaitable[T]) -> T:
    """Wait for an answer; what a user can mend becomes a refusal with a status.

    Raises:
        Refused: 503 where there is no room or something is being prepared, 422 where the picture or the question is at fault.
    """
    try:
        return await work
    except QueueFull:
        raise RequestError(503, "the server is busy", "send it again in a moment", _BUSY) from None
    except NotReady as error:
        raise RequestError(503, error.message, error.hint or "", {"retry-after": "3"}) from None
    except TellapartError as error:
        raise RequestError(422, error.message, error.hint or "") from None
