"""A job that was given to a cluster: its state, messages, counters, and how to cancel it."""

import contextlib
import logging
import threading
import time
from typing import Any, Protocol

import grpc
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.portable_runner import TERMINAL_STATES, PortableMetrics

from beam_jobs.job import flink
from beam_jobs.job.engine_errors import is_hopeless
from tfrecords.errors import UserError

_MASTER = "beam:option:flink_master:v1"
_RPC_SECONDS = 10.0
_SILENT_SECONDS = 15.0
"""Seconds after which a job server that answers nothing is taken for gone."""
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 0.2
_LAST_MESSAGES_SECONDS = 5.0
_JOB = beam_job_api_pb2.JobState
_ERROR = beam_job_api_pb2.JobMessage.JOB_MESSAGE_ERROR
_LEVELS = {_ERROR: logging.ERROR, beam_job_api_pb2.JobMessage.JOB_MESSAGE_WARNING: logging.WARNING}
_LOG = logging.getLogger(__name__)


class EngineError(Exception):
    """What an engine says of a job that failed: a text of many lines."""


class Submitted(Protocol):
    """A job of a cluster.

    Attributes:
      title: Name and id, with the place where it runs.
      advice: What to do with a job that could not be cancelled.
    """

    title: str
    advice: str

    def wait(self) -> None:
        """Waits until the job has finished.

        Raises:
          UserError: It cannot finish, or nobody answers for it any more.
          EngineError: It failed.
        """

    def cancel(self) -> bool:
        """Cancels the job, and returns whether it is known to have ended; takes some seconds at most."""

    def counter(self, namespace: str, name: str) -> int:
        """Returns a counter of the job while it runs; 0 where the runner does not report it."""


class PortableJob:
    """A job behind a job server: what `apache_beam`'s portable runners return, without their logs and hangs.

    Beam's own `wait_until_finish` prints every message, raises whole tracebacks and never ends if its server is gone;
    its `metrics` keep the first answer. So the job service is asked directly. Beam (2.77) has it, and the job's id, in
    private attributes.
    """

    def __init__(self, result: Any, options: PipelineOptions, runner: str) -> None:
        """Takes what the runner returned, its options, and its name with its address."""
        self._result = result
        self._service = result._job_service
        self._id = str(result._job_id)
        is_stub = isinstance(self._service, beam_job_api_pb2_grpc.JobServiceStub)
        self._limit = {"timeout": _RPC_SECONDS} if is_stub else {}
        endpoint = options.view_as(PortableOptions).job_endpoint
        master = options.view_as(FlinkRunnerOptions).flink_master
        # A job server that runs already knows which cluster it serves.
        self._flink = flink.web_address(master) or (flink.web_address(self._server_option(_MASTER)) if endpoint else "")
        self.title = f"{self._id} on {runner}{f', {self._flink}' if self._flink else ''}"
        self._ends_with_us = not self._flink and not endpoint
        self.advice = f"cancel it at {self._flink}" if self._flink else "cancel it with the engine's own means"
        self._messages = _Messages(self._service, self._id)

    def wait(self) -> None:
        """Waits until the job has finished; see `Submitted`."""
        pause, heard = _FIRST_WAIT, time.monotonic()
        try:
            while (state := self._state()) not in TERMINAL_STATES:
                if state is not None:
                    heard = time.monotonic()
                elif time.monotonic() - heard > _SILENT_SECONDS:
                    after = "the job ended with it" if self._ends_with_us else f"the job may go on: {self.advice}"
                    rule = f"The job server must answer until the job has finished; {after}."
                    raise UserError(rule, f"no answer of {self.title}")
                if self._messages.hopeless:
                    self.cancel()
                    raise EngineError(self._messages.hopeless)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_WAIT)
            if state == _JOB.CANCELLED:
                raise UserError("The job was cancelled before its end.", self.title)
            if state != _JOB.DONE:
                self._messages.join()
                raise EngineError(self._messages.hopeless or self._messages.last_error)
        finally:
            self._clean_up()

    def cancel(self) -> bool:
        """Cancels the job; see `Submitted`."""
        request = beam_job_api_pb2.CancelJobRequest(job_id=self._id)
        try:
            self._service.Cancel(request, **self._limit)
        except grpc.RpcError:
            # A job server that Beam started gets the terminal's Ctrl-C, too. It drives the job of every engine but
            # Flink.
            return self._ends_with_us or self._cancel_on_flink() is True
        end = time.monotonic() + _RPC_SECONDS
        while self._state() not in TERMINAL_STATES:
            if time.monotonic() > end:
                return False
            time.sleep(_FIRST_WAIT)
        # Flink has no such job if the job server was cancelled before it submitted one.
        return not self._flink or self._cancel_on_flink() is not False

    def _cancel_on_flink(self) -> bool | None:
        """Cancels the job of Flink, which has its name; the job server makes its id of that. See `flink.cancel_job`."""
        return flink.cancel_job(self._flink, self._id.rpartition("_")[0])

    def counter(self, namespace: str, name: str) -> int:
        """Returns a counter of the job while it runs; see `Submitted`."""
        request = beam_job_api_pb2.GetJobMetricsRequest(job_id=self._id)
        try:
            metrics = PortableMetrics(self._service.GetJobMetrics(request, **self._limit))
        except grpc.RpcError:
            return 0
        found = metrics.query(MetricsFilter().with_namespace(namespace).with_name(name))["counters"]
        return sum(max(metric.attempted or 0, metric.committed or 0) for metric in found)

    def _state(self) -> Any:
        """Returns the state of the job, a value of `JobState.Enum`; None if the job server does not answer."""
        try:
            return self._service.GetState(beam_job_api_pb2.GetJobStateRequest(job_id=self._id), **self._limit).state
        except grpc.RpcError:
            return None

    def _server_option(self, name: str) -> str:
        """Returns an option with which the job server runs the job; empty if it does not say."""
        try:
            jobs = self._service.GetJobs(beam_job_api_pb2.GetJobsRequest(), **self._limit).job_info
        except grpc.RpcError:
            return ""
        options = {job.job_id: job.pipeline_options for job in jobs}.get(self._id)
        return str(options[name]) if options and name in options else ""

    def _clean_up(self) -> None:
        """Ends the workers in this process, if there are some."""
        self._result._cleanup()


