"""The documentation is true: snippets run, links lead somewhere, files and flags exist.

Snippets run as they are, in a folder with datasets of those names.
"""

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beam_jobs.__main__
import tfrecords
import tfrecords.__main__
import trainer.__main__
from tests.scene_records import write_scenes
from tests.snippets import run_snippets
from tests.streams import make_stream
from tfrecords.cli import Command, main

ROOT = Path(__file__).parents[1]
TOP = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "trainer/pretrained/README.md",
    "trainer/pretrained/mnist/README.md",
)
PAGES = sorted({*TOP, *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))})
HISTORY = "CHANGELOG.md"
"""Names what is gone, too."""
COMMANDS: dict[str, tuple[Command, ...]] = {
    package.__name__.partition(".")[0]: package.COMMANDS
    for package in (beam_jobs.__main__, tfrecords.__main__, trainer.__main__)
}
BENCHMARKS = (
    "browse",
    "audit.__main__",
    "cluster",
    "digit_struct",
    "follow.__main__",
    "gpu.__main__",
    "input.__main__",
    "prepare.__main__",
    "reading.__main__",
    "readers.__main__",
    "rebuild",
    "sources.__main__",
    "startup",
    "steps",
    "store_steps",
    "stores",
    "systems.__main__",
    "watch.__main__",
)
OF_OTHERS = {
    *("--direct_running_mode", "--direct_num_workers", "--runner", "--flink_master", "--setup_file"),  # Beam
    *("--prism_location", "--job_endpoint", "--parallelism", "--environment_type", "--environment_config"),  # Beam
    *("--flink_version", "--files_to_stage", "--project", "--region", "--temp_location"),  # Beam
    *("--id", "--provision_endpoint", "--write"),  # beam_jobs.job.boot, which is no command
    *("--driver-class-path", "--master", "--spark-master-url"),  # Spark
    *("--environment_type", "--sdk_container_image", "--prebuild_sdk_container_engine"),
    *("--requirements_file", "--requirements_cache", "--extra_package"),
    *("--job_endpoint", "--dry_run", "--sdk_worker_parallelism"),  # Beam
    "--target",  # docker build
    *("--enable_batching", "--batching_parameters_file"),  # TensorFlow Serving
    "--faults",  # an old name, which CONTRIBUTING.md explains renaming by
}
OPTIONAL = {"datasets", "duckdb", "grain", "mlcroissant", "pandas", "tensorflow_datasets", "torch", "webdataset"}
"""Modules that a reader of a snippet may not have."""
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"(?:beam_jobs|tfrecords|trainer|benchmarks|tests|docs)(?:/\w+)*(?:/|\.\w+)")
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
SNIPPETS = {
    f"{path}-{index}": snippet
    for path in ("docs/readers.md", "docs/record.md", "docs/export.md")
    for index, snippet in enumerate(SNIPPET.findall((ROOT / path).read_text()))
}


