"""`tellapart predict`: what it prints, what it writes, and what it says to bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tellapart.inference.context import Settings
from tellapart.workflows import train


def draw(path: Path, seed: int) -> Path:
    """A noisy picture of 8×8: real ones are dark, fake ones light."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 80, (8, 8, 3)) + 150 * (seed % 2)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run."""
    top = tmp_path_factory.mktemp("trained")
    for seed in range(40):
        draw(top / ("real", "fake")[seed % 2] / f"{seed:02}.png", seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(top / "cache"))
        return train.train(top, "knn", settings=Settings(runs=top / "runs")).folder


@pytest.fixture
def shots(tmp_path) -> Path:
    """Five pictures: dark, light, dark, light, dark."""
    for seed in range(5):
        draw(tmp_path / "shots" / f"{seed}.png", 100 + seed)
    return tmp_path / "shots"


@pytest.fixture
def typed(monkeypatch):
    """`typed(b"a.png")`: standard input."""

    def given(content: bytes) -> None:
        reader, writer = os.pipe()
        os.write(writer, content)
        os.close(writer)

        def of_this(descriptor: int, size: int) -> bytes:
            return read(reader if descriptor == 0 else descriptor, size)

        monkeypatch.setattr("tellapart.inference.image_sources.stdin.os.read", of_this)

    read = os.read
    return given


def test_csv_and_json_lines_on_standard_output(tell, run, shots):
    found = tell("predict", run, shots, "--csv", "-q")
    rows = list(csv.DictReader(io.StringIO(found.out)))
    assert found.code == 0 and list(rows[0]) == ["image", "predicted", "fake", "real"]
    assert [row["predicted"] for row in rows] == ["real", "fake", "real", "fake", "real"]
    lines = [json.loads(line) for line in tell("predict", run, shots, "--json-lines", "-q").out.splitlines()]
    assert lines == json.loads(tell("predict", run, shots, "--json", "-q").out)
    for row, line in zip(rows, lines, strict=True):
        assert (row["image"], row["predicted"]) == (line["image"], line["predicted"])
        assert float(row["real"]) == pytest.approx(line["probabilities"]["real"], abs=1e-6)


def test_files(tell, run, shots, tmp_path):
    printed = tell("predict", run, shots, "--csv", "-q").out
    for name in ("o.csv", "o.jsonl", "o.parquet"):
        found = tell("predict", run, shots, shots / "1.png", "-o", tmp_path / name, "-q")
        assert found.code == 0, found.err
        assert found.out.splitlines() == [
            f"{tmp_path / name}: 5 images", "  fake: 2", "  real: 3", "  duplicate names, predicted once: 1",
        ]  # fmt: skip
    wanted = pd.read_csv(io.StringIO(printed))
    assert pd.read_csv(tmp_path / "o.csv").drop(columns="error").equals(wanted)
    table = pd.read_parquet(tmp_path / "o.parquet")
    assert table["predicted"].tolist() == wanted["predicted"].tolist() and table["error"].isna().all()
    content = json.loads(tell("predict", run, shots, "-o", tmp_path / "x", "--parquet", "--json", "-q").out)
    assert content["images"] == 5 and content["counts"] == {"fake": 2, "real": 3}
    assert pd.read_parquet(tmp_path / "x").equals(table)


def test_stability_is_said(tell, run, shots):
    found = tell("predict", run, shots / "0.png", shots / "1.png", "--stability", "-q")
    lines = found.out.splitlines()
    assert found.code == 0 and " · unchanged in " in lines[0] and " of 4 re-saved versions; real " in lines[0]
    assert lines[2].endswith(" of 2 images: unstable")
    (entry, _) = json.loads(tell("predict", run, shots / "0.png", shots / "1.png", "--stability", "--json", "-q").out)
    assert [v["version"] for v in entry["stability"]["versions"]][:2] == ["as is", "JPEG 90"]
    header = tell("predict", run, shots / "0.png", "--stability", "--csv", "-q").out.splitlines()[0]
    assert header == "image,predicted,fake,real,unchanged,resaved,lowest,highest"


