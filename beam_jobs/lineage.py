"""OpenLineage 2.0.2 events of a run: what it read and wrote, and how it ended, as JSON lines in a file or to a URL.

https://openlineage.io/docs/spec/object-model describes them. They are plain JSON and one POST each, so that
openlineage-python, with an HTTP client of its own, is not needed. An event that cannot be delivered is said in a line,
and never fails a job. A run that is killed has no last event.
"""

import json
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from beam_jobs.job.given import absolute_path, warn
from beam_jobs.sources.base import Subset
from tfrecords._version import __version__
from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.errors import UserError, printable
from tfrecords.record.scene import SCENE_FEATURES
from tfrecords.record.schema import features_of

BATCH, STREAMING = "BATCH", "STREAMING"
_SPEC = "https://openlineage.io/spec"
_EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_PRODUCER = f"urn:streetdigits:{__version__}"
_NAMESPACE = "streetdigits"
_TIMEOUT_S = 5.0
_FACETS = {
    "jobType": ("2-0-4", "JobTypeJobFacet"),
    "errorMessage": ("1-0-1", "ErrorMessageRunFacet"),
    "dataSource": ("1-0-1", "DatasourceDatasetFacet"),
    "schema": ("1-2-0", "SchemaDatasetFacet"),
    "dataQualityMetrics": ("1-0-3", "DataQualityMetricsInputDatasetFacet"),
    "outputStatistics": ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
}
"""Version and name of the published schema of each facet."""
Json = dict[str, Any]


def check_target(target: str | None) -> None:
    """Checks where events are to go.

    Raises:
      UserError: It is an address, but not of the web; or a file in a folder that does not exist.
    """
    if target is None or target.startswith(("http://", "https://")):
        return
    if "://" in target:
        raise UserError(
            "--openlineage must be a local file, or an address that begins with http:// or https://.", target
        )
    if not target or not Path(target).absolute().parent.is_dir():
        raise UserError("--openlineage must be a file in a folder that exists.", repr(target))


@dataclass
class Run:
    """One run of a job, whose events go to a file or a URL; none where there is no target.

    Attributes:
      target: Local file to which lines are appended, or address to which events are posted; None for none.
      job: Name of the job.
      kind: `BATCH` or `STREAMING`.
      inputs: Datasets that are read.
      outputs: Datasets that are written, once they are known.
      run_id: Identifier of the run.
    """

    target: str | None
    job: str
    kind: str
    inputs: list[Json] = field(default_factory=list)
    outputs: list[Json] = field(default_factory=list)
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    _is_lost: bool = False

    def emit(self, state: str, error: BaseException | None = None) -> None:
        """Delivers an event; one that cannot be delivered is said once, and no more are tried.

        Args:
          state: START, RUNNING, COMPLETE, FAIL or ABORT.
          error: Error that ended the run.
        """
        if self.target is None or self._is_lost:
            return
        try:
            _deliver(self.target, json.dumps(self._event(state, error), ensure_ascii=False))
        except (OSError, ValueError) as failure:
            reason = failure.reason if isinstance(failure, URLError) else failure
            self._is_lost = True
            warn(f"--openlineage {self.target} took no event, so this run has none from here on: {_words(reason)}")

    def _event(self, state: str, error: BaseException | None) -> Json:
        message = {"message": _words(error) if error else "", "programmingLanguage": "PYTHON"}
        kind = {"processingType": self.kind, "integration": "STREETDIGITS", "jobType": "COMMAND"}
        return {
            "eventType": state,
            "eventTime": datetime.now(timezone.utc).isoformat(),
            "producer": _PRODUCER,
            "schemaURL": _EVENT,
            "run": {"runId": self.run_id, "facets": _facet("errorMessage", message) if error else {}},
            "job": {"namespace": _NAMESPACE, "name": self.job, "facets": _facet("jobType", kind)},
            "inputs": self.inputs,
            "outputs": self.outputs,
        }


@contextmanager
def following(run: Run) -> Iterator[Run]:
    """Delivers that a run has started, and how it has ended: completed, failed, or stopped by the user."""
    run.emit("START")
    try:
        yield run
    except KeyboardInterrupt as interrupt:
        run.emit("ABORT", interrupt)
        raise
    except BaseException as error:
        run.emit("FAIL", error)
        raise
    run.emit("COMPLETE")


def read_from(place: str) -> Json:
    """Returns the dataset of an input: a folder, a file, an address or a topic."""
    return _dataset(place)


def read_subsets(place: str, subsets: Iterable[Subset]) -> Json:
    """Returns the dataset of an input with the number of its annotated numbers."""
    metrics = {"rowCount": sum(subset.entries for subset in subsets), "columnMetrics": {}}
    return {**_dataset(place), "inputFacets": _facet("dataQualityMetrics", metrics)}


def read_by(place: str, manifest: Manifest) -> Json:
    """Returns the dataset of an input that was read: columns text and reason, as annotations.parquet has them."""
    accepted = sum(source.accepted for source in manifest.sources)
    rejected = sum(source.rejected for source in manifest.sources)
    columns = {"text": {"count": accepted}, "reason": {"count": rejected}}
    metrics = {"rowCount": accepted + rejected, "columnMetrics": columns}
    return {**_dataset(place), "inputFacets": _facet("dataQualityMetrics", metrics)}


def written(place: str, manifest: Manifest) -> Json:
    """Returns the dataset that was written: the features of its records, and their number, files and bytes."""
    known = SCENE_FEATURES if manifest.task == FIND else features_of(manifest.labels, manifest.schema_version)
    fields = [{"name": name, "type": it.kind, "description": it.meaning} for name, it in known.items()]
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    statistics = {
        "rowCount": sum(shard.examples for shard in shards),
        "size": sum(shard.bytes for shard in shards),
        "fileCount": len(shards),
    }
    found = _dataset(place)
    found["facets"] |= _facet("schema", {"fields": fields})
    return {**found, "outputFacets": _facet("outputStatistics", statistics)}


def _dataset(place: str) -> Json:
    """Returns a dataset, named as https://openlineage.io/docs/spec/naming has it."""
    if "://" in place:
        scheme, _, rest = place.partition("://")
        host, _, path = rest.partition("/")
        namespace, name, uri = f"{scheme}://{host}", path.strip("/") or "/", place
    else:
        name = absolute_path(place)
        namespace, uri = "file", Path(name).as_uri()
    source = _facet("dataSource", {"name": namespace, "uri": uri})
    return {"namespace": namespace, "name": name, "facets": source}


def _words(error: BaseException | str) -> str:
    """Returns an error on one line; the name of its kind if it has no words."""
    return printable(" ".join(str(error).split())) or type(error).__name__


def _facet(name: str, content: Json) -> Json:
    """Returns a facet by its name."""
    version, schema = _FACETS[name]
    url = f"{_SPEC}/facets/{version}/{schema}.json#/$defs/{schema}"
    return {name: {"_producer": _PRODUCER, "_schemaURL": url, **content}}


def _deliver(target: str, event: str) -> None:
    """Appends an event to a file, or posts it.

    Raises:
      OSError: It cannot be delivered.
      ValueError: The address is none.
    """
    if not target.startswith(("http://", "https://")):
        with Path(target).open("a", encoding="utf-8") as stream:
            stream.write(event + "\n")
        return
    # As OpenLineage's own clients: an address without a path is that of a server.
    address = target.rstrip("/") + "/api/v1/lineage" if urlsplit(target).path in ("", "/") else target
    header = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, event.encode(), header, method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
        pass
