"""Evidence to pictures, each with a title, a caption and a file name. NumPy only."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tfrecords.pages.formats import visible
from trainer.inside.barcode import Barcodes
from trainer.inside.draw import diverging, enlarge, gap, grey, overlay
from trainer.inside.features import FeatureMaps
from trainer.inside.kernels import KernelGrid
from trainer.report.evidence import Evidence, Look

_BAR_WIDTH, _BAR_HEIGHT = 5, 20
"""Size of a feature in the picture files of barcodes, pixels."""
MOST_WEIGHTS = 150_000
"""Largest number of weights of a picture of kernels on a page: about 100 kB."""
_MOST_NAME = 80
"""Largest number of letters that a picture file's name has of a layer's."""


@dataclass(frozen=True)
class Picture:
    """A picture with its words.

    Attributes:
      name: Name of its file without the suffix: letters, digits, `-`, `_` and `.`.
      title: Title.
      caption: What its values are; may be empty.
      image: (height, width, 1 or 3) uint8.
    """

    name: str
    title: str
    caption: str
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class ClassStrip:
    """The barcode of a class.

    Attributes:
      label: Character.
      count: Number of examples that the mean is taken over.
      mean: Mean features in grey, (1, features, 1) uint8.
      examples: Features of up to ten examples less the mean, in colours, (examples, features, 3) uint8.
    """

    label: str
    count: int
    mean: NDArray[np.uint8]
    examples: NDArray[np.uint8]


def kernel_pictures(kernels: Sequence[KernelGrid]) -> list[Picture]:
    """Returns the pictures of the kernels of each convolution."""
    return [
        Picture(file_name("kernels", index, one.layer), one.layer, _kernel_caption(one), one.image)
        for index, one in enumerate(kernels, start=1)
    ]


def first_kernels(one: KernelGrid, most: int = MOST_WEIGHTS) -> KernelGrid:
    """Returns a picture of the first rows and columns of kernels, in the same proportion, or all where they fit.

    Args:
      one: Kernels of a convolution.
      most: Largest number of weights in the picture.
    """
    height, width = one.shape[:2]
    share = math.sqrt(most / (one.drawn[0] * one.drawn[1] * height * width))
    if share >= 1:
        return one
    rows, columns = (max(1, int(count * share)) for count in one.drawn)
    line = gap(one.factor)
    bottom, right = rows * (height * one.factor + line) + line, columns * (width * one.factor + line) + line
    return replace(one, image=one.image[:bottom, :right], drawn=(rows, columns))


def _kernel_caption(one: KernelGrid) -> str:
    height, width, inputs, outputs = one.shape
    caption = f"{inputs} x {outputs} kernels of {height}x{width}: black {one.low:.3g}, white {one.high:.3g}."
    if one.drawn[0] * one.drawn[1] < inputs * outputs:
        caption += f" Only the first {one.drawn[0]} rows and {one.drawn[1]} columns are drawn."
    return caption


def map_pictures(look: Look) -> list[Picture]:
    """Returns the pictures of the feature maps of each convolution for one image."""
    return [
        Picture(file_name(f"maps-{look.subject.name}", index, one.layer), one.layer, maps_caption(one), one.image)
        for index, one in enumerate(look.maps, start=1)
    ]


def maps_caption(one: FeatureMaps) -> str:
    """Returns the number and the scale of a layer's feature maps in words."""
    height, width, channels = one.shape
    return f"{channels} maps of {height}x{width}: black {one.low:.3g}, white {one.high:.3g}."


def look_pictures(look: Look) -> list[Picture]:
    """Returns an image with what the prediction depends on: saliency, occlusion and attention drawn over it."""
    subject = look.subject
    largest = float(look.occlusion.max())
    lost = np.clip(look.occlusion / largest, 0, 1) if largest > 0 else np.zeros_like(look.occlusion)
    parts = [
        ("image", "Image", "", subject.image),
        ("saliency", "Saliency", "", overlay(subject.image, look.saliency)),
        ("occlusion", "Occlusion", _loss_caption(largest), overlay(subject.image, lost)),
    ]
    for index, heat in enumerate(() if look.attention is None else look.attention):
        read = f", read as {subject.answer[index]!r}" if index < len(subject.answer) else ""
        parts.append(
            (f"attention-{index + 1}", "Attention", f"position {index + 1}{read}", overlay(subject.image, heat))
        )
    return [Picture(f"look-{subject.name}-{name}", title, caption, image) for name, title, caption, image in parts]


def _loss_caption(nats: float) -> str:
    return f"up to {nats:.2g} nats" if nats >= 0.01 else "below 0.01 nats"


def class_strips(codes: Barcodes) -> list[ClassStrip]:
    """Returns the barcode of each class. All means share one scale, and so do all differences from them."""
    low, high = float(codes.means.min()), float(codes.means.max())
    limit = float(np.nanmax(np.abs(codes.examples), initial=0))
    strips = []
    for label, count, mean, rows in zip(codes.classes, codes.counts, codes.means, codes.examples, strict=True):
        shown = rows[np.isfinite(rows).all(axis=1)]
        strips.append(
            ClassStrip(label, int(count), grey(mean[None], low, high)[..., None], diverging(shown, limit or None))
        )
    return strips


def barcode_pictures(codes: Barcodes) -> list[Picture]:
    """Returns the pictures of all classes: their means, and the differences of examples from them."""
    strips = class_strips(codes)
    classes = f"Classes from top to bottom: {' '.join(visible(codes.classes))}."
    means = np.concatenate([strip.mean for strip in strips])
    examples = np.concatenate([strip.examples for strip in strips])
    large = enlarge(means.repeat(_BAR_HEIGHT // _BAR_WIDTH, axis=0), _BAR_WIDTH)
    return [
        Picture("barcode-means", "Mean barcode of each class", classes, large),
        Picture("barcode-examples", "Examples less the mean", classes, enlarge(examples, _BAR_WIDTH)),
    ]


def all_pictures(evidence: Evidence) -> list[Picture]:
    """Returns every picture of the evidence, with names that are all different."""
    pictures = kernel_pictures(evidence.kernels)
    pictures += [] if evidence.barcodes is None else barcode_pictures(evidence.barcodes)
    for look in evidence.looks:
        pictures += [*look_pictures(look), *map_pictures(look)]
    return pictures


def file_name(kind: str, index: int, layer: str) -> str:
    """Returns the name of a layer's picture file; letters that a file name may not have become `_`."""
    return f"{kind}-{index:02}-{re.sub(r'[^A-Za-z0-9_.-]', '_', layer)[:_MOST_NAME]}"
