"""The robustness sweep: a finished run is asked again about its images, damaged in many ways, each from weak to strong.

Each original file is decoded at its own size, damaged, written as a file again, and handed to the run as if it had been found
like that: the run's own decoding and resizing come after, and a classifier that reads files sees a file. The undamaged images
go the same way, as PNG, so that a cell differs from them by the damage alone; how many verdicts differ from those on the files
as they lie there is said. Labels are not handed on. Files are made and answered in portions, so that memory stays bounded.

    runs/evaluations/<run>/robustness-valid/    or -test, -<data>-<fingerprint>; of a sample -valid-200
        settings.json                           which images, how they were damaged
        cells/<damage>-<strength>.parquet       answers of a finished cell; .json where the run cannot answer, with the reason
        robustness.json                         scores, flips, tests
        done                                    last of all

A sweep that was cut off keeps its finished cells. One that is there with the same settings is read, not made. The test part
is answered only when it is opened, once in the ledger for a whole sweep.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.bench import USUAL, Interrupted, Settings
from tellapart.data.decode import DECODER
from tellapart.errors import RunError
from tellapart.evaluation import late_notes, times_opened
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.stress.asking import Asking, Way, readable_rows
from tellapart.stress.chosen import Chosen, choose, open_once, own_answers
from tellapart.stress.damages import VERSION, Damage, named
from tellapart.stress.judged import Answers, Robustness, flip_share, judge, kept_scores
from tellapart.types import ImageTable, Predictions

#: The answers that are no cell: on the files as they lie there, and on the undamaged images written as PNG.
FILES, UNDAMAGED = "files", "undamaged"
_RESULT, _SETTINGS, _CELLS = "robustness.json", "settings.json", "cells"


def robustness(
    run: str | Path | Run, data: str | Path | ImageTable | None = None, *, open_test: bool = False,
    mapping: Mapping[str, str] | None = None, damages: Sequence[str] | None = None, sample: int | None = None,
    settings: Settings = USUAL,
) -> Robustness:  # fmt: skip
    """Ask a run about damaged images.

    Args:
        run: A run, an id, the beginning of one, or a path.
        data: Other labelled images; None: the run's own. The run's own images at another place, or in memory, may be given.
        open_test: Of the run's own data, the test part instead of validation; counted in the ledger, once.
        mapping: From class names of `data` to those of the run, where they differ.
        damages: Names, see `tellapart.stress.damages`; None: all.
        sample: Only so many images, drawn by a fixed seed; None: all of them.
        settings: Where and how.

    Raises:
        DataError: Unknown damage or class, images that cannot be decoded, an empty part.
        RunError: No such run, no such part, or its images are gone.
        Interrupted: Ctrl-C; finished cells are kept.
    """
    run = run if isinstance(run, Run) else store.open_run(run, settings.runs)
    chosen = named(damages)
    images = choose(run, data, open_test, mapping or {}, settings).sampled(sample)
    place = f"evaluations/{run.id}/robustness-{images.folder_name}"
    with store.writing(run.runs, place, lambda: settings.progress.say("  waiting: another process makes this sweep")) as folder:
        return _Sweep(run, images, chosen, folder, settings).result()


def stored(run: Run) -> list[Robustness]:
    """The finished sweeps of a run, by the name of their folders."""
    found = sorted((run.runs / "evaluations" / run.id).glob(f"robustness-*/{store.DONE}"))
    opened = times_opened(run)
    return [Robustness.from_dict(store.read_json(path.parent / _RESULT), path.parent, opened) for path in found]


# --- the sweep --------------------------------------------------------------------------------------------------------


class _Sweep:
    """One sweep: what is there already, what is missing, and the result of both."""

    def __init__(self, run: Run, images: Chosen, damages: Sequence[Damage], folder: Path, settings: Settings) -> None:
        self.run, self.images, self.folder, self.settings = run, images, folder, settings
        self.ways = {(damage.name, strength): damage for damage in damages for strength in damage.strengths}
        self._forget_others()

    def result(self) -> Robustness:
        """Read where it is there; else what is missing is asked for, and all is judged and written."""
        before = self._stored()
        if before is not None and [(c.damage, c.strength) for c in before.cells] == list(self.ways):
            return before
        missing = [key for key in (FILES, UNDAMAGED, *map(_name, self.ways)) if not self._has(key)]
        if missing:
            self._answer(missing, fresh=before is not None)
        found = self._judged()
        if before is None or {(c.damage, c.strength) for c in before.cells} <= set(self.ways):
            store.write_json(self.folder / _RESULT, found.to_dict())  # a narrower question leaves the wider answer there
            (self.folder / store.DONE).write_text(f"{store.now()}\n", encoding="utf-8")
        return found

    def _forget_others(self) -> None:
        """Empty the folder of what was made from other images, or damaged by another version."""
        same = {"version": VERSION, "decoder": DECODER, "images": self.images.rows.fingerprint, "n": len(self.images.rows)}
        path = self.folder / _SETTINGS
        self.kept = store.read_json(path) if path.exists() else {}
        if {name: self.kept.get(name) for name in same} != same:
            for name in (store.DONE, _RESULT):
                (self.folder / name).unlink(missing_ok=True)
            shutil.rmtree(self.folder / _CELLS, ignore_errors=True)
            self.kept = same
            store.write_json(path, self.kept)
        (self.folder / _CELLS).mkdir(exist_ok=True)

    def _stored(self) -> Robustness | None:
        if not (self.folder / store.DONE).exists():
            return None
        return Robustness.from_dict(store.read_json(self.folder / _RESULT), self.folder, times_opened(self.run))

    def _answer(self, missing: list[str], *, fresh: bool) -> None:
        """Ask the run for every missing cell; each is kept as soon as it is whole."""
        rows = readable_rows(self.images.rows, self.run, self.settings)
        if self.images.part == "test":
            session = open_once(self.run, len(self.images.rows), self._session(fresh), "evaluate --robustness", self.settings)
            self.kept = {**self.kept, "session": session}
            store.write_json(self.folder / _SETTINGS, self.kept)
        if FILES in missing and (known := own_answers(self.run, self.images.part, rows)) is not None:
            self._keep(FILES, known)
            missing = missing[1:]
        asking = Asking(self.run, rows, self.settings)
        ways: dict[str, Way] = {_name(key): _bound(damage, key[1]) for key, damage in self.ways.items()}
        with self.settings.progress.task("robustness", len(rows) * len(missing), "img") as task:
            try:
                for number, name in enumerate(missing, start=1):
                    note = f"{number}/{len(missing)} {name}"
                    self._keep(name, asking.answers(ways.get(name), name == FILES, task, note))
            except KeyboardInterrupt:
                kept = sum(self._has(_name(key)) for key in self.ways)
                hint = "give the same command again to go on from here"
                raise Interrupted(f"stopped; {kept:,} of {len(self.ways):,} cells are kept", hint=hint) from None

    def _session(self, fresh: bool) -> str | None:
        """The opening that this sweep made before it was cut off; a finished one that is widened opens anew."""
        return None if fresh else self.kept.get("session")

    def _judged(self) -> Robustness:
        files, undamaged = self._read(FILES), self._read(UNDAMAGED)
        for found in (files, undamaged):
            if isinstance(found, str):
                raise RunError(f"{self.run.id} cannot answer these images: {found}")
        cells = {key: self._read(_name(key)) for key in self.ways}
        positive, images = self.run.positive, self.images
        recoded = flip_share(files, undamaged)
        return Robustness(
            run=self.run.id, data=images.rows.name if images.part == "other" else str(self.run.data["name"]), part=images.part,
            n=len(undamaged), of=images.of, classes=self.run.classes, undamaged=kept_scores(undamaged, positive),
            recoded=recoded, cells=judge(undamaged, cells, positive), opened=times_opened(self.run),
            notes=tuple(self._notes(undamaged, round(recoded.value * recoded.n))), folder=self.folder,
        )  # fmt: skip

    def _notes(self, undamaged: Predictions, recoded: int) -> list[str]:
        asked, answered, notes = len(self.images.rows), len(undamaged), []
        if self.images.asked and self.images.asked > self.images.of:
            notes.append(f"a sample of {self.images.asked:,} was asked for; there are {self.images.of:,}, and all were taken")
        if answered < asked:
            notes.append(f"{asked - answered:,} of {asked:,} images cannot be decoded and were left out")
        if recoded:
            said = f"{recoded:,} of {answered:,} verdicts change when the undamaged images are only written again, as PNG"
            null = ": the null reads files, and its files here are PNG, or the JPEG and WebP of those damages"
            notes.append(said + (null if self.run.family == "null" else ""))
        given = np.unique(undamaged.answers)
        if len(given) == 1:
            notes.append(f"all undamaged images are answered {self.run.classes[given[0]]}: that nothing flips then says little")
        return notes + late_notes(self.run)

    # --- cells on disk ------------------------------------------------------------------------------------------------

    def _has(self, name: str) -> bool:
        return any((self.folder / _CELLS / f"{name}.{ending}").exists() for ending in ("parquet", "json"))

    def _keep(self, name: str, found: Answers) -> None:
        if isinstance(found, str):
            store.write_json(self.folder / _CELLS / f"{name}.json", {"reason": found})
            return
        beside = self.folder / _CELLS / f".{name}.tmp"
        found.to_parquet(beside)
        beside.replace(self.folder / _CELLS / f"{name}.parquet")

    def _read(self, name: str) -> Any:
        path = self.folder / _CELLS / f"{name}.parquet"
        if path.exists():
            return Predictions.from_parquet(path)
        return store.read_json(path.with_suffix(".json"))["reason"]


def _name(key: tuple[str, float]) -> str:
    """Of a cell's file."""
    return f"{key[0]}-{key[1]:g}"


def _bound(damage: Damage, strength: float) -> Callable[[np.ndarray, str], bytes]:
    return lambda pixels, name: damage.apply(pixels, strength, name)
