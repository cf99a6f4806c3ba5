"""What happens inside a model that finds numbers, as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfrecords.images.channels import to_channels
from tfrecords.images.marks import Mark, draw_marks
from tfrecords.pages.page import render_page
from trainer.inside.draw import overlay
from trainer.inside.features import FeatureMaps, feature_maps
from trainer.inside.heat import heat_map, over_pixels
from trainer.inside.kernels import KernelGrid, kernel_grids
from trainer.inside.layers import LayerRow, ModelSize, layer_rows, model_size
from trainer.report.pictures import Picture, file_name, kernel_pictures, maps_caption
from trainer.report.room import COMMAND, MOST_BYTES, Explanation, Room, render_in_room
from trainer.report.scenes import picture_uri

if TYPE_CHECKING:
    import keras

MOST_SCENES = 6
"""Largest number of pictures that are looked into."""
_LEAST_HEAT = 1e-6
"""Probability that is full orange at the least, so that none is divided by 0."""


@dataclass(frozen=True)
class SceneSubject:
    """A picture that is looked into.

    Attributes:
      name: Start of the names of its picture files, such as `scene-1`.
      title: Heading.
      story: Sentence about what is there and what was found.
      image: Image as the model takes it, (height, width, channels) uint8.
      content: Height and width of the picture in the image's upper left corner, pixels.
      marks: Boxes of its numbers and of what was found, pixels of the image.
    """

    name: str
    title: str
    story: str
    image: NDArray[np.uint8]
    content: tuple[int, int]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class SceneLook:
    """What a model does with a picture.

    Attributes:
      subject: Picture.
      heat: Probability of a number's centre at each place, (rows, columns) float32.
      heated: The picture in grey with orange where that is, full at the hottest place: (height, width, 3) uint8.
      maps: Feature maps of each convolution.
    """

    subject: SceneSubject
    heat: NDArray[np.float32]
    heated: NDArray[np.uint8]
    maps: list[FeatureMaps]

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The picture without what is around it in the image, (height, width, 3) uint8."""
        rows, columns = self.subject.content
        return to_channels(self.subject.image[:rows, :columns], 3)


@dataclass(frozen=True)
class FinderEvidence:
    """What is shown of a model.

    Attributes:
      layers: Layers in the order of the model.
      size: Number of weights.
      kernels: Kernels of the first convolution.
      looks: What the model does with each picture.
    """

    layers: list[LayerRow]
    size: ModelSize
    kernels: list[KernelGrid]
    looks: list[SceneLook]


@dataclass(frozen=True)
class FinderSource:
    """Where the evidence comes from.

    Attributes:
      run: Name of the run directory.
      model: Name of the architecture.
      dataset: Name of the dataset.
      split: Split of the pictures; empty for a picture of one's own.
      threshold: Confidence from which boxes are drawn.
      notes: Sentences about what was left out before.
    """

    run: str
    model: str
    dataset: str
    split: str
    threshold: float
    notes: tuple[str, ...]


def gather_finder(model: keras.Model, subjects: Sequence[SceneSubject]) -> FinderEvidence:
    """Returns what is shown of a model. Keras is used here first."""
    return FinderEvidence(
        layers=layer_rows(model),
        size=model_size(model),
        kernels=kernel_grids(model)[:1],
        looks=[_look(model, subject) for subject in subjects],
    )


def _look(model: keras.Model, subject: SceneSubject) -> SceneLook:
    image = subject.image
    heat = heat_map(model, image)
    rows, columns = subject.content
    heated = overlay(image, over_pixels(heat / max(float(heat.max()), _LEAST_HEAT), image.shape[:2]))[:rows, :columns]
    return SceneLook(subject, heat, heated, feature_maps(model, image))


def render_finder_explanation(
    source: FinderSource, evidence: FinderEvidence, most_bytes: int = MOST_BYTES
) -> Explanation:
    """Returns the page; the same arguments give the same page.

    Pictures that there is no room for are left out, and named on the page. Heat maps come first, then kernels, then the
    feature maps of the first picture.

    Args:
      source: Where the rest comes from.
      evidence: What is shown of the model.
      most_bytes: Largest size of the page, bytes.
    """
    return render_in_room(lambda room: _render(source, evidence, room), most_bytes)


def _render(source: FinderSource, evidence: FinderEvidence, room: Room) -> Explanation:
    looks = []
    for look in evidence.looks:
        marks = look.subject.marks
        uris = [room.uri(picture_uri(one, marks)) for one in (look.picture, look.heated)]
        looks.append((look, uris))
    kernels = room.figures(kernel_pictures(evidence.kernels), is_grey=True)
    maps = [(look.subject.title, room.figures(_map_pictures(look), is_grey=True)) for look in evidence.looks[:1]]
    notes = list(source.notes)
    if room.left_out:
        notes.append(f"The page has no room for {room.left_out:,} pictures; `--png DIR` writes them to files.")
    values = {
        "source": source,
        "evidence": evidence,
        "looks": looks,
        "kernels": kernels,
        "maps": maps,
        "stride": evidence.looks[0].subject.image.shape[0] // evidence.looks[0].heat.shape[0],
        "notes": notes,
    }
    html = render_page(Path(__file__).parent / "explain_find.html", COMMAND, values)
    return Explanation(html, room.shown, tuple(notes))


def finder_pictures(evidence: FinderEvidence) -> list[Picture]:
    """Returns every picture of the evidence, with names that are all different: also the maps of all pictures."""
    pictures = kernel_pictures(evidence.kernels)
    for look in evidence.looks:
        name, marks = look.subject.name, look.subject.marks
        for kind, image in (("boxes", look.picture), ("heat", look.heated)):
            pictures.append(Picture(f"look-{name}-{kind}", kind, "", np.asarray(draw_marks(image, marks))))
        pictures += _map_pictures(look)
    return pictures


def _map_pictures(look: SceneLook) -> list[Picture]:
    return [
        Picture(file_name(f"maps-{look.subject.name}", index, one.layer), one.layer, maps_caption(one), one.image)
        for index, one in enumerate(look.maps, start=1)
    ]
