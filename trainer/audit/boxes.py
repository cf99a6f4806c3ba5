"""Boxes that are probably wrong: the label is read once the crop is cut otherwise, or characters change their order.

A record holds no more of the picture than the crop. Where this has a margin around the window that a reader sees, the
window is moved and grown within it; it is shrunk in any case. A box that misses digits leaves the start or the end of
the label to read, or nothing; one that is far too large leaves the complete label in the middle of the crop.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.reader import Examples
from tfrecords.progress import progress
from trainer.audit.labels import number_probability
from trainer.audit.pictures import AuditReader, Pictures, central
from trainer.audit.suspects import BOX, BOX_ORDER, LABELS, Suspect
from trainer.input.records import Records
from trainer.scoring.decode import Predictions

_SHRUNK = 0.8
"""Part of the window that is left of a box that is too large."""
_MIDDLE = 0.35
"""Part of the window's width and height in which a number is not to be read: it fills 0.9 where the box is tight. Of
4,000 photos 16 % are read in 0.5 and have loose boxes, 1.3 % in 0.35."""
_LEAST_EMPTY = 0.5
"""Share of pictures in whose middle a reader must read nothing. `pretrained` does so in 87 % of 4,000 photos; those of
MNIST cannot answer that there is no number, and guess 19 % of the labels."""
_OF_GAIN = 0.5
"""Part of the gain by another cut that counts: most labels that are read once the cut moves a bit have right boxes."""
_LEAST = 0.5
"""Mean probability of the label in another cut from which the box is suspicious."""
_DECIMALS = 4
_BATCH = 64


def order_suspects(pictures: Pictures) -> list[Suspect]:
    """Returns the numbers whose boxes spell another number from left to right than the label."""
    return [
        Suspect(key, BOX_ORDER, 1.0, text, spelt, {"left_to_right": spelt})
        for key, text, spelt in zip(pictures.keys, pictures.texts, pictures.order, strict=True)
        if spelt != text
    ]


def box_suspects(
    records: Records, pictures: Pictures, labels: Sequence[Suspect], readers: Sequence[AuditReader]
) -> tuple[list[Suspect], list[str]]:
    """Returns the pictures whose boxes are probably wrong, each once, by its strongest suspicion, and notes.

    Args:
      records: Dataset.
      pictures: Its pictures.
      labels: Suspicious labels.
      readers: Readers of such crops; at least one.

    Raises:
      UserError: A record cannot be read.
    """
    large, unused = large_suspects(records, pictures, readers)
    found = [*recut_suspects(records, pictures, labels, readers), *unseen_suspects(labels), *large]
    notes = [
        f"{name} reads a number in the middle of most crops, where none should fit: boxes that are too large were not "
        "looked for with it"
        for name in unused
    ]
    return list({one.key: one for one in sorted(found, key=lambda one: one.score)}.values()), notes


def unseen_suspects(suspects: Sequence[Suspect]) -> list[Suspect]:
    """Returns those of the suspicious labels of which readers see the start or the end alone, or nothing.

    The score is the label's.

    Args:
      suspects: Suspicions of all kinds; those of labels are looked at.
    """
    return [
        Suspect(one.key, BOX, one.score, one.given, "", {"shows": one.suggested})
        for one in suspects
        if one.kind in LABELS
        and len(one.suggested) < len(one.given)
        and (one.given.startswith(one.suggested) or one.given.endswith(one.suggested))
    ]


def large_suspects(
    records: Records, pictures: Pictures, readers: Sequence[AuditReader]
) -> tuple[list[Suspect], list[str]]:
    """Returns the numbers that are read in the middle of the crop alone, and the names of readers that were not used.

    Their boxes are too large. The score is the part of the crop's width that is not needed, times the mean probability
    of the label in the rest. Numbers of ones are left out: they look the same from near. A reader is not used that
    reads a number in the middle of most crops: it guesses what it cannot see.

    Args:
      records: Dataset.
      pictures: Its pictures.
      readers: Readers of such crops; at least one.

    Raises:
      UserError: A record cannot be read.
    """
    rows = [row for row, text in enumerate(pictures.texts) if set(text) != {"1"}]
    by_split, values, nothing = _examples(records, pictures), np.zeros((len(readers), len(rows))), [0] * len(readers)
    with progress("boxes", len(rows), "pictures") as bar:
        for start in range(0, len(rows), _BATCH):
            crops = list(_crops(by_split, pictures, rows[start : start + _BATCH]))
            for index, one in enumerate(readers):
                found = _read(one, crops, _middle)
                values[index, start : start + len(crops)] = number_probability(found, [crop.given for crop in crops])
                nothing[index] += found.texts.count("")
            bar.update(len(crops))
    used = np.array(nothing) >= _LEAST_EMPTY * len(rows)
    means = values[used].mean(axis=0) if used.any() else np.zeros(len(rows))
    suspects = []
    for index in np.flatnonzero(means >= _LEAST).tolist():
        key, given = pictures.keys[rows[index]], pictures.texts[rows[index]]
        evidence = {"middle": round(float(means[index]), _DECIMALS)}
        suspects.append(Suspect(key, BOX, (1 - _MIDDLE) * float(means[index]), given, "", evidence))
    return suspects, [one.name for one, is_used in zip(readers, used.tolist(), strict=True) if not is_used]


def _middle(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return _resized(central(image, (max(1, round(_MIDDLE * height)), max(1, round(_MIDDLE * width)))), height, width)


def recut(image: NDArray[np.uint8], height: int, width: int) -> dict[str, NDArray[np.uint8]]:
    """Returns other cuts of an image by name, each (height, width, channels); only `shrunk` where it has no margin.

    Args:
      image: (rows, columns, channels) uint8, at least of that height and width.
      height: Height of the window that a reader sees, pixels.
      width: Width of the window, pixels.
    """
    rows, columns = image.shape[0] - height, image.shape[1] - width
    inner = central(image, (max(1, round(_SHRUNK * height)), max(1, round(_SHRUNK * width))))
    cuts = {"shrunk": _resized(inner, height, width)}
    if rows > 0 and columns > 0:
        top, left = rows // 2, columns // 2
        places = {"up": (0, left), "down": (rows, left), "left": (top, 0), "right": (top, columns)}
        cuts["grown"] = _resized(image, height, width)
        cuts |= {f"moved {name}": image[y : y + height, x : x + width] for name, (y, x) in places.items()}
    return cuts


def _resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    import cv2

    # OpenCV drops the axis of a single channel.
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8).reshape(height, width, image.shape[2])


def recut_suspects(
    records: Records, pictures: Pictures, suspects: Sequence[Suspect], readers: Sequence[AuditReader]
) -> list[Suspect]:
    """Returns those of the suspicious labels that readers confirm where the crop is cut otherwise.

    The score is half of what the mean probability of the label grows by that.

    Args:
      records: Dataset.
      pictures: Its pictures.
      suspects: Suspicions of all kinds; those of labels are looked at.
      readers: Readers of such crops; at least one.

    Raises:
      UserError: A record cannot be read.
    """
    rows = {key: row for row, key in enumerate(pictures.keys)}
    doubted = [one for one in suspects if one.kind in LABELS]
    by_split, found = _examples(records, pictures), []
    for start in range(0, len(doubted), _BATCH):
        crops = list(_crops(by_split, pictures, [rows[one.key] for one in doubted[start : start + _BATCH]]))
        stored, best, names = _label_probabilities(crops, readers)
        for index, crop in enumerate(crops):
            gain = float(best[index] - stored[index])
            if best[index] >= _LEAST and gain > 0:
                evidence = {
                    "view": names[index],
                    "label_there": round(float(best[index]), _DECIMALS),
                    "label_stored": round(float(stored[index]), _DECIMALS),
                }
                found.append(Suspect(crop.key, BOX, _OF_GAIN * gain, crop.given, "", evidence))
    return found


@dataclass(frozen=True)
class _Crop:
    """The image of a suspicious label, with key and split of its picture."""

    image: NDArray[np.uint8]
    key: str
    split: str
    given: str


def _examples(records: Records, pictures: Pictures) -> dict[str, Examples]:
    return {split: records.examples(split) for split in dict.fromkeys(pictures.splits)}


def _crops(by_split: Mapping[str, Examples], pictures: Pictures, rows: Sequence[int]) -> Iterator[_Crop]:
    for row in rows:
        split, place = pictures.places[row]
        yield _Crop(by_split[split][place].image, pictures.keys[row], split, pictures.texts[row])


def _label_probabilities(
    crops: Sequence[_Crop], readers: Sequence[AuditReader]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Returns the mean probability of each label as stored, in its best other cut, and the name of that cut."""
    stored = np.mean([_probability(one, crops, lambda image, *_: image) for one in readers], axis=0)
    best, names = np.zeros(len(crops)), [""] * len(crops)
    sizes = [one.image_shape[:2] for one in readers]
    # For a reader of larger images there may be no margin.
    shared = [set.intersection(*(set(recut(crop.image, *size)) for size in sizes)) for crop in crops]
    for name in sorted(set().union(*shared)):
        having = [index for index, cuts in enumerate(shared) if name in cuts]
        cut = partial(_named_cut, name=name)
        values = np.mean([_probability(one, [crops[index] for index in having], cut) for one in readers], axis=0)
        for index, value in zip(having, values.tolist(), strict=True):
            if value > best[index]:
                best[index], names[index] = value, name
    return stored, best, names


def _named_cut(image: NDArray[np.uint8], height: int, width: int, name: str) -> NDArray[np.uint8]:
    return recut(image, height, width)[name]


def _probability(
    one: AuditReader, crops: Sequence[_Crop], cut: Callable[..., NDArray[np.uint8]]
) -> NDArray[np.float64]:
    """Returns the probability that a reader gives each label in a cut of its image."""
    return number_probability(_read(one, crops, cut), [crop.given for crop in crops])


def _read(one: AuditReader, crops: Sequence[_Crop], cut: Callable[..., NDArray[np.uint8]]) -> Predictions:
    """Returns what a reader answers about a cut of each image; images may differ in size."""
    height, width = one.image_shape[:2]
    images = np.stack([central(cut(crop.image, height, width), (height, width)) for crop in crops])
    return one.predict(images, [crop.key for crop in crops], [crop.split for crop in crops])
