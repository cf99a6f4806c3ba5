"""Corrections: read complete or refused, found by batch, and made as if the annotations had always been so."""

import csv
import hashlib
import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_jobs.annotation import Annotation
from beam_jobs.prepare.config import config_from_flags
from beam_jobs.prepare.local import run_on_this_machine
from beam_jobs.prepare.output_lock import lock_output
from beam_jobs.prepare.plan import Plan
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from beam_jobs.watch.batch import DELETE, RELABEL, Correction
from beam_jobs.watch.correcting import correct
from beam_jobs.watch.correcting.correct import affected, correct_directory, read_corrections
from beam_jobs.watch.generation import plan_subsets
from beam_jobs.watch.stream import Stream
from tests.forked import Forked
from tests.stores import Bucket
from tfrecords import Manifest
from tfrecords.commands.validate import find_errors, find_manifest_errors
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.dataset.snapshots import Part, directory_name
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import union

SETTINGS = {"validation_fraction": 0.2, "examples_per_shard": 60, "backgrounds": 0.5, "max_dead_fraction": 1.0}
INTO = directory_name(1, None, 7)
OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link"}
MADE = (".tfrecord", ".idx", ".parquet", ".jsonl", "features.json", "dataset_info.json")


def make_stream(folder: Path, source: str = "svhn", **settings: object) -> Stream:
    return Stream(Place(folder), config_from_flags({"source": source, "max_length": 5, **SETTINGS, **settings}))


def make(stream: Stream, batches: dict[str, Path], directory: str) -> Part:
    """Makes a directory of a stream as `prepare` does, and returns it as a part of a snapshot."""
    source = load_source(stream.config.source)
    wanted = ("train",) if stream.config.source == "svhn" else ()
    subsets = tuple(
        replace(subset, name=name)
        for name, folder in batches.items()
        for subset in source.find_subsets(Input(Place(folder), wanted), stream.config.reading)
    )
    plan: Plan = plan_subsets(stream, subsets, stream.place / directory)
    with lock_output(plan, overwrite=False):
        run_on_this_machine(plan, 1, "")
    return part_of(stream, directory)


def part_of(stream: Stream, directory: str) -> Part:
    return Part(directory, hashlib.sha256((stream.place / directory / MANIFEST).read_bytes()).hexdigest())


def digests(folder: Path, endings: tuple[str, ...] = ("",)) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if any(ending in path.name for ending in endings)
    }


def annotations(folder: Path, name: str) -> list[Annotation]:
    source = load_source("svhn")
    (subset,) = source.find_subsets(Input(Place(folder), ("train",)), config_from_flags({}).reading)
    return list(
        source.read_annotations(replace(subset, name=name), 0, subset.entries, "left", config_from_flags({}).reading)
    )


def save_svhn(folder: Path, drawn: Path, entries: list[Annotation]) -> Path:
    """Writes a folder as SVHN unpacks, of drawn pictures with these annotations."""
    shutil.copytree(drawn / "train", folder / "train", ignore=shutil.ignore_patterns("*.mat"))
    boxes = [
        [
            DigitBox(int(digit) or 10, int(b.xmin), int(b.ymin), int(b.width), int(b.height))
            for digit, b in zip(each.text, each.boxes, strict=True)
        ]
        for each in entries
    ]
    write_digit_struct(folder / "train" / "digitStruct.mat", [each.name for each in entries], boxes)
    return folder


def save_table(folder: Path, drawn: Path, entries: list[Annotation]) -> Path:
    """Writes a table of the same pictures, with a box around each number."""
    shutil.copytree(drawn / "train", folder, ignore=shutil.ignore_patterns("*.mat"))
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", "text", "left", "top", "width", "height"])
        for each in entries:
            box = union(each.boxes)
            writer.writerow([each.name, each.text, box.xmin, box.ymin, box.width, box.height])
    return folder


def relabel(key: str, text: str) -> Correction:
    return Correction(key, RELABEL, text)


def turned(text: str) -> str:
    """Another text of the same length."""
    return "".join(str((int(digit) + 3) % 10) for digit in text)


