"""Do the maps of a trained network lie where the edit is? Every method of `explain` on edited tiles with known masks.

    python benchmarks/faithfulness.py WORK [--tiles 48] [--few 6] [--judged 3] [--json benchmarks/results/faithfulness.json]

Makes two variants of the demo data in WORK: the usual tiles (64 pixels, edits of 20 to 40 %), and tiles of 128 pixels with
edits of 5 to 10 %, which have as many pixels as before. A small net (`cnn-small`) learns on the first, goes on with the second,
and opens its test part once: seven scenes that no training saw. Then each method explains the class "edited" of edited test
tiles, as many of each scene: `--tiles` of the methods that need few passes, `--few` of those that need dozens, `--judged` for
deletion, insertion and ROAD. What chose these settings were the three validation scenes.

Beside each method stand a map of noise and the map of the same net with random weights. A map that knows nothing hits as often
as the mask covers the tile. Intervals are over scenes, as tiles of one scene are not independent: Student's t of the means of
scenes, on the logit scale where it is a share. Each picture's figures are kept in WORK/records.jsonl, and not computed twice.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tellapart as ta
from tellapart.cli.options import progress
from tellapart.explainers.faithfulness import mask_iou, mean_score, noise_map, pointing_game
from tellapart.metrics.intervals import fraction_interval, variance_within
from tellapart.runs.environment import describe_environment
from tellapart.workflows import demo

EDITED, SIZE, AREA, TILES_PER_SCENE, DRAWS = "edited", 128, (0.05, 0.10), 240, 20
#: Passes through the net for a map of a tile: two, or dozens to hundreds.
QUICK = ("grad_cam", "hires_cam", "eigen_cam")
SLOW = ("integrated_gradients", "score_cam", "occlusion", "rise")
#: The first net may look at windows nowhere: what is cut off may be the edit. It keeps the strongest trace (`max`), the
#: second one their mean: of such a net Grad-CAM is exact.
FIRST = ("augment=[{flip: {}}, {rotate90: {}}]", "classifier.ending=max")
SECOND = (FIRST[0], "train.epochs=8", "train.optimizer.lr=0.01", "train.optimizer.other_lr=0.002")


def trained(work: Path, settings: ta.Settings) -> tuple[Path, ta.Run, ta.Run]:
    """The folder of the small edits, and both runs; the second one's test part is opened once."""
    usual = demo.make(work / "usual", tiles_per_scene=TILES_PER_SCENE)
    small = demo.make(work / "small", size=SIZE, area=AREA)
    first = ta.train(usual, "cnn-small", overrides=FIRST, settings=settings)
    second = ta.train(small, "cnn-small", overrides=[*SECOND, f"classifier.init_from={first.id}"], settings=settings)
    if not second.evaluations:
        ta.evaluate(second, open_test=True, settings=settings)
    return small, first, second


def spread(run: ta.Run, count: int) -> list[str]:
    """Ids of edited test tiles, `count` of each scene at most, alike of each kind of edit, in a seeded order."""
    frame = run.table().where(split="test").frame
    frame = frame[frame["source"] != "none"].sample(frac=1, random_state=0)
    frame = frame.assign(turn=frame.groupby(["group", "source"]).cumcount()).sort_values(["turn", "source"], kind="stable")
    return frame.groupby("group").head(count)["id"].tolist()


def records(run: ta.Run, folder: Path, methods: Sequence[str], ids: Sequence[str], judged: bool, work: Path) -> list[dict]:
    """The figures of each tile and method; those that are there already are read."""
    file = work / "records.jsonl"
    known = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    mine = {(r["id"], r["method"]): r for r in known if r["run"] == run.id and (r["scores"] or not judged)}
    settings = ta.Settings(runs=run.runs, device="cpu")
    for done, tile in enumerate(ids):
        missing = [m for m in methods if (tile, m) not in mine]
        if missing:
            found = ta.explain(
                run,
                [folder / tile],
                class_name=EDITED,
                methods=missing,
                masks=folder / "masks",
                score=judged,
                settings=settings,
            )
            new = [{"run": run.id, "id": tile, **one.to_dict()} for one in found]
            with file.open("a", encoding="utf-8") as lines:
                lines.writelines(json.dumps(one) + "\n" for one in new)
            mine |= {(r["id"], r["method"]): r for r in new}
            print(f"{done + 1}/{len(ids)} {tile} {', '.join(missing)}{' judged' if judged else ''}", flush=True)
    return [mine[tile, method] for tile in ids for method in methods]


def share(values: Sequence[bool], scenes: Sequence[str]) -> dict[str, Any]:
    """Of hits, with its interval over scenes, which weigh alike in it."""
    means = by_scene([float(v) for v in values], scenes)
    strata, value = np.zeros(len(means), np.int64), float(np.mean(values))
    low, high = fraction_interval(value, variance_within(np.array(means) / len(means), strata), strata)
    return {"value": value, "n": len(values), "low": low, "high": high}


def mean(values: Sequence[float], scenes: Sequence[str]) -> dict[str, Any]:
    """With its interval over scenes."""
    score = mean_score(by_scene(values, scenes))
    return {"value": float(np.mean(values)), "n": len(values), "low": score.low, "high": score.high}


