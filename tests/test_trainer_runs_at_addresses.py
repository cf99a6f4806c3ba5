"""Runs and datasets in a bucket: trained, killed, resumed, scored and exported as local ones."""

import contextlib
import io
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.failing_proxy import Proxy, Reset, Stall, Status
from tests.forked import Forked
from tests.stores import Bucket
from tests.test_trainer_distribute_strategy import hosts_of_a_cluster
from tests.test_trainer_fit_resume import OPTIONS, saved_history, saved_state
from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from trainer.__main__ import COMMANDS
from trainer.fit import loop as training
from trainer.fit.run_folder import WRITER
from trainer.fit.step import StepTotals, read_totals
from trainer.input.photos import find_photos
from trainer.models import MODELS
from trainer.reader import read_picture
from trainer.run.directory import CHECKPOINTS, CONFIG, HISTORY, WEIGHTS
from trainer.run.stand_in import place_beside

OFTEN = ["--checkpoint-steps", "3", "--keep-checkpoints", "2", "--deterministic"]
_AWS = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "no_proxy")


def _train(data: str, run_dir: str, cache: Path, kill: str = "", *options: str, **environment: str) -> Forked:
    command = ["train", "--data", data, "--run-dir", run_dir, "--cache", str(cache), *OPTIONS, *OFTEN, *options]
    return Forked(tiny.run, command, kill, **{name: os.environ[name] for name in _AWS}, **environment)


def _names(bucket: Bucket, prefix: str) -> list[str]:
    listed = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=prefix).get("Contents", [])
    return sorted(one["Key"].removeprefix(prefix) for one in listed)


def _download(bucket: Bucket, prefix: str, folder: Path) -> Path:
    for name in _names(bucket, f"{prefix}/"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.client.get_object(Bucket=bucket.name, Key=f"{prefix}/{name}")["Body"].read())
    return folder


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    yield


