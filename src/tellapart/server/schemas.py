"""What the JSON API says, as models: they become the answers and their description in `/openapi.json`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from tellapart.data.metadata import MetadataItem, read_metadata
from tellapart.errors import ImageError
from tellapart.inference.prediction import Stability
from tellapart.server import overlays
from tellapart.server.confidence import ConfidenceLevel
from tellapart.server.explanations import Explanation
from tellapart.server.models import ServedModel
from tellapart.server.service import UploadResult
from tellapart.server.uploads import Upload
from tellapart.types import Score


class Share(BaseModel):
    """A score with what is needed to believe it."""

    value: float | None = Field(description="the estimate")
    n: int = Field(description="images that it was computed on")
    low: float | None = Field(description="lower end of the 95 % interval")
    high: float | None = Field(description="upper end of the 95 % interval")


class VerdictAnswer(BaseModel):
    """What is said of a picture."""

    name: str = Field(description='a class, or "unsure"')
    words: str = Field(description='for a person: "edited, 97 %, sure"')
    certainty: str = Field(description="sure, fairly sure, not sure; or unsure, where the run's own rules say so")
    reason: str = Field(description="what that rests on")
    right_on_validation: Share | None = Field(description="how often answers at least this sure were right on validation")


class ClueAnswer(BaseModel):
    """One thing that the file says beside its pixels."""

    name: str
    value: str
    notable: bool = Field(description="worth a second look")


class DeliveryAnswer(BaseModel):
    """What the run says of the picture delivered another way."""

    version: str
    decision: str
    probability: float = Field(description="of the class that is most probable for the picture as it is")


class StabilityAnswer(BaseModel):
    """Whether the answer survives other deliveries of the same picture."""

    unchanged: int = Field(description="re-saved versions that get the same decision as the file itself")
    resaved: int = Field(description="re-saved versions")
    stable: bool
    lowest: float = Field(description="probability, over all deliveries, of the class in question")
    highest: float
    class_name: str = Field(alias="class", description="the class in question")
    versions: list[DeliveryAnswer]


class Prediction(BaseModel):
    """The answer to one picture."""

    image: str = Field(description="what its sender called it")
    run: str
    answer: str = Field(description="the most probable class")
    probability: float = Field(description="of the answer")
    probabilities: dict[str, float] = Field(description="class → probability, in label order; they sum to 1")
    verdict: VerdictAnswer
    clues: list[ClueAnswer] | None = Field(default=None, description="with ?clues=true")
    stability: StabilityAnswer | None = Field(default=None, description="with ?stability=true")
    kept: bool = Field(default=False, description="whether the server keeps the picture: only when it was started with --keep")


class Failure(BaseModel):
    """A picture, or a request, without an answer."""

    image: str | None = Field(default=None, description="which picture; none where it is the whole request")
    error: str
    hint: str = ""


class Batch(BaseModel):
    """The answers to several pictures, in their order; those that cannot be read are named."""

    run: str
    answered: int
    failed: int
    results: list[Prediction | Failure]


class MapAnswer(BaseModel):
    """Where the run sees the evidence."""

    image: str
    run: str
    answer: str = Field(description="the most probable class")
    class_name: str = Field(alias="class", description="the class that the map is of")
    method: str
    height: int = Field(description="of the map, and of the picture after EXIF orientation")
    width: int
    empty: bool = Field(description="nothing speaks for the class")
    note: str
    map_png: str = Field(description="the map as PNG, 8 bits of gray, base64")


class RunAnswer(BaseModel):
    """One run that is served."""

    id: str
    recipe: str
    family: str
    classes: list[str]
    positive: str | None
    runtime: str = Field(description="what computes: torch or onnx")
    has_verdict: bool = Field(description="whether it was calibrated, and decides by rules")
    data: str
    valid_accuracy: Share | None
    test_accuracy: Share | None


class Health(BaseModel):
    """Whether the server can answer."""

    status: str = Field(description="ok, or failing")
    runs: int
    waiting: int = Field(description="images in the queues")


class Version(BaseModel):
    """What runs here."""

    tellapart: str
    python: str
    runs: list[str]


class Boards(BaseModel):
    """Leaderboards of all finished runs, one for each data set and split, as `tellapart leaderboard --json` prints them."""

    leaderboards: list[dict[str, Any]]


# --- what was found, as the JSON API says it --------------------------------------------------------------------------


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
