"""SVHN from a bucket and from a web server: the same subsets, annotations, pictures and records as from a folder."""

import errno
import filecmp
import pickle
import shutil
from pathlib import Path

import pytest
from PIL import Image

from beam_jobs.__main__ import COMMANDS
from beam_jobs.sources.base import Input, SourceOptions, Subset
from beam_jobs.sources.svhn.source import SOURCE
from tests.digit_structs import Entry, save_as_matlab
from tests.loopback import serving
from tests.stores import Bucket
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.dataset.manifest import DEAD_LETTERS, MANIFEST
from tfrecords.errors import UserError
from tfrecords.files import kept, remote
from tfrecords.files.place import Place

NAMES = ["1.png", "caf\u00e9 2#%20.png", "3.png", "4.png"]
OPTIONS = SourceOptions()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subsets of four pictures, one of them of an unusual name, as its archives unpack."""
    root = tmp_path_factory.mktemp("svhn")
    for shade, subset in enumerate(("train", "test", "odd")):
        (root / subset).mkdir()
        for number, name in enumerate(NAMES):
            Image.new("RGB", (64, 64), (40 * shade, 9 * number, 0)).save(root / subset / name)
        entries: list[Entry] = [(name, [(number + 1, 5, 5, 20, 40)]) for number, name in enumerate(NAMES)]
        # Its writer takes ASCII only: the name's letters are written over.
        entries[1] = ("caf~ 2#%20.png", entries[1][1])
        data = save_as_matlab(root / subset / "digitStruct.mat", entries).read_bytes()
        old, new = ("".join(name).encode("utf-16-le") for name in ("caf~ 2#", "caf\u00e9 2#"))
        assert data.count(old) == 1
        (root / subset / "digitStruct.mat").write_bytes(data.replace(old, new))
    return root


@pytest.fixture
def there(folder: Path, bucket: Bucket) -> Place:
    """The same folder in a bucket."""
    bucket.put_folder(folder, "my data/svhn")
    return Place(f"{bucket.address}/my data/svhn")


def relative(found: Subset, root: object) -> tuple[str, str, int, str]:
    return found.name, found.path.removeprefix(str(root)), found.entries, found.annotations_sha256


def test_a_bucket_reads_as_the_folder_does(folder: Path, there: Place) -> None:
    here = Place(folder)
    for wanted in ((), ("odd",), ("test", "train")):
        expected, found = (SOURCE.find_subsets(Input(place, wanted), OPTIONS) for place in (here, there))
        assert [relative(each, there) for each in found] == [relative(each, folder) for each in expected]
        unread = [
            SOURCE.unread(Input(place), subsets, OPTIONS) for place, subsets in ((here, expected), (there, found))
        ]
        assert [path.removeprefix(str(folder)) for path in unread[0]] == [
            address.removeprefix(str(there)) for address in unread[1]
        ]
    assert unread[1] == (f"{there}/odd",)
    local, far = expected[0], pickle.loads(pickle.dumps(found[0]))
    annotations = [list(SOURCE.read_annotations(each, 0, 4, "left", OPTIONS)) for each in (local, far)]
    assert annotations[0] == annotations[1] and [each.name for each in annotations[0]] == NAMES
    ranges = [list(SOURCE.read_annotations(far, start, start + 2, "left", OPTIONS)) for start in (0, 2)]
    assert ranges[0] + ranges[1] == annotations[1]
    for name in NAMES:
        assert SOURCE.read_picture(far, name) == SOURCE.read_picture(local, name)
    with pytest.raises(FileNotFoundError):
        SOURCE.read_picture(far, "none.png")


def test_one_subset_of_a_bucket_is_named_after_its_folder(there: Place) -> None:
    (found,) = SOURCE.find_subsets(Input(there / "odd"), OPTIONS)
    assert (found.name, found.path) == ("odd", f"{there}/odd")
    assert SOURCE.find_subsets(Input(there / "odd", ("test",)), OPTIONS)[0].name == "test"
    assert SOURCE.unread(Input(there / "odd"), (found,), OPTIONS) == ()


def test_digit_struct_is_fetched_once_in_a_process(there: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = SOURCE.find_subsets(Input(there / "odd"), OPTIONS)
    monkeypatch.setattr(remote, "download", lambda *arguments: pytest.fail("fetched again"))
    for start in range(4):
        assert len(list(SOURCE.read_annotations(found, start, start + 1, "left", OPTIONS))) == 1


def test_damage_and_changes_in_a_bucket_are_named_by_their_address(there: Place, bucket: Bucket) -> None:
    (found,) = SOURCE.find_subsets(Input(there / "odd"), OPTIONS)
    bucket.put("my data/svhn/odd/digitStruct.mat", b"damaged")
    kept._copies.clear()  # as in another process
    with pytest.raises(UserError, match=r"^s3://bucket-\d+/my data/svhn/odd/digitStruct\.mat has changed since"):
        list(SOURCE.read_annotations(found, 0, 4, "left", OPTIONS))
    with pytest.raises(UserError, match=r"^s3://bucket-\d+/my data/svhn/odd/digitStruct\.mat "):
        SOURCE.find_subsets(Input(there / "odd"), OPTIONS)


@pytest.mark.parametrize(
    ("below", "wanted", "message"),
    [
        ("/none", (), "The input must be a folder that exists. Received: {}/none"),
        ("/train/1.png", (), "The input must be a folder that exists. Received: {}/train/1.png"),
        ("", ("extra",), "{} holds the subsets train, test, odd. Received: extra"),
        ("/train", ("a", "b"), "{}/train is one subset: give it one name. Received: a,b"),
    ],
)
def test_what_is_not_in_a_bucket_is_one_line(there: Place, below: str, wanted: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError) as caught:
        SOURCE.find_subsets(Input(Place(f"{there}{below}"), wanted), OPTIONS)
    assert str(caught.value) == message.format(there)


def test_one_subset_reads_from_a_web_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/odd/digitStruct.mat": "digitStruct.mat", "/odd/caf%C3%A9%202%23%2520.png": NAMES[1]}
    with serving({path: (folder / "odd" / name).read_bytes() for path, name in files.items()}, monkeypatch) as server:
        given = Input(Place(f"{server.url}/odd"))
        (found,) = SOURCE.find_subsets(given, OPTIONS)
        assert (found.name, found.entries, SOURCE.unread(given, (found,), OPTIONS)) == ("odd", 4, ())
        annotations = list(SOURCE.read_annotations(found, 0, 4, "left", OPTIONS))
        assert SOURCE.read_picture(found, annotations[1].name) == (folder / "odd" / NAMES[1]).read_bytes()


def prepare(source: object, output: Path) -> int:
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), "--subsets", "train,odd"]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments, "--max-dead-fraction", "0.5"])


def test_the_records_of_a_bucket_are_those_of_the_folder(
    folder: Path, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "svhn")
    (tmp_path / "svhn" / "odd" / "3.png").unlink()  # a missing object is a dead letter, as a missing file is
    bucket.put_folder(tmp_path / "svhn", "svhn")
    assert prepare(tmp_path / "svhn", tmp_path / "here" / "svhn") == 0
    assert prepare(f"{bucket.address}/svhn/", tmp_path / "there" / "svhn") == 0
    assert Manifest.load(tmp_path / "there" / "svhn").dead_letters == {"missing_picture": 1}
    names = sorted(path.name for path in (tmp_path / "here" / "svhn").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "there" / "svhn").iterdir()) and DEAD_LETTERS in names
    same = set(names) - {MANIFEST, "dataset_info.json"}
    here, there = (tmp_path / where / "svhn" for where in ("here", "there"))
    assert filecmp.cmpfiles(here, there, same, shallow=False)[1:] == ([], [])

    # A store that fails for good ends the job in one line.
    def refuse(address: str) -> bytes:
        raise UserError(f"{address} does not answer.", errno.errorcode[errno.ECONNREFUSED])

    capsys.readouterr()
    monkeypatch.setattr(remote, "read_bytes", refuse)
    assert prepare(f"{bucket.address}/svhn", tmp_path / "failed") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "picture" not in line or "error" in line]
    assert len(errors) == 1 and errors[0].startswith(f"error: {bucket.address}/svhn/"), errors
    assert not (tmp_path / "failed" / MANIFEST).exists()
