"""Slower results than a prediction: heatmap, nearest training images.

One background thread computes them with a classifier of its own, so that predictions do not wait. The training images are read
in another thread at the first request; until they are read, requests are answered with "try again".
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart import registry
from tellapart.classifiers.base import Context
from tellapart.data.decode import target_size
from tellapart.errors import DataError, TellapartError, unknown_name
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Heatmap
from tellapart.inference.context import load_classifier, resolve_device
from tellapart.inference.nearest import NearestImages
from tellapart.recipe.load import check_options
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.server.batching import Step
from tellapart.server.decoders import Picture
from tellapart.server.settings import ServerSettings

#: Longest side of a heatmap, in pixels; larger images are shrunk before they are explained.
MAX_SIDE = 1024


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

    @property
    def size(self) -> tuple[int, bool]:
        """Longest side of an image that is explained, and whether a larger one is cut, as it must not be resampled."""
        inputs = self._subject.inputs
        if inputs.resize in ("stretch", "crop", "pad"):
            return MAX_SIDE, False
        return max(MAX_SIDE, *(math.ceil(side / inputs.keep) for side in target_size(inputs))), True

    def heatmap(self, picture: Picture, class_name: str | None, method: str | None, step: Step) -> Explanation:
        """Compute a heatmap of the evidence for a class.

        Args:
            picture: The image, of at most the size that `size` says.
            class_name: None: the most probable class.
            method: None: grad_cam for a network on images, else occlusion.
            step: Called between two passes of the classifier; an exception ends the work.

        Raises:
            DataError: Unknown class.
            RecipeError: Unknown method.
            RunError: The method needs a network, and the run has none.
        """
        subject = self._subject
        if class_name is not None and class_name not in self.run.classes:
            raise DataError(unknown_name(f"class of {self.run.id}", class_name, self.run.classes))
        method = method.replace("-", "_") if method else self._default_method
        explainer = registry.find("explainers", method)
        pixels, subject.step = picture.pixels, step
        label = int(subject.predict([pixels])[0].argmax())
        predicted = self.run.classes[label]
        label = label if class_name is None else self.run.classes.index(class_name)
        heatmap = explainer(check_options(explainer.Options, {}, f"method {method}"), 0)(subject, pixels, label)
        return Explanation(pixels, heatmap, predicted, picture.note)

    def training_images(self) -> NearestImages:
        """The training images in the run's feature space, to search.

        Raises:
            NotReady: They are still being read.
            TellapartError: They cannot be read, because they were moved or are corrupt.
        """
        return self._training.get()

    @functools.cached_property
    def _subject(self) -> ExplainedModel:
        context = Context(device=resolve_device(self.options.settings.device), parents=self._find)
        return ExplainedModel(load_classifier(self.run), context, self.run.id)

    @property
    def _default_method(self) -> str:
        network = self._subject.network
        return "grad_cam" if network is not None and network.recipe.features is None else "occlusion"

    def _find(self, name: str) -> Path:
        return store.open_parent(name, self.run.runs).folder


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
