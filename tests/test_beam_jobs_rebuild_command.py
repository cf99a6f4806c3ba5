"""`rebuild`: a dataset is the same, or differs in a picture, a setting or a version, or cannot be made again."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_jobs.__main__ import COMMANDS
from beam_jobs.prepare import plan as planning
from beam_jobs.prepare import versions as own
from beam_jobs.prepare.versions import versions
from beam_jobs.watch.stream import Stream
from tests.drawn_streams import STREAMED, batch, commit, draw_batch, make_generation
from tests.stores import Bucket
from tests.test_beam_jobs_prepare_command import digests
from tfrecords.cli import main
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST
from tfrecords.dataset.snapshots import Part
from tfrecords.files.place import Place
from tfrecords.images.decode import cut

HEAD = "path,number,x,y,w,h\n"
SCHEMA_1 = Path(__file__).parent / "schema1"


def call(command: str, *words: object) -> int:
    return main("python -m beam_jobs", "", COMMANDS, [command, *map(str, words)])


def write_pictures(folder: Path) -> Path:
    """Writes eight pictures of noise and a file that is none, and a table with a number and its box of each."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    lines = []
    for number in range(8):
        Image.fromarray(random.integers(0, 256, (24, 30, 3), np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{number + 10},4,5,20,14\n")
    (folder / "8.png").write_bytes(b"no picture")
    lines.append("8.png,18,4,5,20,14\n")
    (folder / "labels.csv").write_text(HEAD + "".join(lines))
    return folder


OF_TASKS: dict[str, list[str]] = {
    "read": ["--crop-size", "16", "--record-size", "12", "--jitters", "2", "--max-dead-fraction", "0.5"],
    "find": ["--task", "find", "--canvas", "32", "--max-dead-fraction", "0.5", "--licence", "CC-BY-4.0"],
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, `in`, and a dataset of them for each task, `read` and `find`."""
    folder = tmp_path_factory.mktemp("prepared")
    write_pictures(folder / "in")
    more = ["--text-column", "number", "--box-columns", "x,y,w,h", "--box-format", "ltwh"]
    more += ["--validation-fraction", "0.3", "--shards", "2", "--seed", "5"]
    for task, options in OF_TASKS.items():
        given = ["--source", "table", "--input", folder / "in", "--output", folder / task]
        assert call("prepare", *given, *options, *more) == 0
    return folder


@pytest.fixture
def pictures(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the pictures, to change."""
    return Path(shutil.copytree(prepared / "in", tmp_path / "in"))


Rebuilt = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def rebuilt(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rebuilt:
    """A function that runs `rebuild`, and returns its exit code, its lines, and what it wrote to standard error."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def run(*words: object) -> tuple[int, list[str], str]:
        capsys.readouterr()
        code = call("rebuild", *words)
        shown = capsys.readouterr()
        assert not list(temporary.iterdir()), "what is temporary is deleted"
        return code, shown.out.splitlines(), shown.err

    return run


@pytest.mark.parametrize("task", ["read", "find"])
def test_a_dataset_of_each_task_is_the_same_and_the_files_are_equal(
    prepared: Path, pictures: Path, tmp_path: Path, rebuilt: Rebuilt, task: str
) -> None:
    code, lines, _ = rebuilt(prepared / task, "--input", pictures, "--output", tmp_path / "again")
    assert code == 0, lines
    assert lines[0].startswith(f"{prepared / task}: table, {task}, 9 pictures of table, made with streetdigits ")
    assert lines[1].startswith("same: all ") and "manifest.json too, byte for byte" in lines[1] and len(lines) == 2
    assert digests(tmp_path / "again") == digests(prepared / task)


def test_svhn_is_the_same_from_a_manifest_alone_in_two_processes_and_nothing_is_kept(
    drawn: Path, records: Path, tmp_path: Path, rebuilt: Rebuilt
) -> None:
    shutil.copy(records / MANIFEST, tmp_path / "cited.json")
    code, lines, _ = rebuilt(tmp_path / "cited.json", "--input", drawn, "--workers", "2")
    assert code == 0 and lines[-1].startswith("same: all 5 shards with 272 examples, the annotations and all counts")
    assert {path.name for path in tmp_path.iterdir()} == {"cited.json", "temporary"}


@pytest.mark.parametrize("task", ["read", "find"])
def test_pictures_that_were_changed_removed_and_relabelled_are_named(
    prepared: Path, pictures: Path, rebuilt: Rebuilt, task: str
) -> None:
    Image.fromarray(np.zeros((24, 30, 3), np.uint8)).save(pictures / "3.png")
    (pictures / "4.png").unlink()
    table = (pictures / "labels.csv").read_text()
    for old, new in (("5.png,15,", "5.png,75,"), ("6.png,16,4", "6.png,16,5"), ("7.png,17,4,5,20,14\n", "")):
        table = table.replace(old, new)
    (pictures / "labels.csv").write_text(table)
    code, lines, _ = rebuilt(prepared / task, "--input", pictures)
    assert code == 1
    shown = "\n".join(lines)
    assert "source    train: annotations SHA-256 " in shown
    assert "picture   1 row no longer in the source\n            train/7.png (" in shown
    assert "picture   1 row with a file of other bytes\n            train/3.png (" in shown
    assert "picture   1 row with another number\n            train/5.png (" in shown and ": 15, now 75\n" in shown
    assert "picture   1 row with other boxes\n            train/6.png (" in shown
    assert "): accepted, now missing_picture (" in shown or "): accepted, now no_image (" in shown, shown
    assert "shard     table-train.tfrecord-00000-of-00002 " in shown
    assert (
        lines[-1].startswith(f"differs from {prepared / task} in ") and "1 row no longer in the source; " in lines[-1]
    )


def test_a_copied_manifest_names_the_subset_and_how_to_have_the_pictures_named(
    prepared: Path, pictures: Path, tmp_path: Path, rebuilt: Rebuilt
) -> None:
    (pictures / "3.png").write_bytes((pictures / "2.png").read_bytes())
    shutil.copy(prepared / "read" / MANIFEST, tmp_path / "cited.json")
    code, lines, _ = rebuilt(tmp_path / "cited.json", "--input", pictures)
    assert code == 1
    assert any(line.startswith("source    train: pictures' files SHA-256 ") for line in lines)
    assert f"note      give the dataset directory in place of {tmp_path / 'cited.json'} " in "\n".join(lines)
    assert ": train: pictures' files SHA-256 " in lines[-1]


def test_too_many_rejected_pictures_differ_with_their_names(prepared: Path, pictures: Path, rebuilt: Rebuilt) -> None:
    for number in range(5):
        (pictures / f"{number}.png").unlink()
    code, lines, _ = rebuilt(prepared / "read", "--input", pictures)
    assert code == 1 and "picture   5 rows that prepare treats otherwise" in lines
    assert any(line.endswith("6 of 9 pictures are rejected, and --max-dead-fraction is 0.5") for line in lines)


def test_other_versions_are_told_and_are_no_difference_where_the_bytes_are_the_same(
    prepared: Path, rebuilt: Rebuilt, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {**versions("table"), "numpy": "9.9.9"}
    for module in (planning, own):
        monkeypatch.setattr(module, "versions", lambda _: others)
    code, lines, _ = rebuilt(prepared / "read", "--input", prepared / "in")
    told = f"version   numpy {versions('table')['numpy']}, now 9.9.9"
    assert code == 0 and told in lines and lines[-1].startswith("same: ")
    assert "manifest.json differs in what was said above" in lines[-1]
    # Another library cuts otherwise.
    monkeypatch.setattr("beam_jobs.prepare.make_shard.cut", lambda *given: cut(*given) ^ 1)
    code, lines, _ = rebuilt(prepared / "read", "--input", prepared / "in")
    assert code == 1 and told in lines and "record    8 pictures with other pixels" in lines
    assert lines[-1].endswith(f" shards: version of {told.removeprefix('version   ')}")


def test_settings_are_those_of_the_manifest_and_refused_otherwise(prepared: Path, rebuilt: Rebuilt) -> None:
    given = (prepared / "read", "--input", prepared / "in")
    code, lines, errors = rebuilt(*given, "--seed", "6")
    assert (code, lines) == (2, [])
    assert errors == (
        f"error: --seed is taken from the manifest of {prepared / 'read'}, which has 5: leave it out. "
        "python -m beam_jobs prepare makes datasets of other settings. Received: 6\n"
    )
    assert rebuilt(*given, "--source", "svhn")[0] == 2
    assert "--subsets is taken from the manifest" in rebuilt(*given, "--subsets", "test")[2]
    code, lines, _ = rebuilt(*given, "--seed", "5", "--source", "table", "--subsets", "train", "--jitters", "2")
    assert code == 0, lines


def test_a_setting_that_this_version_would_write_otherwise_differs(
    prepared: Path, tmp_path: Path, rebuilt: Rebuilt
) -> None:
    content = json.loads((prepared / "read" / MANIFEST).read_text())
    content["config"]["max_dead_fraction"] = 1
    content["image"]["encoding"] = "png"
    (tmp_path / "cited.json").write_text(json.dumps(content))
    code, lines, _ = rebuilt(tmp_path / "cited.json", "--input", prepared / "in")
    assert code == 1 and "setting   image.encoding png, now raw" in lines and "setting image.encoding" in lines[-1]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"sharpness": 3}, "and this version lacks a setting of it: upgrade. Received: sharpness"),
        ({"seed": "five"}, "config: seed must be an integer."),
        ({"source": "tiff"}, "tiff"),
    ],
)
def test_a_manifest_with_a_setting_that_is_not_known_is_refused(
    prepared: Path, tmp_path: Path, rebuilt: Rebuilt, change: dict[str, object], error: str
) -> None:
    content = json.loads((prepared / "read" / MANIFEST).read_text())
    content["config"] |= change
    (tmp_path / "cited.json").write_text(json.dumps(content))
    code, lines, errors = rebuilt(tmp_path / "cited.json", "--input", prepared / "in")
    assert (code, lines) == (2, []) and error in errors and errors.count("\n") == 1, errors


def test_what_cannot_be_made_again_is_refused_with_the_reason(prepared: Path, tmp_path: Path, rebuilt: Rebuilt) -> None:
    given = ("--input", prepared / "in")
    assert "must be of schema version 2: records of other versions" in rebuilt(SCHEMA_1 / "raw", *given)[2]
    assert "is not a dataset directory" in rebuilt(prepared / "in", *given)[2]
    assert "must be a dataset directory or a manifest. Received: no such file" in rebuilt("no.json", *given)[2]
    code, _, errors = rebuilt(prepared / "read", *given, "--output", prepared / "read")
    assert code == 2 and "--output must be another folder than the dataset's." in errors
    shutil.copytree(prepared / "read", tmp_path / "copy")
    code, _, errors = rebuilt(prepared / "read", *given, "--output", tmp_path / "copy")
    assert code == 2 and "a dataset that is there proves nothing" in errors
    assert rebuilt(prepared / "read", *given, "--output", tmp_path / "copy", "--overwrite")[0] == 0
    code, _, errors = rebuilt(prepared / "read", *given, "--direct_running_mode", "in_memory")
    assert code == 2 and "With options of Beam, --output must name the folder" in errors
    (tmp_path / "copy" / ANNOTATIONS).write_bytes(b"")
    code, _, errors = rebuilt(tmp_path / "copy", *given)
    assert code == 2 and "must be the file that the manifest next to it names" in errors


def test_a_lack_of_room_for_a_temporary_dataset_is_told_before_anything_is_read(
    prepared: Path, rebuilt: Rebuilt, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    code, lines, errors = rebuilt(prepared / "read", "--input", prepared / "in")
    assert (code, lines) == (2, []) and "must have room for the dataset" in errors


@pytest.fixture(scope="module")
def stream(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an inbox of two batches, and a stream of a generation for each."""
    folder = tmp_path_factory.mktemp("grown")
    stream, parts = Stream(Place(folder / "stream"), replace(STREAMED, examples_per_shard=10)), list[Part]()
    stream.save()
    for number in range(2):
        dropped = batch(draw_batch(drawn / "train", folder / "inbox" / f"b{number}", 4 * number, 4))
        parts = [*parts, make_generation(stream, number, [dropped])]
        commit(stream, number, parts, number + 1)
    return folder


def test_each_generation_of_a_stream_is_the_same(stream: Path, rebuilt: Rebuilt) -> None:
    code, lines, errors = rebuilt(stream / "stream", "--input", stream / "inbox")
    assert code == 0, (lines, errors)
    assert [line.partition(":")[0] for line in lines[1::2]] == ["same", "same"]
    assert lines[-1] == f"same: all 2 directories of {stream / 'stream'}"
    code, lines, _ = rebuilt(f"{stream / 'stream'}@0", "--input", stream / "inbox")
    assert code == 0 and len(lines) == 2


def test_a_generation_without_its_batch_or_with_corrections_is_refused(
    stream: Path, tmp_path: Path, rebuilt: Rebuilt
) -> None:
    shutil.copytree(stream / "inbox" / "b0", tmp_path / "inbox" / "b0")
    one = stream / "stream" / "generations" / "00000001"
    code, _, errors = rebuilt(one, "--input", tmp_path / "inbox")
    assert code == 2 and "must hold all batches of the stream" in errors and "no batch b1" in errors
    shutil.copytree(stream / "stream", tmp_path / "stream")
    generations = tmp_path / "stream" / "generations"
    (generations / "00000001").rename(generations / "00000001.00000002")
    code, _, errors = rebuilt(generations / "00000001.00000002", "--input", stream / "inbox")
    assert code == 2 and "Corrections, which are in the stream's ledger" in errors
    code, _, errors = rebuilt(tmp_path / "stream" / MANIFEST, "--input", stream / "inbox")
    assert code == 2


def test_a_folder_whose_name_cannot_be_asked_for_is_found_and_another_one_refused(
    drawn: Path, tmp_path: Path, rebuilt: Rebuilt
) -> None:
    shutil.copytree(drawn / "test", tmp_path / "my photos")
    given = ("--source", "svhn", "--input", tmp_path / "my photos", "--output", tmp_path / "made")
    assert call("prepare", *given, "--split", "test", "--limit", "4", "--validation-fraction", "0") == 0
    code, lines, _ = rebuilt(tmp_path / "made", "--input", tmp_path / "my photos")
    assert code == 0, lines
    code, _, errors = rebuilt(tmp_path / "made", "--input", drawn / "test")
    assert code == 2 and errors == "error: --input must have the subsets my photos. Received: test\n"


def test_a_dataset_in_a_bucket_is_made_again_there(prepared: Path, bucket: Bucket, rebuilt: Rebuilt) -> None:
    for folder in ("in", "read"):
        bucket.put_folder(prepared / folder, folder)
    code, lines, _ = rebuilt(
        f"{bucket.address}/read/{MANIFEST}", "--input", f"{bucket.address}/in", "--output", f"{bucket.address}/again"
    )
    assert code == 0 and lines[-1].startswith("same: ") and "byte for byte" in lines[-1]