def test_a_bad_image_in_a_file_of_answers(tell, run, shots, tmp_path):
    (shots / "1.png").write_bytes(b"no image")
    out = tmp_path / "o.csv"
    found = tell("predict", run, shots, "-o", out, "-q")
    assert found.code == 3 and "could not be read: 1" in found.out
    assert "1 of 5 images could not be read:" in found.err and "1.png: not an image" in found.err
    assert "Traceback" not in found.err
    rows = pd.read_csv(out)
    assert len(rows) == 5 and rows["error"].notna().tolist() == [False, True, False, False, False]
    found = tell("predict", run, shots, "-o", out, "-q", "--skip-bad")
    assert found.code == 0 and "could not be read: 1" in found.out and len(pd.read_csv(out)) == 4
    found = tell("predict", run, shots, "--csv")  # to a pipe nothing is written that would have to be taken back
    assert found.code == 3 and found.out == "" and "1.png: not an image" in found.err
    found = tell("predict", run, shots, "--csv", "--skip-bad")
    assert found.code == 0 and len(found.out.splitlines()) == 5 and "excluded 1 of 5 images" in found.err


def test_tables_and_standard_input(tell, run, shots, typed, tmp_path):
    (tmp_path / "t.csv").write_text("number,picture\n1,0\n2,1\n")
    found = tell("predict", run, tmp_path / "t.csv", "--images", shots, "--id-column", "picture", "--csv", "-q")
    assert found.code == 0 and [line.split(",")[:2] for line in found.out.splitlines()[1:]] == [["0", "real"], ["1", "fake"]]
    typed(f"{shots / '3.png'}\n{shots / '4.png'}\n".encode())
    assert tell("predict", run, "-", "-q").out == f"{shots / '3.png'}: fake 100.0%\n{shots / '4.png'}: real 100.0%\n"
    typed((shots / "3.png").read_bytes())
    assert tell("predict", run, "-", "-q").out == "-: fake 100.0%\n"
    typed(b"")
    found = tell("predict", run, "-", "-q")
    assert found.code == 3 and "no image in -" in found.err


def test_bad_usage(tell, run, shots, tmp_path):
    for arguments, code, said in (
        ((shots, "--csv", "--json"), 2, "--csv and --json"),
        ((shots, "--parquet"), 2, "pass a file with -o"),
        ((shots, "-o", tmp_path / "x.txt"), 3, f"{tmp_path / 'x.txt'}: unknown format; the extension is '.txt'"),
        ((shots, "-o", tmp_path / "x.csv", "--json-lines"), 3, "the extension means csv, but --json-lines"),
        ((shots, "-o", tmp_path), 6, "is a folder"),
        (("https://example.org/a.jpg",), 3, "--allow-urls"),
        ((f"{shots}/*.gif",), 3, "no file matches"),
        (("nothing.png",), 3, "no such file"),
    ):
        found = tell("predict", run, *arguments, "-q")
        said_on = " ".join(found.err.replace("│", " ").split())
        assert found.code == code and said in said_on and "Traceback" not in found.err, (arguments, found)


@pytest.mark.slow
def test_a_pipe_that_nobody_reads_any_more_and_one_that_never_ends(run, shots):
    """`tellapart predict … | head -1` ends without a word; Ctrl-C while names are waited for ends at once."""
    command = [sys.executable, "-m", "tellapart", "predict", str(run)]
    whole = subprocess.run(
        f"{' '.join(command)} {shots} --csv -q | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert whole.stdout == "image,predicted,fake,real\n" and "Traceback" not in whole.stderr
    with subprocess.Popen([*command, "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdin is not None and waiting.stderr is not None
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(20)  # it starts, and waits
        waiting.send_signal(2)
        assert waiting.wait(30) == 130
        said = waiting.stderr.read()
        assert "Traceback" not in said and "Fatal" not in said
