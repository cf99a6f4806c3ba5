"""Typefaces of a folder: order, digests, refusals, and that `sample --faces` draws with them."""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from beam_jobs.sample import command as sample
from beam_jobs.sample.faces import folder_faces
from beam_jobs.sample.glyphs import find_faces
from tfrecords.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two faces, whose names sort against the order in which they were copied."""
    made = tmp_path / "faces"
    made.mkdir()
    for name, path in zip(("b.ttf", "a.TTF"), find_faces(), strict=False):
        shutil.copyfile(path, made / name)
    (made / "licence.txt").write_text("OFL")
    return made


def draw(folder: Path, *argv: object) -> Path:
    parser = argparse.ArgumentParser()
    sample.add_arguments(parser)
    words = ("--output", folder, "--count", 12, "--jobs", 1, *argv)
    assert sample.run(parser.parse_args([str(word) for word in words])) == 0
    return folder


def test_faces_are_in_the_order_of_their_names_with_their_digests(folder: Path) -> None:
    faces = folder_faces(folder)
    assert list(faces) == ["a.TTF", "b.ttf"]
    assert faces["b.ttf"] == hashlib.sha256((folder / "b.ttf").read_bytes()).hexdigest()


def test_a_folder_without_a_typeface_is_refused(tmp_path: Path) -> None:
    rule = rf"^--faces must be a folder with typefaces: files that end in \.otf or \.ttf\. Received: {tmp_path}$"
    with pytest.raises(UserError, match=rule):
        folder_faces(tmp_path)


def test_a_face_without_digits_is_named(folder: Path) -> None:
    # Computer Modern's extensible parts: a TrueType face of brackets and roots.
    shutil.copyfile(Path(find_faces()[0]).with_name("STIXSizOneSymReg.ttf"), folder / "c.ttf")
    with pytest.raises(UserError, match=r"c\.ttf must have all ten digits: .* Received: none for 0, 1, 2"):
        folder_faces(folder)


def test_a_file_that_is_no_typeface_is_named(folder: Path) -> None:
    (folder / "c.otf").write_bytes(b"not a typeface")
    with pytest.raises(UserError, match=r"c\.otf must be a typeface that FreeType can read\. Received: "):
        folder_faces(folder)


def test_nothing_is_drawn_with_a_folder_of_no_faces(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--faces must be a folder with typefaces"):
        draw(tmp_path / "drawn", "--faces", tmp_path)
    assert not (tmp_path / "drawn").exists()


def test_sample_draws_with_the_faces_and_saves_their_digests(folder: Path, tmp_path: Path) -> None:
    plain, other = draw(tmp_path / "plain"), draw(tmp_path / "other", "--faces", folder)
    assert json.loads((other / "sample.json").read_text())["faces"] == folder_faces(folder)
    assert "faces" not in json.loads((plain / "sample.json").read_text())
    pictures = [path.relative_to(plain) for path in plain.rglob("*.png")]
    assert any((plain / path).read_bytes() != (other / path).read_bytes() for path in pictures)


def test_the_place_of_the_folder_does_not_change_the_pictures(folder: Path, tmp_path: Path) -> None:
    one = draw(tmp_path / "one", "--faces", folder)
    moved = draw(tmp_path / "two", "--faces", shutil.copytree(folder, tmp_path / "moved"))
    for path in one.rglob("*.png"):
        assert np.array_equal(np.fromfile(path, np.uint8), np.fromfile(moved / path.relative_to(one), np.uint8))
