"""Pictures of a shard: files that are decoded, pixels that are not, and what is known of either."""

from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow.parquet as pq
import pytest

from beam_jobs.__main__ import COMMANDS
from beam_jobs.annotation import Annotation
from beam_jobs.job.pictures import Picture
from beam_jobs.prepare.load_picture import PictureFile, PictureRow, load
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tests.pictures import NOISE, exif, saved
from tfrecords.cli import main


def _loaded(picture: Picture, upright: bool = True, part: int = 0) -> tuple[PictureRow, np.ndarray | None, list[str]]:
    asked: list[str] = []

    def read(name: str) -> Picture:
        asked.append(name)
        return picture

    row = PictureRow(Annotation("train", "a b.png", 0, "12", part=part), "train", 0)
    ((row, pixels),) = load([row], read, upright)
    return row, pixels, asked


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_taken_as_they_are(channels: int) -> None:
    given = NOISE[:20, :30, :channels]
    row, pixels, _ = _loaded(given)
    assert pixels is given
    assert row.file == PictureFile(600 * channels, google_crc32c.value(given.tobytes()), 20, 30)
    assert row.dead is None and row.decode_us is None


BUGS = {
    "floats": NOISE.astype(np.float32),
    "two dimensions": NOISE[..., 0],
    "two channels": NOISE[..., :2],
    "transparency": np.zeros((4, 4, 4), np.uint8),
    "no pixel": NOISE[:0],
}


@pytest.mark.parametrize("given", BUGS.values(), ids=BUGS)
def test_other_arrays_are_a_bug_of_the_source(given: np.ndarray) -> None:
    with pytest.raises(AssertionError, match=r"^train/a b\.png: A source must return .* Received: \("):
        _loaded(given)


def test_a_file_is_turned_unless_it_is_to_stay_as_it_is_stored() -> None:
    data = saved(NOISE[:20], "PNG", exif=b"Exif\0\0" + exif(6))
    assert [pixels.shape for _, pixels, _ in (_loaded(data), _loaded(data, upright=False)) if pixels is not None] == [
        (64, 20, 3),
        (20, 64, 3),
    ]


def test_the_picture_of_a_part_is_asked_for_by_its_own_name() -> None:
    row, _, asked = _loaded(saved(NOISE, "PNG"), part=2)
    assert asked == ["train/a b.png"] and row.annotation.key == "train/a b.png@2"


def test_a_picture_that_needs_a_decoder_is_a_dead_letter() -> None:
    row, pixels, _ = _loaded(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20))
    assert pixels is None and row.dead is not None
    assert (row.dead.stage, row.dead.reason) in {("picture", "no_decoder"), ("picture", "unreadable_picture")}


@pytest.mark.parametrize(("orientation", "size"), [("upright", (64, 20)), ("stored", (20, 64))])
def test_prepare_turns_pictures_unless_it_is_told_not_to(
    orientation: str, size: tuple[int, int], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(saved(NOISE[:20], "JPEG", exif=b"Exif\0\0" + exif(6)))
    write_digit_struct(tmp_path / "photos" / "digitStruct.mat", ["1.jpg"], [(DigitBox(1, 2, 2, 10, 12),)])
    options = ["--source", "svhn", "--input", str(tmp_path / "photos"), "--output", str(tmp_path / "records")]
    options += ["--orientation", orientation, "--split", "test"]
    assert main("beam_jobs", "", COMMANDS, ["prepare", *options]) == 0
    table = pq.read_table(tmp_path / "records" / "annotations.parquet").to_pylist()
    assert [(row["source_height"], row["source_width"]) for row in table] == [size]