def by_scene(values: Sequence[float], scenes: Sequence[str]) -> list[float]:
    """The mean of each scene."""
    return [float(np.mean([v for v, s in zip(values, scenes, strict=True) if s == scene])) for scene in sorted(set(scenes))]


def row(of: Sequence[dict], name: str, scene: dict[str, str]) -> dict[str, Any]:
    """One line of the table: a method's own maps, or a control beside it. `name`: of the map."""
    scenes, judged = [scene[r["id"]] for r in of], [r for r in of if r["scores"]]
    right = [r for r in of if r["answer"] == EDITED]
    found = {
        "pointing": share([r["pointing"][name] for r in of], scenes),
        "pointing_right": share([r["pointing"][name] for r in right], [scene[r["id"]] for r in right]),
        "iou": mean([r["iou"][name] for r in of], scenes),
    }
    for score in ("deletion", "insertion", "road") if judged and name in judged[0]["scores"] else ():
        found[score] = mean([r["scores"][name][score] for r in judged], [scene[r["id"]] for r in judged])
    return found


def noise(folder: Path, of: Sequence[dict], scene: dict[str, str]) -> dict[str, Any]:
    """Hits and IoU of maps of noise, `DRAWS` for each tile: `explain` draws one, and here the same for every tile."""
    hits, overlaps, scenes = [], [], []
    for number, r in enumerate(of):
        with Image.open(folder / "masks" / Path(r["id"]).name) as picture:
            mask = np.asarray(picture) > 0
        for draw in range(DRAWS):
            values = noise_map(*mask.shape, seed=DRAWS * number + draw)
            hits.append(pointing_game(values, mask))
            overlaps.append(mask_iou(values, mask))
            scenes.append(scene[r["id"]])
    right = [i for i in range(len(hits)) if of[i // DRAWS]["answer"] == EDITED]
    return {
        "pointing": share(hits, scenes), "iou": mean(overlaps, scenes),
        "pointing_right": share([hits[i] for i in right], [scenes[i] for i in right]),
    }  # fmt: skip


def table(content: dict[str, Any]) -> str:
    """As Markdown, for people and for the documentation."""
    lines = [
        "| map | hits | of tiles answered right | IoU | deletion ↓ | insertion ↑ | ROAD ↑ |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, of in content["rows"].items():
        cells = [in_words(of.get(score)) for score in ("pointing", "pointing_right", "iou", "deletion", "insertion", "road")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def in_words(score: dict[str, Any] | None) -> str:
    """Value, interval and n."""
    if score is None:
        return ""
    between = "" if math.isnan(score["low"]) else f" [{score['low']:.2f}, {score['high']:.2f}]"
    return f"{score['value']:.2f}{between} n={score['n']}"


def main() -> None:
    """Data, training, maps, table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument(
        "--tiles", type=int, default=48, help="edited test tiles of each scene, for the quick methods; 48 are all"
    )
    parser.add_argument("--few", type=int, default=6, help="the same for the slow ones")
    parser.add_argument("--judged", type=int, default=3, help="the same for deletion, insertion and ROAD, of all methods")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/faithfulness.json"))
    asked = parser.parse_args()
    settings = ta.Settings(runs=asked.work / "runs", device="cpu", progress=progress(quiet=False))
    folder, first, run = trained(asked.work, settings)
    frame = run.table().frame
    scene = dict(zip(frame["id"], frame["group"], strict=True))
    found: list[dict] = []
    records(run, folder, [*QUICK, *SLOW], spread(run, asked.judged), True, asked.work)
    for methods, count in ((QUICK, asked.tiles), (SLOW, asked.few)):
        found += records(run, folder, methods, spread(run, count), False, asked.work)
    rows: dict[str, Any] = {}
    for method in (*QUICK, *SLOW):
        of = [r for r in found if r["method"] == method]
        rows[method] = row(of, method, scene)
        rows[f"{method}, untrained"] = row(of, "untrained", scene)
    quick = [r for r in found if r["method"] == QUICK[0]]
    rows["noise"] = row(quick, "noise", scene) | noise(folder, quick, scene)
    content = {
        "claim": "Grad-CAM of the trained net hits the mask at least 3 times as often as noise, and more than untrained",
        "machine": describe_environment("cpu"),
        "tiles_a_scene": {"quick": asked.tiles, "slow": asked.few, "judged": asked.judged},
        "mask_share": mean([r["mask_share"] for r in quick], [scene[r["id"]] for r in quick]),
        "largest_mask": max(r["mask_share"] for r in quick),
        "times_noise": rows[QUICK[0]]["pointing"]["value"] / max(rows["noise"]["pointing"]["value"], 1e-9),
        "times_mask_share": rows[QUICK[0]]["pointing"]["value"] / float(np.mean([r["mask_share"] for r in quick])),
        "accuracy": {part: run.scores(part)["accuracy"].to_dict() for part in ("valid", "test")},
        "fit_seconds": {"first": first.cost["fit_seconds"], "second": run.cost["fit_seconds"]},
        "overrides": {"first": FIRST, "second": SECOND}, "rows": rows,
    }  # fmt: skip
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(table(content))


if __name__ == "__main__":
    main()
