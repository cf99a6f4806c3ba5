"""How images were cut out of pictures: that of a dataset compared with that of the images a model was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.errors import UserError
from trainer.run.directory import Run, dataset_crop

Cut = dict[str, Any]
"""Values that decide what an image shows, by name."""

_STATED = ("record_size", "crop_size", "growth", "channels")
"""Values that every dataset states."""
_NAMES = (*_STATED, "aspect")
_FRAMING = {"crop_size", "growth"}
"""Values that may differ on purpose: the image keeps its size, and shows more or less around the number."""
ALLOW = "--allow-other-crop"
"""Flag of the commands that accept another framing."""


def cut_of(crop: object, shape: object) -> Cut:
    """Returns a cut as far as it is known.

    Args:
      crop: Mapping with the fields of a `CropSpec`; anything else gives no value.
      shape: Height, width and channels of the images; anything else gives no channels.
    """
    found = {name: crop[name] for name in _NAMES if name in crop} if isinstance(crop, Mapping) else {}
    has_shape = isinstance(shape, Sequence) and not isinstance(shape, str) and len(shape) == 3
    return {**found, "channels": shape[2]} if has_shape else found  # type: ignore[index]  # a sequence


def dataset_cut(manifest: Manifest) -> Cut:
    """Returns the cut of a dataset's images; of pictures to find numbers in, which are not cut, their channels.

    Raises:
      UserError: The manifest does not state it, or it is out of range.
    """
    if manifest.task == FIND:
        return cut_of(None, manifest.image.shape)
    stated = cut_of(manifest.config.get("crop"), manifest.image.shape)
    if missing := [name for name in _STATED if name not in stated]:
        rule = f"The manifest of the dataset {manifest.name} must state in config.crop how its images were cut."
        raise UserError(rule, f"no {', '.join(missing)}")
    return cut_of(asdict(dataset_crop(manifest)), manifest.image.shape)


def run_cut(run: Run) -> Cut:
    """Returns the cut of the images that a run was trained on."""
    return cut_of(None if run.task == FIND else asdict(run.crop), run.image_shape)


def differences(found: Cut, expected: Cut) -> dict[str, str]:
    """Returns what differs, by name, as "growth 3 instead of 0.3"; values that one of the cuts lacks are left out."""
    return {
        name: f"{name} {found[name]} instead of {expected[name]}"
        for name in _NAMES
        if name in found and name in expected and found[name] != expected[name]
    }


def check_cut(found: Cut, expected: Cut, rule: str, allow_other_crop: bool | None = None) -> None:
    """Checks that two cuts are the same.

    Args:
      found: Cut of the dataset.
      expected: Cut that it must have.
      rule: Sentence that says so, without a full stop.
      allow_other_crop: Whether another framing is accepted; None if the command has no flag for it.

    Raises:
      UserError: The cuts differ.
    """
    differ = differences(found, expected)
    is_framing = set(differ) <= _FRAMING
    if differ and not (is_framing and allow_other_crop):
        hint = f"; {ALLOW} accepts these differences" if is_framing and allow_other_crop is not None else ""
        raise UserError(f"{rule}{hint}.", ", ".join(differ.values()))
