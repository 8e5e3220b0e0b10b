"""One answer an image, in their order, however many there are: a portion is read ahead, asked about, and forgotten."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, final

import numpy as np

from tellapart.data.cache import CorruptImages
from tellapart.data.decode import quiet, target_size
from tellapart.errors import DataError, ImageError
from tellapart.inference.decision import DecisionRule
from tellapart.inference.image_sources.base import ImageRef, Source, iter_items
from tellapart.inference.prediction import ImagePrediction
from tellapart.inference.predictor import Predictor
from tellapart.inference.prefetch import Batch, BatchLimit, SeenNames, prefetch
from tellapart.perturbations.kinds import as_png
from tellapart.perturbations.stability import RECOMPRESSIONS, recompress, summarize
from tellapart.progress import SILENT, Progress
from tellapart.recipe.schema import Inputs
from tellapart.types import Problem

#: Portions of plain answers: several batches of any answerer, which decodes one while it computes another.
PLAIN = BatchLimit(1024, 64 * 2**20)
#: With five deliveries of each image, two of them PNG, 10 × as large as the JPEG they were made from.
DELIVERED = BatchLimit(16, 8 * 2**20)
_PIXELS = 128 * 2**20  # bytes at the size that the run looks at: an answerer may hold a portion decoded


def unique_items(sources: Iterable[Source], seen: SeenNames | None = None) -> Iterator[ImageRef | Source]:
    """The images of some sources, each name once. `seen`: names that came before."""
    seen = seen or SeenNames()
    for source in sources:
        yield from (one for one in iter_items(source) if isinstance(one, Source) or seen.add(one.name))


def count_remaining(sources: Sequence[Source], taken: int, progress: Progress) -> int | None:
    """How many images are to be answered, for a bar that somebody sees; None where nobody knows. `taken`: those done before."""
    if progress is SILENT:
        return None
    total = 0
    for source in sources:
        count = source.count()
        if count is None:
            return None
        total += count
    return max(total - taken, 0)


def empty_input_error(named: Sequence[str | Path]) -> DataError:
    """What is said when nothing that was named holds an image."""
    return DataError(
        f"no image in {', '.join(map(str, named))}", hint="name image files, or folders, archives or tables of them"
    )


def check_unreadable(portion: Sequence[ImagePrediction], skip_bad: bool) -> list[str]:
    """Stop at images that could not be read; or say which they are, "name: reason".

    Raises:
        CorruptImages: There are some, and `skip_bad` is not set.
    """
    bad = [row for row, one in enumerate(portion) if one.error]
    if bad and not skip_bad:
        raise CorruptImages(bad, [Problem("corrupt image", portion[row].image, portion[row].error) for row in bad])
    return [f"{portion[row].image}: {portion[row].error}" for row in bad]


@final
class BatchPredictor:
    """A run that is asked about portions of images.

    Args:
        answerer: The run.
        stability: Whether to ask about all deliveries of each image.
    """

    def __init__(self, answerer: Predictor, stability: bool = False) -> None:
        self.answerer, self.judge = answerer, DecisionRule(answerer.run)
        self._ask = self._delivered if stability else self._plain
        self._inputs = Inputs.model_validate(answerer.run.recipe["inputs"])
        self.size = DELIVERED if stability else _plain_size(self._inputs)

    def portions(self, items: Iterable[ImageRef | Source]) -> Generator[list[ImagePrediction]]:
        """Answers to some images, a portion at a time, those that could not be read among them."""
        with prefetch(items, self.size) as read:
            for portion in read:
                yield self.predict(portion)

    def predict(self, portion: Batch) -> list[ImagePrediction]:
        """Answers to one portion, in its order."""
        found: dict[int, ImagePrediction] = {}
        for kind in (bytes, np.ndarray):  # an answerer takes encoded images, or decoded ones
            rows = [row for row, content in enumerate(portion.contents) if isinstance(content, kind)]
            if rows:
                names = [portion.names[row] for row in rows]
                asked = self._ask([portion.contents[row] for row in rows], names)
                found |= dict(zip(rows, asked, strict=True))
        bad = {row: e for row, e in enumerate(portion.contents) if isinstance(e, ImageError)}
        found |= {row: _bad(portion.names[row], error.reason) for row, error in bad.items()}
        return [found[row] for row in range(len(portion.names))]

    def _plain(self, contents: Sequence[Any], names: list[str]) -> list[ImagePrediction]:
        """Of the images as they are."""
        said = self.answerer.predict_batch(contents, names)
        wrong = {problem.where: problem.message for problem in said.problems}
        place = {int(row): at for at, row in enumerate(said.rows)}
        verdicts = self.judge(said.proba)
        words = [] if verdicts is None else list(zip(verdicts.names, verdicts.reasons, strict=True))
        found = []
        for row, name in enumerate(names):
            if row not in place:
                found.append(_bad(name, wrong.get(name, "cannot be decoded")))
                continue
            proba = said.proba[place[row]]
            verdict, because = map(str, words[place[row]]) if words else ("", "")
            found.append(ImagePrediction(name, self.judge.classes[proba.argmax()], proba, verdict, because))
        return found

    def _delivered(self, contents: Sequence[Any], names: list[str]) -> list[ImagePrediction]:
        """Of the images in all their deliveries."""
        with quiet(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            made = list(pool.map(self._deliveries, contents, names))
        files = [file for of in made if not isinstance(of, ImageError) for file in of]
        whole = [name for name, of in zip(names, made, strict=True) if not isinstance(of, ImageError)]
        asked = self._plain(files, [name for name in whole for _ in RECOMPRESSIONS])
        found = {name: self._weighed(asked[len(RECOMPRESSIONS) * at :][: len(RECOMPRESSIONS)]) for at, name in enumerate(whole)}
        return [_bad(n, of.reason) if isinstance(of, ImageError) else found[n] for n, of in zip(names, made, strict=True)]

    def _deliveries(self, content: bytes | np.ndarray, name: str) -> list[bytes] | ImageError:
        if isinstance(content, np.ndarray):
            content = as_png(content if content.ndim == 3 else content[:, :, None])
        try:
            return recompress(content, name, self._inputs)
        except ImageError as error:
            return error

    def _weighed(self, asked: Sequence[ImagePrediction]) -> ImagePrediction:
        """The answer to the file itself, and what the others say of it."""
        first = next((one for one in asked if one.error), asked[0])
        if first.error:
            return first
        found = summarize(np.stack([one.proba for one in asked]), self.judge)
        return ImagePrediction(first.image, first.answer, first.proba, first.verdict, first.because, found)


def _plain_size(inputs: Inputs) -> BatchLimit:
    """Of a portion of plain answers."""
    if inputs.size == "auto":
        return PLAIN
    height, width = target_size(inputs)
    return BatchLimit(max(1, min(PLAIN.images, _PIXELS // (3 * height * width))), PLAIN.bytes)


def _bad(name: str, reason: str) -> ImagePrediction:
    return ImagePrediction(name, "", np.zeros(0, np.float32), error=reason)