class OtherJob:
    """A job of a runner without a job server: Dataflow's, or one that somebody wrote."""

    def __init__(self, result: Any, options: PipelineOptions, runner: str) -> None:
        """Takes what the runner returned, its options, and its name."""
        self._result = result
        cloud = options.view_as(GoogleCloudOptions)
        job_id = str(result.job_id()) if callable(getattr(result, "job_id", None)) else ""
        self.title = f"{job_id} on {runner}" if job_id else runner
        self.advice = "cancel it with the runner's own means"
        if job_id and cloud.project:
            page = f"https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{job_id}?project={cloud.project}"
            self.title += f", {page}"
            self.advice = f"gcloud dataflow jobs cancel {job_id} --region {cloud.region} cancels it"

    def wait(self) -> None:
        """Waits until the job has finished; see `Submitted`."""
        try:
            self._result.wait_until_finish()
        except Exception as error:
            raise EngineError(str(error)) from error

    def cancel(self) -> bool:
        """Cancels the job; see `Submitted`."""
        done = threading.Event()

        def cancel() -> None:
            with contextlib.suppress(Exception):
                self._result.cancel()
                done.set()

        # A service that does not answer must not keep the launcher.
        threading.Thread(target=cancel, daemon=True).start()
        return done.wait(_RPC_SECONDS)

    def counter(self, namespace: str, name: str) -> int:
        """Returns a counter of the job while it runs; see `Submitted`."""
        try:
            found = self._result.metrics().query(MetricsFilter().with_namespace(namespace).with_name(name))["counters"]
        except Exception:  # of any service
            return 0
        return sum(metric.attempted or metric.committed or 0 for metric in found)


class _Messages:
    """Messages of a job, read in a thread until it ends."""

    def __init__(self, service: Any, job: str) -> None:
        self.last_error = ""
        self.hopeless = ""
        self._stream = service.GetMessageStream(beam_job_api_pb2.JobMessagesRequest(job_id=job))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Waits for the last messages."""
        self._thread.join(_LAST_MESSAGES_SECONDS)

    def _read(self) -> None:
        # The stream ends with its server.
        with contextlib.suppress(grpc.RpcError):
            for answer in self._stream:
                message = answer.message_response
                text = message.message_text
                _LOG.log(_LEVELS.get(message.importance, logging.INFO), "%s", text)
                if message.importance == _ERROR:
                    self.last_error = text
                if not self.hopeless and is_hopeless(text):
                    self.hopeless = text
