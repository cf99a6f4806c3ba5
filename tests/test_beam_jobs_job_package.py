"""What a job installs on its workers: the lock names all that they import, and a fresh environment made of it works."""

import ast
import base64
import csv
import hashlib
import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, SetupOptions
from apache_beam.runners import runner as beam_runner
from apache_beam.transforms.environments import Environment
from packaging.requirements import Requirement

from beam_jobs.job import package
from beam_jobs.job.boot import write_executable
from beam_jobs.job.package import LOCK, installs, packaged, worker_requirements, write_wheel
from beam_jobs.sources import SOURCES
from tests.wheel import PACKAGES, ROOT
from tfrecords import UserError
from tfrecords._version import __version__
from tfrecords.images.formats import DECODERS

WORKER_ROOMS = ("beam_jobs", *(f"tfrecords/{room}" for room in ("record", "images", "files", "dataset", "pages")))
"""Folders with the code that workers import."""
LAUNCHER_ONLY = ("beam_jobs/sample", "beam_jobs/download", "beam_jobs/watch/inboxes/kafka.py")
IMAGE = "docker_container_image"
PORTABLE = ["--runner", "PortableRunner", "--job_endpoint", "localhost:1"]


def locked(name: str) -> dict[str, set[str]]:
    """Returns the versions of each package in a lock: several where they differ between Pythons."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line)
            found.setdefault(requirement.name, set()).add(str(requirement.specifier))
    return found


# --- the lock


def test_the_lock_is_in_the_package_and_a_link_leads_to_it() -> None:
    assert (ROOT / LOCK).resolve() == ROOT / "beam_jobs" / "job" / LOCK


def test_the_three_locks_agree() -> None:
    worker, everything, tests = (locked(name) for name in (LOCK, "requirements.lock", "requirements-test.lock"))
    assert worker.items() <= everything.items()
    assert everything.items() <= tests.items()


def test_workers_get_no_trainer_and_every_store() -> None:
    names = locked(LOCK).keys()
    assert not {"tensorflow", "keras", "matplotlib", "torch", "jax"} & names
    assert {"apache-beam", "fsspec", "aiohttp", "s3fs", "gcsfs"} <= names


def test_whatever_a_worker_may_import_is_locked() -> None:
    owners = importlib.metadata.packages_distributions()
    names = locked(LOCK).keys() | set(DECODERS)
    unlocked = {
        f"{path.relative_to(ROOT)} imports {module}"
        for room in WORKER_ROOMS
        for path in (ROOT / room).rglob("*.py")
        if not path.relative_to(ROOT).as_posix().startswith(LAUNCHER_ONLY)
        for module in _imports(path)
        if module not in {*sys.stdlib_module_names, *PACKAGES}
        and not names & {name.lower().replace("_", "-") for name in owners.get(module, [module.replace("_", "-")])}
    }
    assert unlocked <= {"tfrecords/images/formats.py imports pillow_jxl"}  # of pillow-jxl-plugin, not installed here


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (name.partition(".")[0] for name in names)


# --- what is sent, and when


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--runner", "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"], False),
        (PORTABLE, True),
        ([*PORTABLE, "--environment_type", "PROCESS", "--environment_config", '{"command": "boot"}'], True),
        ([*PORTABLE, "--environment_config", "registry/image"], False),
        ([*PORTABLE, "--environment_type", "LOOPBACK"], False),
        ([*PORTABLE, "--environment_type", "EXTERNAL", "--environment_config", "localhost:2"], False),
        ([*PORTABLE, "--environment_type", "DOCKER"], True),
        ([*PORTABLE, "--environment_type", "DOCKER", "--environment_config", "registry/image"], False),
        ([*PORTABLE, "--environment_type", "DOCKER", "--environment_option", f"{IMAGE}=registry/image"], False),
        ([*PORTABLE, "--sdk_container_image", "registry/image"], False),
        (["--runner", "FlinkRunner", "--flink_master", "host:8081"], True),
        (["--runner", "FlinkRunner"], False),
        (["--runner", "SparkRunner", "--spark_master_url", "spark://host:7077"], True),
        (["--runner", "SparkRunner"], False),
        (["--runner", "PrismRunner"], False),
        (["--runner", "PrismRunner", "--environment_type", "DOCKER"], True),
        (["--runner", "DataflowRunner", "--project", "p", "--region", "r"], True),
    ],
)
def test_packages_go_where_workers_install(flags: list[str], expected: bool) -> None:
    assert installs(PipelineOptions(flags)) is expected


def test_nothing_is_sent_to_workers_that_our_executable_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boot = tmp_path / "boot"
    process = [*PORTABLE, "--environment_type", "PROCESS"]
    flags = (
        ["--environment_config", json.dumps({"command": str(boot)})],
        ["--environment_option", f"process_command={boot}"],
    )
    for options in (PipelineOptions([*process, *more]) for more in flags):
        assert installs(options)
        with packaged(options):
            line = capsys.readouterr().out
        assert line.startswith(f"workers are sent, to install if their executable does, streetdigits {__version__} (")
    write_executable(boot)
    for options in (PipelineOptions([*process, *more]) for more in flags):
        assert not installs(options)
        with packaged(options):
            assert options.view_as(SetupOptions).extra_packages is None
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "flags",
    [
        ["FlinkRunner"],
        ["FlinkRunner", "--flink_master", "[local]"],
        ["FlinkRunner", "--flink_master", "host:8081"],
        ["SparkRunner"],
        ["SparkRunner", "--spark_master_url", "local[2]"],
        ["SparkRunner", "--spark_master_url", "spark://host:7077"],
        ["PrismRunner"],
        ["PrismRunner", "--output_executable_path", "jar"],
    ],
)
def test_workers_are_in_this_process_where_beam_says_so(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Environment, "from_options", lambda _: None)
    options = PipelineOptions(["--runner", *flags])
    ours = package._is_loopback(flags[0], options)
    beam_runner.create_runner(flags[0]).default_environment(options)
    assert ours is (options.view_as(PortableOptions).environment_type == "LOOPBACK")


def test_the_wheel_and_the_list_are_sent_while_the_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    options = PipelineOptions(PORTABLE)
    setup = options.view_as(SetupOptions)
    with packaged(options):
        (wheel,) = setup.extra_packages
        assert zipfile.is_zipfile(wheel)
        assert "numpy==" in Path(setup.requirements_file).read_text()
        assert setup.requirements_cache == "skip"
    assert not Path(wheel).exists()
    assert (setup.extra_packages, setup.requirements_file, setup.requirements_cache) == (None, None, None)
    line = capsys.readouterr().out
    assert re.match(rf"workers install streetdigits {__version__} \(\d\.\d MB\) and \d+ packages: {LOCK}", line)


def test_a_cache_that_the_user_names_is_filled(tmp_path: Path) -> None:
    options = PipelineOptions([*PORTABLE, "--requirements_cache", str(tmp_path)])
    with packaged(options):
        assert options.view_as(SetupOptions).requirements_cache == str(tmp_path)


@pytest.mark.parametrize("flag", ["--requirements_file", "--extra_package", "--setup_file"])
def test_what_the_user_names_is_sent_alone(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "setup.py"
    path.write_text('setup(name="others")')
    options = PipelineOptions([*PORTABLE, flag, str(path)])
    before = options.get_all_options()
    with packaged(options):
        assert options.get_all_options() == before
    assert capsys.readouterr().out.startswith(f"note: workers install what {flag} names; this package is sent only if ")


@pytest.mark.parametrize("more", [[], ["--requirements_file", "mine.txt"]])
def test_this_packages_own_setup_py_is_sent_as_without_it(
    more: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    options = PipelineOptions([*PORTABLE, "--setup_file", "./setup.py", *more])
    setup = options.view_as(SetupOptions)
    with packaged(options):
        assert setup.setup_file is None
        assert [Path(each).suffix for each in setup.extra_packages] == [".whl"]
        assert Path(setup.requirements_file).name == ("mine.txt" if more else LOCK)
    assert setup.setup_file == "./setup.py"
    what = "what --requirements_file names" if more else f"packages: {LOCK}"
    assert what in capsys.readouterr().out


# --- the list


def test_workers_install_the_versions_of_this_environment() -> None:
    numpy, beam = importlib.metadata.version("numpy"), importlib.metadata.version("apache-beam")
    lock = f"""\
