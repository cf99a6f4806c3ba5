"""The snippets of the README and docs run as they stand, in a folder with datasets of those names."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main

ROOT = Path(__file__).parents[1]
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = {
    f"{path}-{number}": snippet
    for path in ("README.md", "docs/record.md", "docs/export.md")
    for number, snippet in enumerate(SNIPPET.findall((ROOT / path).read_text()))
}
RUN_ALL = """
import contextlib, io, json, sys, traceback
if sys.argv[1] == "without":
    sys.modules["tensorflow"] = None  # any import of it now fails
results = {}
for name, snippet in json.load(sys.stdin).items():
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            exec(compile(snippet, name, "exec"), {"__name__": "__main__"})
        results[name] = [shown.getvalue(), ""]
    except Exception:
        results[name] = [shown.getvalue(), traceback.format_exc()]
json.dump(results, sys.__stdout__)
"""


@pytest.fixture(scope="module")
def results(records: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each snippet printed, and the error that it ended with; those without TensorFlow in a process without it."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(records, folder / "svhn-records")
    for kind, name in (("parquet", "svhn-parquet"), ("arrow", "svhn-arrow"), ("webdataset", "svhn-tars")):
        arguments = [str(folder / "svhn-records"), "--to", kind, "--output", str(folder / name)]
        assert main("tfrecords", "", COMMANDS, ["export", *arguments]) == 0
    found: dict[str, list[str]] = {}
    for kind in ("with", "without"):
        chosen = {name: text for name, text in SNIPPETS.items() if ("import tensorflow" in text) == (kind == "with")}
        command = [sys.executable, "-c", RUN_ALL, kind]
        done = subprocess.run(command, cwd=folder, input=json.dumps(chosen), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found |= json.loads(done.stdout)
    return found


def test_there_is_a_snippet_for_every_door() -> None:
    text = "".join(snippet for name, snippet in SNIPPETS.items() if name.startswith("README"))
    for door in ("tfrecords.open", "Batches", "grain", "torch", "tensorflow_datasets", "tf.data", "parquet", "duckdb"):
        assert door in text, door


@pytest.mark.parametrize("name", SNIPPETS)
@pytest.mark.slow
def test_a_snippet_runs_and_shows_something(name: str, results: dict[str, list[str]]) -> None:
    shown, error = results[name]
    assert not error and shown.strip()
