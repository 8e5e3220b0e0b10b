"""The responses of the JSON API as pydantic models, which also describe them in `/openapi.json`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, Field

from tellapart.data.metadata import MetadataItem
from tellapart.inference.prediction import Stability
from tellapart.server import overlays
from tellapart.server.uploads import Upload, UploadResult
from tellapart.types import Score

if TYPE_CHECKING:
    from tellapart.server.explanations import Explanation
    from tellapart.server.service import ServedModel


class ScoreInfo(BaseModel):
    """A score with its sample size and interval."""

    value: float | None = Field(description="point estimate")
    n: int = Field(description="number of images")
    low: float | None = Field(description="lower end of the 95 % interval")
    high: float | None = Field(description="upper end of the 95 % interval")

    @classmethod
    def from_score(cls, score: Score | None) -> Self | None:
        """The same score; None if there is none."""
        if score is None:
            return None
        values = score.to_dict()
        return cls(**{name: values[name] for name in ("value", "n", "low", "high")})


class MetadataInfo(BaseModel):
    """One entry of the file's metadata."""

    name: str
    value: str
    notable: bool = Field(description="hints at an editing program or a generator")


class ImageVersion(BaseModel):
    """The prediction for the image after it was compressed or scaled again."""

    version: str = Field(description='change to the image, such as "JPEG 90"; "as is" for the uploaded file')
    decision: str = Field(description="the decided class, or unsure; without a decision rule the most probable class")
    probability: float = Field(description="probability of `stability.class`")


class StabilityInfo(BaseModel):
    """Whether the decision stays the same when the image is compressed or scaled again."""

    unchanged: int = Field(description="number of re-saved versions with the decision of the uploaded file")
    resaved: int = Field(description="number of re-saved versions, without the uploaded file")
    stable: bool = Field(description="whether unchanged equals resaved")
    lowest: float = Field(description="lowest probability of the class, over all versions and the uploaded file")
    highest: float = Field(description="highest probability of the class, likewise")
    class_name: str = Field(alias="class", description="the most probable class of the uploaded file")
    versions: list[ImageVersion] = Field(description="the uploaded file first")

    @classmethod
    def from_stability(cls, stability: Stability | None) -> Self | None:
        """The same result; None if there is none."""
        return None if stability is None else cls.model_validate(stability.to_dict())


class Prediction(BaseModel):
    """The prediction for one image."""

    image: str = Field(description="file name given by the client")
    run: str
    predicted: str = Field(description="the most probable class")
    probability: float = Field(description="probability of the predicted class")
    probabilities: dict[str, float] = Field(description="class → probability, in label order; they sum to 1")
    decision: str = Field(description="a class, or unsure if the run's decision rule abstains")
    confidence: str = Field(description="sure, fairly sure, not sure; or unsure if the run's decision rule abstains")
    reason: str = Field(description="basis of decision and confidence")
    summary: str = Field(description='the decision for a reader: "edited, 97 %, sure"')
    validation_accuracy: ScoreInfo | None = Field(
        description="accuracy on validation images predicted with about this probability or more"
    )
    face_found: bool | None = Field(default=None, description="whether a face was found; only of a run that reads faces")
    metadata: list[MetadataInfo] | None = Field(default=None, description="only with ?metadata=true")
    stability: StabilityInfo | None = Field(default=None, description="only with ?stability=true")
    stored: bool = Field(default=False, description="whether the server stored the image: only if it was started with --keep")

    @classmethod
    def from_result(
        cls, model: ServedModel, result: UploadResult, *,
        metadata: list[MetadataItem] | None = None, stability: Stability | None = None,
    ) -> Self:  # fmt: skip
        """The prediction for one upload.

        Args:
            model: The run that predicted.
            result: With probabilities and an assessment.
            metadata: The file's metadata; added if given.
            stability: Added if given.
        """
        if result.proba is None or result.assessment is None:
            raise ValueError("this upload has no prediction")
        label, classes, assessment = int(result.proba.argmax()), model.run.classes, result.assessment
        return cls(
            image=result.upload.name, run=model.id, predicted=classes[label], probability=float(result.proba[label]),
            probabilities=dict(zip(classes, map(float, result.proba), strict=True)),
            decision=assessment.decision, confidence=assessment.confidence, reason=assessment.reason,
            summary=assessment.summary(), validation_accuracy=ScoreInfo.from_score(assessment.accuracy),
            face_found=result.face_found,
            metadata=None if metadata is None else [MetadataInfo(**vars(item)) for item in metadata],
            stability=StabilityInfo.from_stability(stability), stored=result.stored,
        )  # fmt: skip


