"""Places: the same behaviour of a tree on this machine, in memory and in a bucket, and what is refused."""

import hashlib
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.loopback import Server, serving
from tests.stores import Bucket, use_store
from tfrecords.errors import UserError
from tfrecords.files import kept as kept_copies
from tfrecords.files import remote
from tfrecords.files.place import Entry, Place
from tfrecords.flags import refuse_address

ROOT = Path(__file__).parents[1]
TREE = {
    "a b.png": b"space",
    "x%20y.png": b"percent",
    "q?v=1#z.png": b"question",
    "caf\u00e9_\u2116.PNG": b"letters",
    "a::b.png": b"colons",
    "[1]*.png": b"glob",
    "empty": b"",
    "sub/n.png": b"below",
    "sub/deep/x.txt": b"deep",
    "sub.txt": b"between sub and sub/ in the order of bytes",
    ".hidden": b"hidden",
    ".git/config": b"hidden",
    "sub/.thumbs/n.png": b"hidden",
}
SHOWN = sorted(name for name in TREE if not any(part.startswith(".") for part in name.split("/")))


@pytest.fixture(params=["local", "memory", "s3"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The same tree in each kind of place."""
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        for name, data in TREE.items():
            bucket.put(f"the tree/{name}", data)
        # As a store's console makes folders.
        for marker in ("the tree/", "the tree/sub/"):
            bucket.put(marker)
        yield Place(f"{bucket.address}/the tree")
    elif request.param == "memory":
        memory = fsspec.filesystem("memory")
        for name, data in TREE.items():
            memory.pipe_file(f"/trees/the tree/{name}", data)
        yield Place("memory://trees/the tree")
        memory.rm("/trees", recursive=True)
    else:
        for name, data in TREE.items():
            path = tmp_path / "the tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (tmp_path / "the tree" / "sub" / "up").symlink_to(tmp_path)
        yield Place(tmp_path / "the tree")


def test_a_tree_reads_the_same_anywhere(tree: Place) -> None:
    assert list(tree.walk()) == SHOWN
    assert [name for name, is_folder in tree.entries() if not is_folder] == [n for n in SHOWN if "/" not in n]
    assert [entry for entry in tree.entries() if entry.is_folder] == [Entry("sub", True)]
    names = [entry.name for entry in (tree / "sub").entries()]
    assert names == (["deep", "n.png"] if tree.is_remote else ["deep", "n.png", "up"])
    for name in SHOWN:
        place = tree / name
        if "::" in name and place.text.startswith("memory:"):
            continue  # fsspec's memory alone has another meaning for it
        assert place.read_bytes() == TREE[name]
        assert (place.is_file(), place.is_dir()) == (True, False)
        assert place.name == name.rpartition("/")[2]
        assert place.parent == (tree / name.rpartition("/")[0] if "/" in name else tree)
        assert pickle.loads(pickle.dumps(place)) == place == Place(place.text)


def test_files_open_at_random_and_as_paths_and_have_digests(tree: Place) -> None:
    place = tree / "caf\u00e9_\u2116.PNG"
    with place.open() as stream:
        assert (stream.read(3), stream.seek(1), stream.read()) == (b"let", 1, b"etters")
    with place.local_file() as path:
        assert (path.suffix, path.read_bytes()) == (".PNG", b"letters")
    assert path.exists() != tree.is_remote
    assert place.sha256() == hashlib.sha256(b"letters").hexdigest()
    assert (tree / "sub").is_dir() and not (tree / "sub").is_file()
    assert (tree / "sub" / "deep" / "x.txt").suffix == ".txt" and place.suffix == ".png"


def test_a_local_name_is_that_of_the_path_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "blob").write_bytes(b"")
    (tmp_path / "a.CSV").symlink_to("blob")
    assert (Place(tmp_path / "a.CSV").name, Place(tmp_path / "a.CSV").suffix) == ("a.CSV", ".csv")
    monkeypatch.chdir(tmp_path / "in")
    assert [Place(text).name for text in (".", "..", "./x/", "x/..", "/")] == ["in", tmp_path.name, "x", "in", ""]


def test_what_is_missing_is_an_error_of_the_file_alone(tree: Place) -> None:
    nothing, file = tree / "none.png", tree / "a b.png"
    assert not nothing.is_file() and not nothing.is_dir()
    for read in (nothing.read_bytes, nothing.open, nothing.entries, nothing.sha256, lambda: list(nothing.walk())):
        with pytest.raises(FileNotFoundError) as caught:
            read()
        assert (caught.value.filename, caught.value.strerror) == (nothing.text, "No such file or directory")
    with pytest.raises(FileNotFoundError), nothing.local_file() as path:
        path.read_bytes()
    for read in (file.entries, lambda: list(file.walk())):
        with pytest.raises(NotADirectoryError):
            read()


def test_listings_are_never_stale(bucket: Bucket) -> None:
    bucket.put("data/1.png")
    folder = Place(f"{bucket.address}/data")
    assert [list(folder.walk()), [entry.name for entry in folder.entries()]] == [["1.png"], ["1.png"]]
    assert not (folder / "2.png").is_file() and not (folder / "more").is_dir()
    bucket.put("data/2.png")
    bucket.put("data/more/3.png")
    assert list(folder.walk()) == ["1.png", "2.png", "more/3.png"]
    assert [entry.name for entry in folder.entries()] == ["1.png", "2.png", "more"]
    assert (folder / "2.png").is_file() and (folder / "more").is_dir()
    bucket.put("data/2.png", b"changed")
    assert (folder / "2.png").read_bytes() == b"changed"


def test_a_listing_of_many_pages_is_complete(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    for index in range(5):
        bucket.put(f"many/{index}.png")
    assert len(bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]) == 2
    assert len(list(Place(f"{bucket.address}/many").walk())) == len(Place(f"{bucket.address}/many").entries()) == 5


# --- texts


@pytest.mark.parametrize(
    ("text", "name", "suffix", "parent"),
    [
        ("s3://b/a/c.CSV/", "c.CSV", ".csv", "s3://b/a"),
        ("S3://Bucket/A", "A", "", "s3://Bucket"),
        ("s3://b", "b", "", "s3://b"),
        (" gs://b/c", "c", "", "gs://b"),
        ("hdfs://h:9000/a/b", "b", "", "hdfs://h:9000/a"),
        ("hdfs:///a/b", "b", "", "hdfs:///a"),
        ("https://h/a/b%20c.png?x=1/2#f", "b c.png", ".png", "https://h/a"),
        ("https://h/a/?x=/", "a", "", "https://h"),
        ("https://h", "h", "", "https://h"),
        ("memory://a/b#c?d", "b#c?d", "", "memory://a"),
    ],
)
def test_an_address_has_a_name_a_suffix_and_a_parent(text: str, name: str, suffix: str, parent: str) -> None:
    place = Place(text)
    assert (place.is_remote, place.name, place.suffix, place.parent) == (True, name, suffix, Place(parent))
    assert Place(place.text) == place and hash(Place(place.text)) == hash(place)


def test_a_name_in_an_address_of_the_web_is_percent_encoded() -> None:
    assert (Place("https://h/a?token=1") / "b/\u00e9 1%20#?.png").text == "https://h/a/b/%C3%A9%201%2520%23%3F.png"
    assert (Place("s3://b/a") / "\u00e9 1%20#?.png").text == "s3://b/a/\u00e9 1%20#?.png"


@pytest.mark.parametrize("text", ["s3://b/a", "https://h/a", "local"])
def test_nothing_takes_a_place_for_a_path(text: str) -> None:
    place = Place(text)
    assert not isinstance(place, str | os.PathLike)
    uses: tuple[Callable[[Any], object], ...] = (Path, open, os.listdir, os.path.join)
    for use in uses:
        with pytest.raises(TypeError):
            use(place)
    if place.is_remote:
        with pytest.raises(UserError, match=rf"^The path must be local, not an address\. Received: {text}$"):
            place.path  # noqa: B018


TYPOS = ["gs:/b/r", "s3:b", "s3:/b", "S3:/b", "https:/h/a.csv", "hdfs:/a", "file:/a", "abfs:c/a", " s3:/b", "az:a"]


@pytest.mark.parametrize("text", TYPOS)
def test_an_address_with_a_slash_too_few_is_no_folder(text: str) -> None:
    for refuse in (Place, refuse_address):
        with pytest.raises(UserError, match=rf"^An address needs :// after its scheme; .* Received: {text}$"):
            refuse(text)


def test_a_path_that_was_made_of_an_address_is_refused() -> None:
    with pytest.raises(UserError, match="An address needs ://"):
        Place(Path("s3://bucket/data"))


@pytest.mark.parametrize("text", ["./s3:b", "a:b", "c:\\data", "gs", "/gs:/b", "s3b:", "a/b://c"])
def test_a_local_name_may_hold_colons(text: str) -> None:
    assert not Place(text).is_remote


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "A path must not be empty."),
        ("  ", "A path must not be empty."),
        ("s3://", "An address must name a bucket or a host, as s3://bucket/folder. Received: s3://"),
        ("s3:///", "An address must name a bucket or a host, as s3://bucket/folder. Received: s3:///"),
        ("file:///data", "A path on this machine must be given without file://. Received: file:///data"),
    ],
)
def test_a_text_that_is_no_place_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Place(text)
    assert str(caught.value) == message


# --- stores that fail


def test_a_missing_bucket_is_one_line_whatever_is_asked(bucket: Bucket) -> None:
    place = Place("s3://no-such-bucket/data")
    for ask in (place.is_file, place.is_dir, place.entries, lambda: list(place.walk()), place.read_bytes, place.open):
        with pytest.raises(UserError) as caught:
            ask()
        expected = "s3://no-such-bucket: there is no such bucket, or no right to see it. Received: "
        assert str(caught.value) == f"{expected}s3://no-such-bucket/data"


def test_a_bucket_of_an_impossible_name_is_one_line(bucket: Bucket) -> None:
    with pytest.raises(UserError, match=r"^s3://Bad_Bucket!/x cannot be read\. Received: .*[Ii]nvalid bucket name"):
        Place("s3://Bad_Bucket!/x").read_bytes()


def test_a_store_that_refuses_the_connection_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        use_store(f"http://127.0.0.1:{taken.getsockname()[1]}", monkeypatch)
        with pytest.raises(UserError, match=r"^s3://b-1/x does not answer: .*AWS_ENDPOINT_URL .* Received: [^\n]*$"):
            Place("s3://b-1/x").read_bytes()


def test_credentials_that_are_missing_are_named(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nowhere")
    type(remote.file_system("s3://x")).clear_instance_cache()
    with pytest.raises(UserError, match=r"^s3://b-1/x cannot be read: it needs AWS_ACCESS_KEY_ID .* credentials$"):
        Place("s3://b-1/x").read_bytes()


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the web and, at path-style addresses, of S3's GET, for files of both."""
    monkeypatch.setattr(remote, "_PAUSES_S", (0.0, 0.0, 0.0))
    files = {"/a/b.png?x=1": b"picture" * 1000, "/bucket/a/b.png": b"picture" * 1000, "/%C3%A9%201.png": b"letters"}
    with serving(files, monkeypatch) as server:
        use_store(server.url, monkeypatch)
        fsspec.get_filesystem_class("https").clear_instance_cache()
        yield server
    fsspec.get_filesystem_class("https").clear_instance_cache()


def test_a_url_reads_with_its_query_and_any_letters(flaky: Server) -> None:
    assert Place(f"{flaky.url}/a/b.png?x=1").read_bytes() == b"picture" * 1000
    with Place(f"{flaky.url}/a/b.png?x=1#fragment").local_file() as path:
        assert (path.name, path.read_bytes()) == ("b.png", b"picture" * 1000)
    for text in (f"{flaky.url}/\u00e9 1.png", f"{flaky.url}/%C3%A9%201.png", f"{Place(flaky.url) / chr(233)} 1.png"):
        assert Place(text).read_bytes() == b"letters"
    assert Place(f"{flaky.url}/\u00e9 1.png").is_file() and not Place(f"{flaky.url}/none.png").is_file()
    assert not Place(flaky.url).is_dir()
    for read in (Place(flaky.url).entries, lambda: list(Place(flaky.url).walk())):
        with pytest.raises(UserError, match=r"^An https:// address must be a file: it has no listing of a folder\."):
            read()


def test_a_range_is_one_where_the_server_knows_none(flaky: Server) -> None:
    flaky.has_ranges = False
    assert remote.read_bytes(f"{flaky.url}/a/b.png?x=1", 7000 - 8, 7000 - 5) == b"epi"


def test_a_redirect_is_followed_and_a_circle_is_not(flaky: Server) -> None:
    flaky.redirects = {"/moved.png": f"{flaky.url}/a/b.png?x=1", "/circle.png": "/circle.png"}
    assert Place(f"{flaky.url}/moved.png").read_bytes() == b"picture" * 1000
    with pytest.raises(OSError, match="too many redirects"):
        Place(f"{flaky.url}/circle.png").read_bytes()


@pytest.mark.parametrize("fault", ["cut", "reset", "500", "503", "429"])
def test_what_may_pass_is_tried_again(flaky: Server, fault: str) -> None:
    def fail() -> None:
        if fault.isdigit():
            flaky.statuses = [int(fault)] * 2
        else:
            flaky.cuts, flaky.resets = [100, 0], fault == "reset"

    place = Place(f"{flaky.url}/a/b.png?x=1")
    fail()
    assert place.read_bytes() == b"picture" * 1000
    assert len(flaky.asked) == 3
    fail()
    with place.local_file() as path:
        assert path.read_bytes() == b"picture" * 1000


@pytest.mark.parametrize("fault", ["cut", "500"])
def test_what_may_pass_in_a_bucket_is_tried_again(flaky: Server, fault: str) -> None:
    flaky.statuses, flaky.cuts = ([500], []) if fault == "500" else ([], [100, 3])
    assert Place("s3://bucket/a/b.png").read_bytes() == b"picture" * 1000


@pytest.mark.parametrize(
    ("status", "kind"), [(404, FileNotFoundError), (410, FileNotFoundError), (403, PermissionError)]
)
def test_a_refusal_is_the_pictures_own_and_final(flaky: Server, status: int, kind: type[OSError]) -> None:
    flaky.statuses = [status]
    with pytest.raises(kind) as caught:
        Place(f"{flaky.url}/a/b.png?x=1").read_bytes()
    assert len(flaky.asked) == 1
    assert caught.value.filename == f"{flaky.url}/a/b.png?x=1"
    assert caught.value.strerror == ("403 Forbidden" if status == 403 else "No such file or directory")


def test_a_refusal_of_a_bucket_ends_the_job(flaky: Server) -> None:
    flaky.statuses = [403]
    with pytest.raises(
        UserError, match=r"^s3://bucket/a/b\.png may not be read: AWS_ACCESS_KEY_ID.* must be valid, and"
    ):
        Place("s3://bucket/a/b.png").read_bytes()
    assert len(flaky.asked) == 1


def test_a_server_that_goes_on_failing_ends_the_job(flaky: Server) -> None:
    flaky.statuses = [500] * 9
    with pytest.raises(UserError) as caught:
        Place(f"{flaky.url}/a/b.png?x=1").read_bytes()
    message = f"{flaky.url}/a/b.png?x=1 does not answer. Received: 500 Internal Server Error"
    assert str(caught.value) == message and len(flaky.asked) == 4


def test_silence_ends_after_a_while(flaky: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_TIMEOUT_S", 0.05)
    flaky.cuts, flaky.stalls = [10] * 9, True
    with pytest.raises(UserError, match=r" does not answer\. Received: "):
        Place(f"{flaky.url}/a/b.png?x=1").read_bytes()
    flaky.release.set()


def test_a_body_beyond_the_limit_is_not_taken_into_memory(flaky: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_WEB_BYTES", 6999)
    with pytest.raises(OSError, match="File too large"):
        Place(f"{flaky.url}/a/b.png?x=1").read_bytes()
    with Place(f"{flaky.url}/a/b.png?x=1").local_file() as path:
        assert path.stat().st_size == 7000


@pytest.mark.parametrize("url", ["http://[::1/a.png", "http://h:port/a.png", "http:///a.png"])
def test_a_url_that_is_none_is_no_traceback(url: str) -> None:
    with pytest.raises((UserError, OSError)) as caught:
        Place(url).read_bytes()
    assert "\n" not in str(caught.value) and url in str(caught.value)


@pytest.mark.parametrize(
    ("module", "address", "message"),
    [
        ("s3fs", "s3://b/x", "s3:// needs s3fs: pip install 'streetdigits[s3]'. Received: s3://b/x"),
        ("gcsfs", "gs://b/x", "gs:// needs gcsfs: pip install 'streetdigits[gcs]'. Received: gs://b/x"),
        ("aiohttp", "https://h/x", "https:// needs aiohttp: pip install 'streetdigits[remote]'. Received: https://h/x"),
        ("fsspec", "s3://b/x", "Remote files need fsspec: pip install 'streetdigits[remote]'. Received: s3://b/x"),
        ("", "no://b/x", "fsspec cannot reach no://b/x. Received: Protocol not known: no"),
    ],
)
def test_a_missing_package_is_named(module: str, address: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if module:
        monkeypatch.setitem(sys.modules, module, None)
    if module in ("s3fs", "gcsfs", "aiohttp"):
        # As in a process that has not used it yet.
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, address.partition("://")[0], raising=False)
        monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    with pytest.raises(UserError) as caught:
        Place(address).is_dir() if module != "aiohttp" else Place(address).read_bytes()
    assert str(caught.value) == message


# --- processes


def _read(text: str) -> tuple[int, bytes]:
    return os.getpid(), Place(text).read_bytes()


def test_a_place_reads_in_forked_processes_after_this_one_has_read(bucket: Bucket) -> None:
    bucket.put("a b.png", b"picture")
    place = Place(f"{bucket.address}/a b.png")
    assert place.read_bytes() == b"picture"
    kept, digest = place.kept_file()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        with multiprocessing.get_context("fork").Pool(2) as pool:
            results = pool.map_async(_read, [place.text] * 4).get(60)
            assert pool.apply_async(place.kept_file, (digest,)).get(60) == (kept, digest)
    assert {data for _, data in results} == {b"picture"} and os.getpid() not in dict(results)
    assert place.read_bytes() == b"picture"


def test_a_process_keeps_a_bounded_number_of_copies(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_copies, "_MOST_COPIES", 3)
    monkeypatch.setattr(kept_copies, "_copies", {})
    paths = []
    for index in range(5):
        bucket.put(f"{index}.mat", b"%d" % index)
        paths.append(Place(f"{bucket.address}/{index}.mat").kept_file())
    assert [path.is_file() for path, _ in paths] == [False, False, True, True, True]
    again, digest = Place(f"{bucket.address}/0.mat").kept_file(paths[0][1])
    assert (again.read_bytes(), digest) == (b"0", paths[0][1])


def test_a_kept_copy_is_made_once_for_each_digest(bucket: Bucket) -> None:
    place = Place(f"{bucket.address}/file.mat")
    bucket.put("file.mat", b"first")
    path, digest = place.kept_file()
    assert (path.read_bytes(), digest) == (b"first", place.sha256())
    bucket.put("file.mat", b"second")
    # A reader that was promised the first content gets it, another process an error.
    assert place.kept_file(digest) == (path, digest) and path.read_bytes() == b"first"
    second, other = place.kept_file()
    assert (second.read_bytes(), path.read_bytes()) == (b"second", b"first")
    assert place.kept_file() == (second, other)
    with pytest.raises(UserError, match=r"file\.mat has changed since it was read first: run the command again\."):
        place.kept_file("0" * 64)
    assert {second, path} <= set(path.parent.iterdir())
    path.unlink()
    with pytest.raises(UserError, match="has changed"):
        place.kept_file(digest)


KEEP = """
import fsspec, os, signal, sys
from tfrecords.files.place import Place
fsspec.filesystem("memory").pipe_file("/a/b", b"content")
path, digest = Place("memory://a/b").kept_file()
assert path.read_bytes() == b"content" and [path] == list(path.parent.iterdir())
if not os.fork():
    sys.exit(0)  # the copies are not the child's to delete
os.wait()
assert path.is_file()
print(path, flush=True)
os.kill(os.getpid(), int(sys.argv[1]))
"""


def test_kept_copies_go_with_the_process_or_with_the_next_one(tmp_path: Path) -> None:
    def keep(number: int) -> Path:
        command = [sys.executable, "-c", KEEP, str(number)]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == -number, done.stderr
        return Path(done.stdout.strip())

    killed = keep(int(signal.SIGKILL))
    assert killed.is_file()
    assert not keep(0).exists()
    assert not list(tmp_path.iterdir())


def test_a_local_file_is_its_own_copy(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    path, digest = Place(tmp_path / "a").kept_file()
    assert (path, digest) == (tmp_path / "a", Place(tmp_path / "a").sha256())


def test_a_file_is_written_replaced_listed_and_deleted_in_every_kind_of_place(tree: Place) -> None:
    folder = tree / "made"
    assert folder.names() == []
    for name, chunks in {"b": [b"one", b"two"], "a#1": [], "sub/c": [b"deep"], ".d": [b"hidden"]}.items():
        (folder / name).write(chunks)
    assert folder.names() == [".d", "a#1", "b"]
    (folder / "b").write([b"three"])
    assert (folder / "b").read_bytes() == b"three"
    assert (folder / "a#1").read_bytes() == b""
    assert folder.exists()
    (folder / "b").delete()
    (folder / "b").delete()
    assert not (folder / "b").exists()
    folder.delete_folder()
    folder.delete_folder()
    assert not folder.exists()
    assert (tree / "sub.txt").is_file()


def test_a_range_of_a_file_is_read_in_every_kind_of_place(tree: Place) -> None:
    if tree.is_remote:
        assert remote.read_bytes((tree / "sub.txt").text, 8, 11) == b"sub"
