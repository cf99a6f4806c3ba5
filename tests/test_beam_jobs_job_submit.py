"""Jobs behind a job server: Beam's own local one, over gRPC, with workers in this process; no Go, Java or Docker."""

import inspect
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from apache_beam.metrics import monitoring_infos
from apache_beam.options.pipeline_options import DebugOptions, PortableOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_job_api_pb2_grpc
from apache_beam.runners.portability.local_job_service import BeamJob, LocalJobServicer
from apache_beam.runners.portability.stager import Stager

from beam_jobs.__main__ import COMMANDS
from beam_jobs.job import flink, job_server, submit, submitted
from beam_jobs.job.flink import cancel_job, web_address
from beam_jobs.job.job_server import described, options_of, unknown_to
from beam_jobs.job.mounts import Mounts
from beam_jobs.job.runner import is_of_cluster, make_pipeline, make_runner, parse_beam_options, runner_title
from beam_jobs.job.submitted import OtherJob, PortableJob
from beam_jobs.prepare import shard_work
from tests.test_beam_jobs_prepare_interrupts import digests
from tfrecords.cli import main
from tfrecords.errors import UserError

HINT = "the same command resumes"


class Endless(BeamJob):
    """A job that runs until it is cancelled."""

    def _run_job(self) -> None:
        self.set_state(api.JobState.RUNNING)


class Server(LocalJobServicer):
    """A job server that knows one option of its own."""

    def DescribePipelineOptions(self, request: Any, context: Any = None, timeout: Any = None) -> Any:
        return api.DescribePipelineOptionsResponse(
            options=[api.PipelineOptionDescriptor(name="checkpoint_interval", type=api.PipelineOptionType.INTEGER)]
        )


@pytest.fixture(autouse=True)
def restored_logs() -> Iterator[None]:
    """Restores what a launcher that was stopped leaves silenced."""
    disabled, hook = logging.root.manager.disable, threading.excepthook
    yield
    logging.disable(disabled)
    threading.excepthook = hook


def _serve(kind: type[BeamJob]) -> Iterator[str]:
    server = Server(beam_job_type=kind)
    try:
        yield f"localhost:{server.start_grpc_server()}"
    finally:
        server.stop(0)


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Address of a job server."""
    yield from _serve(BeamJob)


@pytest.fixture
def endless() -> Iterator[str]:
    """Address of a job server whose jobs never end by themselves."""
    yield from _serve(Endless)


def _portable(endpoint: str) -> list[str]:
    # Beam would send a list of all installed packages, which it asks pip for: seconds.
    quick = "--experiments=disable_logging_submission_environment"
    return ["--runner", "PortableRunner", "--job_endpoint", endpoint, "--environment_type", "LOOPBACK", quick]


def prepare(source: Path, output: Path, *options: str) -> int:
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), "--shards", "3", *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the only line of standard error that is no progress."""
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("prepare: ", "explore: "))]
    assert len(lines) == 1, lines
    return lines[0]


# --- jobs that end


