"""Slower results than a prediction: heatmap, nearest training images, stability.

One background thread computes them with a classifier of its own, so that predictions do not wait. The training images are read
in another thread at the first request; until they are read, requests are answered with "try again".
"""

from __future__ import annotations

import contextlib
import functools
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tellapart import registry
from tellapart.classifiers.base import Context
from tellapart.data.decode import decode
from tellapart.errors import DataError, TellapartError, unknown_name
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Heatmap
from tellapart.inference.context import load_classifier, resolve_device
from tellapart.inference.decision import DecisionRule
from tellapart.inference.nearest import Nearest, NearestImages
from tellapart.inference.prediction import Stability
from tellapart.inference.predictor import Predictor, load_predictor
from tellapart.perturbations.stability import stability
from tellapart.recipe.load import check_options
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.server.settings import ServerSettings

#: Larger images are shrunk for methods that predict hundreds of perturbed images.
MAX_PERTURBED_PIXELS = 1_000_000


@dataclass(frozen=True, eq=False)
class Explanation:
    """A heatmap of one image.

    Attributes:
        pixels: (H, W, 3) uint8: the explained image.
        heatmap: The heatmap, of the same size.
        predicted: The most probable class.
        note: Description of changes to the image before the explanation; "" if there are none.
    """

    pixels: np.ndarray
    heatmap: Heatmap
    predicted: str
    note: str = ""


class NotReady(TellapartError):
    """Something is still loading; the request can be repeated."""


class Explanations:
    """Explains predictions of one run. Not thread-safe.

    Args:
        run: A finished run.
        options: Limits and device.
    """

    def __init__(self, run: Run, options: ServerSettings) -> None:
        self.run, self.options = run, options
        self._training = _TrainingImages(run, options)

    def prepare(self) -> None:
        """Load the classifier, and torch's libraries by explaining a blank image, which takes seconds."""
        subject, pixels = self._subject, np.full((32, 32, 3), 128, np.uint8)
        with contextlib.suppress(TellapartError):  # a run that accepts one image size only
            subject.predict([pixels])
            if self._default_method == "grad_cam":
                registry.find("explainers", "grad_cam")()(subject, pixels, 0)

    def heatmap(self, content: bytes, name: str, class_name: str | None, method: str | None) -> Explanation:
        """Compute a heatmap of the evidence for a class.

        Args:
            content: The encoded image.
            name: Name of the image in errors.
            class_name: None: the most probable class.
            method: None: grad_cam for a network on images, else occlusion.

        Raises:
            ImageError: The image cannot be decoded.
            DataError: Unknown class, or an image that is too large for the method.
            RecipeError: Unknown method.
            RunError: The method needs a network, and the run has none.
        """
        subject = self._subject
        if class_name is not None and class_name not in self.run.classes:
            raise DataError(unknown_name(f"class of {self.run.id}", class_name, self.run.classes))
        pixels = decode(content, path=name, max_pixels=self.options.max_pixels)
        method = method.replace("-", "_") if method else self._default_method
        explainer = registry.find("explainers", method)
        note = ""
        if method in ("occlusion", "rise", "score_cam"):
            pixels, note = self._shrink(pixels, method)
        label = int(subject.predict([pixels])[0].argmax())
        predicted = self.run.classes[label]
        label = label if class_name is None else self.run.classes.index(class_name)
        heatmap = explainer(check_options(explainer.Options, {}, f"method {method}"), 0)(subject, pixels, label)
        return Explanation(pixels, heatmap, predicted, note)

    def stability(self, content: bytes, name: str) -> Stability:
        """Predict the image again after compression and scaling.

        Raises:
            ImageError: The image cannot be decoded.
        """
        predictor, rule = self._stability_tools
        return stability(predictor, content, name, rule)

    def nearest(self, content: bytes, name: str) -> Nearest:
        """Find the nearest training images in the run's feature space.

        Raises:
            NotReady: The training images are still being read.
            TellapartError: The training images cannot be read, because they were moved or are corrupt.
        """
        return self._training.get().search(content, name)

    @functools.cached_property
    def _subject(self) -> ExplainedModel:
        context = Context(device=resolve_device(self.options.settings.device), parents=self._find)
        return ExplainedModel(load_classifier(self.run), context, self.run.id)

    @property
    def _default_method(self) -> str:
        network = self._subject.network
        return "grad_cam" if network is not None and network.recipe.features is None else "occlusion"

    @functools.cached_property
    def _stability_tools(self) -> tuple[Predictor, DecisionRule]:
        return load_predictor(self.run, self.options.settings), DecisionRule(self.run)

    def _find(self, name: str) -> Path:
        return store.open_parent(name, self.run.runs).folder

    def _shrink(self, pixels: np.ndarray, method: str) -> tuple[np.ndarray, str]:
        height, width = pixels.shape[:2]
        if height * width <= MAX_PERTURBED_PIXELS:
            return pixels, ""
        resize = self._subject.inputs.resize
        if resize not in ("stretch", "crop", "pad"):
            limit = f"{method} predicts hundreds of perturbed images, of at most {MAX_PERTURBED_PIXELS / 1e6:g} megapixels"
            raise DataError(f"{limit}, and this run must not get a shrunk image", hint="crop the region of interest")
        scale = (MAX_PERTURBED_PIXELS / (height * width)) ** 0.5
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        return np.asarray(small), f"image shrunk to {size[0]} × {size[1]}"


class _TrainingImages:
    """The training images of a run, read at the first request."""

    def __init__(self, run: Run, options: ServerSettings) -> None:
        self._run, self._options = run, options
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._images: NearestImages | TellapartError | None = None

    def get(self, timeout: float = 0.5) -> NearestImages:
        """The searchable images; wait up to `timeout` seconds for them."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._open, name=f"read {self._run.id}", daemon=True)
                self._thread.start()
        self._thread.join(timeout)
        if self._images is None:
            raise NotReady("the training images are being read for the first time", hint="try again in a moment")
        if isinstance(self._images, TellapartError):
            raise self._images
        return self._images

    def _open(self) -> None:
        try:
            self._images = NearestImages(self._run, self._options.settings)
        except TellapartError as error:
            self._images = DataError(f"the training images of {self._run.id} cannot be searched: {error.message}")
        except Exception as error:  # from any library that reads images; the thread must leave a result
            self._images = DataError(f"the training images of {self._run.id} cannot be searched ({error})")
