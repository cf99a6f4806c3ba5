"""Suspicions about pictures that are there twice, in one split or in several."""

from trainer.audit.duplicates import Pair
from trainer.audit.pictures import Pictures
from trainer.audit.suspects import DUPLICATE_EXACT, DUPLICATE_NEAR, LEAK, Suspect

_KEPT_FIRST = ("test", "validation", "train")
"""Splits in the order in which a picture stays, as `prepare --on-leak drop` keeps it."""
_DECIMALS = 4


def copy_suspects(pictures: Pictures, pairs: list[Pair]) -> list[Suspect]:
    """Returns a suspicion for each pair of copies, about the one that should go.

    That is the one in train rather than in validation or test, and otherwise the later one in the order of keys. Two
    numbers of one picture are no copies of each other. A pair in two splits is a leak. The score is how far they
    stand out, and 1 more for two different labels: one of them is wrong.

    Args:
      pictures: Pictures of the dataset.
      pairs: Pairs of them that show the same.
    """
    found = []
    for pair in pairs:
        stays, goes = sorted((pair.first, pair.second), key=lambda row: _order(pictures, row))
        if _source(pictures.keys[stays]) == _source(pictures.keys[goes]):
            continue
        is_leak = pictures.splits[stays] != pictures.splits[goes]
        same = pictures.texts[stays] == pictures.texts[goes]
        evidence = {
            "copy_of": pictures.keys[stays],
            "its_label": pictures.texts[stays],
            "its_split": pictures.splits[stays],
            "split": pictures.splits[goes],
            "exact": pair.exact,
            "correlation": round(pair.correlation, _DECIMALS),
            "same_label": same,
        }
        kind = LEAK if is_leak else DUPLICATE_EXACT if pair.exact else DUPLICATE_NEAR
        score = pair.distinct + (not same)
        found.append(Suspect(pictures.keys[goes], kind, score, pictures.texts[goes], "", evidence))
    return found


def _order(pictures: Pictures, row: int) -> tuple[int, str]:
    split = pictures.splits[row]
    return _KEPT_FIRST.index(split) if split in _KEPT_FIRST else len(_KEPT_FIRST), pictures.keys[row]


def _source(key: str) -> str:
    """Returns the picture of an annotation's key: `train/5.png` of `train/5.png@2`."""
    return key.rpartition("@")[0] or key
