"""Where may be written: outside of the data, where no link leads away, at paths that are text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tellapart.errors import DataError, SystemLimitError
from tellapart.places import check_inside, check_is_text, check_outside, is_text


@pytest.mark.parametrize("name", ["a.csv", "below/a.png", ""])
def test_inside_of_the_data_nothing_is_written_that_would_be_read(tmp_path: Path, name: str) -> None:
    data = tmp_path / "photos"
    data.mkdir()
    with pytest.raises(DataError, match="lies inside the data") as caught:
        check_outside(data / name, data)
    assert str(tmp_path / "photos-") in str(caught.value.hint)
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(DataError, match="lies inside the data"):
        check_outside(tmp_path / "link" / "a.csv", data)


def test_pages_and_places_outside_are_allowed(tmp_path: Path) -> None:
    data = tmp_path / "photos"
    data.mkdir()
    for path in (data / "report.html", data / "a.json", tmp_path / "a.csv", tmp_path / "photos.csv"):
        check_outside(path, data)
    (tmp_path / "photos.tar").touch()
    check_outside(tmp_path / "a.csv", tmp_path / "photos.tar")


def test_a_link_below_the_folder_is_refused_and_one_to_the_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "disk" / "runs" / "svm").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "runs")
    check_inside(tmp_path / "runs" / "svm", tmp_path / "runs")
    check_inside(tmp_path / "runs", tmp_path / "runs")
    (tmp_path / "theirs").mkdir()
    for name, target in (("out", tmp_path / "theirs"), ("in", tmp_path / "disk" / "runs" / "svm")):
        (tmp_path / "runs" / name).symlink_to(target)
        with pytest.raises(SystemLimitError, match=f"{tmp_path / 'runs' / name}: is reached by a link") as caught:
            check_inside(tmp_path / "runs" / name, tmp_path / "runs")
        assert caught.value.hint == "remove the link"


def test_only_text_is_a_path() -> None:
    assert is_text("é") and not is_text("b\udcffd")
    check_is_text(Path("é"))
    with pytest.raises(SystemLimitError, match="is not valid UTF-8"):
        check_is_text(Path("b\udcffd") / "a")
