"""`tellapart check`: what is wrong with a set of images, before a classifier learns it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from tellapart.workflows.check import HealthReport

#: The exit code when there is a leak or a problem.
FOUND = 7
_STYLES = {"leak": "bold red", "problem": "yellow", "notice": "cyan", "fine": "green", "skipped": "dim"}
Reviewed = Annotated[
    Path | None,
    typer.Option("--reviewed", metavar="CSV", help="An edited fix list: rows with the action drop go, with keep are accepted."),
]


def run(
    data: shared.Data,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="CHECK", help="Only this check. Repeatable.")] = None,
    skip: Annotated[list[str] | None, typer.Option("--skip", metavar="CHECK", help="All but this check. Repeatable.")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", metavar="CHECK.OPTION=VALUE", help="An option of a check; docs/check. Repeatable."),
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write a page with pictures (HTML).")] = None,
    lists: Annotated[Path | None, typer.Option("--list", metavar="DIR", help="Write one CSV a check: which images.")] = None,
    fix_list: Annotated[
        Path | None, typer.Option("--fix-list", metavar="FILE", help="Write a CSV: what to drop, review.")
    ] = None,
    review: Annotated[
        Path | None, typer.Option("--review", metavar="FILE", help="Write a page (HTML) to accept or reject each finding.")
    ] = None,
    reviewed: Reviewed = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 7 for notices, too.")] = False,
    images: shared.Images = None,
    id_column: shared.IdColumn = None,
    label_column: shared.LabelColumn = None,
    group: shared.Group = None,
    runs: shared.Runs = Path("runs"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of checks that draw.")] = 0,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Find leaks, shortcuts and broken images in DATA. Exit code 7 when there is a leak or a problem."""
    for path in (report, fix_list, review, lists / "x.csv" if lists else None):
        if path:
            shared.check_output(path)
    from tellapart.workflows.check import check, read_or_list

    table = read_or_list(lambda: shared.scanned(data, images, id_column, label_column, group, None, least=1), data)
    health = check(
        table, only=only or (), skip=skip or (), options=shared.options(options or []), reviewed=reviewed, runs=runs,
        seed=seed, progress=shared.progress(quiet),
    )  # fmt: skip
    written = _write(health, report, lists, fix_list, review)
    if as_json:
        shared.print_json(health.to_dict() | {"written": [str(path) for path in written]})
    else:
        _print(health, written)
    if health.is_bad(strict) or health.failures:
        raise typer.Exit(FOUND if health.is_bad(strict) else 1)


def _write(
    health: HealthReport, report: Path | None, lists: Path | None, fix_list: Path | None, review: Path | None
) -> list[Path]:
    """What was asked for, as files."""
    from tellapart.checks.review import write_rows
    from tellapart.reports.health_report import write_page, write_review

    written = []
    if lists:
        at_fault = [one.name for one in health.checks if one.result.is_issue.any()]
        written += [write_rows(health.rows(name), lists / f"{name}.csv") for name in at_fault]
    if fix_list:
        written.append(write_rows(health.rows(), fix_list))
    if report:
        written.append(write_page(health, report))
    if review:
        written.append(write_review(health, review))
    return written


def _print(health: HealthReport, written: list[Path]) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = shared.out()
    table = Table(box=None, pad_edge=False, title_justify="left")
    for heading in ("check", "", "images", "what was found"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "images" else "left")
    for one in health.checks:
        severity, count = one.result.severity, int(one.result.is_issue.sum())
        style = "bold red" if one.failure else _STYLES[severity]
        said = escape(one.result.summary) + (f"\n[dim]→ {escape(one.result.advice)}[/dim]" if one.result.advice else "")
        table.add_row(one.name, f"[{style}]{'failed' if one.failure else severity}[/]", f"{count:,}" if count else "", said)
    console.print(table)
    names = len(health.table.classes)
    classes = f"{names} class{'es' if names != 1 else ''}" if names else "no labels"
    console.print(f"{len(health.table):,} images, {classes}: {verdict(health)}", markup=False, highlight=False, soft_wrap=True)
    for path in written:
        console.print(f"  wrote {path}", markup=False, highlight=False, soft_wrap=True)


def verdict(health: HealthReport) -> str:
    """One sentence on all checks."""
    severities = [one.result.severity for one in health.checks]
    counts = {severity: severities.count(severity) for severity in ("leak", "problem", "notice")}
    said = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count]
    failed = f"; {len(health.failures)} failed" if health.failures else ""
    return (", ".join(said) or "nothing wrong was found") + failed
