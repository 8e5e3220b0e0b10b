"""What the JSON API says, as models: they become the answers and their description in `/openapi.json`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


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

    delivery: str
    said: str
    probability: float = Field(description="of the class that is most probable for the picture as it is")


class StabilityAnswer(BaseModel):
    """Whether the answer survives other deliveries of the same picture."""

    kept: int = Field(description="deliveries of which the same is said")
    of: int
    stable: bool
    lowest: float = Field(description="probability, over all deliveries, of the class in question")
    highest: float
    class_name: str = Field(alias="class", description="the class in question")
    deliveries: list[DeliveryAnswer]


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