apache-beam=={beam}
    # via streetdigits (setup.py)
nothing-of-this-name==3 ; python_full_version >= '3.10'
numpy==1.26.0 ; python_full_version >= '3.10'
numpy==1.20.0 ; python_full_version < '3.10'
"""
    lines, others, missing = worker_requirements(lock)
    decoders = [line for line in lines if line.startswith(DECODERS)]
    assert [*lines] == [
        f"apache-beam=={beam}",
        f'numpy=={numpy} ; python_full_version >= "3.10"',
        'numpy==1.20.0; python_full_version < "3.10"',
        *decoders,
    ]
    assert others == [f"numpy {numpy}", *(line.replace("==", " ") for line in decoders)]
    assert missing == ["nothing-of-this-name"]


def test_a_builds_own_suffix_is_in_no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "2.0.0+local.1")
    assert worker_requirements("numpy==2.0.0\n")[0][0] == "numpy==2.0.0"


# --- the wheel


def test_the_wheel_holds_every_file_with_its_digest_and_is_always_the_same(tmp_path: Path) -> None:
    first = write_wheel(tmp_path)
    data = first.read_bytes()
    assert write_wheel(tmp_path).read_bytes() == data
    with zipfile.ZipFile(first) as wheel:
        names = wheel.namelist()
        info = f"streetdigits-{__version__}.dist-info"
        rows = {
            name: (digest, size)
            for name, digest, size in csv.reader(io.StringIO(wheel.read(f"{info}/RECORD").decode()))
        }
        assert set(rows) == set(names) and len(names) == len(set(names))
        for name in names[:-1]:
            content = wheel.read(name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            assert rows[name] == (f"sha256={digest}", str(len(content)))
        files = {
            path.relative_to(ROOT).as_posix()
            for each in PACKAGES
            for path in (ROOT / each).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert {name for name in names if not name.startswith(info)} == files
        assert f"\nVersion: {__version__}\n" in wheel.read(f"{info}/METADATA").decode()


def test_a_package_that_is_not_installed_has_no_metadata_to_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(UserError, match=r"^streetdigits must be installed, .*: pip install --editable '\.\[beam\]'\. "):
        write_wheel(tmp_path)


# --- a worker

CHECK = """
import hashlib, importlib, json, sys, tempfile
from pathlib import Path
import beam_jobs.prepare.transforms, beam_jobs.explore.transforms, beam_jobs.explore.publish
from beam_jobs.job.package import write_wheel
from beam_jobs.prepare.versions import versions
from beam_jobs.sources import SOURCES, load_source
from tfrecords.images.decode import decode_picture
for name in SOURCES:
    load_source(name)
