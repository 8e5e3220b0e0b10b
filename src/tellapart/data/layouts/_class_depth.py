"""Whether the first or the last folder of a path names the class, where folders of classes lie at unequal depth.

cat/1.png  dog/2.png                                  the only folder
cat/siam/1.png  dog/pug/2.png                         equal depth: the first; the others are the source
cat/1.png  cat/siam/2.png  dog/3.png                  images and folders in one: the first
cat/1.png  dog/2.png  more/cat/3.png  more/dog/4.png  a name that occurs at two depths: the last
car/1.png  pets/cat/2.png  pets/dog/3.png             neither: an error, which names both readings
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tellapart.data.layouts.base import FIRST_FOLDER, LAST_FOLDER
from tellapart.errors import DataError


def is_last_folder(folders: Sequence[tuple[str, ...]], where: str) -> bool:
    """Whether the last folder of a path is the class.

    Args:
        folders: The names in the path of each folder with images, without those of splits.
        where: The tree, for messages.

    Raises:
        DataError: It could be the first or the last.

    Example:
        >>> is_last_folder([("cat",), ("dog",), ("more", "cat"), ("more", "dog")], "data")
        True
        >>> is_last_folder([("cat",), ("cat", "siam"), ("dog",)], "data")
        False
    """
    holders = sorted({parts for parts in folders if parts})
    if len({len(parts) for parts in holders}) < 2:
        return False
    known = set(holders)
    if any(parts[:depth] in known for parts in holders for depth in range(1, len(parts))):
        return False
    depths: dict[str, set[int]] = defaultdict(set)
    below: dict[str, int] = defaultdict(int)
    for parts in holders:
        depths[parts[-1]].add(len(parts))
        below[parts[0]] += 1
    if any(len(found) > 1 for found in depths.values()):
        return True
    if max(below.values()) == 1:  # one folder in another, again and again: a single class, whatever it is called
        return False
    first, last = ([parts[place] for parts in holders] for place in (0, -1))
    shallow, deep = ("/".join(chosen(holders, key=len)) for chosen in (min, max))
    raise DataError(
        f"{where}: images lie at unequal depth, in {shallow}/ and in {deep}/: "
        f"the class could be the first folder ({_listed(first)}) or the last ({_listed(last)})",
        hint=f"choose one: --label-column {FIRST_FOLDER} or --label-column {LAST_FOLDER}",
    )


def _listed(names: Sequence[str]) -> str:
    unique = sorted(set(names))
    return f"{len(unique)} classes: {', '.join(unique[:6])}" + (", …" if len(unique) > 6 else "")
