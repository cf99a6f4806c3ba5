"""Beam's job servers, which take jobs for Flink, Spark, Prism and others: whether one answers, and what it knows."""

import re
import socket
from collections.abc import Sequence
from typing import Any

import grpc
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from tfrecords.errors import UserError

_SECONDS = 10.0
"""Seconds to wait for an answer. A server that takes longer has more urgent troubles than this job."""
_HOST_AND_PORT = re.compile(r"\[?([\w.:-]+?)\]?:(\d{1,5})")
EMBEDDED = "embed"
"""Beam's word for a job server in the launcher's process."""


def options_of(endpoint: str) -> set[str]:
    """Returns the names of the options that the job server at an address knows, as `flink_master`.

    Raises:
      UserError: No job server answers there.
    """
    rule = "--job_endpoint must be the address of a job server that answers, as localhost:8099"
    found = _HOST_AND_PORT.fullmatch(endpoint)
    if not found or not 0 < int(found[2]) < 1 << 16:
        raise UserError(f"{rule}.", endpoint)
    try:
        # gRPC would try a refused connection again and again.
        socket.create_connection((found[1], int(found[2])), _SECONDS).close()
        with grpc.insecure_channel(endpoint) as channel:
            grpc.channel_ready_future(channel).result(_SECONDS)
            return described(beam_job_api_pb2_grpc.JobServiceStub(channel), timeout=_SECONDS)
    except OSError as error:
        raise UserError(f"{rule} ({error.strerror or error}).", endpoint) from error
    except grpc.FutureTimeoutError as error:
        raise UserError(f"{rule} (it does not speak gRPC).", endpoint) from error
    except grpc.RpcError as error:
        raise UserError(f"{rule} ({error.code().name}).", endpoint) from error


def described(service: Any, **options: float) -> set[str]:
    """Returns the names of the options that a job service knows.

    Args:
      service: Stub of the service, or the service itself.
      **options: `timeout` for a stub.
    """
    request = beam_job_api_pb2.DescribePipelineOptionsRequest()
    return {option.name for option in service.DescribePipelineOptions(request, **options).options}


def unknown_to(names: set[str], words: Sequence[str]) -> list[str]:
    """Returns the words that are neither options of these names nor their values.

    Args:
      names: Names of options, with underscores.
      words: Words that no options of Beam define.
    """
    unknown: list[str] = []
    is_value = False
    for word in words:
        name = word.removeprefix("--").partition("=")[0]
        known = word.startswith("--") and name in names
        if known or (is_value and not word.startswith("--")):
            is_value = known and "=" not in word
            continue
        is_value = False
        unknown.append(word)
    return unknown
