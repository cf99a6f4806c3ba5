"""The wheel: every file of the tree is in it, and each extra brings the libraries of its task and no others."""

import importlib.metadata
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.wheel import PACKAGES, ROOT, build_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel"))) as file:
        yield file


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(_dist_info(wheel, "METADATA"))


def _dist_info(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = (path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


def _files(package: str) -> Iterator[str]:
    for path in (ROOT / package).rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(ROOT).as_posix()


def test_every_file_of_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    expected = {file for package in PACKAGES for file in _files(package)}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected
    data = {"report.html", "style.css", "best.weights.h5", "lite.onnx", "manifest.schema.json", "py.typed"}
    assert data <= {Path(name).name for name in expected}


def test_it_installs_the_script_and_the_licence(wheel: zipfile.ZipFile, metadata: Message) -> None:
    assert "[console_scripts]\nstreetdigits = streetdigits:run\n" in _dist_info(wheel, "entry_points.txt")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert _dist_info(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text()


def test_every_python_that_it_claims_has_a_classifier(metadata: Message) -> None:
    assert set(metadata["Requires-Python"].split(",")) == {">=3.10", "<3.14"}
    prefix = "Programming Language :: Python :: 3."
    minors = {line.removeprefix(prefix) for line in metadata.get_all("Classifier", []) if line.startswith(prefix)}
    assert minors == {"10", "11", "12", "13"}


def _needed(requirements: list[str], extras: set[str]) -> set[str]:
    """Returns the names of all distributions that `requirements` install with `extras`, by what is installed here."""
    found: set[tuple[str, str]] = set()
    waiting = [(line, extra) for line in requirements for extra in ("", *extras)]
    while waiting:
        line, extra = waiting.pop()
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            name = requirement.name.lower().replace("_", "-")
            if (name, wanted) in found:
                continue
            found.add((name, wanted))
            try:
                waiting += [(line, wanted) for line in importlib.metadata.requires(name) or ()]
            except importlib.metadata.PackageNotFoundError:
                continue
    return {name for name, _ in found}


@pytest.mark.parametrize(
    ("extra", "brings", "spares"),
    [
        ("", {"numpy", "pyarrow"}, {"h5py", "apache-beam", "tensorflow", "keras", "matplotlib", "torch"}),
        ("sample", {"matplotlib", "h5py"}, {"apache-beam", "tensorflow", "keras", "torch"}),
        ("beam", {"apache-beam", "h5py", "aiohttp", "s3fs", "gcsfs"}, {"matplotlib", "tensorflow", "keras", "torch"}),
        ("s3", {"fsspec", "s3fs"}, {"gcsfs", "apache-beam"}),
        ("gcs", {"fsspec", "gcsfs"}, {"s3fs", "apache-beam"}),
        ("train", {"tensorflow", "keras", "jinja2"}, {"matplotlib", "apache-beam", "torch"}),
        ("lite", {"onnxruntime", "imagecodecs"}, {"tensorflow", "keras", "h5py", "jinja2", "onnx"}),
        ("all", {"apache-beam", "tensorflow", "matplotlib", "tensorflow-datasets"}, {"torch"}),
    ],
)
def test_an_extra_brings_its_libraries_and_spares_the_others(
    extra: str, brings: set[str], spares: set[str], metadata: Message
) -> None:
    needed = _needed(metadata.get_all("Requires-Dist", []), {extra} - {""})
    assert brings <= needed
    assert not spares & needed