class Failure(BaseModel):
    """An image, or a request, that failed."""

    image: str | None = Field(default=None, description="file name given by the client; null if the whole request failed")
    error: str
    hint: str = ""


class BatchPrediction(BaseModel):
    """Predictions for several images, in their order; images that cannot be read have an error instead."""

    run: str
    succeeded: int
    failed: int
    results: list[Prediction | Failure]

    @classmethod
    def from_results(
        cls, model: ServedModel, results: Sequence[UploadResult], metadata: Sequence[list[MetadataItem] | None]
    ) -> Self:
        """The predictions for several uploads, with the metadata of each or None; see `Prediction.from_result`."""
        items = [
            Prediction.from_result(model, one, metadata=items_of_file)
            if one.proba is not None
            else Failure(image=one.upload.name, error=one.error)
            for one, items_of_file in zip(results, metadata, strict=True)
        ]
        failed = sum(isinstance(item, Failure) for item in items)
        return cls(run=model.id, succeeded=len(items) - failed, failed=failed, results=items)


class HeatmapInfo(BaseModel):
    """Location of the evidence for a class in the image."""

    image: str
    run: str
    predicted: str = Field(description="the most probable class")
    class_name: str = Field(alias="class", description="the class that the heatmap explains")
    method: str
    height: int = Field(description="of the heatmap, and of the image after EXIF orientation")
    width: int
    empty: bool = Field(description="whether the method found no evidence for the class")
    note: str
    map_png: str = Field(description="the heatmap as PNG, 8-bit grayscale, base64")

    @classmethod
    def from_explanation(cls, model: ServedModel, upload: Upload, explanation: Explanation) -> Self:
        """The heatmap of one upload, its values as a grayscale PNG."""
        values = explanation.heatmap.values
        content = {
            "image": upload.name, "run": model.id, "predicted": explanation.predicted,
            "class": explanation.heatmap.class_name, "method": explanation.heatmap.method, "height": values.shape[0],
            "width": values.shape[1], "empty": not values.any(), "note": explanation.note,
            "map_png": base64.b64encode(overlays.grayscale_png(values)).decode(),
        }  # fmt: skip
        return cls.model_validate(content)


class RunInfo(BaseModel):
    """One served run."""

    id: str
    recipe: str
    family: str
    classes: list[str]
    positive: str | None
    runtime: str = Field(description="torch or onnx")
    has_decision_rule: bool = Field(description="whether the run was calibrated with a decision rule, and may abstain")
    data: str
    valid_accuracy: ScoreInfo | None
    test_accuracy: ScoreInfo | None

    @classmethod
    def from_model(cls, model: ServedModel) -> Self:
        """The description of one served run."""
        run = model.run
        return cls(
            id=run.id, recipe=run.recipe_name, family=run.family, classes=list(run.classes), positive=run.positive,
            runtime=model.predictor.runtime, has_decision_rule=model.confidence.decision is not None,
            data=str(run.data["name"]), valid_accuracy=ScoreInfo.from_score(run.scores("valid").get("accuracy")),
            test_accuracy=ScoreInfo.from_score(run.scores("test").get("accuracy")),
        )  # fmt: skip


class Health(BaseModel):
    """Whether the server can predict."""

    status: str = Field(description="ok")
    runs: int
    waiting: int = Field(description="number of images in the queues")


class Version(BaseModel):
    """Versions and served runs."""

    tellapart: str
    python: str
    runs: list[str]


class Leaderboards(BaseModel):
    """Leaderboards of all finished runs, one for each data set and split, as printed by `tellapart leaderboard --json`."""

    leaderboards: list[dict[str, Any]]
