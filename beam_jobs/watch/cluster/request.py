"""What a coordinator asks of the job on a cluster: which shards to make, as which run. Files say so, and no message.

    STREAM/request.json                          which generation is wanted: small, since the job looks at it often
    STREAM/generations/N/.prepare/request.json   all that a worker needs to make one of its shards

Both are replaced at will: what they say follows from the ledger, and is written again after a kill.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from beam_jobs.job.mounts import mounts_of
from beam_jobs.prepare.plan import RESULT_SUFFIX, WORK, Plan
from beam_jobs.sources.base import Subset
from beam_jobs.watch.generation import plan_subsets
from beam_jobs.watch.stream import Stream
from tfrecords.dataset.snapshots import DIRECTORY, GENERATIONS
from tfrecords.files.place import Place
from tfrecords.typed_json import Count, from_json, matching, parse_object

REQUEST = "request.json"
"""Name of both files."""
FAULT_PREFIX, FAULT_SUFFIX = "fault-", ".txt"
"""Beginning and ending of the names of the files, next to the results, in which workers say what keeps them."""
_Directory = Annotated[str, matching(DIRECTORY, "the path of a generation, as generations/00000042")]


@dataclass(frozen=True)
class Wanted:
    """Which generation is wanted.

    Attributes:
      directory: Path of the generation in the stream.
      run: Unique name of the run for which workers write.
      shards: Number of shards per split.
    """

    directory: _Directory
    run: str
    shards: dict[str, Count]

    @classmethod
    def load(cls, stream: Place) -> "Wanted | None":
        """Returns what a stream's coordinator wants now; None for nothing.

        Raises:
          OSError: The file is there, and cannot be read.
          UserError: It is damaged.
        """
        place = stream / REQUEST
        try:
            data = place.read_bytes()
        except FileNotFoundError:
            return None
        return from_json(cls, parse_object(data, str(place)), str(place))


@dataclass(frozen=True)
class Request:
    """All that a worker needs to make a shard of a generation, besides the stream's configuration.

    Attributes:
      run: Unique name of the run for which workers write.
      subsets: Subsets to read.
      versions: Versions of the coordinator's packages that decide the bytes, by package.
      allow_other_versions: Whether workers may have others.
    """

    run: str
    subsets: list[Subset]
    versions: dict[str, str]
    allow_other_versions: bool = False

    @classmethod
    def load(cls, stream: Place, directory: str) -> "Request | None":
        """Returns the request for a generation; None if there is none, as after its end.

        Raises:
          OSError: The file is there, and cannot be read.
          UserError: It is damaged.
        """
        place = _place(stream / directory)
        try:
            data = place.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return from_json(cls, parse_object(data, str(place)), str(place))

    def plan(self, stream: Stream, directory: str) -> Plan:
        """Returns the plan for a worker, which reads what is on its machine under the same paths, and checks that."""
        plan = plan_subsets(stream, tuple(self.subsets), stream.place / directory)
        return replace(
            plan,
            run_id=self.run,
            versions=self.versions,
            allow_other_versions=self.allow_other_versions,
            mounts=mounts_of(plan.subsets),
        )


def ask(stream: Place, plan: Plan, run: str) -> None:
    """Asks for all shards of a plan: first how to make them, then that they are wanted.

    Args:
      stream: Stream of the plan.
      plan: Plan of a generation, whose output is locked.
      run: Unique name of the run for which workers write.

    Raises:
      OSError: A local file cannot be written.
      UserError: The place as a whole cannot be written.
    """
    request = Request(run, list(map(_absolute, plan.subsets)), plan.versions, plan.allow_other_versions)
    _place(plan.output).write([_to_json(request)])
    wanted = Wanted(f"{GENERATIONS}/{plan.output.name}", run, plan.shards)
    (stream / REQUEST).write([_to_json(wanted)])


def withdraw(stream: Place, output: Place) -> None:
    """Asks for nothing any more: workers that come late find no request, and write nothing.

    Args:
      stream: Stream.
      output: Place of the generation that was asked for.
    """
    (stream / REQUEST).delete()
    _place(output).delete()


def result_name(plan: Plan, split: str, shard: int) -> str:
    """Returns the name of the file, in the folder of results, that says that a shard is complete."""
    return f"{plan.shard_name(split, shard)}{RESULT_SUFFIX}"


def _absolute(subset: Subset) -> Subset:
    """Returns a subset for workers, whose working folder is another one."""

    def absolute(path: str) -> str:
        return path if not path or Place(path).is_remote else str(Path(path).absolute())

    return replace(subset, path=absolute(subset.path), pictures=absolute(subset.pictures))


def _place(output: Place) -> Place:
    return output / WORK / REQUEST


def _to_json(value: Wanted | Request) -> bytes:
    return (json.dumps(asdict(value), indent=1) + "\n").encode()
