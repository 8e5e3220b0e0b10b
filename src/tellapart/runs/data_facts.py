"""What `data.json` of a run says: which images it learnt from, and what was odd about them."""

from __future__ import annotations

from typing import Any

from tellapart.data.prepare import Prepared


def describe_data(prepared: Prepared, recipe_name: str, split_fingerprint: str) -> dict[str, Any]:
    """Plain JSON values.

    Args:
        prepared: The data, split.
        recipe_name: The name under which the recipe was called.
        split_fingerprint: Of ids, parts and groups.
    """
    table, twins = prepared.table, prepared.twins
    counts = {s: table.where(split=s).counts()["all"].to_dict() for s in table.split_counts()}
    return {
        "recipe_name": recipe_name, "fingerprint": table.fingerprint, "split_fingerprint": split_fingerprint,
        "name": table.name, "root": table.root, "layout": table.layout,
        "classes": list(table.classes), "positive": table.positive,
        "counts": counts, "unlabeled": len(table.unlabeled()),
        "problems": [p.__dict__ for p in table.problems],
        "duplicates": {
            "images": twins.images, "across_splits": twins.across_splits, "across_classes": twins.across_classes,
            "examples": [list(pair) for pair in twins.examples],
        },
    }  # fmt: skip
