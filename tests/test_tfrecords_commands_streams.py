"""Commands and doors of the records on a stream: each opens the newest snapshot, or one by its number."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tfrecords
from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests.every_door import digest
from tests.loopback import serving
from tests.stores import Bucket
from tests.streams import Grown, make_stream
from tfrecords import Manifest, UserError
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.dataset.manifest import ANNOTATIONS, DEAD_LETTERS, MANIFEST
from tfrecords.dataset.snapshots import Snapshot, load_manifest
from tfrecords.files.index import index_path
from tfrecords.files.purpose import check_purpose

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """A stream of three batches in the snapshots 0, 1 and 3, whose directories are merged in snapshot 4."""
    grown = make_stream(tmp_path_factory.mktemp("grown"))
    grown.merge(4, 3)
    return grown


@pytest.fixture
def copy(grown: Grown, tmp_path: Path) -> Path:
    """A copy of the stream as it was at snapshot 3."""
    folder = Path(shutil.copytree(grown.folder, tmp_path / "stream"))
    (folder / "snapshots" / "00000004.json").unlink()
    (folder / MANIFEST).write_text(load_manifest(folder, 3).to_json())
    return folder


def _run(*arguments: object) -> int:
    return main("tfrecords", "", COMMANDS, list(map(str, arguments)))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _keys(folder: Path, split: str, snapshot: int | None) -> list[str]:
    return [example.key for example in tfrecords.open(folder, split, snapshot=snapshot)]


def test_inspect_prints_the_snapshot_its_directories_batches_and_dead_letters(grown: Grown, capsys: Capture) -> None:
    assert _run("inspect", grown.folder) == 0
    out = capsys.readouterr().out
    assert "\nsnapshot 4 of a stream: 3 batches in 1 directory, 1 picture rejected\n" in out
    assert _run("inspect", grown.folder, "--snapshot", 1) == 0
    out = capsys.readouterr().out
    assert "\nsnapshot 1 of a stream: 2 batches in 2 directories, 1 picture rejected\n" in out
    assert "\nstream              24         23         1\n  rejected: 1 not_a_picture\n" in out
    assert _run("inspect", grown.folder / "generations" / "00000001") == 0
    assert "of a stream" not in capsys.readouterr().out
    assert _run("inspect", grown.folder, "--snapshot", 2) == 1
    assert "has the snapshots 0 to 4, and not every number is one. Received: snapshot 2" in capsys.readouterr().err


def test_validate_checks_every_directory_of_a_snapshot_as_a_dataset(copy: Path, capsys: Capture) -> None:
    for arguments in ((), ("--snapshot", 3), ("--snapshot", 0)):
        assert _run("validate", copy, *arguments) == 0
    out = capsys.readouterr().out.splitlines()
    assert (
        out[0] == f"{copy}, snapshot 3, is valid: 151 examples in 3 directories, all checksums and records are correct"
    )
    middle = copy / "generations" / "00000001"
    shard = middle / Manifest.load(middle).splits["train"].shards[0].file
    for path in (middle / DEAD_LETTERS, middle / ANNOTATIONS, middle / "features.json", shard):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert _run("validate", copy) == _run("validate", copy, "--snapshot", 1) == 1
        assert f"error: {path}: its SHA-256 differs from the manifest's" in capsys.readouterr().err
        # The first snapshot does not name it.
        assert _run("validate", copy, "--snapshot", 0) == 0
        path.unlink()
        assert _run("validate", copy) == 1
        assert f"error: {path}: missing" in capsys.readouterr().err
        path.write_bytes(whole)
    assert _run("validate", copy) == 0


def test_validate_names_what_a_snapshot_states_wrongly(copy: Path, capsys: Capture) -> None:
    place = copy / "snapshots" / "00000003.json"
    content = json.loads(place.read_text())

    def errors(**changes: object) -> str:
        place.write_text(json.dumps({**content, **changes}))
        assert _run("validate", copy, "--snapshot", 3) == 1
        return capsys.readouterr().err

    totals = {**content["totals"], "test": {"pictures": 1, "examples": 1}}
    assert "test has 1 pictures and 1 examples, the directories hold 0 and 0" in errors(totals=totals)
    assert "4 batches, the directories hold 3" in errors(batches=4)
    assert "{} pictures rejected, the directories state {'not_a_picture': 1}" in errors(dead_letters={})
    parts = content["parts"]
    assert "generations/00000000 must follow the entries of generations/00000001" in errors(
        parts=[*parts[1::-1], parts[2]]
    )
    again = {**parts[0], "directory": "generations/00000004"}
    shutil.copytree(copy / parts[0]["directory"], copy / again["directory"])
    assert "the batch mon is in generations/00000000 and in generations/00000004" in errors(parts=[*parts, again])
    other = [{**parts[0], "manifest_sha256": "0" * 64}, *parts[1:]]
    assert "manifest.json: its SHA-256 differs from the snapshot's" in errors(parts=other)
    gone = [*parts, {**again, "directory": "generations/00000005"}]
    assert f"{copy / 'generations' / '00000005'} is not a dataset directory" in errors(parts=gone)


def test_validate_finds_a_key_of_a_batch_that_is_not_of_its_directory(copy: Path, capsys: Capture) -> None:
    path = copy / "generations" / "00000000" / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"subset": "mon"', b'"subset": "sun"'))
    assert _run("validate", copy, "--snapshot", 3, "--max-errors", 100) == 1
    assert "56 records have keys that begin with mon: the manifest's sources are sun" in capsys.readouterr().err


def test_validate_tells_a_manifest_of_the_stream_that_lags_from_one_that_is_wrong(copy: Path, capsys: Capture) -> None:
    root = copy / MANIFEST
    # As after a kill between the snapshot and the manifest of the stream.
    root.write_text(load_manifest(copy, 1).to_json())
    assert _run("validate", copy) == 0
    assert "snapshot 1, is valid" in capsys.readouterr().out
    root.write_text(load_manifest(copy, 3).to_json().replace('"seed": 0', '"seed": 1'))
    assert _run("validate", copy) == 1
    assert f"{root}: not the manifest of snapshot 3" in capsys.readouterr().err
    content = json.loads(load_manifest(copy, 3).to_json())
    content["splits"]["train"]["shards"] = content["splits"]["train"]["shards"][:1]
    content["splits"]["train"]["examples"] = content["splits"]["train"]["shards"][0]["examples"]
    root.write_text(json.dumps(content))
    assert _run("validate", copy) == 1
    assert "the manifest of none of the newest snapshots" in capsys.readouterr().err
    content["splits"]["train"]["shards"][0]["file"] = "generations/0/svhn-train.tfrecord-00000-of-00001"
    root.write_text(json.dumps(content))
    assert _run("validate", copy) == 1
    assert "splits.train.shards[0].file" in capsys.readouterr().err


def test_show_draws_the_first_images_of_a_snapshot(grown: Grown, tmp_path: Path) -> None:
    sheets = []
    for number, directory in ((0, "generations/00000000"), (None, "generations/00000000-00000003")):
        chosen = [] if number is None else ["--snapshot", number]
        assert _run("show", grown.folder, *chosen, "--count", 20, "--output", tmp_path / "a.png") == 0
        assert _run("show", grown.folder / directory, "--count", 20, "--output", tmp_path / "b.png") == 0
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
        sheets.append((tmp_path / "a.png").read_bytes())
    assert sheets[0] != sheets[1]
    Image.open(tmp_path / "a.png").verify()


def test_index_writes_next_to_the_shards_of_a_snapshot_and_nothing_else(copy: Path, capsys: Capture) -> None:
    before = _files(copy)
    assert _run("index", copy) == 0
    assert "0 indexes written, 6 existing indexes are correct" in capsys.readouterr().out
    assert _files(copy) == before
    for path in copy.rglob("*.idx-*"):
        path.unlink()
    assert _run("index", copy, "--snapshot", 0) == 0 and _run("index", copy) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("2 indexes written, 0 ex") and out[1].startswith("4 indexes written, 2 ex")
    written = _files(copy)
    assert {name: written[name] for name in before if "00000000-" not in name} == {
        name: data for name, data in before.items() if "00000000-" not in name
    }
    assert _run("index", copy, "--snapshot", 9) == 1
    assert "has the snapshots 0 to 3" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["parquet", "arrow", "webdataset"])
def test_an_export_of_a_snapshot_has_the_examples_of_its_compacted_form(
    grown: Grown, tmp_path: Path, kind: str
) -> None:
    exported = []
    for number in (3, 4):
        output = tmp_path / str(number)
        assert _run("export", grown.folder, "--snapshot", number, "--to", kind, "--output", output, "--jobs", 1) == 0
        exported.append(output)
    if kind == "webdataset":
        import tarfile

        found = []
        for output in exported:
            members = {}
            for path in sorted(output.glob("*.tar")):
                with tarfile.open(path) as tar:
                    for member in tar:
                        assert member.name not in members
                        members[member.name] = tar.extractfile(member).read()  # type: ignore[union-attr]
            found.append(members)
        assert found[0] == found[1] and len(found[0]) == 2 * 151
        return

    def rows(output: Path) -> list[dict]:
        files = sorted((output / "data").iterdir())
        if kind == "parquet":
            tables = [pq.read_table(path) for path in files]
        else:
            tables = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in files]
        return sorted(pa.concat_tables(tables).to_pylist(), key=lambda row: row["key"])

    assert rows(exported[0]) == rows(exported[1]) and len(rows(exported[0])) == 151
    files = [sorted(path.name for path in (output / "data").iterdir()) for output in exported]
    assert files[0][0] == f"train-00000-of-00003.{kind}"


def test_commands_on_a_stream_in_a_store(grown: Grown, bucket: Bucket, tmp_path: Path, capsys: Capture) -> None:
    bucket.put_folder(grown.folder, "stream")
    address = f"{bucket.address}/stream"
    assert _run("inspect", address) == 0 and "snapshot 4 of a stream: 3 batches in 1 dir" in capsys.readouterr().out
    assert _run("validate", address, "--snapshot", 1) == 0 and _run("validate", address) == 0
    assert "s3://" in (out := capsys.readouterr().out) and ", snapshot 1, is valid" in out
    assert _run("index", address) == 0
    assert _run("show", address, "--snapshot", 3, "--output", tmp_path / "sheet.png") == 0
    output = tmp_path / "out"
    assert _run("export", address, "--snapshot", 0, "--to", "parquet", "--output", output, "--jobs", 1) == 0


def test_a_number_that_is_none_is_refused(grown: Grown, capsys: Capture) -> None:
    for wrong in ("-1", "newest", "1.0", "123456789"):
        with pytest.raises(SystemExit):
            _run("inspect", grown.folder, "--snapshot", wrong)
        assert "--snapshot" in capsys.readouterr().err


def test_torch_and_grain_read_a_snapshot(grown: Grown) -> None:
    torch = pytest.importorskip("torch.utils.data")
    from tfrecords.grain import DigitSource
    from tfrecords.torch import DigitBatches, DigitDataset

    for number in (0, 3):
        examples = tfrecords.open(grown.folder, "train", snapshot=number)
        keys = _keys(grown.folder, "train", number)
        dataset = DigitDataset(examples)
        assert [dataset[index]["key"] for index in range(len(dataset))] == keys
        loader = torch.DataLoader(DigitBatches(examples, 16), batch_size=None)
        assert [key for batch in loader for key in batch["key"]] == keys
        source = DigitSource(examples)
        assert [str(source[index]["key"]) for index in range(len(source))] == keys
        assert repr(source) != repr(DigitSource(tfrecords.open(grown.folder, "train", snapshot=1)))


def test_a_state_of_a_stream_of_batches_belongs_to_its_snapshot(grown: Grown) -> None:
    pytest.importorskip("torch")
    from tfrecords.torch import DigitBatches

    first, second = (DigitBatches(tfrecords.open(grown.folder, "train", snapshot=n), 16, seed=1) for n in (0, 1))
    with pytest.raises(UserError, match="must belong to a stream with examples="):
        second.load_state_dict(first.state_dict())


def test_tensorflow_datasets_reads_all_examples_of_a_snapshot(grown: Grown, records: Path) -> None:
    pytest.importorskip("tensorflow_datasets")
    for directory, number in ((grown.folder, 0), (grown.folder, 3), (grown.folder, None), (records, None)):
        builder = tfrecords.tfds_builder(directory, number)
        manifest = load_manifest(directory, number)
        for split, info in manifest.splits.items():
            assert builder.info.splits[split].num_examples == info.examples
            ours = [digest(example.to_dict()) for example in tfrecords.open(directory, split, snapshot=number)]
            read = builder.as_dataset(split=split)
            theirs = [digest(_strings(example)) for example in read.as_numpy_iterator()]
            assert sorted(theirs) == sorted(ours)
    parts = tfrecords.tfds_builder(grown.folder, 3)
    count = load_manifest(grown.folder, 3).splits["train"].examples
    half = parts.as_dataset(split="train[:50%]")
    assert abs(len(list(half)) - count / 2) <= 1
    with pytest.raises(UserError, match="has the snapshots 0 to 4"):
        tfrecords.tfds_builder(grown.folder, 2)


def _strings(example: dict) -> dict:
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in example.items()}


def test_directories_with_images_of_different_kinds_are_no_dataset_of_tensorflow_datasets(copy: Path) -> None:
    pytest.importorskip("tensorflow_datasets")
    path = copy / "generations" / "00000001" / "features.json"
    path.write_text(path.read_text().replace("54", "60"))
    with pytest.raises(UserError, match=r"must have equal features\.json, to be read together"):
        tfrecords.tfds_builder(copy)


def test_the_builder_does_not_import_tensorflow_datasets_before_it_is_called() -> None:
    code = "import sys, tfrecords; tfrecords.tfds_builder; print('tensorflow_datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_snapshot_of_the_stream_is_read_while_it_grows(copy: Path, grown: Grown) -> None:
    examples = tfrecords.open(copy, "train")
    before = [example.key for example in examples[:5]]
    (copy / MANIFEST).write_bytes((grown.folder / MANIFEST).read_bytes())
    shutil.copyfile(grown.folder / "snapshots" / "00000004.json", copy / "snapshots" / "00000004.json")
    assert [example.key for example in examples][:5] == before and len(examples) == len(tfrecords.open(copy, "train"))
    assert np.array_equal(np.sort(_keys(copy, "train", 3)), np.sort(_keys(copy, "train", 4)))
    assert Snapshot.load(grown.place, 4).parts[0].directory in Manifest.load(copy).splits["train"].shards[0].file
    assert Path(index_path(str(copy / Manifest.load(copy).splits["train"].shards[0].file))).is_file()


def test_prepare_and_train_do_not_write_into_a_stream(copy: Path, drawn: Path, capsys: Capture) -> None:
    before = _files(copy)
    given = ["--source", "svhn", "--input", str(drawn), "--output", str(copy), "--overwrite"]
    assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *given]) == 1
    assert "must be a dataset of prepare or a new folder: give another --output. Received: a stream" in (
        capsys.readouterr().err
    )
    with pytest.raises(UserError, match="must be another folder than one of a stream"):
        check_purpose("--run-dir", copy, "a run")
    with pytest.raises(UserError, match="must be another folder than one of a stream"):
        check_purpose("--output", copy, "a dataset")
    assert _files(copy) == before


def test_a_stream_at_an_address_of_the_web_opens_without_a_listing(
    grown: Grown, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    files = {f"/stream/{name}": data for name, data in _files(grown.folder).items()}
    with serving(files, monkeypatch) as server:
        address = f"{server.url}/stream"
        assert len(tfrecords.open(address, "train")) == len(tfrecords.open(address, "train", snapshot=3)) == 145
        with pytest.raises(UserError, match=r"must have the snapshot\. Received: snapshot 2, which is not there"):
            tfrecords.open(address, "train", snapshot=2)
        assert _run("validate", address) == _run("validate", address, "--snapshot", 0) == 0
        assert _run("inspect", address) == 0
        assert _run("diff", f"{address}@3", f"{address}@4") == 0
        capsys.readouterr()
        assert _run("diff", address, f"{address}@4") == 2
        assert "give its number" in capsys.readouterr().err
