"""Runs of `prepare` as a user types them, their input, and what must be equal about their outputs."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.processes import Process
from tests.stores import REGION, Bucket

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


def run_block(block: Sequence[Sequence[str]], more: Sequence[str] = ()) -> list[Done]:
    """Runs the commands of a block of the page, whose lines `export` set variables.

    Args:
      block: Words of the commands.
      more: Options that every `prepare` gets in addition.

    Raises:
      AssertionError: One fails.
    """
    environment: dict[str, str] = {}
    done = []
    for words in block:
        if words[0] == "export":
            environment |= dict(word.split("=", 1) for word in words[1:])
        else:
            done.append(check(run([*words, *more] if "prepare" in words else words, environment)))
    return done


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


def process_environment(boot: Path, variables: Mapping[str, str] | None = None) -> list[str]:
    """Returns the options with which an engine starts its workers as processes."""
    config = {"command": str(boot), **({"env": dict(variables)} if variables else {})}
    return ["--environment_type", "PROCESS", "--environment_config", json.dumps(config)]


def s3_environment(endpoint: str) -> dict[str, str]:
    """Returns the variables that name an S3 server on the loopback interface, to launchers and to workers."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": REGION}
    return {"AWS_ENDPOINT_URL": endpoint, **keys, "no_proxy": "127.0.0.1"}


def digests(folder: Path) -> dict[str, str]:
    """Returns the digest of each file of a folder by its name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def stored_digests(bucket: Bucket, prefix: str) -> dict[str, str]:
    """Returns the digest of each object below a prefix of a bucket by its name."""
    found = {}
    for page in bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=f"{prefix}/"):
        for each in page.get("Contents", ()):
            data = bucket.client.get_object(Bucket=bucket.name, Key=each["Key"])["Body"].read()
            found[each["Key"].removeprefix(f"{prefix}/")] = hashlib.sha256(data).hexdigest()
    return found


def check_unseen(done: Done, folder: Path) -> None:
    """Checks the one line of a job whose workers do not see a folder.

    Raises:
      AssertionError: The command ended otherwise.
    """
    line = rf"error: worker \S+ does not see {re.escape(str(folder))}\S*; mount it there or use s3://, gs://.*"
    errors = [each for each in done.errors.splitlines() if each.startswith("error: ")]
    assert done.code == 1 and len(errors) == 1 and re.fullmatch(line, errors[0]), done.errors[-3000:]
    assert "Traceback" not in done.errors


def shards(folder: Path) -> list[str]:
    """Returns the names of the shards that are whole in an output, which may not exist yet."""
    return sorted(path.name for path in folder.glob("*.tfrecord-*-of-*"))
