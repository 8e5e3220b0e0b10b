"""Spellings of split names and of real and fake: `Training`, `Trening`, `val`, `0_real`, …

Names are compared without case, accents, and filler words such as "set" or "images".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from tellapart.data.class_names import FAKE_WORDS, REAL_WORDS

_SPELLINGS = {
    "train": "train training trains trn trening treningowe treningowy treningowa uczenie uczacy treino treinamento "
    "entrenamiento entrainement apprentissage addestramento allenamento trainieren trenovani трен тренировка обучение "
    "训练 訓練 学習",
    "valid": "val valid validation validate dev devel development eval walidacja walidacyjne walidacyjny walidacyjna "
    "validacao validacion validierung validazione convalida overovani валидация проверка 验证 驗證 検証",
    "test": "test testing tests tst testowe testowy testowa teste testen prueba pruebas essai holdout t10k тест "
    "тестирование 测试 測試 テスト",
}
_SPLIT_OF = {word: split for split, words in _SPELLINGS.items() for word in words.split()}
_FILLER_WORDS = "set data dataset images image imgs img pictures files split part zbior dane labels label"
_FILLERS = frozenset(_FILLER_WORDS.split())
_INTEGER = re.compile(r"[+-]?\d+\Z")
_INTEGER_OR_WHOLE_FLOAT = re.compile(r"([+-]?\d+)(?:\.0*)?\Z")


@lru_cache(maxsize=4096)
def parse_split(name: str) -> str:
    """Which split a folder, file stem or cell names: "train", "valid", "test", or "" when it names none.

    >>> [parse_split(name) for name in ("Trening", "validation", "Test images", "t10k", "entraînement", "trains_of_japan")]
    ['train', 'valid', 'test', 'test', 'train', '']
    """
    words = [word for word in re.split(r"[\s_\-.]+", normalize(name)) if word]
    telling = [word for word in words if word not in _FILLERS]
    return _SPLIT_OF.get(telling[0], "") if len(telling) == 1 else ""


def normalize(text: str) -> str:
    """Lower case without accents, for comparing names.

    >>> normalize("Validação")
    'validacao'
    """
    letters = unicodedata.normalize("NFKD", text.strip().casefold())
    # Й and パ decompose as well; recompose what is not a Latin accent.
    return unicodedata.normalize(
        "NFC", "".join(c for c in letters if not "\u0300" <= c <= "\u0305" and c not in "\u0327\u0328\u0308\u030c")
    )


@lru_cache(maxsize=4096)
def parse_real_fake(folder: str) -> str:
    """Whether a folder name means "real" or "fake" (both in many words), else "".

    >>> [parse_real_fake(name) for name in ("0_real", "1_fake", "REAL", "edited", "realistic")]
    ['real', 'fake', 'real', 'fake', '']
    """
    word = normalize(re.sub(r"\A[01]_", "", folder))
    return "fake" if word in FAKE_WORDS else "real" if word in REAL_WORDS else ""


def order_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in label order: integers by value, words by code point.

    >>> order_classes(["10", "9", "0"]), order_classes(["dog", "Cat", "10"])
    (('0', '9', '10'), ('10', 'Cat', 'dog'))
    """
    unique = sorted(set(names))
    if all(_INTEGER.match(name) for name in unique):
        unique.sort(key=int)
    return tuple(unique)


def class_texts(values: Iterable[str]) -> dict[str, str]:
    """How each distinct label cell reads as a class name: `0.0` becomes `0` when all are whole numbers.

    A column of integers with gaps is written by pandas as floats; those are the same classes.

    >>> class_texts(["0.0", "1.0"]), class_texts(["1.0", "1.5"])
    ({'0.0': '0', '1.0': '1'}, {'1.0': '1.0', '1.5': '1.5'})
    """
    distinct = set(values)
    matches = {value: _INTEGER_OR_WHOLE_FLOAT.match(value) for value in distinct}
    texts = {value: match.group(1) for value, match in matches.items() if match}
    return dict(sorted(texts.items())) if len(texts) == len(distinct) else {value: value for value in sorted(distinct)}
