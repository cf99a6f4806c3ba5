"""`explain` of a model and a dataset: what it writes, what it says, and where it does not write."""

import contextlib
import io
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.pages import Page
from tfrecords.cli import main
from trainer.__main__ import COMMANDS
from trainer.pretrained import DIRECTORY
from trainer.run.stand_in import OutputFile

EXAMPLES = 5


def _explain(*options: object) -> int:
    return main("trainer", "", COMMANDS, ["explain", *map(str, options)])


@pytest.fixture(scope="module")
def written(drawn: Path, records: Path, untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page and the picture files of a picture of its own."""
    folder = tmp_path_factory.mktemp("explained")
    options = ["--run-dir", untrained, "--data", records, "--examples", EXAMPLES]
    options += ["--picture", drawn / "test" / "1.png", "--box", "10,10,40,30"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert _explain(*options, "--output", folder / "page.html", "--png", folder / "png") == 0
    (folder / "printed").write_text(printed.getvalue())
    return folder


def test_it_prints_what_it_wrote_and_what_comes_next(written: Path, untrained: Path) -> None:
    page, pictures, following = (written / "printed").read_text().splitlines()
    assert page.startswith("Explanation with ") and page.endswith(f": {written}/page.html")
    assert pictures == f"Pictures as PNG files: {len(list((written / 'png').iterdir()))} in {written}/png"
    assert following == f"Next: python -m trainer export --run-dir {untrained} --output {untrained}.keras"


def test_the_page_holds_the_predictions_and_the_picture_that_was_asked_for(written: Path, untrained: Path) -> None:
    parsed = Page((written / "page.html").read_text(encoding="utf-8"))
    parsed.check_self_contained()
    text = " ".join(parsed.text.split())
    assert "Inside compact on svhn" in text and f"Run {untrained.name}" in text and "549,094 weights" in text
    assert "5 of the 20 examples of the split test" in text and "Only the first 5 of 20 examples" in text
    assert "1.png" in text and "position 1" in text and "Output of the layer attended, 128 features" in text


def test_every_picture_is_a_file_of_its_size(written: Path) -> None:
    sizes = {}
    for path in (written / "png").iterdir():
        with Image.open(path) as picture:
            sizes[path.name] = picture.size
    assert sizes["look-picture-image.png"] == sizes["look-picture-attention-1.png"] == (54, 54)
    # The first layer: 3 inputs x 32 outputs of 5x5, at 4 pixels a weight, with lines between and around.
    assert sizes["kernels-01-stem_conv.png"] == (32 * (5 * 4 + 1) + 1, 3 * (5 * 4 + 1) + 1)
    assert sum(name.startswith("kernels-") for name in sizes) == sum(name.startswith("maps-") for name in sizes) == 10


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--examples", 100_001], "--examples must be 1..100000. Received: 100001"),
        (["--box", "1,2,3,4"], "--box must be given with --picture. Received: 1,2,3,4"),
        (["--picture", "full/notes.html"], "full/notes.html: The file must be a picture"),
        (["--split", "extra"], ": train, validation, test. Received: extra"),
        (["--png", "full/notes.html/png"], "--png needs a folder that can be written to. Received: /"),
        (["--output", "full/notes.html/page.html"], "--output needs a folder that can be written to. Received: /"),
        (["--png", "full"], "--png must be a new or an empty folder. Received: full"),
        (["--output", "full/notes.html"], "must be a new file, or a page of an earlier explain. Received: "),
        (["--output", DIRECTORY / "page.html"], "--output must not be in the folder of the package's weights."),
    ],
)
def test_what_cannot_be_explained_or_written_is_one_line(
    options: list[object],
    rule: str,
    records: Path,
    untrained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.html").write_text("mine")
    assert _explain("--run-dir", untrained, "--data", records, *options) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and rule in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "notes.html"]
    assert (tmp_path / "full" / "notes.html").read_text() == "mine"


def test_the_pages_of_a_run_and_of_the_package_have_their_places(
    records: Path, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(untrained, tmp_path / "run")
    (tmp_path / "data").symlink_to(records)
    places = []

    def note(args: object, trained: object, records: object, output: OutputFile) -> int:
        places.append(output.path)
        return 0

    monkeypatch.setattr("trainer.commands.explain._explain", note)
    assert _explain("--run-dir", tmp_path / "run", "--data", tmp_path / "data") == 0
    assert _explain("--data", tmp_path / "data") == 0
    assert places == [tmp_path / "run" / "explain.html", tmp_path / "data-pretrained" / "explain.html"]
