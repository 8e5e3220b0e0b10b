"""Draw docs/schedules.svg: every schedule of a recipe over forty epochs. Run it when training/schedules.py changes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tellapart.recipe.schema import Schedule
from tellapart.reports.figures import INK, TRAIN, styled
from tellapart.training.schedules import Plateau, lr_factor

EPOCHS, STEPS = 40, 25
#: What differs from the defaults, so that the course is seen.
SETTINGS = {
    "step": {"every": 12, "factor": 0.3},
    "exponential": {"every": 20},
    "restarts": {"every": 6, "growth": 1.7},
    "plateau": {"factor": 0.3, "patience": 3},
}
STUCK = range(18, EPOCHS)  # epochs without a better validation, in the picture of plateau


@styled
def draw(path: Path) -> None:
    """Write the picture."""
    names = get_args(Schedule.model_fields["name"].annotation)
    figure = Figure(figsize=(8.6, 3.8), layout="constrained", facecolor="white")
    grid = figure.subplots(2, -(-len(names) // 2), sharex=True, sharey=True).flat
    for axes, name in zip(grid, names, strict=False):
        schedule = Schedule.model_validate({"name": name, **SETTINGS.get(name, {})})
        axes.plot(*course(schedule), color=TRAIN)
        shown = ", ".join(f"{k}: {v}" for k, v in SETTINGS.get(name, {}).items())
        axes.set_title(f"{name}  {shown}", loc="left", color=INK, fontsize=8)
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel("learning rate / peak", fontsize=9)
    with path.open("w", encoding="utf-8") as target:
        FigureCanvasSVG(figure).print_svg(target, metadata={"Date": None})


def course(schedule: Schedule) -> tuple[list[float], list[float]]:
    """Epochs, and the share of the peak at each step."""
    plateau, epochs, shares = Plateau(schedule), [], []
    for epoch in range(EPOCHS):
        for step in range(STEPS):
            now = epoch + step / STEPS
            epochs.append(now)
            shares.append(lr_factor(now / EPOCHS, schedule, now, schedule.warmup * EPOCHS) * plateau.reduction)
        plateau.after_epoch(better=epoch not in STUCK)
    return epochs, shares


if __name__ == "__main__":
    draw(Path(__file__).with_name("schedules.svg"))
