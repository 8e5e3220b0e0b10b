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
from tellapart.server.batching import Full
from tellapart.server.confidence import Verdict
from tellapart.server.explanations import Explanation, NotReady
from tellapart.server.leaderboards import Boards
from tellapart.server.metrics import Measures
from tellapart.server.middleware import Refused
from tellapart.server.models import ServedRun, ServedRuns
from tellapart.server.settings import Options
from tellapart.server.upload_log import Keeper
from tellapart.server.uploads import Upload

_LOG = logging.getLogger("tellapart.server")
_BUSY = {"retry-after": "1"}
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Answered:
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
    verdict: Verdict | None = None
    reason: str = ""
    kept: bool = False


class Desk:
    """Everything that a request needs.

    Args:
        runs: Finished runs; the first one answers when none is named.
        options: Limits, device, folders.

    Raises:
        RunError: A run cannot be loaded.
        SystemLimitError: The folder of kept pictures cannot be made.
    """

    def __init__(self, runs: Sequence[Run], options: Options) -> None:
        self.options, self.measures = options, Measures()
        self.keeper = Keeper(options.keep) if options.keep else None
        self.served = ServedRuns(runs, options, self.measures)
        self.boards = Boards(runs, options.settings.runs)

    async def predict(self, run: ServedRun, uploads: Sequence[Upload]) -> list[Answered]:
        """Ask about some pictures, all at once."""
        good = [upload for upload in uploads if not upload.reason]
        said = iter(await patiently(run.ask([upload.content for upload in good])) if good else ())
        found = []
        for upload in uploads:
            one = upload.reason or next(said)
            if isinstance(one, str):
                found.append(Answered(upload, reason=upload.reason or f"{upload.name}: {one}"))
                continue
            verdict = run.certainty.verdict(one)
            found.append(Answered(upload, one, verdict, kept=await self._keep(run, upload, one, verdict)))
        return found

    async def explain(self, run: ServedRun, upload: Upload, class_name: str | None, method: str | None) -> Explanation:
        """Where it looks."""
        return await patiently(run.explain(upload.content, upload.name, class_name, method))

    async def stability(self, run: ServedRun, upload: Upload) -> Stability:
        """Whether the answer survives other deliveries."""
        return await patiently(run.stability(upload.content, upload.name))

    async def nearest(self, run: ServedRun, upload: Upload) -> Nearest:
        """What the run is reminded of."""
        return await patiently(run.nearest(upload.content, upload.name))

    async def _keep(self, run: ServedRun, upload: Upload, proba: np.ndarray, verdict: Verdict) -> bool:
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


async def patiently(work: Awaitable[T]) -> T:
    """Wait for an answer; what a user can mend becomes a refusal with a status.

    Raises:
        Refused: 503 where there is no room or something is being prepared, 422 where the picture or the question is at fault.
    """
    try:
        return await work
    except Full:
        raise Refused(503, "the server is busy", "send it again in a moment", _BUSY) from None
    except NotReady as error:
        raise Refused(503, error.message, error.hint or "", {"retry-after": "3"}) from None
    except TellapartError as error:
        raise Refused(422, error.message, error.hint or "") from None
