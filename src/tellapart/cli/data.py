"""`tellapart data`: how a data set is read."""

from __future__ import annotations

from tellapart.cli import options as opt


def run(
    data: opt.Data, images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    group: opt.Group = None, positive: opt.Positive = None, as_json: opt.AsJson = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Show how DATA is read: classes, images per split, image sizes, formats, and the first problems."""
    from tellapart.data.summary import summarize

    summary = summarize(
        opt.scanned(data, images, id_column, label_column, group, positive, split_column=split_column, unlabeled=unlabeled)
    )
    if as_json:
        opt.print_json(summary.to_dict())
    else:
        opt.out().print(summary)
