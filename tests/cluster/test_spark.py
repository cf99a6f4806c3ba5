"""`prepare` on a Spark cluster with two workers."""

from pathlib import Path

import pytest

from tests.cluster import jobs
from tests.cluster.conftest import FLAGS
from tests.cluster.page import commands
from tests.cluster.spark import Spark

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_spark_writes_the_same_bytes(
    spark_cluster: Spark, boot: Path, pictures: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "records"
    places = {"/mnt/svhn-records": str(output), "/mnt/svhn": str(pictures), "/opt/streetdigits-boot": str(boot)}
    places |= {"localhost:8099": f"127.0.0.1:{spark_cluster.job_port}"}
    (words,) = commands("spark", {**places, "/opt/spark-job-server/job-server.jar": str(spark_cluster.jar)})
    jobs.check(jobs.run([*words, *FLAGS]))
    assert jobs.digests(output) == expected
    # Otherwise the job server has done it all by itself.
    assert spark_cluster.executors() == [1, 2]
