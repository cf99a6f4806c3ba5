"""What a job installs on its workers: this package as a wheel, and the list of what it imports.

Beam's workers install what is staged with a job: `--requirements_file`, then `--extra_package`. The package is sent as
a wheel, made of the files that this process imports from: an sdist would need a build back end both here and in each
worker's image, since Beam's boot (2.77) installs without build isolation. The list is requirements-worker.lock with the
versions of this environment, so that workers read, cut and write as the launcher does. Workers download it:
`--requirements_cache DIR` makes Beam download here and stage the files instead.
"""

import base64
import contextlib
import hashlib
import importlib.metadata
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    SparkRunnerOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import create_runner
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from beam_jobs.job.boot import is_own_executable
from tfrecords._version import __version__
from tfrecords.errors import UserError
from tfrecords.images.formats import DECODERS

LOCK = "requirements-worker.lock"
_NAME = "streetdigits"
_ROOT = Path(__file__).parents[2]
_WHEEL = f"Wheel-Version: 1.0\nGenerator: {_NAME}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_INSTALLING = {None, "DOCKER", "PROCESS", "beam:env:docker:v1", "beam:env:process:v1"}
"""Types of environments whose workers Beam's boot may start, which installs; the others are there already."""
_LOCAL_SPARK = re.compile(r"local(\[.+\])?")
_LOCAL_FLINK = ("[local]", "[auto]")
_STAGED = ("extra_packages", "requirements_file", "requirements_cache", "setup_file")
"""Options that `packaged` sets."""
_SHOWN = 4
"""Names that a line shows."""
_OLDEST = (1980, 1, 1, 0, 0, 0)
"""Date of every file in the wheel, the first that a zip file can state: the same files give the same bytes."""


@contextlib.contextmanager
def packaged(options: PipelineOptions) -> Iterator[None]:
    """Sends this package and what it imports to the workers of pipelines that are made and run while the block runs.

    Nothing is sent where no worker installs anything: to a runner in this process, to workers in this process or in
    a pool that runs already, to those that `boot` starts, and to an image of the user's own. What the user names is
    sent instead.

    Args:
      options: Options of the job. Until the block ends, they name what is sent. A pipeline copies its options.

    Raises:
      UserError: The package is not installed, so that its metadata are not known.
    """
    setup = options.view_as(SetupOptions)
    if not installs(options):
        yield
        return
    own = setup.setup_file is not None and _is_own(Path(setup.setup_file))
    named = _named(setup, own)
    if named and not own:
        print(f"note: workers install what {named} names; this package is sent only if none of these is given")
        yield
        return
    before = {name: getattr(setup, name) for name in _STAGED}
    with tempfile.TemporaryDirectory(prefix=f"{_NAME}-") as folder:
        wheel = write_wheel(Path(folder))
        setup.extra_packages = [*(setup.extra_packages or ()), str(wheel)]
        setup.setup_file = None
        what = f"what {named} names"
        if not named:
            setup.requirements_file, what = _write_requirements(Path(folder))
            # Beam would download 250 MB here before it submits the job.
            setup.requirements_cache = setup.requirements_cache or "skip"
        print(f"{_who(options)} {_NAME} {__version__} ({wheel.stat().st_size / 1e6:.1f} MB) and {what}")
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(setup, name, value)


def _who(options: PipelineOptions) -> str:
    """Returns the beginning of the line about what workers install."""
    if "process" in (options.view_as(PortableOptions).environment_type or "").lower():
        # An executable on other machines: only it knows.
        return "workers are sent, to install if their executable does,"
    return "workers install"


def installs(options: PipelineOptions) -> bool:
    """Returns whether the workers of a job may install what is staged with it.

    Args:
      options: Options of the job.
    """
    runner = create_runner(options.view_as(StandardOptions).runner)
    if options.view_as(WorkerOptions).sdk_container_image:
        return False
    if type(runner).__name__ == "DataflowRunner":
        return True
    portable = options.view_as(PortableOptions)
    if not isinstance(runner, PortableRunner) or portable.environment_type not in _INSTALLING:
        return False
    if "process" in (portable.environment_type or "").lower() and is_own_executable(_process_command(portable)):
        return False
    if portable.environment_type is None and _is_loopback(type(runner).__name__, options):
        return False
    # An environment of Docker has its image's name as its configuration, or in an option.
    image = portable.environment_config or portable.lookup_environment_option("docker_container_image")
    return "docker" not in (portable.environment_type or "docker").lower() or not image


def _process_command(portable: PortableOptions) -> str:
    """Returns the executable that starts workers as processes; empty if it cannot be told."""
    try:
        given = json.loads(portable.environment_config or "{}").get("command", "")
    except (ValueError, AttributeError):
        given = ""
    return given or portable.lookup_environment_option("process_command") or ""


def _is_loopback(runner: str, options: PipelineOptions) -> bool:
    """Returns whether a runner of Beam, of this name, has its workers in this process unless it is told otherwise."""
    if options.view_as(PortableOptions).output_executable_path:
        return False
    if runner == "FlinkRunner":
        return options.view_as(FlinkRunnerOptions).flink_master in _LOCAL_FLINK
    if runner == "SparkRunner":
        return bool(_LOCAL_SPARK.fullmatch(options.view_as(SparkRunnerOptions).spark_master_url))
    return runner == "PrismRunner"


