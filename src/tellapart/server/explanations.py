"""What takes longer than an answer: where a run looks, what it is reminded of, whether the answer survives a delivery.

All of it is asked by one thread, with a classifier of its own, so that verdicts do not wait. The training images are read in
yet another thread, when somebody first asks; until they are, whoever asks is told to come back.
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
from tellapart.inference.predictor import load_predictor
from tellapart.perturbations.stability import stability
from tellapart.recipe.load import check_options
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.server.settings import ServerSettings

#: A picture of more pixels is shrunk before a classifier is asked about it hundreds of times.
MOST_ASKED = 1_000_000


@dataclass(frozen=True, eq=False)
class Explanation:
    """A map of one picture.

    Attributes:
        pixels: (H, W, 3) uint8: the picture that it is of.
        heatmap: The map, of the same size.
        answer: The most probable class.
        note: What was done otherwise than asked; "" usually.
    """

    pixels: np.ndarray
    heatmap: Heatmap
    answer: str
    note: str = ""


class NotReady(TellapartError):
    """Something is still being prepared: ask again."""


class Explanations:
    """What is to be known of the answers of one run. One thread at a time asks it.

    Args:
        run: Finished.
        options: Where and how; the most pixels that a picture may have.
    """

    def __init__(self, run: Run, options: ServerSettings) -> None:
        self.run, self.options = run, options
        self._training = _Training(run, options)

    def prepare(self) -> None:
        """Load the classifier, and by one map of nothing the libraries that it needs: that takes seconds, in torch alone."""
        subject, pixels = self._subject, np.full((32, 32, 3), 128, np.uint8)
        with contextlib.suppress(TellapartError):  # a run that takes pictures of one size only
            subject.predict([pixels])
            if self._usual == "grad_cam":
                registry.find("explainers", "grad_cam")()(subject, pixels, 0)

    def heatmap(self, content: bytes, name: str, class_name: str | None, method: str | None) -> Explanation:
        """Where the evidence for a class lies.

        Args:
            content: The encoded picture.
            name: Of the picture, for errors.
            class_name: None: the most probable one.
            method: None: grad_cam of a network on images, else occlusion.

        Raises:
            ImageError: It cannot be decoded.
            DataError: Unknown class, or a picture too large for a method that asks often.
            RecipeError: Unknown method.
            RunError: A method of networks, and this is none.
        """
        subject = self._subject
        if class_name is not None and class_name not in self.run.classes:
            raise DataError(unknown_name(f"class of {self.run.id}", class_name, self.run.classes))
        pixels = decode(content, path=name, max_pixels=self.options.max_pixels)
        method = method.replace("-", "_") if method else self._usual
        explainer = registry.find("explainers", method)
        note = ""
        if method in ("occlusion", "rise", "score_cam"):
            pixels, note = self._small_enough(pixels, method)
        label = int(subject.predict([pixels])[0].argmax())
        answer = self.run.classes[label]
        label = label if class_name is None else self.run.classes.index(class_name)
        found = explainer(check_options(explainer.Options, {}, f"method {method}"), 0)(subject, pixels, label)
        return Explanation(pixels, found, answer, note)

    def stability(self, content: bytes, name: str) -> Stability:
        """Whether the answer stays when the picture is saved again or scaled."""
        answerer, judge = self._asked_often
        return stability(answerer, content, name, judge)

    def nearest(self, content: bytes, name: str) -> Nearest:
        """The training images that are most like the picture to this run.

        Raises:
            NotReady: They are being read.
            TellapartError: They cannot be read, because they moved or are damaged.
        """
        return self._training.opened().search(content, name)

    @functools.cached_property
    def _subject(self) -> ExplainedModel:
        context = Context(device=resolve_device(self.options.settings.device), parents=self._find)
        return ExplainedModel(load_classifier(self.run), context, self.run.id)

    @property
    def _usual(self) -> str:
        network = self._subject.network
        return "grad_cam" if network is not None and network.recipe.features is None else "occlusion"

    @functools.cached_property
    def _asked_often(self) -> tuple:
        return load_predictor(self.run, self.options.settings), DecisionRule(self.run)

    def _find(self, name: str) -> Path:
        return store.open_run(name, self.run.runs).folder

    def _small_enough(self, pixels: np.ndarray, method: str) -> tuple[np.ndarray, str]:
        height, width = pixels.shape[:2]
        if height * width <= MOST_ASKED:
            return pixels, ""
        resize = self._subject.inputs.resize
        if resize not in ("stretch", "crop", "pad"):
            limit = f"{method} asks hundreds of times: at most {MOST_ASKED / 1e6:g} megapixels"
            raise DataError(f"{limit}, and this run must not be shown a shrunk picture", hint="cut out the part in question")
        scale = (MOST_ASKED / (height * width)) ** 0.5
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        return np.asarray(small), f"of the picture shrunk to {size[0]} × {size[1]}"


class _Training:
    """The training images of a run, read when they are first asked for."""

    def __init__(self, run: Run, options: ServerSettings) -> None:
        self._run, self._options = run, options
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._found: NearestImages | TellapartError | None = None

    def opened(self, patience: float = 0.5) -> NearestImages:
        """The neighborhood. `patience`: seconds to wait for it."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._open, name=f"read {self._run.id}", daemon=True)
                self._thread.start()
        self._thread.join(patience)
        if self._found is None:
            raise NotReady("the training images are being read for the first time", hint="ask again in a moment")
        if isinstance(self._found, TellapartError):
            raise self._found
        return self._found

    def _open(self) -> None:
        try:
            self._found = NearestImages(self._run, self._options.settings)
        except TellapartError as error:
            self._found = DataError(f"the training images of {self._run.id} cannot be searched: {error.message}")
        except Exception as error:  # of whatever library reads them; the thread must leave an answer
            self._found = DataError(f"the training images of {self._run.id} cannot be searched ({error})")
