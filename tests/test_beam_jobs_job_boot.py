"""The executable of workers: what it writes, what it asks an engine, and what it hands to Beam's worker."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_provision_api_pb2 as api
from apache_beam.portability.api import beam_provision_api_pb2_grpc as rpc
from google.protobuf import json_format, struct_pb2

from beam_jobs.job import boot

ROOT = Path(__file__).parents[1]


class Engine(rpc.ProvisionServiceServicer):
    """What an engine says of a job; it keeps the ids of the workers that ask."""

    def __init__(self) -> None:
        """Makes it."""
        self.asked: list[str] = []

    def GetProvisionInfo(self, request: object, context: grpc.ServicerContext) -> api.GetProvisionInfoResponse:
        self.asked += [value for key, value in context.invocation_metadata() if key == "worker_id"]
        options = json_format.ParseDict({"beam:option:job_name:v1": "trial"}, struct_pb2.Struct())
        info = api.ProvisionInfo(pipeline_options=options, runner_capabilities=["one", "two"])
        info.control_endpoint.url = "localhost:7"
        return api.GetProvisionInfoResponse(info=info)


@pytest.fixture
def engine() -> Iterator[tuple[Engine, str]]:
    """An engine, and the address of its provision service."""
    server, servicer = grpc.server(futures.ThreadPoolExecutor(1)), Engine()
    rpc.add_ProvisionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_it_asks_under_its_id_and_becomes_the_worker(
    engine: tuple[Engine, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[dict[str, str]] = []
    monkeypatch.setattr(os, "environ", {**os.environ})
    monkeypatch.setattr(boot, "become_worker", lambda: became.append({**os.environ}))
    servicer, address = engine
    # As Prism gives it: with quotes.
    arguments = [
        "--id='7-1'",
        f"--provision_endpoint={address}",
        "--logging_endpoint=localhost:8",
        "--semi_persist_dir=/x",
    ]
    assert boot.main(arguments) == 0
    assert servicer.asked == ["7-1"]
    (environment,) = became
    assert environment["WORKER_ID"] == "7-1"
    assert environment["CONTROL_API_SERVICE_DESCRIPTOR"] == 'url: "localhost:7"\n'
    assert environment["LOGGING_API_SERVICE_DESCRIPTOR"] == 'url: "localhost:8"\n'
    assert environment["RUNNER_CAPABILITIES"] == "one two"
    assert '"trial"' in environment["PIPELINE_OPTIONS"]
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in environment


def test_an_engine_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boot, "_SECONDS_TO_CONNECT", 1)
    assert boot.main(["--id", "1", "--provision_endpoint", "127.0.0.1:1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: The engine does not answer worker 1: ") and error.count("\n") == 1
    assert error.endswith("Received: 127.0.0.1:1\n")


def test_without_an_engine_it_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert boot.main([]) == 1
    assert "--write writes what it starts" in capsys.readouterr().err


def test_the_executable_runs_this_package_from_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "it's a boot"
    assert boot.main(["--write", str(path)]) == 0
    assert capsys.readouterr().out == f"{path} starts Beam's workers with {sys.executable} and the package in {ROOT}\n"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([path, "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "what `boot` is in Beam's images" in done.stdout
    assert f"PYTHONPATH={ROOT}${{PYTHONPATH:+:$PYTHONPATH}}" in path.read_text()
    assert done.stderr == ""


def test_an_executable_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert boot.main(["--write", str(tmp_path / "gone" / "boot")]) == 1
    assert capsys.readouterr().err.startswith(f"error: The executable {tmp_path}/gone/boot cannot be written: ")