def test_a_portable_job_makes_the_same_bytes_from_relative_paths_and_prints_its_address(
    endpoint: str, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare(drawn, tmp_path / "local") == 0
    assert "job: " not in capsys.readouterr().out
    monkeypatch.chdir(drawn.parent)
    output = Path(os.path.relpath(tmp_path / "portable"))
    assert prepare(Path(drawn.name), output, *_portable(endpoint), "--checkpoint_interval", "9") == 0
    shown = capsys.readouterr()
    assert f" on PortableRunner at {endpoint}\n" in shown.out and shown.out.startswith("job: job-")
    assert "prepare: 100 %, 80 of 80 pictures" in shown.err
    assert digests(tmp_path / "portable") == digests(tmp_path / "local")


def test_explore_runs_behind_a_job_server(endpoint: str, drawn: Path, tmp_path: Path) -> None:
    arguments = ["explore", "--source", "svhn", "--input", str(drawn)]
    assert main("beam_jobs", "", COMMANDS, [*arguments, "--output", str(tmp_path / "a.html")]) == 0
    assert (
        main("beam_jobs", "", COMMANDS, [*arguments, "--output", str(tmp_path / "b.html"), *_portable(endpoint)]) == 0
    )
    assert (tmp_path / "b.html").read_bytes() == (tmp_path / "a.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("a.html", "a.statistics.json", "b.html", "b.statistics.json")
    ]


@pytest.mark.parametrize("command", ["prepare", "explore"])
def test_a_path_that_workers_do_not_see_is_one_line_and_nothing_is_made(
    command: str,
    endpoint: str,
    drawn: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault = f"worker far does not see {drawn}; mount it there or use s3://, gs://"
    monkeypatch.setattr(Mounts, "fault", lambda self: fault)
    output = tmp_path / "out.html"
    arguments = ["--source", "svhn", "--input", str(drawn), "--output", str(output), *_portable(endpoint)]
    assert main("beam_jobs", "", COMMANDS, [command, *arguments]) == 1
    assert error_of(capsys) == f"error: {fault}"
    made = [path for path in tmp_path.rglob("*") if path.is_file() and ".prepare" not in path.parts]
    assert not made


def test_a_path_that_a_worker_does_not_see_when_others_have_written_leaves_no_dataset(
    endpoint: str, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = f"worker far does not see {drawn}; mount it there or use s3://, gs://"
    output = tmp_path / "out"
    monkeypatch.setattr(Mounts, "fault", lambda self: fault if any(output.glob("*.tfrecord-*")) else None)
    assert prepare(drawn, output, *_portable(endpoint), "--examples-per-shard", "20") == 1
    assert error_of(capsys) == f"error: {fault}"
    assert any(output.glob("*.tfrecord-*")) and not (output / "manifest.json").exists()
    monkeypatch.setattr(Mounts, "fault", lambda self: None)
    assert prepare(drawn, output, *_portable(endpoint), "--examples-per-shard", "20") == 0
    assert "were already complete" in capsys.readouterr().out


def test_nobody_lists_this_environment_for_a_cluster() -> None:
    options = parse_beam_options(["--runner", "FlinkRunner"], "prepare")
    make_runner(options)
    # A name of Beam's (2.77): it skips `pip freeze`.
    assert '"disable_logging_submission_environment"' in inspect.getsource(Stager).replace("'", '"')
    assert options.view_as(DebugOptions).lookup_experiment("disable_logging_submission_environment")


def test_an_error_of_a_worker_is_one_line(
    endpoint: str, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(shard_work, "make_shard", fail)
    error: Exception = UserError("The disk must have room.", 0)
    assert prepare(drawn, tmp_path / "out", *_portable(endpoint)) == 1
    assert error_of(capsys) == "error: The disk must have room. Received: 0"
    error = ZeroDivisionError("a bug")
    assert prepare(drawn, tmp_path / "out", *_portable(endpoint)) == 1
    assert error_of(capsys) == "error: ZeroDivisionError: a bug"
    assert prepare(drawn, tmp_path / "out", *_portable(endpoint), "--verbose") == 1
    assert "in process" in capsys.readouterr().err


# --- jobs that are stopped


def _when_running(act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls a function a little after a job was submitted."""
    follow = submit.Submission._follow

    def follow_and_act(self: submit.Submission, job: Any) -> None:
        timer = threading.Timer(0.3, act)
        timer.start()
        follow(self, job)

    monkeypatch.setattr(submit.Submission, "_follow", follow_and_act)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_cancels_the_job(
    number: int,
    name: str,
    endless: str,
    drawn: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _when_running(lambda: os.kill(os.getpid(), number), monkeypatch)
    assert prepare(drawn, tmp_path / "out", *_portable(endless)) == 128 + number
    assert error_of(capsys) == f"stopped: {name}; the job was cancelled; {HINT}"
    assert not list((tmp_path / "out").rglob(".launcher-*"))


def test_a_job_that_cannot_be_cancelled_is_named(
    endless: str, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitted, "_RPC_SECONDS", 0.3)
    monkeypatch.setattr(Endless, "cancel", lambda self: None)
    _when_running(lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    assert prepare(drawn, tmp_path / "out", *_portable(endless)) == 130
    error = error_of(capsys)
    assert error.startswith("stopped: interrupted; the job goes on as job-") and endless in error
    assert error.endswith(": cancel it with the engine's own means")
    # Its workers need what tells them that they write where this launcher reads.
    assert list((tmp_path / "out").rglob(".launcher-*"))


def test_a_job_that_somebody_else_cancels_is_one_line(
    endless: str, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Endless.run

    def run_and_cancel(self: Endless) -> None:
        run(self)
        threading.Timer(0.3, self.cancel).start()

    monkeypatch.setattr(Endless, "run", run_and_cancel)
    assert prepare(drawn, tmp_path / "out", *_portable(endless)) == 1
    assert error_of(capsys).startswith("error: The job was cancelled before its end. Received: job-")


def test_a_job_server_that_is_gone_is_one_line(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitted, "_SILENT_SECONDS", 0.5)
    server = Server(beam_job_type=Endless)
    endpoint = f"localhost:{server.start_grpc_server()}"
    _when_running(lambda: server.stop(0), monkeypatch)
    assert prepare(drawn, tmp_path / "out", *_portable(endpoint)) == 1
    error = error_of(capsys)
    assert error.startswith(
        "error: The job server must answer until the job has finished; the job may go on: cancel it"
    )
    assert endpoint in error


def test_a_hopeless_message_cancels_the_job_at_once() -> None:
    text = "Traceback\ntfrecords.errors.UserError: worker b does not see /data; mount it there or use s3://, gs://"
    service = Service([api.JobMessage(importance=api.JobMessage.JOB_MESSAGE_WARNING, message_text=text)])
    with pytest.raises(submitted.EngineError, match="does not see /data"):
        job(service).wait()
    assert service.cancelled


# --- one job, without a server


class Service:
    """A job service in this process, whose job runs until it is cancelled."""

    def __init__(
        self, messages: list[Any] | None = None, counts: dict[str, int] | None = None, master: str = "[auto]"
    ) -> None:
        self.messages, self.counts, self.master, self.cancelled = messages or [], counts or {}, master, False

    def GetJobs(self, request: Any) -> Any:
        info = api.JobInfo(job_id="BeamApp-me_12")
        info.pipeline_options["beam:option:flink_master:v1"] = self.master
        return api.GetJobsResponse(job_info=[api.JobInfo(job_id="BeamApp-you_1"), info])

    def GetMessageStream(self, request: Any) -> Iterator[Any]:
        yield from (api.JobMessagesResponse(message_response=message) for message in self.messages)

    def GetState(self, request: Any) -> Any:
        return api.JobStateEvent(state=api.JobState.CANCELLED if self.cancelled else api.JobState.RUNNING)

    def Cancel(self, request: Any) -> None:
        self.cancelled = True

    def DescribePipelineOptions(self, request: Any) -> Any:
        return api.DescribePipelineOptionsResponse(
            options=[api.PipelineOptionDescriptor(name=name) for name in self.counts]
        )

    def GetJobMetrics(self, request: Any) -> Any:
        infos = [
            monitoring_infos.int64_user_counter("streetdigits", name, count, ptransform=step)
            for step in ("one", "two")
            for name, count in self.counts.items()
        ]
        return api.GetJobMetricsResponse(metrics=api.MetricResults(attempted=infos))


def job(service: Service, *flags: str, endpoint: str | None = None) -> PortableJob:
    result = SimpleNamespace(_job_service=service, _job_id="BeamApp-me_12", _cleanup=lambda: None)
    options = parse_beam_options(["--runner", "FlinkRunner", *flags], "prepare")
    options.view_as(PortableOptions).job_endpoint = endpoint
    return PortableJob(result, options, "FlinkRunner")


def test_counters_are_read_while_a_job_runs() -> None:
    running = job(Service(counts={"pictures_done": 7, "others": 1}))
    assert running.counter("streetdigits", "pictures_done") == 14
    assert running.counter("elsewhere", "pictures_done") == 0


class WebPage:
    """Flink's REST service: jobs of two names, of which the running ones end if they are cancelled."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.ends = True
        states = {"a": "RUNNING", "b": "FINISHED", "c": "RUNNING"}
        names = {"a": "BeamApp-me", "b": "BeamApp-me", "c": "BeamApp-you"}
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.asked.append((self.command, self.path))
                self.send_response(200)
                self.end_headers()
                jobs = [{"jid": each, "name": names[each], "state": state} for each, state in states.items()]
                self.wfile.write(json.dumps({"jobs": jobs} if self.command == "GET" else {}).encode())

            def do_PATCH(self) -> None:
                states[self.path.partition("?")[0].rpartition("/")[2]] = "CANCELED" if page.ends else "CANCELLING"
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Ends the service."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebPage]:
    """Flink's REST service, which is asked without long waits."""
    monkeypatch.setattr(flink, "_SECONDS_TO_END", 1.0)
    monkeypatch.setattr(flink, "_SECONDS_TO_APPEAR", 0.1)
    monkeypatch.setattr(flink, "_SECONDS_BETWEEN", 0.05)
    page = WebPage()
    yield page
    page.stop()


CANCELS = [("GET", "/jobs/overview"), ("PATCH", "/jobs/a?mode=cancel"), ("GET", "/jobs/overview")]


def test_flink_is_asked_where_its_job_server_is_gone(web_page: WebPage) -> None:
    gone = job(Service(), "--flink_master", web_page.address)
    gone._service = beam_job_api_pb2_grpc.JobServiceStub(grpc.insecure_channel("localhost:1"))
    assert gone.cancel()
    assert web_page.asked == CANCELS
    assert cancel_job(f"http://{web_page.address}", "BeamApp-nobody") is None
    web_page.stop()
    assert not gone.cancel()
    assert cancel_job("", "BeamApp-me") is False
    assert gone.title == f"BeamApp-me_12 on FlinkRunner, http://{web_page.address}"
    assert gone.advice == f"cancel it at http://{web_page.address}"


def test_flink_cancels_what_its_job_server_only_calls_cancelled(web_page: WebPage) -> None:
    service = Service(master=web_page.address)
    running = job(service, endpoint="localhost:1")
    assert running.title == f"BeamApp-me_12 on FlinkRunner, http://{web_page.address}"
    assert running.cancel()
    assert service.cancelled
    assert web_page.asked == CANCELS


def test_a_job_that_flink_does_not_end_goes_on(web_page: WebPage) -> None:
    web_page.ends = False
    running = job(Service(master=web_page.address), endpoint="localhost:1")
    assert not running.cancel()
    assert [command for command, _ in web_page.asked].count("PATCH") == 1


def test_a_job_that_never_reached_flink_is_cancelled(web_page: WebPage) -> None:
    running = job(Service(master=web_page.address), endpoint="localhost:1")
    running._id = "BeamApp-nobody_1"
    assert running.cancel()


@pytest.mark.parametrize(
    ("master", "address"), [("[auto]", ""), ("[local]", ""), ("h:1", "http://h:1"), ("https://h:1/", "https://h:1")]
)
def test_flinks_web_page_is_its_master(master: str, address: str) -> None:
    assert web_address(master) == address


def test_a_job_of_another_service_names_its_page_and_command() -> None:
    def wait() -> None:
        raise RuntimeError("Dataflow pipeline failed. State: FAILED, Error:\nValueError: no quota")

    result = SimpleNamespace(job_id=lambda: "2026-1", wait_until_finish=wait, cancel=lambda: None, metrics=None)
    options = parse_beam_options(["--project", "p", "--region", "r"], "prepare")
    found = OtherJob(result, options, "DataflowRunner")
    assert found.title == "2026-1 on DataflowRunner, https://console.cloud.google.com/dataflow/jobs/r/2026-1?project=p"
    assert found.advice == "gcloud dataflow jobs cancel 2026-1 --region r cancels it"
    with pytest.raises(submitted.EngineError, match="no quota"):
        found.wait()
    assert found.cancel() and found.counter("streetdigits", "pictures_done") == 0


def test_a_cancel_that_hangs_does_not_keep_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitted, "_RPC_SECONDS", 0.1)
    released = threading.Event()
    result = SimpleNamespace(wait_until_finish=lambda: None, cancel=released.wait)
    start = time.monotonic()
    assert not OtherJob(result, parse_beam_options([], "prepare"), "Mine").cancel()
    assert time.monotonic() - start < 5
    released.set()


# --- options


def test_a_job_server_that_does_not_answer_is_one_line_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "--job_endpoint must be the address of a job server that answers, as localhost:8099"
    for wrong in ("localhost", "localhost:x", "localhost:70000", ":8099"):
        with pytest.raises(UserError, match=f"^{rule}. Received: {wrong}$"):
            options_of(wrong)
    start = time.monotonic()
    with pytest.raises(UserError, match="Connection refused"):
        options_of("127.0.0.1:1")
    assert time.monotonic() - start < 5
    monkeypatch.setattr(job_server, "_SECONDS", 0.5)
    other = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    with pytest.raises(UserError, match="it does not speak gRPC"):
        options_of(f"127.0.0.1:{other.server_port}")
    other.server_close()


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--files_to_stage", "a.jar", "--parallelism=2"], []),
        (["--nonsense", "3"], ["--nonsense", "3"]),
        (["--files_to_stage=a.jar", "stray"], ["stray"]),
        (["--files_to_stage", "a.jar", "stray"], ["stray"]),
        (["-n", "3"], ["-n", "3"]),
        (["--shard-count", "4", "--files_to_stage", "a.jar"], ["--shard-count", "4"]),
    ],
)
def test_words_that_no_job_server_knows_are_left(words: list[str], left: list[str]) -> None:
    assert unknown_to({"files_to_stage", "parallelism"}, words) == left


def test_an_option_of_nobody_is_refused_on_a_portable_runner(
    endpoint: str, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(drawn, tmp_path / "out", *_portable(endpoint), "--shard-count", "4") == 1
    assert error_of(capsys).endswith("one of these is neither. Received: ['--shard-count', '4']")
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        prepare(drawn, tmp_path / "out", *_portable(endpoint), "--jiters", "0")
    assert "did you mean --jitters (not --jiters)?" in error_of(capsys)


@pytest.mark.parametrize("runner", ["FlinkRunner", "SparkRunner"])
def test_a_job_server_that_beam_starts_is_asked_before_the_job_runs(runner: str) -> None:
    words = ["--runner", runner, "--files_to_stage", "a.jar", "--parallelism", "2"]
    make: Any = make_runner(parse_beam_options(words, "prepare"))
    service = Service(counts={"files_to_stage": 0})
    assert described(service) == {"files_to_stage"}
    options = parse_beam_options(words, "prepare")
    assert make.create_job_service_handle(service, options).job_service is service
    make = make_runner(parse_beam_options([*words, "--shard-count", "4"], "prepare"))
    with pytest.raises(UserError, match=r"knows one of these options\. Received: \['--shard-count', '4'\]"):
        make.create_job_service_handle(service, options)
    with pytest.raises(UserError, match=r"one of these is neither\. Received: \['stray'\]"):
        parse_beam_options([*words, "stray"], "prepare")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--runner", "PortableRunner"], "--runner PortableRunner needs --job_endpoint, as localhost:8099"),
        (
            ["--runner", "PrismRunner", "--environment_type", "PROCESS"],
            r"Beam rejects the options: .* process_command is required .* Received: --runner PrismRunner$",
        ),
        (
            ["--runner", "FlinkRunner", "--environment_type", "EXTERNAL"],
            r"Beam rejects the options: .* external_service_address is required",
        ),
    ],
    ids=["endpoint", "process", "external"],
)
def test_an_option_that_a_runner_needs_is_one_line_before_anything_is_read(words: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        parse_beam_options(words, "prepare")


def test_an_option_that_dataflow_needs_is_one_line_before_the_job_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_request(*_: Any) -> Any:
        raise AssertionError("a request before the job")

    check = PipelineOptionsValidator.validate
    monkeypatch.setattr(PipelineOptionsValidator, "validate", no_request)
    options = parse_beam_options(["--runner", "DataflowRunner"], "prepare")
    monkeypatch.setattr(PipelineOptionsValidator, "validate", check)
    with pytest.raises(UserError, match=r"^Beam rejects the options: .*project.* Received: --runner DataflowRunner$"):
        make_pipeline(options)


def test_prism_must_be_where_it_is_said_to_be(tmp_path: Path) -> None:
    words = ["--runner", "PrismRunner", "--prism_location"]
    with pytest.raises(UserError, match=r"must be Prism's executable, or an address of it\. Received: .*prism$"):
        parse_beam_options([*words, str(tmp_path / "prism")], "prepare")
    (tmp_path / "prism").touch()
    for found in (str(tmp_path / "prism"), "https://host/prism.zip"):
        assert parse_beam_options([*words, found], "prepare")


def test_prism_has_no_options_of_its_own() -> None:
    with pytest.raises(UserError, match=r"Received: \['--shard-count', '4'\]"):
        parse_beam_options(["--runner", "PrismRunner", "--shard-count", "4"], "prepare")


@pytest.mark.parametrize(
    ("words", "is_cluster", "title"),
    [
        ([], False, "FnApiRunner"),
        (["--direct_num_workers", "2"], False, "FnApiRunner"),
        (["--runner", "PrismRunner"], True, "PrismRunner"),
        (["--runner", "FlinkRunner", "--flink_master", "h:1"], True, "FlinkRunner at h:1"),
        (["--runner", "portable", "--job_endpoint", "embed"], True, "PortableRunner at embed"),
    ],
)
def test_a_runner_is_of_this_machine_or_of_a_cluster(words: list[str], is_cluster: bool, title: str) -> None:
    options = parse_beam_options(words, "prepare")
    assert (is_of_cluster(options), runner_title(options)) == (is_cluster, title)
