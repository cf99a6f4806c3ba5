"""OpenLineage's events of prepare: valid by the published schemas, to a file or a server, never in the way."""

import http.server
import json
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from beam_jobs.__main__ import COMMANDS
from beam_jobs.lineage import BATCH, Run, check_target, following, written
from tfrecords.cli import main
from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError

SCHEMAS = Path(__file__).parent / "openlineage"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with twenty rows of optdigits."""
    folder = tmp_path / "digits"
    folder.mkdir()
    lines = [",".join(map(str, [*((row * 7 + index) % 17 for index in range(64)), row % 10])) for row in range(20)]
    (folder / "optdigits.tra").write_text("\n".join(lines) + "\n")
    return folder


@cache
def _registry() -> Registry[Any]:
    contents = [json.loads(path.read_text()) for path in sorted(SCHEMAS.glob("*.json"))]
    return Registry().with_resources([(each["$id"], Resource.from_contents(each)) for each in contents])


def _check(event: dict[str, Any]) -> None:
    """Checks an event, and each facet of it, against the schema that it names."""
    _validate({"$ref": event["schemaURL"]}, event)
    datasets = [*event["inputs"], *event["outputs"]]
    groups = [event["run"], event["job"], *datasets]
    facets = [facets for each in groups for key, facets in each.items() if key.lower().endswith("facets")]
    assert facets
    for facet in (facet for group in facets for facet in group.values()):
        _validate({"$ref": facet["_schemaURL"]}, facet)


def _validate(schema: dict[str, Any], value: Any) -> None:
    Draft202012Validator(schema, registry=_registry(), format_checker=FormatChecker()).validate(value)


def _prepare(source: Path, output: Path, *options: str) -> int:
    argv = ["prepare", "--source", "optdigits", "--input", str(source), "--output", str(output), "--workers", "1"]
    return main("beam_jobs", "", COMMANDS, [*argv, *options])


def test_a_run_appends_what_it_read_and_wrote_to_a_file(source: Path, tmp_path: Path) -> None:
    file, output = tmp_path / "events.jsonl", tmp_path / "records"
    assert _prepare(source, output, "--openlineage", str(file)) == 0
    first, last = (json.loads(line) for line in file.read_text().splitlines())
    for event in (first, last):
        _check(event)
    assert (first["eventType"], last["eventType"]) == ("START", "COMPLETE")
    assert first["run"]["runId"] == last["run"]["runId"] and first["outputs"] == []
    assert [each["name"] for each in last["inputs"]] == [str(source)]
    (made,) = last["outputs"]
    shards = [shard for split in Manifest.load(output).splits.values() for shard in split.shards]
    statistics = made["outputFacets"]["outputStatistics"]
    assert statistics["rowCount"] == 20 and statistics["fileCount"] == len(shards)
    assert statistics["size"] == sum((output / shard.file).stat().st_size for shard in shards)
    assert "digits" in [field["name"] for field in made["facets"]["schema"]["fields"]]
    assert last["inputs"][0]["inputFacets"]["dataQualityMetrics"]["columnMetrics"]["text"] == {"count": 20}
    # No event decides a byte.
    assert _prepare(source, tmp_path / "again") == 0
    assert [path.read_bytes() for path in sorted(output.iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "again").iterdir())
    ]


def test_a_run_that_fails_says_why(source: Path, tmp_path: Path) -> None:
    file, output = tmp_path / "events.jsonl", tmp_path / "records"
    assert _prepare(source, output) == 0
    assert _prepare(source, output, "--seed", "1", "--openlineage", str(file)) == 1
    started, failed = (json.loads(line) for line in file.read_text().splitlines())
    _check(failed)
    assert (started["eventType"], failed["eventType"]) == ("START", "FAIL")
    assert "seed 0, now 1" in failed["run"]["facets"]["errorMessage"]["message"]


def test_a_run_that_is_stopped_is_aborted(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "events.jsonl"), "prepare.digits", BATCH)
    with pytest.raises(KeyboardInterrupt), following(run):
        raise KeyboardInterrupt
    last = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])
    _check(last)
    assert last["eventType"] == "ABORT"
    assert last["run"]["facets"]["errorMessage"]["message"] == "KeyboardInterrupt"


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    """A server on loopback that keeps what is posted to it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(201)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    posted: list[Any] = []
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.posted = posted  # type: ignore[attr-defined]
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def test_events_are_posted_to_a_server_at_the_path_of_openlineage(server: Any) -> None:
    address = f"http://127.0.0.1:{server.server_address[1]}"
    for target in (address, f"{address}/own/path"):
        with following(Run(target, "prepare.digits", BATCH)):
            pass
    assert [(path, kind, event["eventType"]) for path, kind, event in server.posted] == [
        ("/api/v1/lineage", "application/json", "START"),
        ("/api/v1/lineage", "application/json", "COMPLETE"),
        ("/own/path", "application/json", "START"),
        ("/own/path", "application/json", "COMPLETE"),
    ]


def test_a_server_that_cannot_be_reached_is_said_once_and_fails_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        address = f"http://127.0.0.1:{closed.server_address[1]}"
    assert _prepare(source, tmp_path / "records", "--openlineage", address) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "openlineage" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"warning: --openlineage {address} took no event, so this run has none from here on: ")


def test_datasets_have_the_names_that_openlineage_gives_places(records: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(records)
    stored, local = written("s3://bucket/sets/svhn/", manifest), written(str(tmp_path), manifest)
    assert (stored["namespace"], stored["name"]) == ("s3://bucket", "sets/svhn")
    assert (local["namespace"], local["name"]) == ("file", str(tmp_path))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("ftp://host/events", r"begins with http:// or https://\. Received: ftp://host/events"),
        ("nowhere/events.jsonl", r"a file in a folder that exists\. Received: 'nowhere/events\.jsonl'"),
    ],
)
def test_places_that_take_no_events_are_refused_before_the_run(target: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_target(target)