@pytest.mark.slow
@pytest.mark.usefixtures("own")
def test_a_run_in_a_bucket_killed_and_resumed_elsewhere_is_that_of_a_local_folder(
    records: Path, tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put_folder(records, "records")
    data, run_dir = f"{bucket.address}/records", f"{bucket.address}/runs/first"
    local = tmp_path / "local"
    started = _train(str(records), str(local), tmp_path / "unused")
    for index, kill in enumerate(("weights", "steps:6", "")):
        # Each start is on a machine of its own, whose cache is empty.
        code, output, errors = _train(data, run_dir, tmp_path / f"cache-{index}", kill).wait()
        assert code == (-signal.SIGKILL if kill else 0), errors
    assert "Resuming after step " in output
    assert f"The run is in {run_dir}. Next: python -m trainer evaluate --run-dir {run_dir} --data {data}\n" in output
    code, _, errors = started.wait()
    assert code == 0, errors
    found = _download(bucket, "runs/first", tmp_path / "found")
    assert saved_state(found) == saved_state(local)
    assert saved_history(found) == saved_history(local)
    names = _names(bucket, "runs/first/")
    assert [name for name in names if name.startswith(CHECKPOINTS)] == [
        f"{CHECKPOINTS}/{path.name}" for path in sorted((local / CHECKPOINTS).iterdir())
    ]
    assert len([name for name in names if name.startswith("tensorboard/")]) == 1
    assert {CONFIG, WEIGHTS, HISTORY} <= set(names) and WRITER not in names
    assert json.loads((found / CONFIG).read_bytes())["data"] == data
    # What is there was in the cache, and the folder of the run is gone.
    assert not (tmp_path / "unused").exists() and not list((tmp_path / "cache-2" / "runs").iterdir())
    _use(bucket, run_dir, data, tmp_path, capsys)


def _use(bucket: Bucket, run_dir: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Checks that the other commands read the run where it is, and write next to it."""
    cache = ["--cache", str(tmp_path / "cache")]
    work = [
        ["evaluate", "--run-dir", run_dir, "--data", data, *cache],
        ["report", "--run-dir", run_dir],
        ["report", "--run-dir", run_dir, "--output", f"{bucket.address}/pages/first.html"],
        ["explain", "--run-dir", run_dir, "--data", data, "--png", f"{bucket.address}/pages/png", *cache],
        ["export", "--run-dir", run_dir, "--output", f"{bucket.address}/models/reader.keras"],
        ["export", "--run-dir", run_dir, "--output", f"{bucket.address}/models/reader/1"],
        ["predict", "--run-dir", run_dir, "--data", data, "--split", "test", "--output", f"{run_dir}/p.csv", *cache],
        ["summary", "--run-dir", run_dir],
    ]
    for command in work:
        assert main("trainer", "", COMMANDS, command) == 0, command
        output, errors = capsys.readouterr()
        # No local folder of an address, and no name of one that stands for it.
        assert not Path("s3:").exists(), command
        assert "streetdigits-run-" not in output + errors, command
        if command[0] != "summary":
            assert "s3://" in output, command
        if command[0] == "export":
            # No library opens the address.
            loading = output.splitlines()[-1]
            assert loading.startswith("Copy it to a disk, and load it there with: import ") and "s3://" not in loading
    names = set(_names(bucket, "runs/first/"))
    assert {"evaluation-test.json", "predictions-test.parquet", "report.html", "explain.html", "p.csv"} <= names
    assert "reader.keras" in _names(bucket, "models/") and "saved_model.pb" in _names(bucket, "models/reader/1/")
    assert _names(bucket, "pages/png/") and "first.html" in _names(bucket, "pages/")
    page = bucket.client.get_object(Bucket=bucket.name, Key="pages/first.html")["Body"].read()
    assert b'<img src="data:image/' in page


@pytest.mark.slow
@pytest.mark.usefixtures("quick_steps", "own")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_waits_for_the_upload_of_its_checkpoint(
    records: Path,
    tmp_path: Path,
    proxy: Proxy,
    s3_endpoint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
) -> None:
    def read(result: Any) -> StepTotals:
        monkeypatch.setattr(training, "read_totals", read_totals)
        os.kill(os.getpid(), number)
        return read_totals(result)

    bucket = Bucket(s3_endpoint)
    monkeypatch.setattr(training, "read_totals", read)
    # The store refuses, resets and is slow: each upload comes through.
    proxy.fail(Status(503), method="PUT", contains="step-")
    proxy.fail(Reset(), method="PUT", contains="step-")
    proxy.fail(Stall(1.0), method="PUT", contains="step-")
    run_dir = f"{bucket.address}/run"
    command = ["train", "--data", str(records), "--run-dir", run_dir, "--cache", str(tmp_path / "cache"), *OPTIONS]
    assert main("trainer", "", COMMANDS, command) == code
    assert capsys.readouterr().err.endswith("stopped after step 4 and saved; run the same command again to resume\n")
    assert not proxy.pending
    assert _names(bucket, f"run/{CHECKPOINTS}/") == ["step-0000000004.npz"] and WRITER not in _names(bucket, "run/")
    proxy.fail(Status(503), method="GET", contains="step-")
    assert main("trainer", "", COMMANDS, [*command, "--epochs", "1"]) == 1
    printed = capsys.readouterr()
    assert f"error: {run_dir} already contains a run: use --overwrite" in printed.err
    assert main("trainer", "", COMMANDS, command) == 0
    printed = capsys.readouterr()
    assert "Resuming after step 4, in epoch 1." in printed.out and not proxy.pending
    assert main("trainer", "", COMMANDS, command) == 0
    assert f"The run in {run_dir} is already complete; use --overwrite to retrain." in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("quick_steps", "own")
def test_a_training_that_another_has_taken_over_ends_and_writes_no_more_checkpoints(
    records: Path,
    tmp_path: Path,
    bucket: Bucket,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = 0

    def read(result: Any) -> StepTotals:
        nonlocal steps
        steps += 1
        if steps == 4:
            bucket.put(f"run/{WRITER}", b'{"token": "other", "host": "elsewhere", "process": 7}')
        return read_totals(result)

    monkeypatch.setattr(training, "read_totals", read)
    command = ["train", "--data", str(records), "--run-dir", f"{bucket.address}/run"]
    command += ["--cache", str(tmp_path / "cache"), *OPTIONS, "--checkpoint-steps", "2"]
    assert main("trainer", "", COMMANDS, command) == 1
    errors = capsys.readouterr().err
    expected = f"error: Another training has taken over the run in {bucket.address}/run: this one ends. "
    assert expected + "Received: process 7 on elsewhere\n" in errors
    assert all(name <= "step-0000000004.npz" for name in _names(bucket, f"run/{CHECKPOINTS}/"))
    assert b"elsewhere" in bucket.client.get_object(Bucket=bucket.name, Key=f"run/{WRITER}")["Body"].read()


@pytest.mark.slow
def test_two_hosts_with_caches_of_their_own_train_as_with_a_shared_folder(
    records: Path, tmp_path: Path, bucket: Bucket
) -> None:
    bucket.put_folder(records, "records")

    def start(data: str, run_dir: str) -> list[Forked]:
        hosts = enumerate(hosts_of_a_cluster(2))
        return [
            _train(data, run_dir, tmp_path / f"cache-{index}", TF_CONFIG=host, TF_CPP_MIN_LOG_LEVEL="3")
            for index, host in hosts
        ]

    ended = [host.wait() for host in start(f"{bucket.address}/records", f"{bucket.address}/run")]
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert f"the chief has written {bucket.address}/run." in ended[1][1]
    ended = [host.wait() for host in start(str(records), str(tmp_path / "run"))]
    assert [code for code, _, _ in ended] == [0, 0], ended
    found = _download(bucket, "run", tmp_path / "found")
    assert saved_state(found) == saved_state(tmp_path / "run") and saved_history(found) == saved_history(
        tmp_path / "run"
    )


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "https://example.org/run",
            "--run-dir must be local or in a store, as s3:// or gs://",
        ),
        ("s3:/bucket/run", "An address needs :// after its scheme"),
    ],
)
def test_a_run_is_refused_where_it_cannot_be_written(
    records: Path, capsys: pytest.CaptureFixture[str], address: str, message: str
) -> None:
    with contextlib.suppress(SystemExit):
        assert main("trainer", "", COMMANDS, ["train", "--data", str(records), "--run-dir", address]) == 1
    assert message in capsys.readouterr().err
    assert not Path("s3:").exists()


def test_a_dataset_in_a_bucket_takes_no_run_and_a_folder_without_a_run_is_named(
    records: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put("records/manifest.json", (records / "manifest.json").read_bytes())
    data = f"{bucket.address}/records"
    assert main("trainer", "", COMMANDS, ["train", "--data", str(records), "--run-dir", data]) == 1
    assert f"--run-dir must be another folder than one of a dataset. Received: {data}" in capsys.readouterr().err
    for command in (["report"], ["summary"], ["evaluate", "--data", str(records)]):
        assert main("trainer", "", COMMANDS, [*command, "--run-dir", data]) == 1
        assert f"error: {data} is not a run directory: it has no config.json." in capsys.readouterr().err
    assert main("trainer", "", COMMANDS, ["evaluate", "--data", data, "--split", "test", "--weights", "street"]) == 1
    errors = capsys.readouterr().err
    assert f"error: {data}/svhn-test.tfrecord-" in errors and "there is no such shard." in errors


@pytest.mark.parametrize("command", ["evaluate", "explain", "predict", "export"])
def test_who_may_only_read_a_store_learns_it_before_the_work(
    command: str, records: Path, untrained: Path, s3_endpoint: str, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = Bucket(s3_endpoint)
    bucket.put_folder(untrained, "run")
    run, data = f"{bucket.address}/run", ["--data", str(records), "--split", "test"]
    options = {
        "evaluate": data,
        "explain": data,
        "predict": [*data, "--output", f"{run}/answers.csv"],
        "export": ["--output", f"{run}/reader.keras"],
    }
    proxy.fail(Status(403), method="PUT", times=-1)
    assert main("trainer", "", COMMANDS, [command, "--run-dir", run, *options[command]]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {run}/.") and ".probe may not be written: the key needs the right to " in error
    assert proxy.count("PUT") == 1


def test_results_are_not_written_into_the_bucket_next_to_a_bucket() -> None:
    assert place_beside(Place("s3://bucket/records"), "-street").text == "s3://bucket/records-street"
    with pytest.raises(UserError, match=r"^Nothing can be written next to a bucket: give --output\. .*s3://bucket$"):
        place_beside(Place("s3://bucket/"), "-street")


def test_pictures_and_folders_of_them_are_found_at_addresses(drawn: Path, bucket: Bucket) -> None:
    bucket.put_folder(drawn / "test", "photos")
    bucket.put("photos/notes.txt", b"text")
    folder = f"{bucket.address}/photos"
    left_out: Counter[str] = Counter()
    names = [folder, f"{folder}/1.png", f"{bucket.address}/nothing", "-"]
    found = list(find_photos(names, io.BytesIO(f"{folder}/2.png\n".encode()), b"\n", left_out))
    inside = sorted(f"{folder}/{path.name}" for path in (drawn / "test").glob("*.png"))
    assert found == [*inside, f"{folder}/1.png", f"{bucket.address}/nothing", f"{folder}/2.png"]
    assert left_out[".txt"] == 1
    pixels = read_picture(Place(f"{folder}/1.png"))
    assert (pixels == read_picture(Place(drawn / "test" / "1.png"))).all()
