"""What the names of classes say: which means real and which fake, which one is positive, which look alike."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

#: Words that mean "not the real thing", and words that mean "real", lower case and without accents.
FAKE_WORDS = frozenset(
    "fake edited edit generated synthetic manipulated forged tampered spoof ai editada editado falso falsa sintetica "
    "podrobiony falszywe edytowane".split()
)
REAL_WORDS = frozenset(
    "real reale reais original originals authentic genuine pristine natural nature unedited untouched prawdziwe prawdziwy "
    "verdadero autentico echt vrai".split()
)
#: Further words of class names; folders of this name may hold both the fakes of a generator and their originals.
_GENERATORS = frozenset("deepfake faked forgery gan synth synthesized spoofed diffusion midjourney".split())
_NEGATIONS = frozenset("not no non un anti nie nao nicht pas without vs versus".split())
#: "AIGenerated" → AI, Generated; "GANs" → GANs; "deepFakes2" → deep, Fakes, 2.
_WORDS = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[^\W\d_]+|\d+")


def real_or_fake(name: str) -> str:
    """Whether a class name means "real" or "fake" by one of its words; "" when neither, or when both could be meant.

    >>> [real_or_fake(name) for name in ("training_fake", "ai_generated", "AiArtData", "deepfakes", "StyleGAN", "1_fake")]
    ['fake', 'fake', 'fake', 'fake', 'fake', 'fake']
    >>> [real_or_fake(name) for name in ("Real images", "realistic", "surreal", "not_fake", "real_vs_fake", "paint")]
    ['real', '', '', '', '', '']
    """
    words = {_folded(word) for word in _WORDS.findall(unicodedata.normalize("NFKC", name))}
    words |= {_folded(word) for word in re.split(r"[\W\d_]+", unicodedata.normalize("NFKC", name))}
    words |= {word.removesuffix("s") for word in words}
    kinds = [kind for kind, known in (("fake", FAKE_WORDS | _GENERATORS), ("real", REAL_WORDS)) if words & known]
    return kinds[0] if len(kinds) == 1 and not words & _NEGATIONS else ""


def guess_positive(classes: Sequence[str]) -> str | None:
    """Of two classes the one whose name means fake; or else the other of the one whose name means real.

    >>> guess_positive(["REAL", "FAKE"]), guess_positive(["midjourney v5", "real"]), guess_positive(["fake", "not_fake"])
    ('FAKE', 'midjourney v5', 'fake')
    >>> guess_positive(["cat", "dog"]) is None
    True
    """
    if len(classes) != 2:
        return None
    kinds = [real_or_fake(name) for name in classes]
    if kinds.count("fake") == 1:
        return classes[kinds.index("fake")]
    return classes[1 - kinds.index("real")] if kinds.count("real") == 1 else None


def positive_in_words(classes: Sequence[str], positive: str | None) -> str:
    """The class that scores of two classes count as positive; "" for another number of classes.

    >>> positive_in_words(["fake", "real"], "fake"), positive_in_words(["cat", "dog"], None), positive_in_words(["a"], None)
    ('fake', 'dog (the second class; choose with --positive)', '')
    """
    if len(classes) != 2:
        return ""
    return positive or f"{classes[1]} (the second class; choose with --positive)"


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names that differ only in case, blanks, invisible characters, Unicode form or leading zeros: groups of two or more.

    >>> look_alikes(["Cat", "cat", "dog ", "dog", "pâté", "pate", "TRUE", "True", "01", "1"])
    [('Cat', 'cat'), ('dog ', 'dog'), ('TRUE', 'True'), ('01', '1')]
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_look(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def difference(names: Sequence[str]) -> str:
    """What look-alike names differ in.

    >>> difference(["Cat", "cat"]), difference(["dog ", "dog"]), difference(["01", "1"])
    ('case', 'blanks', 'the form of their characters')
    """
    if len({" ".join(name.split()) for name in names}) == 1:
        return "blanks"
    if len({name.casefold() for name in names}) == 1:
        return "case"
    return (
        "case and blanks" if len({" ".join(name.split()).casefold() for name in names}) == 1 else "the form of their characters"
    )


def _look(name: str) -> str:
    """What a name looks like: full-width letters as usual ones, one blank for many, no invisible characters."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    text = " ".join("".join(c for c in text if unicodedata.category(c) != "Cf").split())
    return str(int(text)) if re.fullmatch(r"[+-]?\d+", text) else text


def _folded(word: str) -> str:
    """Lower case without accents."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in letters if not unicodedata.combining(c))
