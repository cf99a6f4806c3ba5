"""Show: a sheet in the format that its name says, or a refusal."""

from pathlib import Path

import pytest
from PIL import Image

from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main


@pytest.mark.parametrize(
    ("name", "kind"), [("my.jpg", "JPEG"), ("my.JPEG", "JPEG"), ("my.png", "PNG"), ("a.jpg.png", "PNG")]
)
def test_the_sheet_has_the_format_of_its_suffix(records: Path, tmp_path: Path, name: str, kind: str) -> None:
    options = ["--count", "2", "--output", str(tmp_path / name)]
    assert main("tfrecords", "", COMMANDS, ["show", str(records), *options]) == 0
    with Image.open(tmp_path / name) as sheet:
        assert sheet.format == kind


@pytest.mark.parametrize("name", ["my.txt", "my", "my.gif", "my.png.bak", "folder.png"])
def test_a_file_of_another_format_and_a_folder_are_refused(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "kept").touch()
    assert main("tfrecords", "", COMMANDS, ["show", str(records), "--output", str(tmp_path / name)]) == 1
    rule = "error: --output must be a file that ends in .png, .jpg, .jpeg. Received: "
    assert capsys.readouterr().err == f"{rule}{tmp_path / name}\n"
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.png", "kept"]
