"""`sample --scene`: a COCO data set that the coco source reads, with equal bytes for every count and number of jobs."""

import argparse
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from beam_jobs.annotation import Annotation
from beam_jobs.sample import command as sample
from beam_jobs.sample.scenes.picture import Annotated, SceneNumber
from beam_jobs.sample.scenes.write import count_kinds, write_annotations
from beam_jobs.sources.base import Input, SourceOptions
from beam_jobs.sources.coco.source import SOURCE
from tfrecords.errors import UserError
from tfrecords.files.place import Place


def run(*argv: object) -> int:
    parser = argparse.ArgumentParser()
    sample.add_arguments(parser)
    return sample.run(parser.parse_args([str(word) for word in argv]))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(folder: Path) -> dict[str, list[Annotation]]:
    options = SourceOptions()
    subsets = SOURCE.find_subsets(Input(Place(folder)), options)
    return {each.name: list(SOURCE.read_annotations(each, 0, each.entries, "left", options)) for each in subsets}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "scenes"
    assert run("--scene", "--output", folder, "--count", 70, "--seed", 3, "--jobs", 1) == 0
    return folder


def test_the_output_is_jpeg_files_and_their_annotations(drawn: Path) -> None:
    assert sorted(path.name for path in drawn.iterdir()) == ["scenes.config", "test", "train"]
    for subset, count in (("train", 63), ("test", 7)):
        names = {path.name for path in (drawn / subset).iterdir()}
        assert names == {"instances.json", *(f"{index}.jpg" for index in range(1, count + 1))}


def test_the_coco_source_reads_every_number_and_every_picture_without_one(drawn: Path) -> None:
    found = read(drawn)
    assert set(found) == {"train", "test"}
    for subset, entries in found.items():
        stored = json.loads((drawn / subset / "instances.json").read_text())
        assert {entry.name for entry in entries} == {image["file_name"] for image in stored["images"]}
        good = [entry for entry in entries if entry.dead is None]
        assert {entry.dead.reason for entry in entries if entry.dead} <= {"no_annotation"}
        assert len(good) == len({(row["image_id"], row["group"]) for row in stored["annotations"]})
        assert sum(len(entry.boxes) for entry in good) == len(stored["annotations"])
        assert all(len(entry.text) == len(entry.boxes) for entry in good)


def test_sizes_of_images_are_those_of_the_files(drawn: Path) -> None:
    for image in json.loads((drawn / "test" / "instances.json").read_text())["images"]:
        with Image.open(drawn / "test" / image["file_name"]) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (image["width"], image["height"]))


def test_texts_are_read_in_the_order_of_their_digits_whatever_is_close_to_them(tmp_path: Path) -> None:
    stairs = SceneNumber((4, 0, 9), ((50, 10, 8, 12), (53, 23, 8, 12), (57, 36, 8, 12)))
    close = SceneNumber((7, 1), ((66, 36, 8, 12), (75, 36, 5, 12)))
    pictures = [Annotated(120, 90, (stairs, close)), Annotated(120, 90, ())]
    for index in (1, 2):
        Image.new("RGB", (120, 90)).save(tmp_path / f"{index}.jpg")
    write_annotations(tmp_path / "instances.json", ["1.jpg", "2.jpg"], pictures)
    entries = read(tmp_path)["train"]
    assert [entry.text for entry in entries] == ["409", "71", ""]
    assert entries[1].boxes[0].xmin == 66 and entries[1].boxes[1].xmax == 80
    assert entries[2].dead is not None and entries[2].dead.reason == "no_annotation"
    assert count_kinds(pictures) == {"with several": 1, "without": 1, "numbers": 2, "again": 0}


def test_two_processes_draw_the_same_bytes_as_one(drawn: Path, tmp_path: Path) -> None:
    run("--scene", "--output", tmp_path / "again", "--count", 70, "--seed", 3, "--jobs", 2)
    assert contents(tmp_path / "again") == contents(drawn)


def test_a_smaller_count_draws_the_first_of_the_same_pictures(drawn: Path, tmp_path: Path) -> None:
    run("--scene", "--output", tmp_path / "fewer", "--count", 4, "--seed", 3, "--jobs", 1)
    for name in ("train/1.jpg", "train/3.jpg", "test/1.jpg"):
        assert (tmp_path / "fewer" / name).read_bytes() == (drawn / name).read_bytes()


def test_another_seed_and_the_other_subset_draw_other_pictures(drawn: Path, tmp_path: Path) -> None:
    run("--scene", "--output", tmp_path / "other", "--count", 2, "--seed", 4, "--jobs", 1)
    pictures = {
        (tmp_path / "other/train/1.jpg").read_bytes(),
        *((drawn / f"{n}/1.jpg").read_bytes() for n in read(drawn)),
    }
    assert len(pictures) == 3


def test_the_last_lines_have_the_counts_and_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--scene", "--output", tmp_path / "made", "--count", 6, "--jobs", 1)
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == f"drew 5 train and 1 test pictures in {tmp_path / 'made'}"
    counted = re.fullmatch(
        r"(\d+) numbers; pictures: (\d+) with one number, (\d+) with several, (\d+) without; "
        r"\d+ were drawn again, since a number was hidden or too faint",
        second,
    )
    assert counted and sum(map(int, counted.groups()[1:])) == 6
    found = [entry for entries in read(tmp_path / "made").values() for entry in entries]
    assert int(counted[1]) == sum(entry.dead is None for entry in found)
    assert last == (
        f"Next: python -m beam_jobs prepare --source coco --task find --input {tmp_path / 'made'} "
        f"--output {tmp_path / 'made'}-records"
    )


def test_the_configuration_is_saved_with_the_pictures(drawn: Path) -> None:
    saved = json.loads((drawn / "scenes.config").read_text())
    assert (saved["count"], saved["seed"], saved["scene"]) == (70, 3, True)


def test_a_style_of_single_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--scene draws numbers of its own styles: leave out --style\. .*: street$"):
        run("--scene", "--style", "street", "--output", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_scenes_replace_numbers_and_the_other_way_round(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    run("--output", folder, "--count", 2, "--jobs", 1)
    run("--scene", "--output", folder, "--count", 2, "--jobs", 1, "--overwrite")
    assert sorted(path.name for path in folder.iterdir()) == ["scenes.config", "test", "train"]
    assert len(read(folder)) == 2
    run("--output", folder, "--count", 2, "--jobs", 1, "--overwrite")
    assert sorted(path.name for path in folder.iterdir()) == ["sample.json", "test", "train"]
