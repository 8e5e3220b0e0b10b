"""An empty text on the command line is an error: as a path it would mean the current folder, else it would count as nothing."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer.main

from tellapart.cli.main import _MAY_BE_EMPTY, app

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
GIVEN = """
leaderboard --runs ''
leaderboard --runs=
leaderboard ''
data ''
compare photos -o ''
check photos --list ''
check photos -o ''
check photos --images ''
predict svm ''
predict '' a.png
predict svm a.png ''
explain svm a.png --masks ''
train photos -r ''
serve svm --keep ''
serve svm --token ''
serve svm --token-file ''
serve svm --host ''
export svm -o ''
export svm --data ''
submit svm --test '' --sample s.csv
train photos -r svm --split-from ''
train photos -r svm --set ''
synth '' -o out
"""


@pytest.mark.parametrize("line", GIVEN.strip().splitlines())
def test_an_empty_text_is_refused(tell, line) -> None:
    code, out, err = tell(*shlex.split(line))
    assert code == 2 and out == "" and "found an empty text" in " ".join(err.replace("│", " ").split()), err


def test_the_message_names_the_option_and_what_belongs_there(tell) -> None:
    err = " ".join(tell("leaderboard", "--runs", "").err.replace("│", " ").split())
    assert "Invalid value for '--runs': expected DIR, found an empty text" in err
    err = " ".join(tell("predict", "svm", "").err.replace("│", " ").split())
    assert "Invalid value for 'IMAGE…': expected IMAGE, found an empty text" in err


@pytest.mark.parametrize("option", ["--id-column", "--label-column", "--group", "--unlabeled", "--positive"])
def test_columns_and_classes_may_be_empty(tell, option) -> None:
    """They get as far as the data, which do not exist."""
    assert "empty text" not in (err := tell("data", "photos", option, "").err) and "photos" in err


def test_every_path_is_among_those_that_must_not_be_empty() -> None:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if any(word in str(parameter.metavar) for word in ("DIR", "FILE", "PATH", "CSV", "DATA", "RUN", "IMAGE")):
                assert parameter.metavar not in _MAY_BE_EMPTY, f"{name} {parameter.name}"
