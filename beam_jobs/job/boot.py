"""A worker's executable for Beam's environment PROCESS: what `boot` is in Beam's images, for machines without them.

    python -m beam_jobs.job.boot --write /opt/streetdigits-boot

writes the executable on a worker machine, for the interpreter and the package that wrote it, and

    --environment_type PROCESS --environment_config '{"command": "/opt/streetdigits-boot"}'

names it to the job. It installs nothing: the environment of the interpreter has what the transforms import.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.flags import local_path

_ENDPOINTS = ("provision", "control", "logging", "artifact")
_ROOT = Path(__file__).resolve().parents[2]
_SECONDS_TO_CONNECT = 60
_MARK = "# Written by beam_jobs.job.boot: starts a worker of Beam, and installs nothing."
_BEGINNING_BYTES = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the executable, or runs as it: asks the engine what to connect to, and becomes Beam's worker.

    Returns:
      Exit code.
    """
    # Beam's boot has more options, which matter in a container only.
    args, _ = _make_parser().parse_known_args(argv)
    try:
        if args.write:
            write_executable(args.write)
            print(f"{args.write} starts Beam's workers with {sys.executable} and the package in {_ROOT}")
            return 0
        if not (args.id and args.provision_endpoint):
            rule = "An engine starts a worker with --id and --provision_endpoint; --write writes what it starts."
            raise UserError(rule)
        # Prism (2.77) puts the id between quotes, which no shell takes away.
        worker = args.id.strip("'")
        info = _provision(args.provision_endpoint, worker)
        variables = worker_environment(info, worker, args.control_endpoint, args.logging_endpoint)
        os.environ.update(variables)
        become_worker()
        return 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m beam_jobs.job.boot", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--write", type=local_path, metavar="FILE", help="executable to write")
    parser.add_argument("--id", help="id of the worker, from the engine")
    for name in _ENDPOINTS:
        parser.add_argument(f"--{name}_endpoint", metavar="HOST", help=f"address of the engine's {name} service")
    return parser


def write_executable(path: Path) -> None:
    """Writes a file that an engine can start: it runs this module with this interpreter and this package.

    Args:
      path: File to write or to replace.

    Raises:
      UserError: It cannot be written.
    """
    lines = [
        "#!/bin/sh",
        _MARK,
        f"PYTHONPATH={shlex.quote(str(_ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}",
        "export PYTHONPATH",
        f'exec {shlex.quote(sys.executable)} -m {__spec__.name} "$@"',
    ]
    try:
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o755)
    except OSError as error:
        raise UserError(f"The executable {path} cannot be written: {error.strerror}.") from error


def is_own_executable(path: str) -> bool:
    """Returns whether a file of this machine is one that `write_executable` wrote, which installs nothing."""
    try:
        with Path(path).open("rb") as file:
            return _MARK.encode() in file.read(_BEGINNING_BYTES)
    except OSError:
        return False


def become_worker() -> None:
    """Runs Beam's worker until the engine ends it: here, since another interpreter would import Beam once more."""
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([sys.executable])


def _provision(endpoint: str, worker: str) -> Any:
    """Returns what an engine says of itself and of the job.

    Raises:
      UserError: The engine does not answer.
    """
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc

    with grpc.insecure_channel(endpoint) as channel:
        try:
            ask = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel).GetProvisionInfo
            request = beam_provision_api_pb2.GetProvisionInfoRequest()
            answer = ask(request, metadata=[("worker_id", worker)], timeout=_SECONDS_TO_CONNECT)
        except grpc.RpcError as error:
            raise UserError(f"The engine does not answer worker {worker}: {error.details()}.", endpoint) from error
    return answer.info


def worker_environment(info: Any, worker: str, control: str | None, logging: str | None) -> dict[str, str]:
    """Returns the variables that Beam's worker (2.77) is started with.

    Args:
      info: What the engine says of the job.
      worker: Id of the worker.
      control: Address of the control service, for engines that give it on the command line alone.
      logging: Address of the logging service, likewise.
    """
    from apache_beam.portability.api import endpoints_pb2
    from google.protobuf import json_format, text_format

    control_endpoint = (
        info.control_endpoint if info.control_endpoint.url else endpoints_pb2.ApiServiceDescriptor(url=control or "")
    )
    logging_endpoint = (
        info.logging_endpoint if info.logging_endpoint.url else endpoints_pb2.ApiServiceDescriptor(url=logging or "")
    )
    # No SEMI_PERSISTENT_DIRECTORY: Beam would run code that anybody may have left there, and nothing of ours is there.
    variables = {
        "WORKER_ID": worker,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(logging_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.HasField("status_endpoint"):
        variables["STATUS_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(info.status_endpoint)
    return variables


if __name__ == "__main__":
    sys.exit(main())
