"""A worker that does not see a folder which its launcher sees, as on a machine where nobody has mounted it."""

import shlex
import subprocess
from pathlib import Path

import pytest


def write_blind_boot(path: Path, boot: Path, folder: Path) -> Path:
    """Returns an executable that starts workers for which a folder is empty.

    Args:
      path: File to write.
      boot: Executable that starts workers.
      folder: Folder to hide.
    """
    hide = f"mount -t tmpfs none {shlex.quote(str(folder))}"
    inside = shlex.quote(f'{hide} && exec {shlex.quote(str(boot))} "$@"')
    unshare = "unshare --map-root-user --mount"
    probe = subprocess.run([*unshare.split(), "sh", "-c", hide], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no folder can be hidden here: {probe.stderr.strip()}")
    path.write_text(f'#!/bin/sh\nexec {unshare} sh -c {inside} sh "$@"\n')
    path.chmod(0o755)
    return path
