"""The robustness sweep: its figures against other implementations, what it keeps, what it never looks at."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

import tellapart as ta
from tellapart.data.cache import CorruptImages
from tellapart.errors import DataError, RunError
from tellapart.inference.context import Settings
from tellapart.io import write_json
from tellapart.metrics.intervals import wilson
from tellapart.perturbations.kinds import PERTURBATIONS
from tellapart.perturbations.scores import Robustness, RobustnessCell, describe
from tellapart.progress import Progress, Silent, Task
from tellapart.runs import ledger
from tellapart.types import Predictions, Score
from tellapart.workflows import _prediction_cache as module
from tellapart.workflows.robustness import robustness, stored

FEW = ["jpeg", "blur", "gray"]
SIDE = 16


def pixels(fake: bool, seed: int, side: int = SIDE) -> np.ndarray:
    """Blurred blobs; a fake has a checkerboard on top, weak enough to be blurred away."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(60, 190, (4, 4, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)).astype(float)
    board = np.indices((side, side)).sum(axis=0) % 2 * 2 - 1
    return np.clip(smooth + fake * 14 * board[:, :, None] + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def pictures(folder: Path, count: int, seed: int = 0, ending: str = "png", names: tuple[str, str] = ("real", "fake")) -> Path:
    """`count` pictures of each class, one folder a class."""
    for fake, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(pixels(bool(fake), 1000 * fake + i + seed)).save(folder / name / f"{i:03}.{ending}")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and a run on them, made once; tests work on copies of the runs folder."""
    top = tmp_path_factory.mktemp("home")
    pictures(top / "data", 140)
    settings = Settings(runs=top / "runs", device="cpu")
    ta.train(top / "data", "noise-residual-linear", settings=settings)
    ta.train(top / "data", "metadata", settings=settings)
    return top


@pytest.fixture
def settings(home: Path, tmp_path: Path) -> Settings:
    shutil.copytree(home / "runs", tmp_path / "runs")
    return Settings(runs=tmp_path / "runs", device="cpu")


@pytest.fixture
def run(settings: Settings) -> ta.Run:
    return ta.open_run("noise-residual-linear", settings.runs)


# --- the figures ------------------------------------------------------------------------------------------------------


def test_every_figure_of_a_cell_is_that_of_another_implementation(run: ta.Run, settings: Settings) -> None:
    found = robustness(run, perturbations=FEW, settings=settings)
    undamaged = answers(found, "unperturbed")
    assert [cell.text for cell in found.cells] == [
        *(f"jpeg {q}" for q in (95, 85, 70, 50, 30)), "blur 0.5", "blur 1", "blur 2", "gray",
    ]  # fmt: skip
    fake, labels = run.classes.index("fake"), undamaged.labels
    ps = []
    for cell in found.cells:
        given = answers(found, f"{cell.perturbation}-{cell.strength:g}")
        assert list(given.ids) == list(undamaged.ids) and (given.labels == labels).all()
        assert cell.n == cell.scores["accuracy"].n == len(labels) == found.n
        assert cell.scores["accuracy"].value == pytest.approx(accuracy_score(labels, given.predicted))
        assert cell.scores["macro-f1"].value == pytest.approx(f1_score(labels, given.predicted, average="macro"))
        assert cell.scores["auroc"].value == pytest.approx(roc_auc_score(labels == fake, given.proba[:, fake]))
        assert cell.scores["log-loss"].value == pytest.approx(log_loss(labels, given.proba), abs=1e-5)
        right, before = given.predicted == labels, undamaged.predicted == labels
        lost, won = int((before & ~right).sum()), int((right & ~before).sum())
        ps.append(binomtest(min(lost, won), lost + won, 0.5).pvalue if lost + won else 1.0)
        assert cell.p_value == pytest.approx(ps[-1])
        assert cell.change is not None and cell.change.value == pytest.approx((won - lost) / found.n)
        assert cell.change.low <= cell.change.value <= cell.change.high
        flipped = given.predicted != undamaged.predicted
        assert cell.flips == Score(flipped.mean(), found.n, *wilson(flipped.sum(), found.n), higher_is_better=False)
        assert cell.flips_by_class is not None
        for label, name in enumerate(run.classes):
            of = flipped[labels == label]
            assert cell.flips_by_class[name].value == pytest.approx(of.mean()) and cell.flips_by_class[name].n == len(of)
    corrected = holm_by_hand(ps)
    assert [cell.p_holm for cell in found.cells] == pytest.approx(corrected)
    assert any(cell.worse for cell in found.cells), "blur takes the checkerboard away"


def holm_by_hand(ps: list[float]) -> list[float]:
    """Holm (1979), step by step."""
    order, corrected, reached = sorted(range(len(ps)), key=ps.__getitem__), [0.0] * len(ps), 0.0
    for step, place in enumerate(order):
        reached = max(reached, min(1.0, (len(ps) - step) * ps[place]))
        corrected[place] = reached
    return corrected


def answers(found: Robustness, name: str) -> Predictions:
    """What is kept of a cell."""
    return Predictions.from_parquet(found.folder / "cells" / f"{name}.parquet")


def test_the_undamaged_are_answered_as_the_files_were(run: ta.Run, settings: Settings) -> None:
    found = robustness(run, perturbations=["gray"], settings=settings)
    valid = run.predictions("valid")
    assert valid is not None and found.recoded.value == 0 and found.n == found.total == len(valid)
    np.testing.assert_allclose(answers(found, "unperturbed").proba, valid.proba, atol=1e-6)
    assert found.clean["accuracy"] == run.scores("valid")["accuracy"]
    assert found.notes == () and (found.split, found.data) == ("valid", str(run.data["name"]))


def test_blur_flips_the_fakes(run: ta.Run, settings: Settings) -> None:
    found = robustness(run, perturbations=["blur"], settings=settings)
    worst = found.worst
    assert worst is not None and worst.perturbation == "blur" and worst.flips_by_class is not None
    assert worst.flips_by_class["fake"].value > worst.flips_by_class["real"].value
    words = describe(found)
    assert words.startswith(f"Worst is blur of {worst.strength:g} pixels: −") and "of fake" in words


def test_the_null_reads_files_and_says_so(home: Path, tmp_path: Path) -> None:
    """Its training files are JPEG against PNG; written again as PNG all look alike."""
    data = pictures(tmp_path / "data", 40)
    for path in sorted((data / "fake").glob("*.png")):
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg"), quality=90)
        path.unlink()
    settings = Settings(runs=tmp_path / "runs", device="cpu")
    run = ta.train(data, "metadata", settings=settings)
    assert run.scores("valid")["accuracy"].value == 1
    found = robustness(run, perturbations=["jpeg", "webp"], settings=settings)
    assert found.clean["accuracy"].value == 0.5 and found.recoded.value == 0.5
    assert (
        "4 of 8 predictions change when the unperturbed images are only re-encoded as PNG: the metadata baseline"
        in found.notes[0]
    )
    assert "all unperturbed images are predicted as real" in found.notes[1]
    jpeg = found.cells_of("jpeg")[0]
    assert jpeg.flips is not None and jpeg.flips.value > 0.5, "now all are JPEG, as the fakes were"


def test_frame_and_dictionary_hold_everything(run: ta.Run, settings: Settings) -> None:
    found = robustness(run, perturbations=FEW, settings=settings)
    frame = found.to_frame()
    assert list(frame["perturbation"]) == [cell.perturbation for cell in found.cells] and set(frame["n"]) == {found.n}
    assert list(frame["accuracy"]) == [cell.scores["accuracy"].value for cell in found.cells]
    assert {"accuracy low", "change", "flips high", "flips fake", "p_holm", "worse"} <= set(frame)
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert Robustness.from_dict(content, found.folder, 0) == found
    assert content["summary"] == describe(found) and len(content["cells"]) == 9


def test_groups_are_the_units(home: Path, tmp_path: Path) -> None:
    images = np.stack([pixels(i % 2 == 1, i) for i in range(120)])
    labels = ["fake" if i % 2 else "real" for i in range(120)]
    table = ta.from_arrays(images, labels, groups=[f"scene {i // 6}" for i in range(120)])
    settings = Settings(runs=tmp_path / "runs", device="cpu")
    run = ta.train(table, "noise-residual-linear", settings=settings)
    found = robustness(run, table, perturbations=["blur"], settings=settings)
    given, undamaged = answers(found, "blur-2"), answers(found, "unperturbed")
    assert undamaged.groups is not None and len(set(undamaged.groups)) == len(undamaged) // 6
    assert found.split == "valid", "the run's own images, in memory, are its own"
    cell = found.cells[-1]
    flipped = int((given.predicted != undamaged.predicted).sum())
    assert cell.flips is not None and cell.flips.value == pytest.approx(flipped / found.n)
    if 0 < flipped < found.n:
        assert (cell.flips.low, cell.flips.high) != wilson(flipped, found.n)


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_sweep_that_is_there_is_read(run: ta.Run, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = robustness(run, perturbations=FEW, settings=settings)
    monkeypatch.setattr(module, "PerturbedPredictor", None)  # nothing is predicted any more
    assert robustness(run, perturbations=FEW, settings=settings) == first
    assert stored(run) == [first]
    narrow = robustness(run, perturbations=["gray"], settings=settings)
    assert [cell.text for cell in narrow.cells] == ["gray"] and narrow.cells[0].p_holm == narrow.cells[0].p_value
    assert stored(run) == [first], "the wider answer stays"
    assert first.folder == settings.runs.resolve() / "evaluations" / run.id / "robustness-valid"
    assert run.evaluations == []


def test_more_damages_use_the_cells_that_are_there(run: ta.Run, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    robustness(run, perturbations=["gray"], settings=settings)
    asked = spy(monkeypatch)
    wide = robustness(run, perturbations=["gray", "crop"], settings=settings)
    assert asked == ["crop-0.9", "crop-0.75", "crop-0.5"] and stored(run) == [wide]


def spy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells that a run is asked about."""
    asked: list[str] = []
    answer = module.PerturbedPredictor.predict

    def noted(self, way, as_they_are, task, note=""):
        asked.append(note.split(" ")[-1])
        return answer(self, way, as_they_are, task, note)

    monkeypatch.setattr(module.PerturbedPredictor, "predict", noted)
    return asked


class _Stops(Silent):
    """Ctrl-C while the fourth cell is being answered."""

    @contextmanager
    def task(self, name: str, total: int, unit: str) -> Iterator[Task]:
        stops = name == "robustness"

        class Watched(Task):
            seen = 0

            def advance(self, steps: int = 1, note: str = "") -> None:
                self.seen += 1
                if stops and self.seen == 4:
                    raise KeyboardInterrupt

        del total, unit
        yield Watched()


def test_a_sweep_that_was_cut_off_goes_on(run: ta.Run, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ta.TellapartError, match="stopped; 2 of 9 cells are kept"):
        robustness(run, perturbations=FEW, settings=replace(settings, progress=_Stops()))
    assert stored(run) == []
    asked = spy(monkeypatch)
    found = robustness(run, perturbations=FEW, settings=settings)
    assert asked == ["jpeg-70", "jpeg-50", "jpeg-30", "blur-0.5", "blur-1", "blur-2", "gray-1"]
    shutil.rmtree(found.folder)
    assert robustness(run, perturbations=FEW, settings=settings) == found, "as if it had never been cut off"


def test_the_run_folder_is_not_touched(run: ta.Run, settings: Settings) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")}
    robustness(run, perturbations=["gray"], settings=settings)
    assert {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")} == before


def test_another_version_of_the_damages_is_made_anew(run: ta.Run, settings: Settings, monkeypatch) -> None:
    robustness(run, perturbations=["gray"], settings=settings)
    monkeypatch.setattr(module, "VERSION", 999)
    asked = spy(monkeypatch)
    robustness(run, perturbations=["gray"], settings=settings)
    assert asked == ["unperturbed", "gray-1"]


def test_portions_change_nothing(run: ta.Run, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = robustness(run, perturbations=["noise"], settings=settings)
    kept = {p.name: Predictions.from_parquet(p) for p in (whole.folder / "cells").glob("*.parquet")}
    shutil.rmtree(whole.folder)
    monkeypatch.setattr("tellapart.perturbations._predict._AT_ONCE", 3)
    monkeypatch.setattr("tellapart.perturbations._predict._IMAGES", 5)
    parts = robustness(run, perturbations=["noise"], settings=settings)
    for name, predictions in kept.items():
        np.testing.assert_allclose(Predictions.from_parquet(parts.folder / "cells" / name).proba, predictions.proba, atol=1e-5)


# --- the seal ---------------------------------------------------------------------------------------------------------


def test_validation_opens_nothing_and_no_label_is_handed_on(run: ta.Run, settings: Settings, monkeypatch) -> None:
    test_ids = set(run.table().where(split="test").ids)
    seen: list[np.ndarray] = []
    predict = ta.load_classifier(run).__class__.predict

    def watched(self, table, context, run_id=""):
        seen.append(table.labels)
        assert not test_ids & set(table.ids)
        return predict(self, table, context, run_id)

    monkeypatch.setattr(ta.load_classifier(run).__class__, "predict", watched)
    found = robustness(run, perturbations=["gray"], settings=settings)
    assert seen and all((labels == -1).all() for labels in seen)
    assert found.opened == 0 and not (settings.runs / "ledger.jsonl").exists()


def test_the_test_part_is_opened_once_a_sweep(run: ta.Run, settings: Settings) -> None:
    found = robustness(run, open_test=True, perturbations=["gray"], settings=settings)
    assert (found.split, found.opened, found.n) == ("test", 1, len(run.table().where(split="test")))
    assert found.recoded.value == 0 and len(run.evaluations) == 1
    again = robustness(run, open_test=True, perturbations=["gray"], settings=settings)
    assert again == found and openings(run) == 1, "it was read"
    assert ta.evaluate(run, open_test=True, settings=settings).opened == 1
    wider = robustness(run, open_test=True, perturbations=["gray", "crop"], settings=settings)
    assert wider.opened == 2, "the images were looked at again"
    assert [o.by for o in ledger.openings(run.runs, run.data["fingerprint"])] == ["evaluate", "robustness"]


def test_going_on_with_the_test_part_is_the_same_opening(run: ta.Run, settings: Settings) -> None:
    ta.evaluate(run, open_test=True, settings=settings)
    with pytest.raises(ta.TellapartError, match="stopped"):
        robustness(run, open_test=True, perturbations=FEW, settings=replace(settings, progress=_Stops()))
    assert openings(run) == 2
    assert robustness(run, open_test=True, perturbations=FEW, settings=settings).opened == 2


def openings(run: ta.Run) -> int:
    return ledger.times_opened(run.runs, run.data["fingerprint"])


def test_a_run_made_after_an_opening_says_so(run: ta.Run, settings: Settings) -> None:
    environment = json.loads((run.folder / "environment.json").read_text("utf-8"))
    write_json(run.folder / "environment.json", environment | {"opened_before": 1})
    found = robustness(ta.open_run(run.id, settings.runs), perturbations=["gray"], settings=settings)
    assert found.notes == ("this run was made after the test was opened once",)


# --- which images -----------------------------------------------------------------------------------------------------


def test_other_images_by_other_names(run: ta.Run, settings: Settings, tmp_path: Path) -> None:
    other = pictures(tmp_path / "other", 8, seed=500, names=("original", "editada"))
    names = {"original": "real", "editada": "fake"}
    found = robustness(run, other, mapping=names, perturbations=["gray"], settings=settings)
    assert (found.split, found.n, found.recoded.value, found.opened) == ("other", 16, 0, 0)
    assert found.folder.name.startswith("robustness-other-")
    plain = ta.evaluate(run, other, mapping=names, settings=settings)
    assert found.clean["accuracy"] == plain.scores["accuracy"]
    with pytest.raises(RunError, match="--open-test and DATA exclude each other"):
        robustness(run, other, mapping=names, open_test=True, settings=settings)
    with pytest.raises(DataError, match="not a class of noise-residual-linear"):
        robustness(run, other, settings=settings)


def test_a_sample(run: ta.Run, settings: Settings) -> None:
    found = robustness(run, perturbations=["gray"], sample=10, settings=settings)
    assert (found.n, found.total) == (10, len(run.table().where(split="valid")))
    assert found.folder.name == "robustness-valid-10"
    assert robustness(run, perturbations=["gray"], sample=10, settings=settings) == found
    all_of_them = robustness(run, perturbations=["gray"], sample=1000, settings=settings)
    assert all_of_them.n == all_of_them.total == found.total
    assert all_of_them.notes == (f"a sample of 1,000 was requested; there are only {found.total} images, all are used",)
    with pytest.raises(DataError, match="expected a sample of at least 1 image, found 0"):
        robustness(run, sample=0, settings=settings)


def test_every_kind_of_file_is_undamaged_when_undamaged(run: ta.Run, settings: Settings, tmp_path: Path) -> None:
    """Gray, alpha, palette, 16 bits, CMYK, a turned photograph, one pixel: written as PNG they are answered as before."""
    base = Image.fromarray(pixels(True, 7, 24))
    gray = np.asarray(base.convert("L")).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {
        "gray.png": base.convert("L"), "palette.png": base.quantize(16), "sixteen.png": Image.fromarray(gray * 257),
        "bits.png": base.convert("1"), "cmyk.jpg": base.convert("CMYK"), "web.webp": base,
        "pixel.png": Image.new("RGB", (1, 1)),
        "alpha.png": Image.merge("RGBA", (*base.split(), base.convert("L"))), "wide.png": base.resize((90, 3)),
    }  # fmt: skip
    for name in ("real", "fake"):
        (tmp_path / "kinds" / name).mkdir(parents=True)
        for file, image in kinds.items():
            image.save(tmp_path / "kinds" / name / file)
        base.resize((20, 30)).save(tmp_path / "kinds" / name / "turned.jpg", exif=exif)
    found = robustness(run, tmp_path / "kinds", settings=settings)
    assert found.n == 20 and found.recoded.value == 0
    np.testing.assert_allclose(answers(found, "unperturbed").proba, answers(found, "files").proba, atol=1e-6)
    assert len(found.cells) == sum(len(d.strengths) for d in PERTURBATIONS.values()) and not any(c.reason for c in found.cells)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_unknown_damages(run: ta.Run, settings: Settings) -> None:
    with pytest.raises(DataError, match="unknown perturbation 'blurr': did you mean 'blur'"):
        robustness(run, perturbations=["blurr"], settings=settings)


def test_images_that_moved_away(settings: Settings, home: Path, tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", 30)
    run = ta.train(data, "knn", settings=settings)
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"the images of knn-.* are no longer in .*data"):
        robustness(run, perturbations=["gray"], settings=settings)
    found = robustness(run, tmp_path / "elsewhere", perturbations=["gray"], settings=settings)
    assert found.split == "valid" and found.recoded.value == 0, "the same files at another place are the run's own"


def test_an_image_that_cannot_be_decoded(run: ta.Run, settings: Settings, tmp_path: Path) -> None:
    other = pictures(tmp_path / "other", 6, seed=900)
    whole = (other / "fake" / "000.png").read_bytes()
    (other / "fake" / "000.png").write_bytes(whole[: len(whole) // 2])  # the header is fine
    for name in ("noise-residual-linear", "metadata"):
        with pytest.raises(CorruptImages, match=r"1 image cannot be decoded:\s+fake/000.png"):
            robustness(name, other, perturbations=["gray"], settings=settings)
    found = robustness(run, other, perturbations=["gray"], settings=replace(settings, skip_bad=True))
    assert found.n == 11 and found.notes == ("1 of 12 images cannot be decoded and are excluded",)


def test_an_empty_part(run: ta.Run, settings: Settings) -> None:
    frame = run.table().frame
    frame.assign(split=frame["split"].replace("test", "train")).to_parquet(run.folder / "split.parquet", index=False)
    with pytest.raises(RunError, match="its data have no test split"):
        robustness(run, open_test=True, settings=settings)
    assert not (settings.runs / "ledger.jsonl").exists()


def test_a_run_that_takes_one_size_only(settings: Settings, home: Path) -> None:
    run = ta.train(home / "data", "knn", overrides=["inputs.resize=none", "inputs.size=16"], settings=settings)
    found = robustness(run, perturbations=["gray", "crop"], settings=settings)
    gray, *crops = found.cells[::-1] if found.cells[-1].perturbation == "gray" else found.cells
    assert gray.flips is not None and math.isfinite(gray.p_holm)
    for cell in crops:
        assert "but resize: none expects 16×16" in cell.reason and cell.scores == {} and math.isnan(cell.p_holm)
    assert gray.p_holm == gray.p_value, "cells without an answer are no tests"
    assert Robustness.from_dict(found.to_dict(), found.folder, 0).to_dict() == found.to_dict()
    assert np.isnan(found.to_frame()["accuracy"][:3]).all()


# --- in words ---------------------------------------------------------------------------------------------------------


def test_stable_means_few_flips_and_no_loss() -> None:
    def cell(strength: float, flips: float, change: float, p: float) -> RobustnessCell:
        n = 400
        share = Score(flips, n, *wilson(round(flips * n), n))
        accuracy = {"accuracy": Score(0.9, n, 0.87, 0.93)}
        return RobustnessCell("jpeg", strength, n, accuracy, share, {"real": share}, Score(change, n, change, change), p, p)

    def result(*cells: RobustnessCell) -> Robustness:
        accuracy = {"accuracy": Score(0.9, 400, 0.87, 0.93)}
        none = Score(0, 400, 0, 0.01)
        return Robustness("r", "d", "valid", 400, 400, ("real", "fake"), accuracy, none, cells, 0, (), Path("x"))

    fine, gone = cell(95, 0.01, 0, 1), cell(70, 0.3, -0.2, 0.001)
    assert "under jpeg down to 85." in describe(result(fine, cell(85, 0.05, -0.01, 0.4), gone))
    assert "jpeg down to 95." in describe(result(fine, cell(85, 0.2, 0, 1), cell(70, 0.01, 0, 1))), "not beyond the first"
    assert describe(result(gone)).startswith("Worst is JPEG at quality 70: −20.0 points, 30% of the predictions flip.")
    assert "Not shown to be stable under any perturbation" in describe(result(gone))
    assert describe(result(fine)).startswith(
        "No loss is significant; most flips (1% of the predictions) occur under JPEG at quality 95."
    )
    silent = RobustnessCell("crop", 0.5, 400, {}, reason="is 50×50")
    assert describe(result(silent)) == "The run cannot predict any of the perturbed images."
    assert not cell(70, 0.2, 0.1, 0.001).worse, "a significant gain is no loss"


def test_progress_counts_every_image_of_every_cell(run: ta.Run, settings: Settings) -> None:
    seen: dict[str, list[int]] = {}

    class Counts(Silent):
        @contextmanager
        def task(self, name: str, total: int, unit: str) -> Iterator[Task]:
            del unit
            seen[name] = [total, 0]

            class Counted(Task):
                def advance(self, steps: int = 1, note: str = "") -> None:
                    seen[name][1] += steps

            yield Counted()

    progress: Progress = Counts()
    found = robustness(run, perturbations=["crop"], settings=replace(settings, progress=progress))
    assert seen["reading images"] == [found.n, found.n]
    assert seen["robustness"] == [4 * found.n, 4 * found.n], "the undamaged and three cells; the files were answered before"


def test_models_that_learnt_from_validation_are_not_swept_on_it(home: Path, settings: Settings) -> None:
    """Fold models did, and an ensemble with them; on other images they may be swept."""
    folded = ta.kfold(home / "data", "noise-residual-linear", folds=2, settings=settings)
    mixed = ta.combine([folded, "noise-residual-linear"], settings=settings)
    for one in (folded, mixed):
        with pytest.raises(RunError, match="was trained on its validation images"):
            robustness(one, perturbations=["gray"], settings=settings)
    assert robustness("noise-residual-linear", perturbations=["gray"], settings=settings).split == "valid"
