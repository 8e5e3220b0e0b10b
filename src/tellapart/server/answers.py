"""What was found, as the JSON API says it."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from tellapart.errors import ImageError
from tellapart.inference.prediction import Stability
from tellapart.server import overlays
from tellapart.server.clues import MetadataItem, read_metadata
from tellapart.server.confidence import ConfidenceLevel
from tellapart.server.explanations import Explanation
from tellapart.server.models import ServedModel
from tellapart.server.schemas import (
    Batch,
    ClueAnswer,
    Failure,
    MapAnswer,
    Prediction,
    RunAnswer,
    Share,
    StabilityAnswer,
    VerdictAnswer,
)
from tellapart.server.service import UploadResult
from tellapart.server.uploads import Upload
from tellapart.types import Score


def of_picture(run: ServedModel, found: UploadResult, *, clues: bool, stability: Stability | None = None) -> Prediction:
    """One picture that was answered.

    Args:
        run: Who answered.
        found: With probabilities and a verdict.
        clues: Whether the file's metadata are wanted.
        stability: Where it was asked for.
    """
    if found.proba is None or found.verdict is None:
        raise ValueError("this picture was not answered")
    label = int(found.proba.argmax())
    return Prediction(
        image=found.upload.name, run=run.id, answer=run.run.classes[label], probability=float(found.proba[label]),
        probabilities=dict(zip(run.run.classes, map(float, found.proba), strict=True)),
        verdict=_verdict(found.verdict),
        clues=[ClueAnswer(**vars(clue)) for clue in metadata_items(found.upload)] if clues else None,
        stability=StabilityAnswer.model_validate(stability.to_dict()) if stability else None,
        kept=found.kept,
    )  # fmt: skip


def of_batch(run: ServedModel, found: Sequence[UploadResult], *, clues: bool) -> Batch:
    """Several pictures, those that cannot be read among them."""
    results = [
        of_picture(run, one, clues=clues) if one.proba is not None else Failure(image=one.upload.name, error=one.reason)
        for one in found
    ]
    failed = sum(isinstance(one, Failure) for one in results)
    return Batch(run=run.id, answered=len(results) - failed, failed=failed, results=results)


def of_map(run: ServedModel, upload: Upload, found: Explanation) -> MapAnswer:
    """A map, its values as a gray PNG."""
    values = found.heatmap.values
    content = {
        "image": upload.name, "run": run.id, "answer": found.answer, "class": found.heatmap.class_name,
        "method": found.heatmap.method, "height": values.shape[0], "width": values.shape[1], "empty": not values.any(),
        "note": found.note, "map_png": base64.b64encode(overlays.gray(values)).decode(),
    }  # fmt: skip
    return MapAnswer.model_validate(content)


def of_run(served: ServedModel) -> RunAnswer:
    """One run that answers here."""
    run = served.run
    return RunAnswer(
        id=run.id, recipe=run.recipe_name, family=run.family, classes=list(run.classes), positive=run.positive,
        runtime=served.answerer.runtime, has_verdict=served.certainty.decision is not None, data=str(run.data["name"]),
        valid_accuracy=_share(run.scores("valid").get("accuracy")), test_accuracy=_share(run.scores("test").get("accuracy")),
    )  # fmt: skip


def metadata_items(upload: Upload) -> list[MetadataItem]:
    """What the file says; where that cannot be read, that."""
    try:
        return read_metadata(upload.content, upload.name)
    except ImageError as error:
        return [MetadataItem("metadata", error.reason, notable=True)]


def _verdict(verdict: ConfidenceLevel) -> VerdictAnswer:
    return VerdictAnswer(
        name=verdict.name, words=verdict.in_words(), certainty=verdict.certainty, reason=verdict.reason,
        right_on_validation=_share(verdict.right),
    )  # fmt: skip


def _share(score: Score | None) -> Share | None:
    if score is None:
        return None
    plain = score.to_dict()
    return Share(**{name: plain[name] for name in ("value", "n", "low", "high")})
