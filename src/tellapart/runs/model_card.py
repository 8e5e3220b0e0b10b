"""The model card of a run: data, recipe, scores, cost, limits.

The order follows Mitchell et al. (2019), "Model cards for model reporting", shortened to what is stored in a run.
"""

from __future__ import annotations

import yaml

from tellapart import formatting
from tellapart.recipe.groups import BASELINE
from tellapart.runs.store import Run, Scores
from tellapart.types import SPLITS

#: Maximum number of classes that are named; more are counted.
NAMED_CLASSES = 20


def write_card(run: Run) -> str:
    """A short model card in Markdown, from the files of the run."""
    parts = (_what, _data, _scores, _cost, _limits, _recipe)
    return "\n\n".join([f"# {_plain(run.recipe_name)}", *(part(run) for part in parts)]) + "\n"


def _what(run: Run) -> str:
    classes = [_plain(name) for name in run.classes]
    named = ", ".join(classes) if len(classes) <= NAMED_CLASSES else f"{', '.join(classes[:NAMED_CLASSES])}, …"
    positive = f" The positive class is {_plain(run.positive)}." if run.positive else ""
    return (
        f"An image classifier of the family `{run.family}`, made by tellapart (run `{run.id}`). "
        f"It distinguishes {len(classes)} classes: {named}.{positive}"
    )


def _data(run: Run) -> str:
    counts = {split: sum(run.data["counts"][split].values()) for split in SPLITS if split in run.data["counts"]}
    sizes = ", ".join(f"{formatting.count(n)} for {formatting.PARTS[split]}" for split, n in counts.items())
    layout = _plain(run.data["layout"].rstrip("."))
    lines = [_plain(line[0].upper() + line[1:].rstrip(".")) for line in run.left_out.lines()]
    lost = "".join(f"\n\n{line}." for line in lines)
    return f"## Data\n\n{layout}. Labeled images: {sizes}. Data fingerprint `{run.data['fingerprint']}`.{lost}"


def _scores(run: Run) -> str:
    found = {split: scores for split in SPLITS if (scores := run.scores(split))}
    rows = ["| metric | split | value | 95 % interval | n |", "|---|---|---:|---:|---:|"]
    for metric in dict.fromkeys(name for scores in found.values() for name in scores):
        rows += [_score_row(metric, split, scores) for split, scores in found.items() if metric in scores]
    opened = f"The test split was scored {formatting.times_in_words(len(run.evaluations))} for this run."
    return "## Scores\n\n" + "\n".join(rows) + f"\n\n{opened}"


def _score_row(metric: str, split: str, scores: Scores) -> str:
    score = scores[metric]
    name = f"{metric} ({score.unit})" if score.unit else metric
    value = f"{formatting.fraction(score.value)} | {formatting.interval(score)} | {formatting.count(score.n)}"
    return f"| {name} | {formatting.PARTS[split]} | {value} |"


def _cost(run: Run) -> str:
    cost, device = run.cost, run.environment.get("device") or "the machine in `environment.json`"
    speed = run.evaluations[-1].images_per_second if run.evaluations else cost["images_per_second"]
    return (
        f"## Cost\n\nFitted in {formatting.duration(cost['fit_seconds'])} on {_plain(str(device))}; "
        f"predicts {formatting.rate(speed)} images per second; {formatting.count(cost['parameters'])} parameters; "
        f"pretrained: {_plain(str(cost['pretrained']))}.{_training(run)}"
    )


def _training(run: Run) -> str:
    """Description of the training of a network; "" for other families."""
    cost = run.cost
    if "precision" not in cost:
        return ""
    bits = "32 bits" if cost["precision"] == "32" else str(cost["precision"])
    epochs, steps = (formatting.count(cost[name]) for name in ("epochs", "steps"))
    return f" Trained in {bits} on {cost['threads']} threads; epochs: {epochs}, optimizer steps: {steps}."


def _limits(run: Run) -> str:
    points = [
        "The scores are valid for images like those above. Other cameras, generators, sizes and re-encoding were not tested.",
        "The intervals describe the sampling of test images, not the variation over random seeds.",
    ]
    if run.family != "calibrated":
        points.append("The probabilities are those of the classifier; they were not calibrated.")
    if not run.evaluations:
        points.insert(
            0, "It was not evaluated on test images; the validation scores were used to select it and are therefore too high."
        )
    if run.family == BASELINE:
        points.insert(0, "It does not use pixels: it is a baseline for other runs, not a detector.")
    points += [_plain(note) for note in run.cost["notes"]]
    return "## Limits\n\n" + "\n".join(f"- {point}" for point in points)


def _recipe(run: Run) -> str:
    text = yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
    return f"## Recipe\n\n```yaml\n{text.rstrip()}\n```"


def _plain(text: str) -> str:
    """Escape text so that Markdown shows it verbatim.

    >>> _plain("a_b <i>\\n# c|d")
    'a\\\\_b \\\\<i\\\\> \\\\# c\\\\|d'
    """
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else c for c in " ".join(text.split()))
