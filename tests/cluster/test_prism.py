"""`prepare` on Prism, Beam's engine for one machine, with pictures and records in folders and in S3: the short part."""

import signal
from pathlib import Path

import pytest

from tests.cluster import hidden, jobs
from tests.cluster.conftest import FLAGS
from tests.cluster.page import commands
from tests.stores import Bucket

pytestmark = pytest.mark.cluster
SECONDS_TO_REFUSE = 60


def on_prism(prism: Path, pictures: Path | str, output: Path | str) -> list[str]:
    """Returns the page's command."""
    (words,) = commands("prism", {"svhn-records": str(output), "~/go/bin/prism": str(prism)})
    words[words.index("--input") + 1] = str(pictures)
    return [*words, *FLAGS]


def test_prism_writes_the_same_bytes_with_workers_in_the_launcher(
    prism: Path, pictures: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    jobs.check(jobs.run(on_prism(prism, pictures, tmp_path / "records")))
    assert jobs.digests(tmp_path / "records") == expected


def test_prism_writes_the_same_bytes_with_workers_as_processes(
    prism: Path, pictures: Path, boot: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    words = [*on_prism(prism, pictures, tmp_path / "records"), *jobs.process_environment(boot)]
    jobs.check(jobs.run(words))
    assert jobs.digests(tmp_path / "records") == expected


def test_prism_reads_pictures_from_s3(
    prism: Path, stored: Bucket, store: str, expected_few: dict[str, str], tmp_path: Path
) -> None:
    words = on_prism(prism, f"{stored.address}/svhn", tmp_path / "records")
    jobs.check(jobs.run(words, jobs.s3_environment(store)))
    assert jobs.digests(tmp_path / "records") == expected_few


def test_prism_reads_from_s3_and_writes_to_s3_as_the_page_says(
    prism: Path, stored: Bucket, store: str, expected_few: dict[str, str]
) -> None:
    places = {"http://HOST:9000": store, "s3://BUCKET": stored.address, "~/go/bin/prism": str(prism)}
    jobs.run_block(commands("s3", places), FLAGS)
    assert jobs.stored_digests(stored, "svhn-records") == expected_few


def test_fewer_shards_leave_no_stale_ones_on_s3(prism: Path, stored: Bucket, store: str) -> None:
    output = f"{stored.address}/fewer"
    for flags in ([], ["--examples-per-shard", "200", "--overwrite"]):
        words = [*on_prism(prism, f"{stored.address}/svhn", output), *flags]
        jobs.check(jobs.run(words, jobs.s3_environment(store)))
    jobs.check(jobs.run(["python", "-m", "tfrecords", "validate", output], jobs.s3_environment(store)))
    names = [name for name in jobs.stored_digests(stored, "fewer") if "tfrecord" in name]
    assert names and len({name.rpartition("-of-")[2] for name in names if "train" in name}) == 1, names


def test_a_wrong_option_is_refused_in_one_line(prism: Path, pictures: Path, tmp_path: Path) -> None:
    done = jobs.run([*on_prism(prism, pictures, tmp_path / "records"), "--jiters", "0"])
    assert done.code in (1, 2)
    assert done.errors.count("\n") == 1 and "--jiters" in done.errors, done.errors
    assert not (tmp_path / "records").exists()


def test_a_folder_that_workers_do_not_see_is_one_line_within_seconds(
    prism: Path, pictures: Path, boot: Path, tmp_path: Path
) -> None:
    blind = hidden.write_blind_boot(tmp_path / "boot", boot, pictures)
    words = [*on_prism(prism, pictures, tmp_path / "records"), *jobs.process_environment(blind)]
    done = jobs.run(words, seconds=SECONDS_TO_REFUSE)
    jobs.check_unseen(done, pictures)


def test_ctrl_c_ends_the_job_and_the_same_command_resumes(
    prism: Path, pictures: Path, boot: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "records"
    words = [*on_prism(prism, pictures, output), *jobs.process_environment(boot)]
    process = jobs.start(words, tmp_path / "log.txt")
    try:
        process.wait_until(lambda: len(jobs.shards(output)) >= 2, "two shards")
        process.send(signal.SIGINT)
        assert process.wait(30) == 130
        assert "Traceback" not in process.tail()
    finally:
        process.kill()
    assert not (output / "manifest.json").exists()
    jobs.check(jobs.run(words))
    assert jobs.digests(output) == expected
