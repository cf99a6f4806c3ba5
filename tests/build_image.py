"""Builds a stage of the Dockerfile without an engine and runs its command: `python -m tests.build_image worker`.

buildah runs the Dockerfile's own lines in a chroot, as root. No registry of images is asked: the base image is made of
debootstrap's Debian and the Python that runs this, in the place of python:X-slim-bookworm, and Beam's of the boot that
`go install` builds. So what Debian's and Python's own images add is not tested here, nor Docker's or BuildKit's reading
of the Dockerfile.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.dockerfile import read_stages

ROOT = Path(__file__).parents[1]
PROGRAMS = ("buildah", "debootstrap", "go")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BEAM = version("apache-beam")
# What python:slim has, and the libraries that Python is linked with.
_PACKAGES = (
    "ca-certificates,netbase,tzdata,libssl3,libffi8,libsqlite3-0,zlib1g,libbz2-1.0,liblzma5,libreadline8,"
    "libncursesw6,libexpat1,libuuid1"
)
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
CHECKS = {
    "worker": [
        ["python", "-c", "import beam_jobs.prepare.transforms, s3fs, gcsfs"],
        # Beam's boot makes its environments there.
        ["python", "-m", "venv", "--without-pip", "--system-site-packages", "/opt/apache/beam-venv/checked"],
        ["test", "-x", "/opt/apache/beam/boot"],
    ],
    "trainer": [["python", "-m", "trainer", "summary"]],
    "cli": [["streetdigits", "sample", "--output", "/tmp/drawn", "--count", "20"]],
}
"""Commands that must succeed in each image, as its user."""


class Builder:
    """buildah with a storage of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Args:
        folder: Folder for images and downloads.
        """
        self.folder = folder
        self._options = [f"--root={folder / 'store'}", f"--runroot={folder / 'run'}"]

    def run(self, *words: str | Path, cwd: Path | None = None) -> str:
        """Runs a command of buildah, and returns what it prints; its log goes to standard error."""
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        command = ["buildah", *self._options, *map(str, words)]
        return subprocess.run(
            command, env=environment, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def make_image(self, name: str, folder: Path, settings: str = "") -> None:
        """Makes an image of a folder's content."""
        (folder.parent / "Containerfile").write_text(f"FROM scratch\nCOPY {folder.name}/ /\n{settings}")
        self.run("bud", "--quiet", "--file", "Containerfile", "--tag", name, ".", cwd=folder.parent)


def _left_out(folder: str, names: list[str]) -> set[str]:
    """Returns what is not copied of a folder of Python: packages but pip, and what images of Python do not have."""
    if Path(folder).name == "site-packages":
        return {name for name in names if not name.startswith("pip")}
    return shutil.ignore_patterns("__pycache__", "test", "idlelib", "include", "config-*")(folder, names)


def make_base(builder: Builder) -> None:
    """Makes what takes the place of python:X-slim-bookworm."""
    root = builder.folder / "base" / "root"
    if not (root / "usr/local/bin/python").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for each in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / each)
        # Behind a proxy, this machine's certificates are others than Debian's.
        shutil.copy(Path("/") / _CERTIFICATES, root / _CERTIFICATES)
        shutil.copytree(sys.base_prefix, root / "usr/local", symlinks=True, dirs_exist_ok=True, ignore=_left_out)
        subprocess.run(["chroot", root, "/sbin/ldconfig"], check=True)
    search = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    settings = f"ENV PATH={search} LANG=C.UTF-8 SSL_CERT_FILE=/{_CERTIFICATES} PIP_CERT=/{_CERTIFICATES}\n"
    builder.make_image(f"docker.io/library/python:{PYTHON}-slim-bookworm", root, settings)


def make_beam(builder: Builder) -> None:
    """Makes what takes the place of Beam's image: its boot, from source."""
    root = builder.folder / "beam" / "root"
    boot = root / "opt/apache/beam/boot"
    if not boot.exists():
        boot.parent.mkdir(parents=True, exist_ok=True)
        program = f"github.com/apache/beam/sdks/v2/python/container@v{BEAM}"
        environment = {**os.environ, "GOBIN": str(boot.parent), "CGO_ENABLED": "0"}
        subprocess.run(["go", "install", program], env=environment, check=True)
        (boot.parent / "container").rename(boot)
        for name in ("LICENSE", "NOTICE"):
            (boot.parent / name).write_text("")
    builder.make_image(f"docker.io/apache/beam_python{PYTHON}_sdk:{BEAM}", root)


def build(builder: Builder, stage: str, arguments: list[str]) -> str:
    """Builds a stage, and returns the image's name."""
    name = f"localhost/streetdigits-{stage}"
    given = [word for argument in (f"PYTHON={PYTHON}", *arguments) for word in ("--build-arg", argument)]
    # Without reuse of layers: buildah 1.28 loses mounts from stages that it finds in its cache.
    words = ("bud", "--quiet", "--pull-never", "--format", "docker", "--layers=false", "--target", stage)
    builder.run(*words, *given, "--tag", name, ROOT)
    return name


def check(builder: Builder, stage: str, image: str) -> None:
    """Runs the stage's commands in a container, as its user."""
    container = builder.run("from", "--pull-never", image)
    try:
        user = builder.run("run", "--isolation", "chroot", container, "--", "id", "-u")
        if user == "0":
            raise SystemExit(f"error: An image must not run as root. Received: {stage}")
        for command in CHECKS[stage]:
            builder.run("run", "--isolation", "chroot", container, "--", *command)
    finally:
        builder.run("rm", container)


def main() -> None:
    """Builds and checks the stage that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    stages = read_stages((ROOT / "Dockerfile").read_text())
    parser.add_argument("stage", choices=[name for name in stages if name in CHECKS], help="stage to build")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="build argument")
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "streetdigits" / "images"
    parser.add_argument("--folder", type=Path, default=folder, help="folder for images and downloads")
    args = parser.parse_args()
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        raise SystemExit(f"error: buildah, debootstrap and Go must be installed. Received: no {', '.join(missing)}")
    if sys.base_prefix == "/usr":
        raise SystemExit("error: The Python that is copied must have a folder of its own. Received: /usr")
    if os.geteuid():
        raise SystemExit("error: A root of Debian can be made by root only.")
    builder = Builder(args.folder)
    make_base(builder)
    make_beam(builder)
    image = build(builder, args.stage, args.build_arg)
    check(builder, args.stage, image)
    (described,) = json.loads(builder.run("images", "--json", image))
    print(f"{args.stage}: built and checked, {described['size']}")


if __name__ == "__main__":
    main()
