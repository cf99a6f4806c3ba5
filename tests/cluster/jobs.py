"""Runs of `prepare` as a user types them, their input, and what must be equal about their outputs."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.prepare.make_input import make_input
from tests.cluster.processes import Process
from tests.stores import REGION

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 300


@dataclass(frozen=True)
class Done:
    """A finished command.

    Attributes:
      code: Exit code.
      output: What it wrote to standard output.
      errors: What it wrote to standard error.
    """

    code: int
    output: str
    errors: str


def run(words: Sequence[str], environment: Mapping[str, str] | None = None, seconds: float = _SECONDS) -> Done:
    """Runs a command, whose first word `python` is this interpreter, from the repository's folder."""
    done = subprocess.run(
        [sys.executable if word == "python" and not index else word for index, word in enumerate(words)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=seconds,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def check(done: Done) -> Done:
    """Returns a command that ended well.

    Raises:
      AssertionError: It did not.
    """
    assert done.code == 0, f"exit code {done.code}:\n{done.output[-3000:]}\n{done.errors[-3000:]}"
    return done


def start(words: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Process:
    """Starts such a command; its outputs go to a file."""
    assert words[0] == "python"
    given = {"PYTHONPATH": str(ROOT), **(environment or {})}
    return Process([sys.executable, *words[1:]], log, given)


def write_boot(path: Path) -> Path:
    """Returns the executable of workers for the environment PROCESS."""
    check(run(["python", "-m", "beam_jobs.job.boot", "--write", str(path)]))
    return path


def process_environment(boot: Path, variables: Mapping[str, str] | None = None) -> list[str]:
    """Returns the options with which an engine starts its workers as processes."""
    config = {"command": str(boot), **({"env": dict(variables)} if variables else {})}
    return ["--environment_type", "PROCESS", "--environment_config", json.dumps(config)]


def s3_environment(endpoint: str) -> dict[str, str]:
    """Returns the variables that name an S3 server on the loopback interface, to launchers and to workers."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": REGION}
    return {"AWS_ENDPOINT_URL": endpoint, **keys, "no_proxy": "127.0.0.1"}


def enlarge(drawn: Path, folder: Path, pictures: int) -> Path:
    """Returns an input of more pictures: those of a drawn one under new names, all in train."""
    return make_input(drawn, folder, pictures)


def digests(folder: Path) -> dict[str, str]:
    """Returns the digest of each file of a folder by its name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def shards(folder: Path) -> list[str]:
    """Returns the names of the shards that are whole in an output, which may not exist yet."""
    return sorted(path.name for path in folder.glob("*.tfrecord-*-of-*"))


def quoted(words: Sequence[str]) -> str:
    """Returns the words as a line to type."""
    return shlex.join(words)
