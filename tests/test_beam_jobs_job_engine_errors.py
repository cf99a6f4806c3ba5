"""Errors of engines, which are texts of many lines: the one that a launcher prints."""

import pytest

from beam_jobs.job.engine_errors import cause, is_hopeless, our_error

FLINK = """\
org.apache.flink.client.program.ProgramInvocationException: Job failed (JobID: 6a1)
\tat org.apache.flink.client.deployment.ClusterClientJobClientAdapter.lambda$null$6(Adapter.java:130)
Caused by: org.apache.flink.runtime.JobException: Recovery is suppressed by NoRestartBackoffTimeStrategy
\t... 4 more
Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 4: Traceback (most recent call):
  File "apache_beam/runners/common.py", line 1501, in process
  File "beam_jobs/prepare/transforms.py", line 90, in setup
%s
\tat java.base/java.util.concurrent.CompletableFuture.reportGet(CompletableFuture.java:396)
"""
CAUSES = {
    "a worker's error of ours": (
        FLINK % "tfrecords.errors.UserError: a.png cannot be written. Received: full [while running 'WriteShard']",
        "a.png cannot be written. Received: full",
    ),
    "a missing module": (
        FLINK % "ModuleNotFoundError: No module named 'cv2' [while running 'ref_AppliedPTransform_WriteShard_21']",
        "ModuleNotFoundError: No module named 'cv2'",
    ),
    "a cause of Java's": (
        "java.lang.IllegalStateException: no\n\tat a.B.c(B.java:1)\nCaused by: java.net.ConnectException: refused\n",
        "java.net.ConnectException: refused",
    ),
    "the innermost of several causes of Java's": (
        "x\nCaused by: a.One: 1\n\tat x\nCaused by: org.apache.spark.Lost: executor 2\n\tat y\n",
        "org.apache.spark.Lost: executor 2",
    ),
    "gRPC's": (
        '<_InactiveRpcError of RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n\tdetails = "no route"\n>',
        "no route (StatusCode.UNAVAILABLE)",
    ),
    "one line": ("Job failed.", "Job failed."),
    "nothing": ("", "unknown"),
}


@pytest.mark.parametrize(("text", "line"), CAUSES.values(), ids=CAUSES)
def test_the_cause_of_an_error_is_its_innermost_line(text: str, line: str) -> None:
    assert cause(text) == line


def test_a_long_line_is_cut() -> None:
    assert len(cause(f"ValueError: {'x' * 9999}")) < 600


def test_only_a_worker_that_lacks_something_makes_a_job_hopeless() -> None:
    blind = "tfrecords.errors.UserError: worker b does not see /data; mount it there or use s3://, gs://"
    assert is_hopeless(FLINK % blind) and our_error(FLINK % blind) == blind.partition(": ")[2]
    assert not is_hopeless(FLINK % "tfrecords.errors.UserError: a.png cannot be written. Received: full")
    assert not is_hopeless("ValueError: worker b does not see it")