@pytest.fixture(scope="module")
def results(records: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Output and error of each snippet; those that do not import TensorFlow run where it cannot be imported."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(records, folder / "svhn-records")
    write_scenes(folder / "photos-320")
    grown = make_stream(folder)
    parts = grown.parts
    grown.commit(41, parts[:2])
    grown.commit(42, parts)
    for kind, name in (("parquet", "svhn-parquet"), ("arrow", "svhn-arrow"), ("webdataset", "svhn-tars")):
        arguments = [str(folder / "svhn-records"), "--to", kind, "--output", str(folder / name)]
        assert main("tfrecords", "", COMMANDS["tfrecords"], ["export", *arguments]) == 0
    theirs = {name: text for name, text in SNIPPETS.items() if "import tensorflow" in text}
    others = {name: text for name, text in SNIPPETS.items() if name not in theirs}
    command, environment = [sys.executable, "-m", "tests.snippets"], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, input=json.dumps(others), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {**json.loads(done.stdout), **run_snippets(theirs)}


def test_there_is_a_snippet_for_every_reader() -> None:
    text = "".join(snippet for name, snippet in SNIPPETS.items() if name.startswith("docs/readers.md"))
    for door in ("tfrecords.open", "Batches", "grain", "torch", "tensorflow_datasets", "tf.data", "parquet", "duckdb"):
        assert door in text, door


@pytest.mark.parametrize("name", SNIPPETS)
@pytest.mark.slow
def test_a_snippet_runs_and_shows_something(name: str, results: dict[str, list[str]]) -> None:
    shown, error = results[name]
    missing = re.search(r"^ModuleNotFoundError: No module named '(\w+)'$", error, re.MULTILINE)
    if missing and missing[1] in OPTIONAL and not importlib.util.find_spec(missing[1]):
        pytest.skip(f"{missing[1]} is not installed")
    assert not error and shown.strip()


@pytest.fixture(scope="module")
def complete_crops(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset as README's commands make it, with `--jitters 0`: its images have two sizes."""
    folder = tmp_path_factory.mktemp("complete") / "records"
    options = ["--source", "svhn", "--input", str(drawn), "--output", str(folder), "--jitters", "0"]
    assert main("beam_jobs", "", COMMANDS["beam_jobs"], ["prepare", *options]) == 0
    return folder


@pytest.mark.parametrize("kind", ["windows", "complete crops"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_tf_data_reads_images_of_one_size_and_of_several_from_a_folder_of_any_name(
    kind: str, split: str, records: Path, complete_crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (snippet,) = (text for name, text in SNIPPETS.items() if "TFRecordDataset(files)" in text)
    snippet = snippet.replace("svhn-records", "my [new] *records?").replace('"train"', repr(split))
    (tmp_path / "my [new] *records?").symlink_to(records if kind == "windows" else complete_crops)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(snippet, names)
    batches = list(names["tf"].data.TFRecordDataset(names["files"]).map(names["parse"]))
    examples = tfrecords.open(tmp_path / "my [new] *records?", split)
    assert len(batches) == len(examples)
    for (image, digits), example in zip(batches, examples, strict=True):
        np.testing.assert_array_equal(image, example.image)
        np.testing.assert_array_equal(digits, example.digits)


def test_readme_reads_a_picture_and_a_dataset_in_five_lines(
    drawn: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (snippet,) = (text for text in SNIPPET.findall((ROOT / "README.md").read_text()) if "streetdigits.load" in text)
    assert len(snippet.replace("\n\n", "\n").splitlines()) == 5
    shutil.copy(drawn / "test" / "1.png", tmp_path / "photo.png")
    (tmp_path / "svhn-records").symlink_to(records)
    monkeypatch.chdir(tmp_path)
    exec(snippet)
    read, stored = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\d* [\d.e-]+ \([\d, ]*\)", read)
    assert stored == tfrecords.open(records, "test")[0].text


def _anchors(text: str) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for link in LINK.findall((ROOT / page).read_text()):
        if not re.match(r"\w+:", link):
            path, _, anchor = link.partition("#")
            target = (ROOT / page).parent / path if path else ROOT / page
            assert target.exists(), link
            assert not anchor or anchor in _anchors(target.read_text()), link


@pytest.mark.parametrize("page", [page for page in PAGES if page != HISTORY])
def test_every_file_that_is_named_exists(page: str) -> None:
    named = [code for code in CODE.findall((ROOT / page).read_text()) if FILE.fullmatch(code)]
    # "tfrecords.open" is a name of Python's, not a file's; NAME stands for one that a reader chooses.
    missing = [name for name in named if "/" in name and "NAME" not in name and not (ROOT / name).exists()]
    assert not missing


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {
        path.parent.relative_to(ROOT).as_posix() for package in COMMANDS for path in ROOT.glob(f"{package}/*/*.py")
    }
    assert not [room for room in rooms if f"`{room}/" not in text]


def _flags(parser: argparse.ArgumentParser) -> set[str]:
    """Returns the flags that `--help` shows."""
    shown = (action for action in parser._actions if action.help != argparse.SUPPRESS)
    return {option for action in shown for option in action.option_strings}


@cache
def _flags_of(package: str, name: str) -> set[str]:
    """Returns the flags of a command of the three packages, or of a benchmark."""
    if package == "benchmarks":
        module = next(module for module in BENCHMARKS if module.removesuffix(".__main__") == name)
        return _flags(importlib.import_module(f"benchmarks.{module}").make_parser())
    parser = argparse.ArgumentParser()
    command = next(command for command in COMMANDS[package] if command.name == name)
    importlib.import_module(command.module).add_arguments(parser)
    return _flags(parser) | {"--verbose"}


def _commands(page: str) -> list[list[str]]:
    """Returns the words of each command of ours in a page's shell blocks, from the package's name on."""
    found = []
    for block in SHELL.findall((ROOT / page).read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            called = re.search(r"\bpython -m ((?:beam_jobs|tfrecords|trainer) .*|benchmarks\..*)", line)
            if called:
                found.append(shlex.split(called[1].replace("benchmarks.", "benchmarks ", 1), comments=True))
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if page != HISTORY])
def test_every_flag_exists(page: str) -> None:
    for package, name, *words in _commands(page):
        given = {word.partition("=")[0] for word in words if word.startswith("--")} - OF_OTHERS
        assert given <= _flags_of(package, name), (package, name)
    every = {"--help", "--version"} | OF_OTHERS
    every = every.union(*(_flags_of(package, command.name) for package in COMMANDS for command in COMMANDS[package]))
    every = every.union(*(_flags_of("benchmarks", name.removesuffix(".__main__")) for name in BENCHMARKS))
    named = {flag for code in CODE.findall((ROOT / page).read_text()) for flag in FLAG.findall(code)}
    assert named <= every