def _named(setup: SetupOptions, own: bool) -> str:
    """Returns the flags with which the user names what to install, without this package's own setup.py."""
    given = {
        "--setup_file": None if own else setup.setup_file,
        "--requirements_file": setup.requirements_file,
        "--extra_package": setup.extra_packages,
    }
    return ", ".join(flag for flag, value in given.items() if value)


def _is_own(path: Path) -> bool:
    """Returns whether a setup.py is this package's."""
    return path.is_file() and bool(re.search(rf"""\bname\s*=\s*["']{_NAME}["']""", path.read_text(errors="replace")))


def write_wheel(folder: Path) -> Path:
    """Writes this package as a wheel, from the files that this process imports, and returns its path.

    It is the same for a wheel that pip installed, an editable install and a checkout: the code as it is now, with the
    metadata that were installed.

    Args:
      folder: Folder to write to.

    Raises:
      UserError: The package is not installed.
    """
    info = f"{_NAME}-{__version__}.dist-info"
    metadata = {f"{info}/{name}": data for name, data in _metadata().items()}
    contents = {**_contents(metadata[f"{info}/top_level.txt"].decode().split()), **metadata}
    lines = [f"{name},{_record_digest(data)},{len(data)}\n" for name, data in contents.items()]
    contents[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    path = folder / f"{_NAME}-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, _OLDEST)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)
    return path


def _metadata() -> dict[str, bytes]:
    """Returns the files of the wheel's dist-info except RECORD, by name.

    Raises:
      UserError: The package is not installed.
    """
    try:
        installed = importlib.metadata.distribution(_NAME)
    except importlib.metadata.PackageNotFoundError as error:
        rule = f"{_NAME} must be installed, since its metadata go to the workers: pip install --editable '.[beam]'."
        raise UserError(rule, str(_ROOT)) from error
    # In a checkout, the egg-info that a build has left there comes first, with other names.
    text = installed.read_text("METADATA") or installed.read_text("PKG-INFO") or ""
    # An editable install has the metadata of the version that it was made from.
    files: dict[str, str | None] = {"METADATA": re.sub(r"(?m)^Version: .*", f"Version: {__version__}", text, count=1)}
    files["WHEEL"] = _WHEEL
    files |= {name: installed.read_text(name) for name in ("entry_points.txt", "top_level.txt", "licenses/LICENSE")}
    if not files["licenses/LICENSE"] and (_ROOT / "LICENSE").is_file():
        files["licenses/LICENSE"] = (_ROOT / "LICENSE").read_text()
    return {name: content.encode() for name, content in files.items() if content}


def _contents(packages: list[str]) -> dict[str, bytes]:
    """Returns the files of the packages, by their path in the wheel, in order."""
    paths = [path for package in packages for path in (_ROOT / package).rglob("*") if path.is_file()]
    names = {path.relative_to(_ROOT).as_posix(): path for path in paths if "__pycache__" not in path.parts}
    return {name: names[name].read_bytes() for name in sorted(names)}


def _record_digest(data: bytes) -> str:
    """Returns a digest as RECORD states it."""
    return f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()}"


def _write_requirements(folder: Path) -> tuple[str, str]:
    """Writes the list of what workers install; returns its path and what it is, for the user."""
    lines, others, missing = worker_requirements((Path(__file__).parent / LOCK).read_text())
    path = folder / LOCK
    path.write_text("".join(f"{line}\n" for line in lines))
    what = f"{len(lines)} packages: {LOCK}"
    if others:
        what += f", with {_some(others)} as installed here"
    if missing:
        what += f", without {len(missing)} that are not installed here ({_some(missing)})"
    return str(path), what


def _some(names: list[str]) -> str:
    """Returns the first of the names, with an ellipsis for the others."""
    return ", ".join([*names[:_SHOWN], *(["..."] if len(names) > _SHOWN else [])])


def worker_requirements(lock: str) -> tuple[list[str], list[str], list[str]]:
    """Returns a lock's requirements with the versions of this environment.

    A worker with versions other than the launcher's would be refused, or write other bytes. What is not installed here
    cannot be needed by the job, which this process planned with the same code, and may not fit the other versions.

    Args:
      lock: Text of the lock.

    Returns:
      The requirements, one per line of a requirements file; those whose version is not the lock's, as `numpy 2.2.0`;
      and the names of packages of the lock that are not installed here and are left out.
    """
    lines, others, missing = [], [], []
    for locked in _parse(lock):
        if locked.marker and not locked.marker.evaluate():
            lines.append(str(locked))
            continue
        version = _installed_version(locked.name)
        if version is None:
            missing.append(locked.name)
            continue
        if f"=={version}" != str(locked.specifier):
            others.append(f"{locked.name} {version}")
        marker = f" ; {locked.marker}" if locked.marker else ""
        lines.append(f"{locked.name}=={version}{marker}")
    decoders = {name: _installed_version(name) for name in DECODERS}
    found = [f"{name}=={version}" for name, version in decoders.items() if version]
    return lines + found, others + [line.replace("==", " ") for line in found], missing


def _parse(lock: str) -> Iterator[Requirement]:
    """Yields the requirements of a lock that uv has written."""
    for line in lock.splitlines():
        with contextlib.suppress(InvalidRequirement):
            yield Requirement(line.partition("#")[0].strip())


def _installed_version(name: str) -> str | None:
    """Returns the version of an installed package as a registry has it, without a build's own suffix."""
    try:
        return Version(importlib.metadata.version(name)).public
    except importlib.metadata.PackageNotFoundError:
        return None
