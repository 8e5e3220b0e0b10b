"""`tellapart data`: what was understood of a data set."""

from __future__ import annotations

from tellapart.cli import options as shared


def run(
    data: shared.Data,
    images: shared.Images = None,
    id_column: shared.IdColumn = None,
    label_column: shared.LabelColumn = None,
    group: shared.Group = None,
    positive: shared.Positive = None,
    as_json: shared.AsJson = False,
    verbose: shared.Verbose = False,
) -> None:
    """Show what is understood of DATA: classes, counts per split, sizes, formats, the first problems."""
    from tellapart.data.summary import summarize

    summary = summarize(shared.scanned(data, images, id_column, label_column, group, positive))
    if as_json:
        shared.print_json(summary.to_dict())
    else:
        shared.out().print(summary)