@pytest.fixture(scope="module")
def stream(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """A stream with the batches a and b in one generation; copy it to write to it."""
    stream = make_stream(tmp_path_factory.mktemp("stream"))
    make(stream, {"a": drawn, "b": drawn}, directory_name(1))
    return stream


@pytest.fixture
def own(stream: Stream, tmp_path: Path) -> Stream:
    shutil.copytree(stream.place.path, tmp_path / "own")
    return replace(stream, place=Place(tmp_path / "own"))


def test_a_relabelled_dataset_is_what_prepare_writes_with_those_labels(
    own: Stream, drawn: Path, tmp_path: Path
) -> None:
    entries = annotations(drawn, "a")
    changed = {each.key: turned(each.text) for each in entries[::7]}
    correct_directory(own, part_of(own, directory_name(1)), [relabel(*each) for each in changed.items()], INTO)
    right = save_svhn(
        tmp_path / "right", drawn, [replace(each, text=changed.get(each.key, each.text)) for each in entries]
    )
    expected = make_stream(tmp_path / "expected")
    make(expected, {"a": right, "b": drawn}, INTO)
    found, wanted = (digests(each.place.path / INTO, MADE) for each in (own, expected))
    assert found == wanted and any(".tfrecord" in name for name in found)
    assert any("#background" in key for key in framed(own.place.path / INTO, "a/"))
    ours, theirs = (Manifest.load(each.place / INTO) for each in (own, expected))
    # Another digitStruct.mat has another digest, and that of the batch that came is what the manifest tells.
    as_theirs = replace(ours, files=theirs.files, sources=theirs.sources)
    assert as_theirs == theirs
    assert [replace(each, annotations_sha256="") for each in ours.sources] == [
        replace(each, annotations_sha256="") for each in theirs.sources
    ]
    assert not list(find_errors(own.place / INTO, ours))


def test_a_text_of_another_length_leaves_the_box_of_the_number(own: Stream, drawn: Path, tmp_path: Path) -> None:
    longer = [replace(each, text="1" if len(each.text) > 1 else "23") for each in annotations(drawn, "a")]
    corrections = [relabel(each.key, each.text) for each in longer]
    correct_directory(own, part_of(own, directory_name(1)), corrections, INTO)
    # As a table that has only such boxes.
    expected = make_stream(tmp_path / "expected", "table", name="svhn", crop_size=own.config.crop.crop_size)
    part = make(expected, {"a": save_table(tmp_path / "table", drawn, longer)}, INTO)
    ours = pq.read_table(own.place.path / INTO / "annotations.parquet").to_pylist()
    theirs = pq.read_table(expected.place.path / part.directory / "annotations.parquet").to_pylist()
    unplaced = [{**row, "shard": None} for row in theirs]
    assert [{**row, "shard": None} for row in ours if row["subset"] == "a"] == unplaced
    assert framed(own.place.path / INTO, "a/") == framed(expected.place.path / INTO, "a/")
    assert not list(find_errors(own.place / INTO, Manifest.load(own.place / INTO)))


def framed(directory: Path, start: str) -> dict[str, bytes]:
    """The records whose keys begin so, of any shard."""
    from tfrecords.files.framing import read_frames
    from tfrecords.record.codec import decode

    found = {}
    for path in directory.glob("*.tfrecord-*"):
        with path.open("rb") as opened:
            for record in read_frames(opened, path.name):
                key = decode(record.data).key
                found.update({key: record.data} if key.startswith(start) else {})
    return found


def test_what_a_record_cannot_hold_is_rejected_as_prepare_rejects_it(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = annotations(drawn, "a")
    texts = {entries[3].key: "123456", entries[9].key: "1x", entries[11].key: "77"}
    own, expected = make_stream(tmp_path / "own", "table"), make_stream(tmp_path / "expected", "table")
    part = make(own, {"a": save_table(tmp_path / "before", drawn, entries)}, directory_name(1))
    right = [replace(each, text=texts.get(each.key, each.text)) for each in entries]
    make(expected, {"a": save_table(tmp_path / "after", drawn, right)}, INTO)
    correct_directory(own, part, [relabel(*each) for each in texts.items()], INTO)
    assert digests(own.place.path / INTO, MADE) == digests(expected.place.path / INTO, MADE)
    manifest = Manifest.load(own.place / INTO)
    assert manifest.dead_letters == {"too_long": 1, "unknown_character": 1}
    said = capsys.readouterr().err
    for key, rule in (
        (entries[3].key, "A number must have at most 5 digits. Received: 6"),
        (entries[9].key, "A number"),
    ):
        assert f"a correction's text fits no record, so the number is rejected: {key}: {rule}" in said
    assert manifest.sources[0].pictures_sha256 == Manifest.load(expected.place / INTO).sources[0].pictures_sha256
    assert not list(find_errors(own.place / INTO, manifest))


def test_a_deleted_number_is_a_dead_letter_and_all_else_is_as_before(own: Stream, drawn: Path) -> None:
    keys = [each.key for each in annotations(drawn, "b")[5:15]]
    before = framed(own.place.path / directory_name(1), "")
    correct_directory(own, part_of(own, directory_name(1)), [Correction(key, DELETE) for key in keys], INTO)
    after = framed(own.place.path / INTO, "")
    assert after == {key: data for key, data in before.items() if key.rpartition("#")[0] not in keys}
    manifest = Manifest.load(own.place / INTO)
    assert manifest.dead_letters == {"deleted": 10}
    assert {each.subset: (each.pictures, each.rejected) for each in manifest.sources} == {"a": (60, 0), "b": (60, 10)}
    assert not list(find_errors(own.place / INTO, manifest))
    data = (own.place / INTO / MANIFEST).read_bytes()
    assert not list(find_manifest_errors(data, "manifest"))
    letters = [json.loads(line) for line in (own.place / INTO / "dead_letters.jsonl").read_bytes().splitlines()]
    assert {each["key"] for each in letters} == {*keys}
    assert letters[0]["detail"] == f"{letters[0]['key']}: A correction has taken out this number."


def test_corrections_of_corrected_directories_add_up(own: Stream, drawn: Path) -> None:
    first, second, third = annotations(drawn, "a")[:3]
    texts = {each.key: turned(each.text) for each in (first, second, third)}
    part, step, end = part_of(own, directory_name(1)), directory_name(1, None, 6), directory_name(1, None, 8)
    correct_directory(own, part, [relabel(*each) for each in texts.items()], INTO)
    wrong = relabel(first.key, turned(turned(first.text)))
    correct_directory(own, part, [wrong, relabel(second.key, texts[second.key])], step)
    rest = [relabel(each.key, texts[each.key]) for each in (first, third)]
    correct_directory(own, part_of(own, step), rest, end)
    assert digests(own.place.path / INTO, MADE) == digests(own.place.path / end, MADE)


def test_shards_without_a_correction_are_links_and_the_old_directory_stays(own: Stream, drawn: Path) -> None:
    before = digests(own.place.path / directory_name(1))
    correct_directory(own, part_of(own, directory_name(1)), [Correction(annotations(drawn, "a")[0].key, DELETE)], INTO)
    assert digests(own.place.path / directory_name(1)) == before
    shards = list((own.place.path / INTO).glob("*.tfrecord-*"))
    linked = [path for path in shards if path.stat().st_nlink == 2]
    assert len(shards) - len(linked) == 1


def _correct_until(stream: Stream, corrections: list[Correction], operation: int) -> int:
    left = operation

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in OPERATIONS and any(INTO in str(each) for each in arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    correct_directory(stream, part_of(stream, directory_name(1)), corrections, INTO)
    return 0


def test_killed_at_any_file_operation_it_is_made_again_to_the_same_bytes(own: Stream, drawn: Path) -> None:
    corrections = [relabel(each.key, turned(each.text)) for each in annotations(drawn, "a")[:4]]
    killed, is_done = 0, False
    correct_directory(own, part_of(own, directory_name(1)), corrections, INTO)
    expected = digests(own.place.path / INTO)
    for operation in range(1, 400, 11):
        shutil.rmtree(own.place.path / INTO, ignore_errors=True)
        code = Forked(_correct_until, own, corrections, operation).wait()[0]
        is_done = code == 0
        if is_done:
            break
        killed += 1
        if (own.place / INTO / MANIFEST).exists():
            assert not list(find_errors(own.place / INTO, Manifest.load(own.place / INTO)))
        correct_directory(own, part_of(own, directory_name(1)), corrections, INTO)
        assert digests(own.place.path / INTO) == expected
    assert killed > 5 and is_done


def test_a_directory_of_other_corrections_is_made_again(own: Stream, drawn: Path) -> None:
    keys = [each.key for each in annotations(drawn, "a")[:2]]
    part = part_of(own, directory_name(1))
    correct_directory(own, part, [Correction(keys[0], DELETE), Correction(keys[1], DELETE)], INTO)
    correct_directory(own, part, [Correction(keys[0], DELETE)], INTO)
    assert Manifest.load(own.place / INTO).dead_letters == {"deleted": 1}


def test_a_damaged_directory_is_not_corrected(own: Stream, drawn: Path) -> None:
    correction = Correction(annotations(drawn, "a")[0].key, DELETE)
    part = part_of(own, directory_name(1))
    for shard in (own.place.path / part.directory).glob("*.tfrecord-*"):
        data = shard.read_bytes()
        shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(UserError, match=r"must be the shard that the manifest names\. Received: another"):
        correct_directory(own, part, [correction], INTO)
    assert not (own.place / INTO / MANIFEST).exists()
    (own.place / part.directory / "annotations.parquet").delete()
    with pytest.raises(UserError, match=r"annotations\.parquet must be there"):
        correct_directory(own, part, [correction], INTO)


def test_records_of_png_and_of_images_of_several_sizes_are_corrected(drawn: Path, tmp_path: Path) -> None:
    entries = annotations(drawn, "a")[:20]
    changed = [replace(each, text=turned(each.text)) for each in entries]
    before, after = (save_svhn(tmp_path / name, drawn, each) for name, each in (("1", entries), ("2", changed)))
    for name, settings in (("png", {"encoding": "png"}), ("mixed", {"jitters": 0}), ("grey", {"channels": 1})):
        own, expected = (make_stream(tmp_path / name / each, **settings) for each in ("own", "expected"))
        part = make(own, {"a": before}, directory_name(1))
        make(expected, {"a": after}, INTO)
        correct_directory(own, part, [relabel(each.key, each.text) for each in changed], INTO)
        assert digests(own.place.path / INTO, MADE) == digests(expected.place.path / INTO, MADE), name


def test_in_a_store_it_is_the_same(stream: Stream, drawn: Path, tmp_path: Path, bucket: Bucket) -> None:
    bucket.put_folder(stream.place.path, "stream")
    remote = replace(stream, place=Place(f"{bucket.address}/stream"))
    shutil.copytree(stream.place.path, tmp_path / "own")
    local = replace(stream, place=Place(tmp_path / "own"))
    keys = [each.key for each in annotations(drawn, "b")]
    corrections = [relabel(keys[0], "42"), Correction(keys[7], DELETE), relabel("b/none.png", "1")]
    bucket.put(f"stream/{INTO}/left-over.tfrecord", b"of a killed run")
    for each in (local, remote):
        part = part_of(each, directory_name(1))
        found = affected(each.place, [part], corrections)
        assert found.parts == {part: sorted(corrections[:2], key=lambda one: one.key)}
        assert found.not_found == ["b/none.png: its batch has no such number"]
        correct_directory(each, part, found.parts[part], INTO)
    expected = digests(tmp_path / "own" / INTO)
    assert {name: (remote.place / INTO / name).sha256() for name in (remote.place / INTO).names()} == expected


def test_numbers_are_found_by_their_batch_and_no_manifest_is_read_twice(
    own: Stream, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(own, {"c": drawn}, directory_name(2))
    parts = [part_of(own, directory_name(number)) for number in (1, 2)]
    name = annotations(drawn, "a")[0].name
    wanted = [relabel(f"{batch}/{name}", "5") for batch in "cax"] + [relabel("a/none.png", "5")]
    found = affected(own.place, parts, wanted)
    assert found.parts == {parts[0]: [wanted[1]], parts[1]: [wanted[0]]}
    assert found.not_found == [
        "a/none.png: its batch has no such number",
        f"x/{name}: no batch of the stream has this number",
    ]

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(correct, "part_manifest", refuse)
    assert affected(own.place, parts, wanted) == found
    assert affected(own.place, parts, []) == ({}, [])


def test_of_several_corrections_the_last_counts_and_none_follows_a_deletion(own: Stream, drawn: Path) -> None:
    part, keys = part_of(own, directory_name(1)), [each.key for each in annotations(drawn, "a")[:2]]
    last = relabel(keys[0], "2")
    given = [
        relabel(keys[0], "1"),
        Correction(keys[1], DELETE),
        last,
        relabel(keys[1], "3"),
        Correction(keys[1], DELETE),
    ]
    found = affected(own.place, [part], given)
    assert {each.key: each for each in found.parts[part]} == {keys[0]: last, keys[1]: given[1]}
    assert found.not_found == [f"{keys[1]}: it is deleted"]
    correct_directory(own, part, found.parts[part], INTO)
    again = affected(own.place, [part_of(own, INTO)], [relabel(keys[1], "4")])
    assert again == ({}, [f"{keys[1]}: it has no record, since it is rejected (deleted)"])


def test_both_files_are_read_and_equal_rows_are_one(tmp_path: Path) -> None:
    assert read_corrections(Place(tmp_path)) == []
    lines = ['{"key": "a/1.png", "action": "relabel", "text": "07"}', "", '{"action": "delete", "key": "a/2.png@3"}']
    (tmp_path / "corrections.jsonl").write_text("\n".join(lines) + "\r\n")
    (tmp_path / "corrections.csv").write_text(
        "\ufeffaction,key,text\r\ndelete,a/2.png@3,\r\nrelabel,b@x/d/é.png,A-1\r\n"
    )
    found = [relabel("a/1.png", "07"), Correction("a/2.png@3", DELETE), relabel("b@x/d/é.png", "A-1")]
    assert read_corrections(Place(tmp_path)) == found
    (tmp_path / "corrections.jsonl").unlink()
    (tmp_path / "corrections.csv").write_text("key,action\na/1.png,delete\n")
    assert read_corrections(Place(tmp_path)) == [Correction("a/1.png", DELETE)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("jsonl", '{"key": "a/1.png", "action": "delete"}\n{"key": "a/2', "The last line must end with a line feed"),
        ("csv", "key,action,text\na/1.png,relabel,12", "The last line must end with a line feed"),
        ("jsonl", '{"key": "a/1.png", "action": "delete"\n', "line 1 must be a JSON object"),
        ("jsonl", "\n[1]\n", r"line 2 must be a JSON object\. Received: \[1\]"),
        ("jsonl", '{"key": "a/1.png", "action": "remove"}\n', "line 1: action must be one of relabel, delete"),
        ("jsonl", '{"key": "a/1.png"}\n', "line 1 must have exactly the fields key, action, text"),
        (
            "jsonl",
            '{"key": "a/1.png", "action": "relabel", "text": 12}\n',
            "line 1: text must be a string. Received: 12",
        ),
        ("jsonl", '{"key": "a/1.png", "action": "relabel"}\n', "line 1: A relabel must have the new text"),
        (
            "jsonl",
            '{"key": "a/1.png", "action": "delete", "text": "1"}\n',
            "line 1: A delete has no text. Received: '1'",
        ),
        ("jsonl", '{"key": "1.png", "action": "delete"}\n', "line 1: key must be that of a number, BATCH/PICTURE"),
        ("csv", "key;action;text\na/1.png;delete;\n", "line 1: The columns must be key, action, text"),
        ("csv", "", "line 1: The columns must be key, action, text"),
        ("csv", "key,action,text\na/1.png,delete\n", "line 2: A row must have 3 values, as the header"),
        ("csv", 'key,action,text\n"a/1.png" ,delete,\n', "line 2: must be a row of CSV"),
        ("csv", b"key,action,text\na/\xff.png,delete,\n", "must be UTF-8"),
        (
            "csv",
            "key,action,text\na/1.png,delete,\n\na/1.png,relabel,7\n",
            r"line 4: A number must be corrected in one way, and .*line 2 corrects a/1\.png too\. "
            "Received: delete and relabel '7'",
        ),
    ],
)
def test_a_bad_row_refuses_the_complete_file(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / f"corrections.{name}").write_bytes(data)
    with pytest.raises(UserError, match=rf"corrections\.{name}.*{said}") as caught:
        read_corrections(Place(tmp_path))
    assert str(caught.value).isprintable()
