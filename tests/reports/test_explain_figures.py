"""Pictures of explanations: what is drawn over what."""

from __future__ import annotations

import numpy as np

from tellapart.explainers._frequency import ClassSpectrum, Frequencies
from tellapart.explainers.base import Heatmap
from tellapart.explainers.faithfulness import Explanation
from tellapart.inference.nearest import Nearest, Neighbor
from tellapart.reports.explain_figures import class_sheet, overlay, save, sheet
from tellapart.workflows.class_maps import ClassMap
from tellapart.workflows.explain import Views


def pixels(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)


def explained(method: str = "grad_cam", size: tuple[int, int] = (20, 30)) -> Explanation:
    values = np.linspace(0, 1, size[0] * size[1], dtype=np.float32).reshape(size)
    return Explanation("a.png", pixels(*size), "fake <b>$x$", {"fake <b>$x$": 0.75, "真": 0.25}, Heatmap(values, "真", method))


def viewed(*, residual: bool = True, count: int = 5) -> Views:
    near = Nearest("pixels at 32×32", 9, float("nan"), tuple(Neighbor(f"{i}.png", "fake", i / 2) for i in range(count)),
                   tuple(pixels() for _ in range(count)))  # fmt: skip
    power, rings = np.random.default_rng(1).normal(0, 9, (16, 16)).astype(np.float32), np.arange(8, dtype=np.float32)
    classes = {name: ClassSpectrum(n, power + n, rings + n, rings / 9) for n, name in enumerate("abcdef", 1)}
    grain = power if residual else np.zeros((0, 0), np.float32)
    return Views("a.png", pixels(), near, Frequencies(power, rings, grain, classes, dict.fromkeys(classes, 1.5)))


def texts(figure) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def drawn(figure, tmp_path) -> None:
    save(figure, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 2_000


def test_an_overlay_hides_most_where_the_map_is_highest() -> None:
    picture, values = pixels(), np.zeros((20, 30))
    values[5, 5] = 1
    found = overlay(picture, values).astype(int)
    assert found.shape == picture.shape and abs(found - picture)[0, 0].max() <= 128
    yellow = np.array([252, 255, 164])  # the end of inferno
    assert np.abs(found[5, 5] - yellow).max() <= 64 < np.abs(found[0, 0] - yellow).max()


def test_a_sheet_has_maps_and_views(tmp_path) -> None:
    figure = sheet([explained(), explained("occlusion")], viewed())
    said = " ".join(texts(figure))
    for part in (
        "fake <b>$x$ 75.0%",
        "occlusion",
        "nearest of 9 training images",
        "2",
        "noise residual",
        "minus a",
        "distance 1.5 sd",
    ):
        assert part in said, part
    assert "typical distance between them" not in said  # undefined for one training image
    drawn(figure, tmp_path)


def test_a_sheet_of_views_alone_and_of_a_tiny_picture(tmp_path) -> None:
    figure = sheet([], viewed(residual=False, count=2))
    assert "too small for a residual" in texts(figure)
    drawn(figure, tmp_path)
    drawn(sheet([explained(size=(1, 1))]), tmp_path)
    drawn(sheet([explained(size=(300, 2))]), tmp_path)


def test_mean_maps_have_a_row_each_and_say_what_is_missing(tmp_path) -> None:
    values = np.linspace(0, 0.4, 64, dtype=np.float32).reshape(8, 8)
    found = [
        ClassMap(name, method, n, 0, pixels(8, 8), values * n)
        for method in ("grad_cam", "rise") for name, n in (("real", 1), ("fake", 0))
    ]  # fmt: skip
    said = texts(class_sheet(found))
    assert said.count("no image") == 2 and "real, n = 1" in said and "fake, n = 0" in said
    drawn(class_sheet(found), tmp_path)
