"""Embed images with the features of a run.

The descriptors of a family on feature vectors, or the output of a network's backbone before its head; for a calibrated run,
those of the run that it calibrates. Other runs (the metadata baseline, ensembles) have no features: plain pixels at 32×32 are
used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from tellapart.classifiers.base import Classifier, Context
from tellapart.classifiers.calibrated import unwrap
from tellapart.classifiers.feature_classifier import FeatureClassifier
from tellapart.data.cache import DecodedImages, PixelCache
from tellapart.data.decode import decode_to, quiet
from tellapart.features._vectors import vector_blocks
from tellapart.inference.context import Settings, load_classifier, resolve_device
from tellapart.recipe.schema import Inputs
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import ImageTable

PLAIN = "pixels at 32×32"
_PIXELS = Inputs(size=32, mode="rgb")


class Embedder:
    """Embeds images with the features of one run.

    Args:
        run: A finished run.
        settings: Device and progress.
        by: "pixels" to use plain pixels instead of the features of the run.

    Attributes:
        by: Description of the features.
    """

    def __init__(self, run: Run, settings: Settings, by: str | None = None) -> None:
        self.context = Context(
            PixelCache(progress=settings.progress), settings.progress, resolve_device(settings.device),
            parents=lambda name: store.open_parent(name, run.runs).folder,
        )  # fmt: skip
        self.inputs, self.by = _PIXELS, PLAIN
        self._transform: Callable[[np.ndarray], np.ndarray] = _plain
        self._blocks: Callable[[DecodedImages], Iterable[np.ndarray]] = lambda images: map(_plain, images.blocks())
        if by is None:
            self._take(unwrap(load_classifier(run), self.context))

    def embed(self, table: ImageTable) -> np.ndarray:
        """Embed the images of a table: (N, D) float32.

        Raises:
            CorruptImages: Images that cannot be read, because they moved or are damaged.
            DataError: The table has no columns of the boxes that the run reads.
        """
        images = self.context.cache.images(table, self.inputs)
        found = []
        with self.context.progress.task("embedding", len(table), "img") as task:
            for block in self._blocks(images):
                found.append(block)
                task.advance(len(block))
        return np.concatenate(found)

    def embed_one(self, content: bytes | np.ndarray, path: str) -> np.ndarray:
        """Embed one image, encoded or (H, W, 3) uint8: (D,) float32. `path`: its name, for errors."""
        with quiet():
            pixels = decode_to(content, self.inputs, path)
        return np.asarray(self._transform(np.stack([pixels])), dtype=np.float32)[0]

    def _take(self, classifier: Classifier) -> None:
        """Use the features of this classifier, if it has some. Only here is torch needed."""
        from tellapart.classifiers.network import Network

        if isinstance(classifier, FeatureClassifier | Network) and classifier.extractor is not None:
            self.by, self._transform = "the run's own descriptors", classifier.extractor.transform_block
            self._blocks = classifier.extractor.transform_blocks
        elif isinstance(classifier, Network):
            backbone = classifier.backbone(self.context.device)
            self.by, self._transform = "the network's features before its head", backbone
            self._blocks = lambda images: vector_blocks([("backbone", backbone)], images, self.context.notes)
        else:
            return
        self.inputs = classifier.recipe.inputs


def _plain(images: np.ndarray) -> np.ndarray:
    """(B, H, W, C) uint8 → (B, H · W · C) float32 in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / 255
