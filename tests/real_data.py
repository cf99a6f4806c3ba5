"""Where the real data is that tests check against; it is not part of the repository."""

import os
from pathlib import Path

import pytest


def data_folder() -> Path:
    """Returns the folder of real data, $DIGITS_TEST_DATA or ../shared/data; where there is none, skips the test."""
    folder = Path(os.environ.get("DIGITS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: set DIGITS_TEST_DATA to its folder. Received: {folder}")
    return folder