for name in ("aiohttp", "s3fs", "gcsfs", "yaml", "h5py", "jinja2", "cv2"):
    importlib.import_module(name)
with tempfile.TemporaryDirectory() as folder:
    wheel = write_wheel(Path(folder)).read_bytes()
shapes = [decode_picture(Path(path).read_bytes(), path).shape for path in sys.argv[1:]]
heavy = sorted({"tensorflow", "keras", "matplotlib"} & set(sys.modules))
print(json.dumps([shapes, versions("svhn"), beam_jobs.__file__, heavy, hashlib.sha256(wheel).hexdigest()]))
"""


@pytest.mark.slow
def test_a_fresh_environment_made_as_beams_boot_makes_it_has_all_that_a_worker_imports(
    drawn: Path, tmp_path: Path
) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not uv:
        pytest.skip("uv is not installed")
    python = tmp_path / "worker" / "bin" / "python"
    wheel = write_wheel(tmp_path)
    # As the boot does: the list with what it needs, then the package alone, then whatever that still needs. From uv's
    # cache, which has the same versions of the tests' own environment: no test waits for downloads.
    commands = [
        [uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "worker")],
        [uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(ROOT / LOCK)],
        [uv, "pip", "install", "--quiet", "--python", str(python), "--reinstall", "--no-deps", str(wheel)],
        [uv, "pip", "install", "--quiet", "--python", str(python), str(wheel)],
    ]
    for command in commands:
        offline = {**os.environ, "UV_OFFLINE": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=offline, capture_output=True, text=True)
        if done.returncode and re.search("network was disabled|not found in the cache", done.stderr, re.IGNORECASE):
            pytest.skip(f"uv's cache lacks packages: {done.stderr.strip().splitlines()[-1]}")
        assert not done.returncode, done.stderr
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    pictures = [str(drawn / "train" / f"{number}.png") for number in (1, 2)]
    done = subprocess.run(
        [python, "-c", CHECK, *pictures], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    shapes, found, file, heavy, digest = json.loads(done.stdout)
    assert len(shapes) == 2 and all(shape[2] == 3 for shape in shapes)
    assert Path(file).is_relative_to(tmp_path / "worker") and not heavy
    # What pip has installed can be sent on, the same.
    assert digest == hashlib.sha256(wheel.read_bytes()).hexdigest()
    pins = locked(LOCK)
    assert all(f"=={version}" in pins[name] for name, version in found.items() if name != "streetdigits")
    assert len(SOURCES) == 10
