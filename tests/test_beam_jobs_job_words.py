"""What a command line says of its job before Beam is imported, and what a dry run prints."""

import os
from pathlib import Path

import pytest

from beam_jobs.__main__ import COMMANDS
from beam_jobs.job.words import refuse_local_on_dataflow, runner_name
from beam_jobs.prepare import local
from tests.test_beam_jobs_prepare_interrupts import digests
from tfrecords.cli import main
from tfrecords.errors import UserError


def run(command: str, source: Path, output: Path | str, *options: str) -> int:
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), *options]
    return main("beam_jobs", "", COMMANDS, [command, *arguments])


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], ""),
        (["--streaming"], ""),
        (["--runner", "FlinkRunner", "--parallelism", "2"], "FlinkRunner"),
        (["--runner=DataflowRunner"], "DataflowRunner"),
        (["--runner", "A", "--runner=B"], "B"),
        (["--runner"], ""),
    ],
)
def test_the_runner_is_named_by_its_option(words: list[str], name: str) -> None:
    assert runner_name(words) == name


def test_dataflow_takes_addresses_only() -> None:
    words = ["--runner", "dataflow"]
    refuse_local_on_dataflow(words, {"--input": "gs://b/labels.csv", "--media-root": None, "--output": "gs://b/out"})
    refuse_local_on_dataflow(["--runner", "FlinkRunner"], {"--input": "labels.csv"})
    for flag in ("--input", "--media-root", "--output"):
        with pytest.raises(UserError, match=f"no local path: {flag} must be at an address, as gs://. Received: here$"):
            refuse_local_on_dataflow(words, {"--input": "gs://b", "--output": "gs://b", flag: "here"})
    for flag in ("--temp_location", "--staging_location"):
        with pytest.raises(UserError, match=f"no local path: {flag} must be at an address"):
            refuse_local_on_dataflow([*words, f"{flag}=here"], {"--input": "gs://b"})


@pytest.mark.parametrize(
    "words", [["--num_workers", "3"], ["--max_num_workers=3"], ["--parallelism", "3"]], ids=" ".join
)
def test_a_number_of_workers_that_only_a_service_heeds_is_a_warning_here(
    words: list[str], drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = words[0].partition("=")[0]
    assert run("prepare", drawn, tmp_path / "out", "--dry-run", *words) == 0
    assert f"warning: without --runner, {flag} changes nothing: --workers starts" in capsys.readouterr().err
    assert run("prepare", drawn, tmp_path / "out", "--dry-run", "--runner", "PrismRunner", *words) == 0
    assert "changes nothing" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["prepare", "explore"])
def test_a_local_path_on_dataflow_is_refused_before_anything_is_read(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, tmp_path / "gone", "gs://bucket/out", "--runner", "DataflowRunner") == 1
    assert capsys.readouterr().err == (
        f"error: Dataflow's workers see no local path: --input must be at an address, as gs://. "
        f"Received: {tmp_path / 'gone'}\n"
    )


@pytest.mark.parametrize("words", [["--dry-run"], ["--dry_run"], ["--dry_run", "True"]], ids=" ".join)
def test_a_dry_run_prints_what_would_be_done_and_writes_nothing(
    words: list[str], drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("prepare", drawn, tmp_path / "out", *words, "--shards", "3", "--validation-fraction", "0") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"subset     train: 60 entries in {drawn / 'train'}",
        f"subset     test: 20 entries in {drawn / 'test'}",
        "pictures   80",
        "split      train: 3 shards, 5 examples of each picture",
        "split      test: 1 shard, 1 example of each picture",
        f"output     {tmp_path / 'out'}: no dataset yet",
        "runner     this machine, 1 process",
        "Nothing was written (--dry-run).",
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "state"),
    [([], "this dataset is complete, and would be kept"), (["--overwrite"], "a dataset, which would be replaced")],
)
def test_a_dry_run_names_the_dataset_that_is_there_and_leaves_it(
    options: list[str], state: str, drawn: Path, records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(records)
    cluster = ["--runner", "FlinkRunner", "--flink_master", "h:1"]
    relative = os.path.relpath(records)
    made_with = ["--seed", "3", "--validation-fraction", "0.2", "--examples-per-shard", "80"]
    assert run("prepare", drawn, relative, "--dry-run", *made_with, *options, *cluster) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:-1] == [f"output     {records}: {state}", "runner     FlinkRunner at h:1"]
    assert digests(records) == before


def test_a_dry_run_refuses_what_the_job_would_refuse(
    drawn: Path, records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("prepare", drawn, records, "--dry-run", "--seed", "5") == 1
    assert "with other settings: give --overwrite to replace it" in capsys.readouterr().err


def test_a_dry_run_says_how_far_an_interrupted_run_came(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise UserError("stopped before the manifest")

    monkeypatch.setattr(local, "publish_dataset", stop)
    assert run("prepare", drawn, tmp_path / "out", "--workers", "1") == 1
    before = digests(tmp_path / "out")
    assert run("prepare", drawn, tmp_path / "out", "--dry-run") == 0
    assert "out: an unfinished run of this dataset would be resumed, 3 of 3 shards\n" in capsys.readouterr().out
    assert run("prepare", drawn, tmp_path / "out", "--dry-run", "--seed", "5") == 1
    assert "an unfinished dataset with other settings" in capsys.readouterr().err
    assert digests(tmp_path / "out") == before


def test_explore_has_a_dry_run(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explore", drawn, tmp_path / "out.html", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        f"output     {tmp_path / 'out.html'}",
        f"output     {tmp_path / 'out.statistics.json'}",
        "runner     FnApiRunner",
        "Nothing was written (--dry-run).",
    ]
    assert not list(tmp_path.iterdir())


def test_a_dry_run_is_true_or_false(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("prepare", drawn, tmp_path / "out", "--dry_run", "perhaps")
    assert "must be true or false" in capsys.readouterr().err
