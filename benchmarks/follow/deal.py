"""Deals a folder of labelled photos into one held-out folder, one folder of all others, and the same in batches."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox

_MATLAB = "digitStruct.mat"
_COMPLETE = "complete"
"""File that is written last, with the settings: what was dealt before is used again."""
_Digit = tuple[int, int, int, int, int]
"""Label, left, top, width and height, as digitStruct.mat has them."""


@dataclass(frozen=True)
class Dealt:
    """Folders of photos, each with a digitStruct.mat.

    Attributes:
      held: Photos that no model is trained on.
      photos: All others.
      batches: The others once more, in batches of equal size (within one photo).
    """

    held: Path
    photos: Path
    batches: Sequence[Path]


def deal(source: Path, folder: Path, batches: int, held_out: float) -> Dealt:
    """Deals photos by digests of their names, and returns the folders.

    Args:
      source: Folder with a digitStruct.mat and its pictures.
      folder: Folder for the folders; photos that were dealt before stay.
      batches: Number of batches.
      held_out: Share of the photos to hold out, 0..1.

    Raises:
      UserError: There is no such folder, too few photos, or photos were dealt with other settings.
    """
    names = [folder / f"batch-{index:02d}" for index in range(batches)]
    found = Dealt(folder / "held", folder / "photos", names)
    settings = f"{held_out:.0%} of {source} held out, {batches} batches"
    if (folder / _COMPLETE).is_file():
        if (before := (folder / _COMPLETE).read_text()) != settings:
            raise UserError(f"{folder} was dealt with other settings: use another folder.", f"{settings}; was {before}")
        return found
    entries = _read(source)
    held = round(held_out * len(entries))
    if held < 1 or len(entries) - held < batches:
        rule = f"{source} must have a photo to hold out, and one for each of the {batches} batches."
        raise UserError(rule, f"{len(entries)} photos, of which {held} are held out")
    shutil.rmtree(folder, ignore_errors=True)
    # The order of the digests decides, so that batches are of one size.
    order = sorted(entries, key=lambda name: (stable_digest(f"follow/{name}"), name))
    _write(source, found.held, order[:held], entries)
    _write(source, found.photos, order[held:], entries)
    for index, batch in enumerate(names):
        _write(source, batch, order[held + index :: batches], entries)
    (folder / _COMPLETE).write_text(settings)
    return found


def _read(source: Path) -> dict[str, list[_Digit]]:
    """Returns the digits of each photo: label, left, top, width and height.

    Raises:
      UserError: There is no digitStruct.mat, or a bad entry in it.
    """
    from beam_jobs.sources.svhn.digit_struct import count_entries, read_annotations

    path = source / _MATLAB
    entries: dict[str, list[_Digit]] = {}
    for each in read_annotations(path, "photos", 0, count_entries(path)):
        if each.dead:
            raise UserError(f"{path} must have no bad entry.", f"{each.name}: {each.dead.reason}")
        rows = zip(each.text, each.boxes, strict=True)
        entries[each.name] = [(int(digit) or 10, *_edges(box)) for digit, box in rows]
    return entries


def _edges(box: BoundingBox) -> tuple[int, int, int, int]:
    """Returns left, top, width and height."""
    return int(box.xmin), int(box.ymin), int(box.xmax - box.xmin), int(box.ymax - box.ymin)


def _write(source: Path, folder: Path, names: Sequence[str], entries: dict[str, list[_Digit]]) -> None:
    from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct

    folder.mkdir(parents=True)
    for name in names:
        shutil.copyfile(source / name, folder / name)
    write_digit_struct(folder / _MATLAB, names, ([DigitBox(*row) for row in entries[name]] for name in names))
