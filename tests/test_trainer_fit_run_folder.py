"""The local folder in place of a run at an address: what it publishes once another process has the run."""

from pathlib import Path

import pytest

from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from trainer.fit.run_folder import WRITER, RemoteRunFolder, check_run_directory, open_run_folder
from trainer.fit.uploads import TakenOverError
from trainer.run.cache_folder import CacheFolder
from trainer.run.directory import CHECKPOINTS, CONFIG, HISTORY, WEIGHTS

NEWEST = f"{CHECKPOINTS}/step-0000000004.npz"


def folder_of(place: Place, root: Path) -> RemoteRunFolder:
    for name in ("run", "spool"):
        (root / name).mkdir(parents=True)
    folder = RemoteRunFolder(place, root / "run", 2, root / "spool")
    (root / "run" / CHECKPOINTS).mkdir()
    (root / "run" / CONFIG).write_text("{}")
    return folder


@pytest.mark.parametrize("name", [WEIGHTS, HISTORY, NEWEST])
def test_a_run_that_another_process_has_gets_no_file_of_this_one(name: str, bucket: Bucket, tmp_path: Path) -> None:
    run = Place(bucket.address) / "run"
    ours, others = folder_of(run, tmp_path / "ours"), folder_of(run, tmp_path / "others")
    ours.prepare(overwrite=False)
    ours.claim()
    others.claim()
    bucket.put(f"run/{name}", b"the other's")
    (ours.path / name).write_bytes(b"ours")
    with pytest.raises(TakenOverError, match=r"^Another training has taken over the run"):
        ours.finish()
    assert (run / name).read_bytes() == b"the other's"


def test_a_run_that_another_process_has_loses_no_checkpoint(bucket: Bucket, tmp_path: Path) -> None:
    run = Place(bucket.address) / "run"
    for step in (1, 2, 3):
        bucket.put(f"run/{CHECKPOINTS}/step-{step:010d}.npz", b"no archive")
    ours, others = folder_of(run, tmp_path / "ours"), folder_of(run, tmp_path / "others")
    ours.refresh()
    ours.claim()
    others.claim()
    with pytest.raises(TakenOverError):
        ours.finish()
    assert len((run / CHECKPOINTS).names()) == 3


def test_the_mark_of_another_process_stays(bucket: Bucket, tmp_path: Path) -> None:
    run = Place(bucket.address) / "run"
    ours, others = folder_of(run, tmp_path / "ours"), folder_of(run, tmp_path / "others")
    ours.prepare(overwrite=False)
    ours.claim()
    others.claim()
    mark = (run / WRITER).read_bytes()
    with pytest.raises(TakenOverError):
        ours.finish()
    assert (run / WRITER).read_bytes() == mark
    others.finish()
    assert not (run / WRITER).exists()


def test_runs_whose_names_begin_alike_are_two(bucket: Bucket, tmp_path: Path) -> None:
    run = Place(bucket.address) / "run"
    kept = {f"run2/{CONFIG}", f"run2/{CHECKPOINTS}/step-0000000001.npz", f"run/{CHECKPOINTS}2/x"}
    for key in (*kept, f"run/{WEIGHTS}", f"run/{NEWEST}"):
        bucket.put(key, b"1")
    folder_of(run, tmp_path).prepare(overwrite=True)
    found = {each["Key"] for each in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]}
    assert found == kept | {f"run/{CONFIG}"}


def test_a_run_is_trained_by_one_process_of_a_machine(bucket: Bucket, tmp_path: Path) -> None:
    run, cache = Place(bucket.address) / "run #1 %20", CacheFolder(tmp_path, 1)
    with open_run_folder(run, cache, 2, 0, overwrite=False):
        with pytest.raises(UserError, match=r"^Another process of this machine"):
            open_run_folder(run, cache, 2, 0, overwrite=False).__enter__()
        with open_run_folder(run, cache, 2, 1, overwrite=False) as other_host:
            assert other_host.path.name == "run #1 %20"
    assert not list(tmp_path.rglob("spool"))


def test_a_dataset_at_an_address_takes_no_run(bucket: Bucket) -> None:
    bucket.put("records/manifest.json")
    with pytest.raises(UserError, match="another folder than one of a dataset"):
        check_run_directory(Place(bucket.address) / "records")
    check_run_directory(Place(bucket.address) / "record")
