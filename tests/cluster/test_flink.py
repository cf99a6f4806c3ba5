"""`prepare` on Flink with two TaskManagers: all of it, losses, stores, and what a user does wrong."""

import os
import signal
from pathlib import Path

import pytest

from tests.cluster import hidden, jobs
from tests.cluster.conftest import FLAGS
from tests.cluster.flink import Flink
from tests.cluster.page import commands
from tests.cluster.processes import Process, command_line, descendants
from tests.stores import Bucket

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def on_flink(cluster: Flink, boot: Path, pictures: Path, output: Path) -> list[str]:
    """Returns the page's command."""
    places = {"/mnt/svhn-records": str(output), "/mnt/svhn": str(pictures), "/opt/streetdigits-boot": str(boot)}
    (words,) = commands("flink", {**places, "localhost:8099": f"127.0.0.1:{cluster.job_port}"})
    return [*words, *FLAGS]


def new_job(cluster: Flink, before: set[str]) -> str:
    """Returns the id of the only job that was started since."""
    (job,) = set(cluster.jobs()) - before
    return job


def test_flink_writes_the_same_bytes_and_both_task_managers_work(
    cluster: Flink, boot: Path, pictures: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    before = set(cluster.jobs())
    jobs.check(jobs.run(on_flink(cluster, boot, pictures, tmp_path / "records")))
    assert jobs.digests(tmp_path / "records") == expected
    job = new_job(cluster, before)
    assert cluster.jobs()[job] == "FINISHED"
    worked = cluster.worked(job)
    assert set(worked) == set(cluster.managers) and all(worked.values()), worked


def started(cluster: Flink, words: list[str], output: Path, log: Path) -> tuple[Process, str]:
    """Returns a running `prepare` that has written some shards and not all, and its job."""
    before = set(cluster.jobs())
    process = jobs.start(words, log)
    try:
        process.wait_until(lambda: len(jobs.shards(output)) >= 2, "two shards", poll_s=0.02)
        return process, new_job(cluster, before)
    except BaseException:
        process.kill()
        raise


def finish(process: Process, output: Path, expected: dict[str, str]) -> None:
    """Waits for the end of a job, and compares what it wrote."""
    try:
        assert process.wait(240) == 0, process.tail()
    finally:
        process.kill()
    assert jobs.digests(output) == expected


def test_a_task_manager_that_is_lost_in_the_middle_costs_nothing(
    cluster: Flink, boot: Path, pictures: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "records"
    words = on_flink(cluster, boot, pictures, output)
    process, job = started(cluster, words, output, tmp_path / "log.txt")
    name = next(iter(cluster.managers))
    cluster.stop_manager(name)
    assert not (output / "manifest.json").exists()
    cluster.start_manager(f"{name}-again")
    finish(process, output, expected)
    assert cluster.restarts(job) >= 1
    assert cluster.ask(f"/jobs/{job}")["state"] == "FINISHED"


def test_a_worker_that_is_killed_in_the_middle_costs_nothing(
    cluster: Flink, boot: Path, pictures: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "records"
    words = on_flink(cluster, boot, pictures, output)
    process, _ = started(cluster, words, output, tmp_path / "log.txt")
    workers = [
        pid
        for manager in cluster.managers.values()
        for pid in descendants(manager.pid)
        if "beam_jobs.job.boot" in command_line(pid)
    ]
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    assert not (output / "manifest.json").exists()
    finish(process, output, expected)


def test_flink_reads_from_s3_and_writes_to_s3_as_the_page_says(
    cluster: Flink, boot: Path, stored: Bucket, store: str, expected_few: dict[str, str]
) -> None:
    places = {"http://HOST:9000": store, "s3://BUCKET": stored.address, "/opt/streetdigits-boot": str(boot)}
    (words,) = commands("flink-s3", {**places, "localhost:8099": f"127.0.0.1:{cluster.job_port}"})
    jobs.check(jobs.run([*words, *FLAGS], jobs.s3_environment(store)))
    assert jobs.stored_digests(stored, "svhn-records") == expected_few


def test_a_wrong_option_is_refused_in_one_line(cluster: Flink, boot: Path, pictures: Path, tmp_path: Path) -> None:
    before = set(cluster.jobs())
    done = jobs.run([*on_flink(cluster, boot, pictures, tmp_path / "records"), "--jiters", "0"])
    assert done.code in (1, 2)
    assert done.errors.count("\n") == 1 and "--jiters" in done.errors, done.errors
    assert set(cluster.jobs()) == before and not (tmp_path / "records").exists()


def test_a_folder_that_workers_do_not_see_is_one_line_within_seconds(
    cluster: Flink, boot: Path, pictures: Path, tmp_path: Path
) -> None:
    before = set(cluster.jobs())
    blind = hidden.write_blind_boot(tmp_path / "boot", boot, pictures)
    words = on_flink(cluster, blind, pictures, tmp_path / "records")
    jobs.check_unseen(jobs.run(words), pictures)
    # A restart takes Flink some seconds, and five of them a minute and a half.
    assert cluster.restarts(new_job(cluster, before)) <= 1


def test_ctrl_c_cancels_the_job_and_the_same_command_resumes(
    cluster: Flink, boot: Path, pictures: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "records"
    words = on_flink(cluster, boot, pictures, output)
    before = set(cluster.jobs())
    process = jobs.start(words, tmp_path / "log.txt")
    try:
        # Before the first shard: the job must not end by itself.
        process.wait_until(lambda: bool(set(cluster.jobs()) - before), "a job")
        job = new_job(cluster, before)
        process.wait_until(lambda: cluster.jobs()[job] == "RUNNING", "the job runs")
        process.send(signal.SIGINT)
        assert process.wait(60) == 130, process.tail()
        assert "Traceback" not in process.tail()
        cluster.process.wait_until(lambda: cluster.jobs()[job] == "CANCELED", "the job is cancelled", 20)
    finally:
        process.kill()
    assert not (output / "manifest.json").exists()
    jobs.check(jobs.run(words))
    assert jobs.digests(output) == expected
