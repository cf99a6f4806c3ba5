"""A reader of another package as a second opinion: what it reads, and how sure it is of that, and no more.

It has no probability of any other number. So it counts in `label_suspects` as a reader whose confidence is the
probability of the number that it reads, and which rules out all others: a label that ours and it read as the same other
number comes up, and one that it reads as given goes down or out. Where it reads nothing it has no say, and what it
alone contradicts is no suspicion.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.images.channels import to_channels
from tfrecords.progress import progress
from tfrecords.record.labels import Labels
from trainer.audit.labels import LONGER, Answers
from trainer.audit.pictures import Pictures, central
from trainer.audit.suspects import Suspect
from trainer.input.records import Records
from trainer.run.directory import dataset_crop

RAPIDOCR = "rapidocr"
_MODULES = ("rapidocr", "onnxruntime")
_RAPID_SIDE = 64
"""Least length of a picture's shorter side for RapidOCR's detector, pixels; smaller pictures are enlarged."""


class SecondOpinion(Protocol):
    """What reads the text in an image that is cut out around a number."""

    name: str

    def read(self, image: NDArray[np.uint8]) -> tuple[str, float]:
        """Returns the text, empty for none, and the confidence in it, 0..1.

        Args:
          image: (height, width, 3) uint8 RGB.
        """


class RapidOcr:
    """RapidOCR with the models in its wheel, PP-OCRv6 small, on one thread.

    Attributes:
      name: Name in evidence.
      engine: The package's own object.
      models: Folder of the models.
    """

    name = RAPIDOCR

    def __init__(self) -> None:
        """Loads detector and reader, without the classifier of upside-down text."""
        import rapidocr

        params = {f"EngineConfig.onnxruntime.{which}_op_num_threads": 1 for which in ("intra", "inter")}
        # Most numbers are not found in photos of numbers that are enlarged to the default of 736 pixels.
        settings = {"Det.limit_side_len": _RAPID_SIDE, "Global.text_score": 0.0, "Global.log_level": "critical"}
        self.engine: Any = rapidocr.RapidOCR(params={**params, **settings})
        self.models = Path(rapidocr.__file__).parent / "models"

    def read(self, image: NDArray[np.uint8]) -> tuple[str, float]:
        """As `SecondOpinion.read`: the reader alone."""
        # Its channels are in the order of OpenCV.
        found = self.engine(np.ascontiguousarray(image[:, :, ::-1]), use_det=False, use_cls=False, use_rec=True)
        return (found.txts[0], float(found.scores[0])) if found.txts else ("", 0.0)


def load_second_opinion(name: str) -> SecondOpinion:
    """Returns a reader of another package.

    Args:
      name: `rapidocr`, the only one.

    Raises:
      UserError: It is not installed.
    """
    if missing := [module for module in _MODULES if importlib.util.find_spec(module) is None]:
        rule = f"--second-opinion {name} needs another package: pip install 'streetdigits[ocr]' installs it."
        raise UserError(rule, f"no module {', '.join(missing)}")
    return RapidOcr()


def ask(other: SecondOpinion, records: Records, pictures: Pictures) -> Answers:
    """Returns what a reader of another package reads in every picture, in its first jitter.

    It is shown the central window, stretched back to the shape of what was cut out. Characters that the dataset's
    numbers are not made of are dropped.

    Args:
      other: Reader.
      records: Dataset.
      pictures: Its pictures.

    Raises:
      UserError: A record cannot be read.
    """
    shape = dataset_crop(records.manifest).record_shape
    by_split = {split: records.examples(split) for split in dict.fromkeys(pictures.splits)}
    texts, confidence = [], []
    with progress(other.name, len(pictures), "pictures") as bar:
        for (split, place), size in zip(pictures.places, pictures.sizes, strict=True):
            image = central(by_split[split][place].image, shape)
            text, sure = other.read(stretched(image, size))
            texts.append(_number(text, records.manifest.labels))
            confidence.append(sure if texts[-1] else 0.0)
            bar.update(1)
    return Answers(other.name, texts, np.array(confidence, np.float64))


def stretched(image: NDArray[np.uint8], size: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
    """Returns an image with the aspect ratio of its crop, no smaller in any direction: (height, width, 3) uint8.

    Args:
      image: (rows, columns, 1 or 3) uint8.
      size: Height and width of the crop in the source picture.
    """
    import cv2

    rows, columns = image.shape[:2]
    scale = max(rows / size[0], columns / size[1])
    shape = (round(size[1] * scale), round(size[0] * scale))
    return np.asarray(cv2.resize(to_channels(image, 3), shape, interpolation=cv2.INTER_LINEAR), np.uint8)


def _number(text: str, labels: Labels) -> str:
    """Returns the characters of a text that numbers are made of; a number that is too long ends in an ellipsis."""
    kept = "".join(each for each in text if each in labels.alphabet)
    return kept if len(kept) <= labels.max_length else kept[: labels.max_length] + LONGER


def opinion_fact(other: Answers, given: Sequence[str], without: Sequence[Suspect], found: Sequence[Suspect]) -> str:
    """Returns how many pictures a second opinion read and agreed on, as a sentence.

    Args:
      other: Its answers.
      given: Labels of the pictures.
      without: Suspicious labels without it.
      found: Suspicious labels with it.
    """
    read = [text for text in other.texts if text]
    right = sum(text == label for text, label in zip(other.texts, given, strict=True))
    kept = {one.key for one in found}
    withdrawn = sum(one.key not in kept for one in without)
    agreed = sum(bool(one.suggested) and one.evidence["readers"][other.reader][0] == one.suggested for one in found)
    return (
        f"is a second opinion that read {len(read):,} of {len(other.texts):,} pictures, {right:,} as labelled; it "
        f"reads {agreed:,} of {len(found):,} suspicious labels as suggested, and {withdrawn:,} suspicions of the other "
        "readers were left out because of it"
    )
