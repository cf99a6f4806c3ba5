"""Typefaces are chosen by their own licence entries, and gathered from the packages that a list names."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from beam_jobs.sample.faces import has_digits
from beam_jobs.sample.glyphs import find_faces
from beam_jobs.sample.typefaces import Typeface, choose, describe, main, package_files, read_list, survey, write_list
from tfrecords.errors import UserError

LIST = Path(__file__).parents[1] / "trainer" / "pretrained" / "typefaces.tsv"
OFL = "This Font Software is licensed under the SIL Open Font License, Version 1.1."


def face(licence: str, family: str = "Plain", digits: bool = True) -> bytes:
    """Returns a typeface with a licence entry."""
    font = TTFont(find_faces()[0])
    for number, text in {13: licence, 14: "", 0: "", 1: family, 16: family}.items():
        font["name"].removeNames(nameID=number)
        if text:
            font["name"].setName(text, number, 3, 1, 0x409)
    if not digits:
        for table in font["cmap"].tables:
            table.cmap = {code: name for code, name in table.cmap.items() if code != ord("7")}
    stream = io.BytesIO()
    font.save(stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    apache = "Licensed under the Apache License, Version 2.0"
    return {
        "a.ttf": face(OFL),
        "b.ttf": face("http://scripts.sil.org/OFL", "Other"),
        "c.ttf": face(apache, "Third"),
        "gpl.ttf": face("GNU General Public License"),
        "silent.ttf": face(""),
        "seven.ttf": face(OFL, "Gap", digits=False),
        "broken.ttf": b"no typeface",
    }


@pytest.fixture(scope="module")
def debs(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with a Debian package of the typefaces."""
    folder = tmp_path_factory.mktemp("debs")
    root = folder / "root"
    fonts = root / "usr" / "share" / "fonts"
    fonts.mkdir(parents=True)
    for name, content in files.items():
        (fonts / name).write_bytes(content)
    (root / "DEBIAN").mkdir()
    control = "Package: fonts-drawn\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: typefaces\n"
    (root / "DEBIAN" / "control").write_text(control)
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(folder / "fonts-drawn_1_all.deb")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_a_licence_is_what_the_typeface_itself_says(files: dict[str, bytes]) -> None:
    said = {name: describe(content)[1] for name, content in files.items() if name != "broken.ttf"}
    assert said == {
        **dict.fromkeys(("a.ttf", "b.ttf", "seven.ttf"), "OFL-1.1"),
        "c.ttf": "Apache-2.0",
        **dict.fromkeys(("gpl.ttf", "silent.ttf"), ""),
    }
    with pytest.raises(UserError):
        describe(files["broken.ttf"])
    assert has_digits(files["a.ttf"]) and not has_digits(files["seven.ttf"]) and not has_digits(files["broken.ttf"])


def test_what_is_left_out_is_counted(debs: Path, files: dict[str, bytes]) -> None:
    kept, others = survey("fonts-drawn", package_files(debs / "fonts-drawn_1_all.deb"))
    assert {each.file: content for each, content in kept.items()} == {
        name: files[name] for name in ("a.ttf", "b.ttf", "c.ttf")
    }
    assert others == {"another licence": 2, "not all ten digits": 1, "unreadable": 1}


def test_a_few_faces_of_each_family_are_chosen_once() -> None:
    many = [Typeface(f"{n:02}.ttf", "Wide", "one", "OFL-1.1", str(n)) for n in range(12)]
    twice = Typeface("03.ttf", "Wide", "two", "OFL-1.1", "x"), Typeface("99.ttf", "Copy", "two", "OFL-1.1", "4")
    single = Typeface("z.ttf", "Narrow", "one", "OFL-1.1", "z")
    chosen = choose([*twice, single, *many], 4)
    assert chosen == [many[0], many[3], many[6], many[9], single]
    assert choose(many[:3], 4) == many[:3]


def test_the_list_that_is_written_gathers_the_same_files(
    debs: Path, files: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces, table = tmp_path / "faces.tsv", ["--list", str(tmp_path / "faces.tsv"), "--debs", str(debs)]
    run(*table, "--output", str(tmp_path / "one"), "--packages", "fonts-drawn", "--without", "b*")
    assert "2 typefaces" in (said := capsys.readouterr().out) and "1 (--without)" in said
    assert [each.file for each in read_list(faces)] == ["a.ttf", "c.ttf"]
    run(*table, "--output", str(tmp_path / "two"))
    for folder in ("one", "two"):
        assert {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} == {
            name: files[name] for name in ("a.ttf", "c.ttf")
        }


def test_another_version_of_a_package_is_refused(
    debs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_list(tmp_path / "faces.tsv", [Typeface("a.ttf", "Plain", "fonts-drawn", "OFL-1.1", "0" * 64)])
    command = ["--list", str(tmp_path / "faces.tsv"), "--debs", str(debs), "--output", str(tmp_path / "faces")]
    run(*command, code=1)
    assert "other versions" in capsys.readouterr().err and not (tmp_path / "faces").exists()
    (tmp_path / "faces").mkdir()
    run(*command, code=1)
    assert "must not exist yet" in capsys.readouterr().err


def run(*arguments: str, code: int = 0) -> None:
    """Calls the command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["typefaces", *arguments])
        assert main() == code


def test_the_packages_weights_were_drawn_with_faces_that_anybody_may_use() -> None:
    faces = read_list(LIST)
    assert len(faces) > 700 and {each.licence for each in faces} == {"OFL-1.1", "Apache-2.0"}
    assert len({each.file for each in faces}) == len({each.sha256 for each in faces}) == len(faces)
