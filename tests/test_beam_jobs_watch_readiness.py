"""When a batch is complete: pictures with their ends, and annotations of each source that are written meanwhile."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_jobs.prepare.config import config_from_flags
from beam_jobs.watch.inboxes.identity import list_files
from beam_jobs.watch.inboxes.readiness import Look, has_end, look_into
from tests.pictures import NOISE, saved
from tests.test_beam_jobs_sources_places import PICTURES, TREES
from tfrecords.errors import UserError
from tfrecords.files.place import Place

PNG, JPEG = saved(NOISE, "PNG"), saved(NOISE, "JPEG")
FILES = {
    "PNG": PNG,
    "JPEG": JPEG,
    "WebP": saved(NOISE, "WEBP"),
    "progressive JPEG": saved(NOISE, "JPEG", progressive=1),
}


def ended(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    return has_end(Place(path), len(data))


def look(source: str, folder: Path, name: str = "b") -> Look:
    config = config_from_flags({"source": source, "max_length": 5})
    return look_into(name, Place(folder), list_files(Place(folder)), config)


def put(folder: Path, tree: dict[str, bytes]) -> Path:
    for name, data in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("kind", FILES)
def test_a_picture_has_an_end_only_when_its_last_byte_is_written(kind: str, tmp_path: Path) -> None:
    data = FILES[kind]
    path = tmp_path / "1.png"  # the content decides, not the name
    assert ended(path, data)
    cuts = [*range(16, len(data), 97), *range(len(data) - 11, len(data))]
    assert [cut for cut in cuts if ended(path, data[:cut])] == []


def test_the_end_of_a_preview_is_not_that_of_the_picture(tmp_path: Path) -> None:
    thumbnail = saved(np.zeros((8, 8, 3), np.uint8), "JPEG")
    exif = b"Exif\0\0" + b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumbnail
    data = JPEG[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + JPEG[2:]
    assert ended(tmp_path / "1.jpg", data)
    assert not ended(tmp_path / "1.jpg", data[:-100])
    assert not ended(tmp_path / "1.jpg", data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_with_other_data_behind_it_is_complete(kind: str, tmp_path: Path) -> None:
    assert ended(tmp_path / "1", FILES[kind] + bytes(5000))


def test_a_format_without_an_end_mark_is_complete_as_it_is(tmp_path: Path) -> None:
    assert ended(tmp_path / "1.bmp", saved(NOISE, "BMP"))


@pytest.mark.parametrize("name", ["table", "coco", "yolo", "voc", "voc of the kit", "cvat", "label-studio"])
def test_a_batch_lacks_what_its_annotations_name_and_is_not_there(name: str, tmp_path: Path) -> None:
    tree = TREES[name]()
    if name == "table":
        tree["numbers.csv"] = tree["numbers.csv"].replace(b"\nphotos/none.png,1,4,5,20,12,test", b"")
    source = name.partition(" ")[0]
    folder = put(tmp_path / "b", tree)
    assert look(source, folder).lacks == ""
    pictures = sorted(each for each in tree if each.endswith("3.png"))
    for picture in pictures:
        (folder / picture).unlink()
    found = look(source, folder).lacks
    assert found and ("3.png" in found or "labels/train/3.txt" in found)
    (folder / pictures[0]).write_bytes(tree[pictures[0]][:30])
    assert look(source, folder).lacks


def test_an_annotation_file_of_voc_that_is_cut_is_not_complete(tmp_path: Path) -> None:
    tree = TREES["voc"]()
    tree["train/3.xml"] = tree["train/3.xml"][:-30]
    assert "3.xml" in look("voc", put(tmp_path / "b", tree)).lacks


def test_what_lacks_is_counted(tmp_path: Path) -> None:
    table = "file_name,text\n" + "".join(f"{index}.png,1\n" for index in range(5))
    folder = put(tmp_path / "b", {"n.csv": table.encode(), "3.png": PNG})
    assert look("table", folder).lacks == "the picture 0.png is not there and 3 more of 5 entries"


def test_pixels_are_complete_when_they_can_be_read(tmp_path: Path) -> None:
    tree = TREES["mnist of npz"]()
    folder = put(tmp_path / "b", tree)
    assert look("mnist", folder).lacks == ""
    put(folder, {"mnist.npz": tree["mnist.npz"][:-50]})
    with pytest.raises(UserError, match=r"must be a complete \.npz archive"):
        look("mnist", folder)


def test_pictures_of_addresses_are_not_waited_for(tmp_path: Path) -> None:
    folder = put(tmp_path / "b", {"n.csv": b"file_name,text\nhttps://example.org/1.png,7\n"})
    assert look("table", folder).lacks == ""


def test_pictures_that_no_annotation_names_must_have_their_end_too(tmp_path: Path) -> None:
    tree = {"metadata.csv": b"file_name,text\n1.png,7\n", "1.png": PNG, "2.png": PNG[:-9]}
    assert look("table", put(tmp_path / "b", tree)).lacks == "the picture 2.png has no end"


def test_copies_of_a_batch_have_one_digest_whatever_their_name(tmp_path: Path) -> None:
    for name, tree in TREES.items():
        source = name.partition(" ")[0]
        digests = {
            look(source, put(tmp_path / name / folder, tree()), folder).batch.digest
            for folder in ("night", "extra", "A")
        }
        assert len(digests) == 1, name


def test_another_size_of_one_picture_is_another_digest(tmp_path: Path) -> None:
    tree = {"n.csv": b"file_name,text\n1.png,7\n", "1.png": PNG}
    first = look("table", put(tmp_path / "b", tree)).batch.digest
    assert look("table", put(tmp_path / "b", {"1.png": PICTURES["1.png"]})).batch.digest != first
    assert look("table", put(tmp_path / "b", {**tree, "spare.png": PNG})).batch.digest == first


def test_a_picture_that_is_a_folder_or_a_broken_link_is_not_there(tmp_path: Path) -> None:
    folder = put(tmp_path / "b", {"n.csv": b"file_name,text\n1.png,7\n2.png,7\n", "2.png/x": b""})
    (folder / "1.png").symlink_to("nowhere")
    assert look("table", folder).lacks.endswith("and 1 more of 2 entries")


def test_a_stream_of_bytes_is_written_and_ready_only_at_its_end(tmp_path: Path) -> None:
    """A producer writes annotations and pictures in pieces; no look before the last piece finds a complete batch."""
    stream = io.BytesIO()
    Image.fromarray(NOISE).save(stream, "PNG")
    tree = {"n.csv": b"file_name,text\n" + b"".join(b"%d.png,7\n" % at for at in range(4))}
    tree |= {f"{at}.png": stream.getvalue() for at in range(4)}
    folder = put(tmp_path / "b", {})
    folder.mkdir()
    states = []
    for name, data in tree.items():
        for stop in (*range(0, len(data), max(1, len(data) // 4)), len(data)):
            (folder / name).write_bytes(data[:stop])
            try:
                states.append(look("table", folder).lacks == "")
            except (UserError, OSError):
                states.append(False)
    assert states[-1] and not any(states[:-1])


@pytest.mark.parametrize("format", ["BMP", "PNG"])
def test_other_pictures_of_the_same_name_and_size_are_another_batch(format: str, tmp_path: Path) -> None:
    white, grey = (np.full((200, 200, 3), value, np.uint8) for value in (255, 128))
    digests = []
    for name, pixels in (("a", white), ("b", grey), ("c", white)):
        data = saved(pixels, format)
        table = b"path,number\n1.img,7\n"
        found = look("table", put(tmp_path / name, {"1.img": data.ljust(130_000, b"0"), "numbers.csv": table}))
        digests.append(found.batch.digest)
    assert digests[0] != digests[1], "the same label, name and size, of another photo"
    assert digests[0] == digests[2], "a copy"
