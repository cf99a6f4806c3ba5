"""The inbox of batches in a folder: what is ready, refused, ignored, and what becomes of it."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beam_jobs.prepare.config import config_from_flags
from beam_jobs.sources import SOURCES, load_source
from beam_jobs.watch.batch import BAD_NAME, CHANGED, INCOMPLETE, Batch, Refusal
from beam_jobs.watch.inboxes import folder as folder_module
from beam_jobs.watch.inboxes.after import After
from beam_jobs.watch.inboxes.folder import FolderInbox
from beam_jobs.watch.inboxes.identity import list_files
from beam_jobs.watch.inboxes.inbox import Arrivals
from beam_jobs.watch.ledger import Entry, Ledger
from tests.digit_structs import save_as_matlab
from tests.failing_proxy import Proxy, Status
from tests.stores import Bucket
from tests.test_beam_jobs_sources_places import PICTURES, TREES
from tfrecords.errors import UserError
from tfrecords.files.place import Place

PNG = PICTURES["1.png"]
Tree = dict[str, bytes]


def rows(count: int, text: str = "12") -> Tree:
    """A table of pictures next to it."""
    lines = ["file_name,text", *(f"{index}.png,{text}" for index in range(count))]
    return {"numbers.csv": "\n".join(lines).encode(), **{f"{index}.png": PNG for index in range(count)}}


def put(folder: Path, tree: Tree) -> Path:
    for name, data in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@dataclass
class Watched:
    """An inbox with a ledger and a clock of its own."""

    folder: Path
    ledger: Ledger
    inbox: FolderInbox
    clock: SimpleNamespace
    make: Callable[..., FolderInbox] = field(repr=False)

    def poll(self, seconds: float = 1.0, most: int = 1000) -> Arrivals:
        """Polls after some time."""
        self.clock.now += seconds
        return self.inbox.poll(self.ledger, most)

    def settled(self) -> Arrivals:
        """Polls as long as a batch needs to settle; returns the last answer."""
        self.poll()
        return self.poll(6)

    def append(self, batches: list[Batch] | None = None, refusals: list[Refusal] | None = None) -> None:
        self.ledger.append(Entry(self.ledger.next, batches or [], refusals or []))


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return watch(tmp_path / "inbox", tmp_path / "stream")


def watch(folder: Path, stream: Path, source: str = "table", **settings: Any) -> Watched:
    folder.mkdir(exist_ok=True)
    clock = SimpleNamespace(now=1000.0)
    config = config_from_flags({"source": source, "max_length": 5})

    def make(place: Place | None = None, **others: Any) -> FolderInbox:
        return FolderInbox(place or Place(folder), config, now=lambda: clock.now, **{**settings, **others})

    return Watched(folder, Ledger(Place(stream)), make(), clock, make)


def names(batches: list[Any]) -> list[str]:
    return [batch.name for batch in batches]


def svhn(path: Path) -> Tree:
    """A subset of SVHN, whose annotations are written to a path first."""
    return {"digitStruct.mat": save_as_matlab(path, [("1.png", [(7.0, 4, 5, 10, 12)])]).read_bytes(), "1.png": PNG}


@pytest.mark.parametrize("name", [*TREES, "svhn"])
def test_every_source_is_read_batch_by_batch(name: str, tmp_path: Path) -> None:
    """A subset under the name of a batch has the annotations and pictures that it has alone."""
    source = name.partition(" ")[0]
    tree = svhn(tmp_path / "digitStruct.mat") if name == "svhn" else TREES[name]()
    tree.pop("photos/none.png", None)
    watched = watch(tmp_path / "inbox", tmp_path / "stream", source)
    put(watched.folder / "2026-11", {**tree, "_SUCCESS": b""})
    (batch,) = watched.poll().ready
    watched.append([batch])
    (entry,) = Ledger(Place(tmp_path / "stream")).open
    assert entry.batches == [batch]
    reader, config = load_source(source), watched.inbox._config
    from beam_jobs.sources.base import Input

    own = reader.find_subsets(Input(Place(watched.folder / "2026-11")), config.reading)
    for before, subset in zip(own, entry.batches[0].subsets, strict=True):
        assert subset.name in ("2026-11", f"2026-11@{before.name}")
        expected = list(reader.read_annotations(before, 0, before.entries, "left", config.reading))
        found = list(reader.read_annotations(subset, 0, subset.entries, "left", config.reading))
        assert [(each.name, each.text, each.box, each.part) for each in found] == [
            (each.name, each.text, each.box, each.part) for each in expected
        ]
        assert {each.subset for each in found} <= {subset.name}
        for each in (each for each in found if not each.dead):
            try:
                picture = reader.read_picture(before, each.name)
            except OSError:  # a picture that is not there
                continue
            assert (picture == reader.read_picture(subset, each.name)) is True or (
                picture.tolist() == reader.read_picture(subset, each.name).tolist()  # type: ignore[union-attr]
            )
    assert watched.inbox.difference(batch) == ""


def test_all_sources_are_tried() -> None:
    assert {name.partition(" ")[0] for name in TREES} | {"svhn"} == set(SOURCES)


def test_a_marker_makes_a_batch_ready_at_once(watched: Watched) -> None:
    put(watched.folder / "b", rows(2))
    assert watched.poll().ready == []
    (watched.folder / "b" / "_SUCCESS").touch()
    found = watched.poll()
    assert names(found.ready) == ["b"]
    assert [(each.name, each.entries) for each in found.ready[0].subsets] == [("b", 2)]


def test_without_a_marker_a_batch_is_ready_when_nothing_changed_for_the_time_to_settle(watched: Watched) -> None:
    put(watched.folder / "b", rows(2))
    assert [names(watched.poll(2).ready) for _ in range(4)] == [[], [], [], ["b"]]
    put(watched.folder / "c", rows(1))
    watched.poll(3)
    put(watched.folder / "c", rows(2, "7"))
    found = watched.poll(3)
    assert (names(found.ready), found.waiting, found.waiting_s) == (["b"], 1, 3)
    assert names(watched.poll(4).ready) == ["b"]
    assert names(watched.poll(1).ready) == ["b", "c"]


@pytest.mark.parametrize(
    ("damage", "detail"),
    [
        (lambda folder: (folder / "1.png").unlink(), "the picture 1.png is not there"),
        (lambda folder: (folder / "1.png").write_bytes(b""), "the picture 1.png is empty"),
        (lambda folder: (folder / "1.png").write_bytes(PNG[:-20]), "the picture 1.png has no end"),
        (lambda folder: (folder / "numbers.csv").write_bytes(b""), "must not be empty"),
        (lambda folder: (folder / "numbers.csv").unlink(), "must be a table"),
    ],
    ids=["a missing picture", "an empty picture", "a cut picture", "an empty table", "no table"],
)
def test_what_is_not_complete_waits_and_is_refused_when_patience_ends(
    watched: Watched, damage: Callable[[Path], None], detail: str
) -> None:
    tree = rows(3)
    damage(put(watched.folder / "b", tree))
    assert watched.settled() == Arrivals(waiting=1, waiting_s=6)
    assert watched.poll(590).refused == []
    (refusal,) = watched.poll(10).refused
    assert (refusal.name, refusal.reason, refusal.entry) == ("b", INCOMPLETE, None)
    assert detail in refusal.detail
    watched.append(refusals=[refusal])
    assert watched.poll(1000) == Arrivals()
    # What was refused is looked at again when it changes.
    put(watched.folder / "b", {**tree, "_SUCCESS": b""})
    assert names(watched.poll().ready) == ["b"]


def test_what_completes_in_time_is_ready(watched: Watched) -> None:
    tree = rows(3)
    last = tree.pop("2.png")
    put(watched.folder / "b", tree)
    assert watched.settled().ready == []
    assert watched.poll(500).ready == []
    put(watched.folder / "b", {"2.png": last})
    assert names(watched.settled().ready) == ["b"]


def test_a_marker_does_not_make_unreadable_annotations_ready(watched: Watched) -> None:
    put(watched.folder / "b", {"_SUCCESS": b"", "numbers.csv": b"nothing\n1\n"})
    assert watched.poll() == Arrivals(waiting=1)
    (refusal,) = watched.poll(600).refused
    assert refusal.reason == INCOMPLETE and "numbers.csv must have a picture column" in refusal.detail


def test_a_marker_admits_a_batch_whose_pictures_are_missing(watched: Watched) -> None:
    put(watched.folder / "b", {"_SUCCESS": b"", "numbers.csv": rows(2)["numbers.csv"]})
    assert names(watched.poll().ready) == ["b"]


def test_a_file_is_a_batch_for_sources_that_read_one(watched: Watched) -> None:
    put(watched.folder, {"2026-11.v2.csv": b"file_name,text\nphotos/1.png,7\n", "spare.png": PNG})
    put(watched.folder / "photos", {"1.png": PNG})
    found = watched.settled()
    assert names(found.ready) == ["2026-11"]
    assert found.waiting == 1, "the folder of pictures is no batch"
    copied = shutil.copy2(watched.folder / "2026-11.v2.csv", watched.folder / "again.csv")
    assert Path(copied).is_file()
    first, second = watched.settled().ready
    assert first.digest == second.digest and [each.name for each in second.subsets] == ["again"]


@pytest.mark.parametrize("source", ["mnist", "optdigits", "cvat", "label-studio", "coco"])
def test_copies_of_a_file_have_one_digest(source: str, tmp_path: Path) -> None:
    watched = watch(tmp_path / "inbox", tmp_path / "stream", source, settle_s=0)
    tree = TREES[{"mnist": "mnist of CSV"}.get(source, source)]()
    file = next(name for name in tree if not name.endswith(".png") and "test" not in name)
    pictures = {name: data for name, data in tree.items() if name.endswith(".png")}
    put(watched.folder, {**pictures, **PICTURES})
    for name in ("one", "other"):
        put(watched.folder, {f"{name}.{file.rpartition('.')[2]}": tree[file]})
    ready = [batch for batch in watched.settled().ready if batch.name in ("one", "other")]
    assert names(ready) == ["one", "other"]
    assert len({batch.digest for batch in ready}) == 1


def test_a_folder_is_asked_for_where_a_source_reads_no_file(tmp_path: Path) -> None:
    watched = watch(tmp_path / "inbox", tmp_path / "stream", "yolo")
    put(watched.folder, TREES["yolo"]())
    watched.settled()
    details = {refusal.name: refusal.detail for refusal in watched.poll(600).refused}
    assert "A batch must be a folder: yolo reads no file alone. Received: data.yaml" in details["data"]


def test_hidden_and_underscored_names_are_ignored(watched: Watched) -> None:
    for name in (".incoming", "_work"):
        put(watched.folder / name, {**rows(1), "_SUCCESS": b""})
    assert watched.poll() == Arrivals()


def test_names_that_cannot_begin_keys_are_refused(watched: Watched) -> None:
    for name in ("two words", "test", "Ab", "aB"):
        put(watched.folder / name, {**rows(1), "_SUCCESS": b""})
    found = watched.poll()
    assert names(found.ready) == ["Ab"]
    assert [(each.name, each.reason) for each in found.refused] == [
        ("aB", BAD_NAME),
        ("test", BAD_NAME),
        ("two words", BAD_NAME),
    ]
    watched.append(found.ready, found.refused)
    assert watched.poll() == Arrivals()
    put(watched.folder / "AB", {**rows(1, "7"), "_SUCCESS": b""})
    put(watched.folder, {"Ab.csv": rows(1)["numbers.csv"]})
    details = {each.detail for each in watched.settled().refused if each.reason == BAD_NAME}
    assert len(details) == 2 and all("must differ" in detail for detail in details)


@pytest.mark.parametrize("source", ["table", "image-folder"])
def test_the_name_of_a_batch_decides_no_split(source: str, tmp_path: Path) -> None:
    watched = watch(tmp_path / "inbox", tmp_path / "stream", source)
    metadata = {"metadata.csv": b"file_name,text\n7/1.png,7\n", "7/1.png": PNG, "_SUCCESS": b""}
    put(watched.folder / "camera-test-1", metadata)
    put(watched.folder / "camera-2", metadata)
    found = watched.poll()
    if source == "table":
        assert names(found.ready) == ["camera-2"]
        (refusal,) = found.refused
        assert refusal.reason == BAD_NAME and "must not hold the word test" in refusal.detail
    else:
        first, second = found.ready
        assert [each.name for each in second.subsets] == ["camera-test-1"]
        assert first.digest == second.digest


def test_the_content_of_a_batch_decides_its_split(tmp_path: Path) -> None:
    watched = watch(tmp_path / "inbox", tmp_path / "stream", "image-folder")
    put(watched.folder / "camera-test-1", {"test/7/1.png": PNG, "_SUCCESS": b""})
    (batch,) = watched.poll().ready
    assert [each.name for each in batch.subsets] == ["camera-test-1@test"]


def test_what_changed_after_it_was_accepted_is_said_once_for_each_state(watched: Watched) -> None:
    put(watched.folder / "b", {**rows(2), "_SUCCESS": b""})
    watched.append(watched.poll().ready)
    assert watched.poll() == Arrivals()
    put(watched.folder / "b", rows(3))
    (refusal,) = watched.poll().refused
    assert (refusal.name, refusal.reason, refusal.entry) == ("b", CHANGED, None)
    watched.append(refusals=[refusal])
    assert watched.poll(100) == Arrivals()
    put(watched.folder / "b", rows(2, "77"))
    assert [each.reason for each in watched.settled().refused] == [CHANGED]


def test_a_change_inside_of_a_known_batch_is_found_in_turn(watched: Watched) -> None:
    tree = {f"photos/{name}": data for name, data in rows(2).items() if name.endswith(".png")}
    table = b"file_name,text\nphotos/0.png,1\nphotos/1.png,1\n"
    put(watched.folder / "b", {**tree, "numbers.csv": table})
    watched.append(watched.settled().ready)
    watched.poll()
    before = (watched.folder / "b").stat().st_mtime_ns
    put(watched.folder / "b", {"photos/1.png": PICTURES["3.png"] + b"more"})
    assert (watched.folder / "b").stat().st_mtime_ns == before
    assert [each.reason for _ in range(5) for each in watched.poll(3).refused][:1] == [CHANGED]


def test_new_times_alone_are_no_change_and_are_read_once(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    put(watched.folder / "b", {**rows(2), "_SUCCESS": b""})
    watched.append(watched.poll().ready)
    shutil.copytree(watched.folder / "b", watched.folder / ".copy")
    shutil.rmtree(watched.folder / "b")
    (watched.folder / ".copy").rename(watched.folder / "b")
    os.utime(watched.folder / "b" / "0.png", (1, 1))
    assert watched.poll() == Arrivals()
    reads = []
    monkeypatch.setattr("beam_jobs.watch.inboxes.folder.look_into", lambda *_, **__: reads.append(1))
    assert [watched.poll() for _ in range(5)] == [Arrivals()] * 5
    assert not reads


def test_a_new_process_reads_no_known_batch_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        put(watched.folder / name, {**rows(2, str(ord(name) % 10)), "_SUCCESS": b""})
    watched.append(watched.poll().ready)
    monkeypatch.setattr("beam_jobs.watch.inboxes.folder.look_into", None)
    watched.inbox = watched.make()
    assert [watched.poll() for _ in range(3)] == [Arrivals()] * 3


def test_a_poll_ends_with_enough_entries_and_the_rest_settles_meanwhile(watched: Watched) -> None:
    for index in range(5):
        put(watched.folder / f"b{index}", rows(4, str(index)))
    watched.poll()
    found = watched.poll(6, most=6)
    assert (names(found.ready), found.waiting) == (["b0", "b1"], 3)
    watched.append(found.ready)
    assert names(watched.poll(0, most=100).ready) == ["b2", "b3", "b4"]


def test_the_state_of_a_backlog_is_bounded(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beam_jobs.watch.inboxes.folder._MOST_WAITING", 3)
    for index in range(8):
        put(watched.folder / f"b{index}", rows(1, str(index)))
    put(watched.folder / "last", {**rows(1, "99"), "_SUCCESS": b""})
    found = watched.poll()
    assert (names(found.ready), found.waiting) == (["last"], 8)
    taken = []
    for _ in range(12):
        found = watched.poll(6)
        assert len(watched.inbox._waiting) <= 3
        watched.append(found.ready)
        taken += names(found.ready)
    assert sorted(taken) == [*(f"b{index}" for index in range(8)), "last"]


def test_a_batch_that_changes_while_it_is_read_waits_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    from beam_jobs.watch.inboxes import folder, readiness

    put(watched.folder / "b", {**rows(2), "_SUCCESS": b""})
    real = readiness.look_into

    def look_into(*given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        put(watched.folder / "b", {"late.txt": b""})
        monkeypatch.setattr(folder, "look_into", real)
        return found

    monkeypatch.setattr(folder, "look_into", look_into)
    assert watched.poll().ready == []
    (batch,) = watched.poll().ready
    assert watched.inbox.difference(batch) == ""


def test_no_part_of_a_batch_is_ready_while_a_slow_producer_stalls(tmp_path: Path) -> None:
    """Batches written in place, without marker, in pieces with pauses longer than the time to settle."""
    trees = {f"b{index}": rows(5, str(index)) for index in range(6)}
    watched = watch(tmp_path / "inbox", tmp_path / "stream", settle_s=0.02)
    inbox = FolderInbox(Place(watched.folder), watched.inbox._config, settle_s=0.02)

    def produce(name: str, tree: Tree) -> None:
        (watched.folder / name).mkdir()
        for at, (file, data) in enumerate(tree.items()):
            with (watched.folder / name / file).open("wb") as stream:
                for half in (data[: len(data) // 2], data[len(data) // 2 :]):
                    stream.write(half)
                    stream.flush()
                    time.sleep(0.06 if at % 2 else 0)

    threads = [threading.Thread(target=produce, args=each) for each in trees.items()]
    for thread in threads:
        thread.start()
    accepted: list[Batch] = []
    deadline = time.monotonic() + 20
    while len(accepted) < len(trees) and time.monotonic() < deadline:
        ready = inbox.poll(watched.ledger, 1000).ready
        if ready:
            watched.append(ready)
            accepted += ready
    for thread in threads:
        thread.join()
    assert sorted(names(accepted)) == sorted(trees)
    assert [inbox.difference(batch) for batch in accepted] == [""] * len(trees)
    assert [batch.entries for batch in accepted] == [5] * len(trees)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "is not there"),
        (lambda folder: (folder / "0.png").unlink(), "the picture 0.png is not there"),
        (lambda folder: (folder / "0.png").write_bytes(PNG + b"0"), "its pictures are others"),
        (lambda folder: put(folder, rows(3)), "the annotations of b are others: 3 entries, and 2 before"),
        (lambda folder: (folder / "numbers.csv").unlink(), "cannot be read any more"),
        (lambda folder: os.utime(folder / "0.png", (5, 5)), ""),
    ],
    ids=["it is gone", "a picture is gone", "a picture changed", "other annotations", "no table", "only times"],
)
def test_the_difference_to_what_was_accepted_is_named(
    watched: Watched, change: Callable[[Path], object], said: str
) -> None:
    put(watched.folder / "b", {**rows(2), "_SUCCESS": b""})
    (batch,) = watched.poll().ready
    assert watched.inbox.difference(batch) == ""
    change(watched.folder / "b")
    difference = watched.inbox.difference(batch)
    assert said in difference and bool(said) == bool(difference)


def test_an_inbox_that_is_gone_is_no_difference_of_its_batches(watched: Watched) -> None:
    put(watched.folder / "b", {**rows(2), "_SUCCESS": b""})
    (batch,) = watched.poll().ready
    watched.folder.rename(watched.folder.parent / "unmounted")
    with pytest.raises(UserError, match="The inbox must be a folder that exists"):
        watched.inbox.difference(batch)
    with pytest.raises(UserError, match="The inbox must be a folder that exists"):
        watched.poll()


def test_corrections_alone_and_next_to_pictures_are_a_batch(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = json.dumps({"key": "b/0.png", "action": "relabel", "text": "77"}).encode() + b"\n"
    put(watched.folder / "b", {**rows(2), "corrections.jsonl": lines, "_SUCCESS": b""})
    put(watched.folder / "c", {"corrections.csv": b"key,action,text\nb/1.png,delete,\n", "_SUCCESS": b""})
    both, alone = watched.poll().ready
    assert (both.entries, [each.text for each in both.corrections]) == (2, ["77"])
    assert (alone.subsets, [each.key for each in alone.corrections]) == ([], ["b/1.png"])
    assert watched.inbox.difference(alone) == ""


@pytest.mark.parametrize("name", ["table", "mnist of CSV", "optdigits"])
def test_no_source_reads_corrections_as_its_own_table(name: str, tmp_path: Path) -> None:
    from beam_jobs.sources.base import Input, SourceOptions

    tree = TREES[name]()
    reader = load_source(name.partition(" ")[0])
    found = []
    for folder, extra in (("without", {}), ("with", {"corrections.csv": b"key,action,text\nb/1.png,delete,\n"})):
        place = Place(put(tmp_path / folder, {**tree, **extra}))
        found.append([(s.name, s.entries) for s in reader.find_subsets(Input(place), SourceOptions())])
        assert not any("corrections" in path for path in reader.unread(Input(place), (), SourceOptions()))
    assert found[0] == found[1]


def test_what_a_snapshot_holds_is_moved_and_another_batch_of_its_name_is_not(watched: Watched, tmp_path: Path) -> None:
    watched.inbox = watched.make(after=After.parse(f"archive {tmp_path / 'done'}"))
    put(watched.folder / "b", {**rows(2), "_SUCCESS": b""})
    (batch,) = watched.poll().ready
    watched.append([batch])
    os.utime(watched.folder / "b" / "0.png", (1, 1))
    watched.inbox.finish(batch)
    watched.inbox.finish(batch)
    assert sorted(path.name for path in (tmp_path / "done" / "b").iterdir()) == sorted([*rows(2), "_SUCCESS"])
    put(watched.folder / "b", {**rows(3), "_SUCCESS": b""})
    watched.inbox.finish(batch)
    assert (watched.folder / "b").is_dir()
    assert [each.reason for each in watched.poll().refused] == [CHANGED]


def test_a_poll_of_many_known_folders_lists_only_the_top(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    from beam_jobs.watch.ledger import Accepted

    for index in range(3000):
        (watched.folder / f"b{index}").mkdir()
        watched.ledger.accepted[f"b{index}"] = Accepted("", "", 0)
    monkeypatch.setattr("beam_jobs.watch.inboxes.folder._LISTED_AGAIN", 0)
    watched.poll()
    listed: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scan(path))  # type: ignore[func-returns-value]
    assert watched.poll() == Arrivals()
    assert len(listed) <= 1


def in_store(bucket: Bucket, tmp_path: Path, **settings: Any) -> Watched:
    watched = watch(tmp_path / "unused", tmp_path / "stream", **settings)
    watched.inbox = watched.make(Place(f"{bucket.address}/in"))
    return watched


def drop(bucket: Bucket, name: str, tree: Tree) -> None:
    for file, data in tree.items():
        bucket.put(f"in/{name}/{file}", data)


def test_a_prefix_of_a_store_is_an_inbox(bucket: Bucket, tmp_path: Path) -> None:
    watched = in_store(bucket, tmp_path)
    assert watched.poll() == Arrivals()
    drop(bucket, "a", {**rows(2), "_SUCCESS": b""})
    drop(bucket, "b", rows(2, "7"))
    drop(bucket, "_work", rows(1))
    assert names(watched.poll().ready) == ["a"]
    found = watched.poll(6)
    assert names(found.ready) == ["a", "b"]
    watched.append(found.ready)
    assert watched.poll() == Arrivals()
    bucket.client.delete_object(Bucket=bucket.name, Key="in/b/0.png")
    assert "the picture 0.png is not there" in watched.inbox.difference(found.ready[1])
    assert [each.reason for _ in range(40) for each in watched.poll().refused][:1] == [CHANGED]


def test_a_poll_of_a_store_without_news_is_one_listing(bucket: Bucket, proxy: Proxy, tmp_path: Path) -> None:
    watched = in_store(bucket, tmp_path)
    for index in range(5):
        drop(bucket, f"b{index}", {**rows(1, str(index)), "_SUCCESS": b""})
    watched.append(watched.poll().ready)
    watched.poll()
    before = len(proxy.requests)
    watched.poll()
    assert [(each.method, "list-type=2" in each.target) for each in proxy.requests[before:]] == [("GET", True)]


def test_a_store_that_fails_for_a_moment_refuses_nothing(bucket: Bucket, proxy: Proxy, tmp_path: Path) -> None:
    watched = in_store(bucket, tmp_path)
    drop(bucket, "a", {**rows(2), "_SUCCESS": b""})
    proxy.fail(Status(503), method="GET", times=2)
    proxy.fail(Status(503), contains="numbers.csv", times=1)
    assert names(watched.poll().ready) == ["a"]
    assert not proxy.pending


def test_a_batch_of_a_store_is_archived_or_deleted_when_a_snapshot_holds_it(bucket: Bucket, tmp_path: Path) -> None:
    watched = in_store(bucket, tmp_path, after=After.parse(f"archive {bucket.address}/done"))
    drop(bucket, "a", {**rows(2), "_SUCCESS": b""})
    (batch,) = watched.poll().ready
    watched.inbox.finish(batch)
    watched.inbox.finish(batch)
    keys = [each["Key"] for each in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]]
    assert keys == sorted(f"done/a/{name}" for name in [*rows(2), "_SUCCESS"])
    assert "is not there" in watched.inbox.difference(batch)


def test_what_another_inbox_holds_is_not_taken_for_gone(watched: Watched, tmp_path: Path) -> None:
    put(watched.folder / "a", {**rows(2), "_SUCCESS": b""})
    (batch,) = watched.poll().ready
    other = watched.make(Place(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"inbox/a.* so --input must be the folder that holds it"):
        other.difference(batch)
    (watched.folder / "a").rename(tmp_path / "other" / "a")
    assert other.difference(batch).endswith("is not there")
    (tmp_path / "link").symlink_to(watched.folder)
    (tmp_path / "other" / "a").rename(watched.folder / "a")
    linked = watched.make(Place(tmp_path / "link"))
    (batch,) = linked.poll(watched.ledger, 100).ready
    assert linked.difference(batch) == ""


def test_a_link_to_a_batch_is_read_and_put_away_as_a_link(watched: Watched, tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", {**rows(2), "_SUCCESS": b""})
    (watched.folder / "a").symlink_to(tmp_path / "elsewhere")
    (watched.folder / "loop").symlink_to("loop")
    inbox = watched.make(after=After.parse("delete"))
    (batch,) = inbox.poll(watched.ledger, 100).ready
    inbox.finish(batch)
    assert [path.name for path in watched.folder.iterdir()] == ["loop"]
    assert (tmp_path / "elsewhere" / "0.png").exists()


@pytest.mark.parametrize("name", ["Größe-7", "二〇二六", "партия_1", "دفعة"])
def test_names_in_other_scripts_are_names(name: str, watched: Watched) -> None:
    put(watched.folder / name, {**rows(2), "_SUCCESS": b""})
    (batch,) = watched.poll().ready
    watched.append([batch])
    assert batch.name == name and Ledger(Place(watched.folder.parent / "stream")).accepted[name].digest == batch.digest


def test_a_name_that_is_no_text_is_refused_once(watched: Watched) -> None:
    put(watched.folder / os.fsdecode(b"caf\xe9"), {**rows(2), "_SUCCESS": b""})
    (refusal,) = watched.poll().refused
    assert refusal.reason == "bad_name"
    watched.append([], [refusal])
    assert watched.poll().refused == []
    assert Ledger(Place(watched.folder.parent / "stream")).refused.keys() == {"caf\\xe9"}


def test_a_file_of_annotations_whose_name_is_no_text_is_refused(watched: Watched) -> None:
    table = {os.fsdecode(b"caf\xe9.csv"): b"file_name,text\n0.png,3\n"}
    put(watched.folder / "a", {**table, "0.png": PNG, "_SUCCESS": b""})
    (refusal,) = watched.poll().refused
    assert refusal.reason == "bad_name" and "must be UTF-8" in refusal.detail
    watched.append([], [refusal])
    assert Ledger(Place(watched.folder.parent / "stream")).reasons == {"bad_name": 1}


def test_a_large_known_batch_is_not_listed_at_each_look(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    put(watched.folder / "a", {**rows(2), "_SUCCESS": b""})
    watched.append(watched.poll().ready)
    looks = 0

    def slowly(place: Place) -> Any:
        nonlocal looks
        looks += 1
        watched.clock.now += 0.5
        return list_files(place)

    monkeypatch.setattr(folder_module, "list_files", slowly)
    for _ in range(60):
        watched.poll()
    assert 4 <= looks <= 8
