"""The commit: snapshots that are created once, and the manifest that follows them and never goes back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tfrecords
from beam_jobs.watch.commit import Known, commit, describe, newest, part_of, repair
from beam_jobs.watch.ledger import LostStreamError
from tfrecords.cards.facts import save_about
from tfrecords.cards.files import find_card_errors, write_cards
from tfrecords.dataset.about import About
from tfrecords.dataset.manifest import Manifest
from tfrecords.dataset.snapshots import Snapshot, load_manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place

Make = Callable[[int], Snapshot]


@pytest.fixture
def stream(tmp_path: Path, records: Path) -> Place:
    """A stream with two generations and no snapshot."""
    (tmp_path / "stream.json").write_text("{}")
    for number in range(2):
        (tmp_path / "generations").mkdir(exist_ok=True)
        (tmp_path / "generations" / f"{number:08d}").symlink_to(records)
    return Place(tmp_path)


def snapshot_of(stream: Place, number: int, known: Known | None = None) -> Snapshot:
    parts = [part_of(stream, f"generations/{each:08d}") for each in range(number + 1)]
    return describe(stream, number, parts, 3 * (number + 1), known)


def test_a_commit_is_read_by_number_and_as_the_manifest_of_the_stream(stream: Place, records: Path) -> None:
    known: Known = {}
    assert newest(stream) is None
    for number in range(2):
        commit(stream, snapshot_of(stream, number, known), known)
    last = newest(stream)
    one = Manifest.load(records)
    assert last and last.snapshot == 1 and last.batches == 6
    assert {name: total.examples for name, total in last.totals.items()} == {
        name: 2 * info.examples for name, info in one.splits.items()
    }
    assert load_manifest(stream) == load_manifest(stream, 1) != load_manifest(stream, 0)
    assert len(tfrecords.open(str(stream), "test")) == 40
    assert list(known) == last.parts


def test_a_commit_that_was_made_is_kept_and_another_one_of_its_number_is_refused(stream: Place) -> None:
    snapshot = snapshot_of(stream, 0)
    commit(stream, snapshot)
    commit(stream, snapshot)
    with pytest.raises(LostStreamError, match=r"00000000\.json must be this process' to write"):
        commit(stream, Snapshot(0, snapshot.parts, snapshot.totals, {}, batches=99))
    assert newest(stream) == snapshot


def test_a_manifest_that_lags_or_is_lost_is_written_again(stream: Place) -> None:
    commit(stream, snapshot_of(stream, 0))
    old = (stream / "manifest.json").read_bytes()
    commit(stream, snapshot_of(stream, 1))
    new, last = (stream / "manifest.json").read_bytes(), newest(stream)
    assert last and not repair(stream, last)
    for content in (old, b"{", None):
        (stream / "manifest.json").delete()
        if content:
            (stream / "manifest.json").write([content])
        assert repair(stream, last) and (stream / "manifest.json").read_bytes() == new


def test_nothing_is_committed_that_names_a_directory_without_its_manifest(stream: Place) -> None:
    snapshot = snapshot_of(stream, 1)
    (stream.path / "generations" / "00000001").unlink()
    with pytest.raises(UserError, match="this manifest, and it is missing"):
        commit(stream, snapshot)
    with pytest.raises(UserError, match="the directory was just made"):
        part_of(stream, "generations/00000001")
    assert newest(stream) is None and not (stream / "manifest.json").exists()


def test_the_snapshot_is_there_before_the_manifest_names_its_files(
    stream: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    write, create = Place.write, Place.create

    def noted(method: Callable[[Place, Any], Any]) -> Callable[[Place, Any], Any]:
        def note(place: Place, data: Any) -> Any:
            order.append(place.name)
            return method(place, data)

        return note

    monkeypatch.setattr(Place, "write", noted(write))
    monkeypatch.setattr(Place, "create", noted(create))
    commit(stream, snapshot_of(stream, 0))
    assert order == ["00000000.json", "README.md", "croissant.json", "manifest.json"]
    assert json.loads((stream / "snapshots" / "00000000.json").read_bytes())["version"] == 1


def test_the_manifest_of_a_process_that_was_paused_never_stays_behind_a_newer_snapshot(
    stream: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = snapshot_of(stream, 0), snapshot_of(stream, 1)
    create = Place.create

    def pause(place: Place, data: bytes) -> bool:
        found = create(place, data)
        monkeypatch.undo()
        commit(stream, second)  # of the process that has taken the stream over meanwhile
        return found

    monkeypatch.setattr(Place, "create", pause)
    with pytest.raises(LostStreamError, match="another one has committed snapshot 1"):
        commit(stream, first)
    assert load_manifest(stream) == load_manifest(stream, 1)
    with pytest.raises(LostStreamError):
        repair(stream, first)
    assert load_manifest(stream) == load_manifest(stream, 1)


def test_a_stream_has_the_cards_of_its_newest_snapshot_with_what_its_owner_states_now(stream: Place) -> None:
    import mlcroissant

    for number in range(2):
        commit(stream, snapshot_of(stream, number))
    manifest, data = load_manifest(stream), stream.path.joinpath("manifest.json").read_bytes()
    assert list(find_card_errors(stream, manifest, data, True)) == []
    last = newest(stream)
    assert last and not repair(stream, last)
    save_about(stream, About(licence="CC-BY-4.0"))
    assert not repair(stream, last)
    metadata = mlcroissant.Dataset(jsonld=str(stream.path / "croissant.json")).metadata
    assert metadata.ctx.is_live_dataset and metadata.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert "this is its snapshot 1." in str(metadata.description)
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    assert {each.uuid: each.sha256 for each in metadata.file_objects} == {
        "manifest.json": None,
        **{shard.file: shard.sha256 for shard in shards},
    }
    # A kill between the cards and the manifest.
    write_cards(stream, {"croissant.json": b"{}"})
    assert not repair(stream, last)
    assert list(find_card_errors(stream, manifest, data, True)) == []
