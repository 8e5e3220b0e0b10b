"""`tellapart check`: find problems of a data set before a classifier is trained on it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from tellapart.workflows.check import HealthReport

#: The exit code when there is a leak or a problem.
FOUND = 7
_CHECKS = (
    "balance, class_names, compression, duplicates, files, groups, labels, metadata, missing_classes, names, near_duplicates, "
    "pixels, quality or shift"
)
_STYLES = {"leak": "bold red", "problem": "yellow", "notice": "cyan", "fine": "green", "skipped": "dim"}
Reviewed = Annotated[
    Path | None,
    typer.Option(
        "--reviewed", metavar="CSV", help="Apply an edited fix list: exclude rows marked drop, accept rows marked keep."
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="CHECK", help=f"Run only this check: {_CHECKS}. Repeatable."),
]
Skip = Annotated[list[str] | None, typer.Option("--skip", metavar="CHECK", help="Skip this check. Repeatable.")]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "-s",
        "--set",
        metavar="CHECK.OPTION=VALUE",
        help="Set an option of a check, for example near_duplicates.candidates=16. Repeatable.",
    ),
]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write a report with pictures (HTML).")]
Lists = Annotated[Path | None, typer.Option("--list", metavar="DIR", help="Write one CSV per check with the images it found.")]
FixList = Annotated[
    Path | None, typer.Option("--fix-list", metavar="FILE", help="Write a CSV of the images to drop or to review.")
]
Review = Annotated[
    Path | None, typer.Option("--review", metavar="FILE", help="Write a page (HTML) to accept or reject each finding.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 7 for notices, too.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed for checks that draw samples.")]


def run(
    data: opt.Data, only: Only = None, skip: Skip = None, options: Options = None, output: Output = None, lists: Lists = None,
    fix_list: FixList = None, review: Review = None, reviewed: Reviewed = None, strict: Strict = False, seed: Seed = 0,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None, positive: opt.Positive = None,
    verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Check DATA for leaks, duplicates, shortcuts, label errors and broken images.

    Exit with code 7 if a leak or a problem is found.
    """
    from tellapart.places import check_outside

    if lists:
        check_outside(lists, Path(data))
    for path in (output, fix_list, review, lists / "x.csv" if lists else None):
        if path:
            opt.check_output(path, data)
    from tellapart.workflows.check import check, read_or_list

    table = read_or_list(
        lambda: opt.scanned(
            data,
            images,
            id_column,
            label_column,
            group,
            positive,
            least=1,
            verify_files=verify_files,
            split_column=split_column,
            unlabeled=unlabeled,
        ),
        data,
    )
    health = check(
        table, only=only or (), skip=skip or (), options=opt.options(options or []), reviewed=reviewed, runs=runs,
        seed=seed, progress=opt.progress(quiet),
    )  # fmt: skip
    written = _write(health, output, lists, fix_list, review)
    if as_json:
        opt.print_json(health.to_dict() | {"written": [str(path) for path in written]})
    else:
        _print(health, written)
    if health.is_bad(strict) or health.failures:
        raise typer.Exit(FOUND if health.is_bad(strict) else 1)


def _write(
    health: HealthReport, report: Path | None, lists: Path | None, fix_list: Path | None, review: Path | None
) -> list[Path]:
    """Write the requested files."""
    from tellapart.checks.review import write_rows
    from tellapart.reports.health_report import write_page, write_review

    written = []
    if lists:
        with_issues = [one.name for one in health.checks if one.result.is_issue.any()]
        written += [write_rows(health.rows(name), lists / f"{name}.csv") for name in with_issues]
    if fix_list:
        written.append(write_rows(health.rows(), fix_list))
    if report:
        written.append(write_page(health, report))
    if review:
        written.append(write_review(health, review))
    return written


def _print(health: HealthReport, written: list[Path]) -> None:
    from rich.table import Table
    from rich.text import Text

    table, console = Table(box=None, pad_edge=False, title_justify="left"), opt.out()
    for heading in ("check", "", "images", "result"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "images" else "left")
    for one in health.checks:
        severity, count = one.result.severity, int(one.result.is_issue.sum())
        style = "bold red" if one.failure else _STYLES[severity]
        name = Text("failed" if one.failure else severity, style)
        cell = _two_lines(one.result.summary, health, console.width)
        table.add_row(one.name, name, f"{count:,}" if count else "", cell)
    console.print(table)
    opt.print_lines(*(f"→ {one.name}: {one.result.advice}" for one in health.checks if one.result.advice))
    names = len(health.table.classes)
    classes = f"{names} class{'es' if names != 1 else ''}" if names else "no labels"
    summary = f"{len(health.table):,} images, {classes}: {summarize(health)}"
    opt.print_lines(summary, *(f"  wrote {path}" for path in written))


def _two_lines(text: str, health: HealthReport, width: int) -> str:
    """Wrap a cell of the last column; what exceeds two lines is left to --json and the report."""
    names = max((len(one.name) for one in health.checks), default=0)
    counts = max(len("images"), *(len(f"{int(one.result.is_issue.sum()):,}") for one in health.checks))
    free = max(20, width - names - max(map(len, _STYLES)) - counts - 6)
    return "\n".join(textwrap.wrap(text, free, max_lines=2, placeholder=" …", break_on_hyphens=False))


def summarize(health: HealthReport) -> str:
    """One sentence on all checks."""
    severities = [one.result.severity for one in health.checks]
    counts = {severity: severities.count(severity) for severity in ("leak", "problem", "notice")}
    found = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count]
    failed = f"; {len(health.failures)} failed" if health.failures else ""
    return (", ".join(found) or "no problems found") + failed
