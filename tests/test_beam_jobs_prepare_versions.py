"""Versions that decide bytes: workers have the launcher's, or are refused, or the manifest lists theirs."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from beam_jobs.prepare import plan as planning
from beam_jobs.prepare import versions as own
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.survey import Survey
from beam_jobs.prepare.versions import check_worker, versions
from tests.test_beam_jobs_prepare_resume import digests, prepare
from tfrecords import Manifest, UserError
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.dataset.manifest import MANIFEST, WorkerVersions
from tfrecords.files.place import Place

SCHEMA = json.loads((Path(own.__file__).parents[2] / "tfrecords" / "manifest.schema.json").read_text())
SHARDS = 6
"""Shards of the drawn pictures: four of train, one of each other split."""


def others() -> dict[str, str]:
    """Returns this environment's versions, with an older NumPy."""
    return {**versions("svhn"), "numpy": "2.1.0"}


@pytest.fixture
def older_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the workers of this process take themselves for older than their launcher."""
    found = others()
    monkeypatch.setattr(own, "versions", lambda _: found)


def _plan(tmp_path: Path, run_id: str, allow: bool, launcher: dict[str, str]) -> Plan:
    return Plan(PrepareConfig(), (), {}, Place(tmp_path), run_id, Survey(5, {}), False, launcher, allow)


def test_a_complete_dataset_of_other_versions_is_kept_with_a_note(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(drawn, tmp_path / "out") == 0
    before = digests(tmp_path / "out")
    assert prepare(drawn, tmp_path / "out") == 0
    assert "was made with" not in capsys.readouterr().out
    monkeypatch.setattr(planning, "versions", lambda _: others())
    assert prepare(drawn, tmp_path / "out") == 0
    note = f"note: it was made with numpy {versions('svhn')['numpy']}, now 2.1.0: --overwrite makes it again\n"
    assert note in capsys.readouterr().out
    assert digests(tmp_path / "out") == before


def test_versions_are_those_of_the_packages_that_the_source_needs() -> None:
    assert versions("svhn").keys() - versions("mnist").keys() == {"h5py"}
    assert next(iter(versions("svhn"))) == "streetdigits"


def test_a_worker_with_the_launchers_versions_has_nothing_to_say(tmp_path: Path) -> None:
    assert check_worker(_plan(tmp_path, "same", False, versions("svhn"))) == {}
    assert not any(tmp_path.iterdir())


def test_a_worker_that_lacks_a_package_or_has_one_more_is_named_with_its_host(tmp_path: Path) -> None:
    launcher = versions("svhn")
    numpy = launcher.pop("numpy")
    with pytest.raises(UserError) as raised:
        check_worker(_plan(tmp_path, "fewer", False, {**launcher, "pillow-jxl-plugin": "1.3.7"}))
    assert str(raised.value) == (
        f"worker {socket.gethostname()} has pillow-jxl-plugin none, the launcher 1.3.7; numpy {numpy}, the launcher "
        "none: these decide a dataset's bytes (--allow-other-versions accepts them)"
    )


def test_a_process_compares_once_for_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _plan(tmp_path, "once", False, versions("svhn"))
    check_worker(plan)
    monkeypatch.setattr(own, "versions", lambda _: {})
    assert check_worker(plan) == {}


def test_a_worker_with_other_versions_fails_at_once_in_one_line(
    older_worker: None, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(drawn, tmp_path / "records") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    numpy = versions("svhn")["numpy"]
    assert line.startswith(f"error: worker {socket.gethostname()} has numpy 2.1.0, the launcher {numpy}: ")
    assert line.endswith("(--allow-other-versions accepts them)")
    assert not [*(tmp_path / "records").glob("*.tfrecord-*")]


def test_versions_that_were_accepted_are_in_the_manifest_and_inspect_shows_them(
    older_worker: None, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(drawn, tmp_path / "records", "--allow-other-versions") == 0
    manifest = Manifest.load(tmp_path / "records")
    assert manifest.versions == versions("svhn")
    assert manifest.worker_versions == [WorkerVersions(others(), SHARDS)]
    assert "allow_other_versions" not in manifest.config
    content = json.loads((tmp_path / "records" / MANIFEST).read_text())
    Draft202012Validator(SCHEMA).validate(content)
    capsys.readouterr()
    assert main("tfrecords", "", COMMANDS, ["inspect", str(tmp_path / "records")]) == 0
    assert f"  {SHARDS} shards by workers with numpy 2.1.0" in capsys.readouterr().out
    assert main("tfrecords", "", COMMANDS, ["validate", str(tmp_path / "records")]) == 0


def test_a_dataset_of_one_set_of_versions_has_no_word_of_workers(records: Path) -> None:
    assert "worker_versions" not in json.loads((records / MANIFEST).read_text())


def _interrupted(drawn: Path, output: Path) -> None:
    """Writes all shards as an older worker, fails before the manifest, and deletes one shard."""

    def fail(*_: Any) -> None:
        raise UserError("interrupted")

    with pytest.MonkeyPatch.context() as patch:
        found = others()
        patch.setattr(own, "versions", lambda _: found)
        patch.setattr("beam_jobs.prepare.local.publish_dataset", fail)
        assert prepare(drawn, output, "--allow-other-versions") == 1
    assert not (output / MANIFEST).exists()
    (output / "svhn-train.tfrecord-00002-of-00004").unlink()


def test_after_an_interruption_the_manifest_counts_the_shards_of_both_runs(drawn: Path, tmp_path: Path) -> None:
    _interrupted(drawn, tmp_path / "records")
    assert prepare(drawn, tmp_path / "records", "--allow-other-versions") == 0
    assert Manifest.load(tmp_path / "records").worker_versions == [WorkerVersions(others(), SHARDS - 1)]


def test_a_run_that_accepts_no_others_writes_their_shards_again(drawn: Path, tmp_path: Path) -> None:
    _interrupted(drawn, tmp_path / "records")
    assert prepare(drawn, tmp_path / "records") == 0
    assert prepare(drawn, tmp_path / "undisturbed") == 0
    assert digests(tmp_path / "records") == digests(tmp_path / "undisturbed")


def test_workers_that_only_read_annotations_are_listed_with_no_shard(drawn: Path, tmp_path: Path) -> None:
    _interrupted(drawn, tmp_path / "records")
    # The results of the older worker's shards are gone; what it left when it read annotations is not.
    results = tmp_path / "records" / ".prepare" / "results"
    for path in results.glob("*.arrow"):
        path.unlink()
    assert prepare(drawn, tmp_path / "records", "--allow-other-versions") == 0
    assert Manifest.load(tmp_path / "records").worker_versions == [WorkerVersions(others(), 0)]
