"""croissant.json by MLCommons' own library, from schema to values, and README.md by a reader of its YAML."""

import hashlib
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

import tfrecords
from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests.scene_records import write_scenes
from tfrecords.__main__ import COMMANDS
from tfrecords.cards.croissant import CROISSANT, TFRECORD
from tfrecords.cards.facts import ABOUT, Facts, Statistics, load_about, origin, read_statistics, save_about
from tfrecords.cards.files import find_card_errors, is_own_card, make_cards, write_cards
from tfrecords.cards.readme import MARK, README, card
from tfrecords.cli import main
from tfrecords.dataset.about import About, licence_address, licence_name
from tfrecords.dataset.manifest import MANIFEST, Manifest, SourceInfo
from tfrecords.dataset.publications import stated
from tfrecords.errors import UserError
from tfrecords.files.place import Place

SHA = "0" * 64


def _load(folder: Path) -> Any:
    """Returns a dataset of mlcroissant, which is valid: its one warning is that no date is stated."""
    import mlcroissant

    logging.getLogger("absl").setLevel(logging.ERROR)
    found = mlcroissant.Dataset(jsonld=str(folder / CROISSANT))
    assert not found.metadata.ctx.issues.errors
    assert all("datePublished" in each or "citeAs" in each for each in found.metadata.ctx.issues.warnings)
    return found


def _front_matter(folder: Path) -> dict[str, Any]:
    _, matter, _ = (folder / README).read_text().split("---\n", 2)
    found = yaml.safe_load(matter)
    assert isinstance(found, dict)
    return found


def _export(records: Path, output: Path, kind: str, *options: str) -> Path:
    argv = ["export", str(records), "--to", kind, "--output", str(output), "--jobs", "1", *options]
    assert main("tfrecords", "", COMMANDS, argv) == 0
    return output


def test_mlcroissant_reads_the_source_pictures_of_a_dataset_with_their_values(records: Path) -> None:
    found = _load(records)
    assert {each.uuid for each in found.metadata.record_sets} == {"splits", "examples", "pictures"}
    rows = pq.read_table(records / "annotations.parquet").to_pylist()
    read = list(found.records("pictures"))
    assert len(read) == len(rows)
    for ours, theirs in zip(rows, read, strict=True):
        assert theirs["pictures/key"].decode() == ours["key"]
        assert theirs["pictures/text"] == (ours["text"] and ours["text"].encode())
        assert theirs["pictures/source_height"] == ours["source_height"]
        edges = {name.rpartition("/")[2]: value for name, value in theirs["pictures/crop_box"].items()}
        assert edges == ours["crop_box"]


def test_every_shard_is_a_file_with_its_digest_and_every_feature_a_field(records: Path) -> None:
    manifest = Manifest.load(records)
    content = json.loads((records / CROISSANT).read_text())
    assert content["conformsTo"] == "http://mlcommons.org/croissant/1.1" and content["isLiveDataset"] is False
    files = {each["@id"]: each for each in content["distribution"] if each["@type"] == "cr:FileObject"}
    names = {path.name for path in records.iterdir() if ".idx" not in path.name} - {CROISSANT, README}
    assert set(files) == names
    for name, each in files.items():
        assert each["sha256"] == hashlib.sha256((records / name).read_bytes()).hexdigest()
    shard = manifest.splits["train"].shards[0]
    assert files[shard.file]["encodingFormat"] == TFRECORD and files[shard.file]["contentSize"] == f"{shard.bytes} B"
    examples = next(each for each in content["recordSet"] if each["@id"] == "examples")
    fields = {each["@id"].removeprefix("examples/"): each for each in examples["field"]}
    assert fields["boxes"]["dataType"] == ["sc:Float", "cr:BoundingBox"] and fields["boxes"]["arrayShape"] == "5,4"
    assert fields["image"]["dataType"] == "cr:UInt8" and fields["image"]["arrayShape"] == "54,54,3"
    assert content["prov:wasDerivedFrom"][0]["sha256"] == manifest.sources[0].annotations_sha256


def test_mlcroissant_loads_each_value_of_a_parquet_export(records: Path, tmp_path: Path) -> None:
    output = _export(records, tmp_path / "parquet", "parquet", "--split", "validation,test", "--licence", "CC0-1.0")
    read = {each["examples/key"].decode(): each for each in _load(output).records("examples")}
    ours = [(split, example) for split in ("validation", "test") for example in tfrecords.open(records, split)]
    assert len(read) == len(ours)
    for split, example in ours:
        found = read[example.key]
        assert (found["examples/split"].decode(), found["examples/text"].decode()) == (split, example.text)
        np.testing.assert_array_equal(np.asarray(found["examples/image"]), example.image)
        for name in ("digits", "boxes", "crop_box", "jitter_offset", "source_size", "length", "has_digit_boxes"):
            np.testing.assert_array_equal(found[f"examples/{name}"], getattr(example, name), name)
    matter = _front_matter(output)
    assert matter["license"] == "cc0-1.0" and matter["size_categories"] == ["n<1K"]
    paths = [{"split": split, "path": f"data/{split}-*.parquet"} for split in ("validation", "test")]
    assert matter["configs"] == [{"config_name": "default", "data_files": paths}]


@pytest.mark.parametrize("kind", ["arrow", "webdataset"])
def test_other_exports_are_described_and_name_their_digests(records: Path, tmp_path: Path, kind: str) -> None:
    output = _export(records, tmp_path / kind, kind, "--split", "test")
    metadata = _load(output).metadata
    for each in metadata.file_objects:
        assert hashlib.sha256((output / each.content_url).read_bytes()).hexdigest() == each.sha256
    files = [path for path in output.rglob("*") if path.is_file()]
    assert len(metadata.file_objects) == len(files) - 2


def test_mlcroissant_reads_the_pictures_of_exports_for_detectors(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    write_scenes(scenes)
    for kind in ("coco", "yolo"):
        output = _export(scenes, tmp_path / kind, kind)
        read = list(_load(output).records("examples"))
        pictures = sorted(path for path in output.rglob("*") if path.suffix in (".jpg", ".png"))
        assert sorted(each["examples/file"].decode() for each in read) == sorted(path.name for path in pictures)
        assert all(isinstance(each["examples/image"], Image.Image) for each in read)
        assert _front_matter(output)["task_categories"] == ["object-detection"]


def test_cards_are_a_function_of_the_manifest_and_what_is_stated(records: Path) -> None:
    data = (records / MANIFEST).read_bytes()
    manifest = Manifest.parse(data, MANIFEST)
    facts = Facts(manifest, load_about(Place(records)), read_statistics(Place(records), manifest))
    assert make_cards(facts, data) == {name: (records / name).read_bytes() for name in (README, CROISSANT)}
    other = make_cards(replace(facts, about=About(published="2026-11-28", creator="Städte")), data)
    content = json.loads(other[CROISSANT])
    assert content["datePublished"] == "2026-11-28" and content["creator"]["name"] == "Städte"
    assert "Nobody has stated: licence, citation, page." in content["description"]


def test_a_croissant_file_of_another_manifest_is_an_error_and_a_missing_one_is_said(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(records, tmp_path / "copy")
    content = json.loads((copy / CROISSANT).read_text())
    shard = next(each for each in content["distribution"] if ".tfrecord-" in each["@id"])
    shard["sha256"] = SHA
    content["distribution"] = [each for each in content["distribution"] if each["@id"] != "features.json"]
    (copy / CROISSANT).write_text(json.dumps(content))
    data = (copy / MANIFEST).read_bytes()
    assert list(find_card_errors(Place(copy), Manifest.parse(data, ""), data, False)) == [
        f"{copy / CROISSANT}: lacks features.json, which the manifest has",
        f"{copy / CROISSANT}: its SHA-256 of {shard['@id']} is not the manifest's",
    ]
    assert main("tfrecords", "", COMMANDS, ["validate", str(copy)]) == 1
    assert "lacks features.json" in capsys.readouterr().err
    (copy / CROISSANT).write_text("[]")
    assert [
        error.partition(" must")[0] for error in find_card_errors(Place(copy), Manifest.parse(data, ""), data, False)
    ]
    (copy / CROISSANT).unlink()
    assert main("tfrecords", "", COMMANDS, ["validate", str(copy)]) == 0
    assert f"note: {copy} has no {CROISSANT}" in capsys.readouterr().err


def test_a_card_that_somebody_has_edited_stays(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write_cards(place, {README: f"{MARK} first".encode()})
    write_cards(place, {README: f"{MARK} second".encode()})
    assert (tmp_path / README).read_text() == f"{MARK} second" and is_own_card(place)
    (tmp_path / README).write_text("mine")
    write_cards(place, {README: f"{MARK} third".encode(), CROISSANT: b"{}"})
    assert (tmp_path / README).read_text() == "mine" and not is_own_card(place)
    assert (tmp_path / CROISSANT).read_bytes() == b"{}"


def test_only_the_published_pictures_have_the_terms_of_a_publication(records: Path) -> None:
    drawn = Manifest.load(records)
    assert stated(drawn, About()) == About()
    assert "If they are of it: SVHN's pictures are for non-commercial use only." in origin(Facts(drawn))
    train = SourceInfo("train", 33_402, 33_402, 0, SHA, SHA)
    genuine = replace(drawn, sources=[train])
    found = stated(genuine, About())
    assert found.licence == "non-commercial use only" and found.citation.startswith("@inproceedings{netzer2011")  # type: ignore[union-attr]
    assert stated(genuine, About(licence="MIT")).licence == "MIT"
    assert stated(replace(drawn, sources=[train, replace(train, subset="test")]), About()) == About()


@pytest.mark.parametrize(
    ("licence", "name", "address"),
    [
        (None, "unknown", "unknown"),
        ("CC-BY-4.0", "cc-by-4.0", "https://spdx.org/licenses/CC-BY-4.0.html"),
        ("odbl", "odbl", "https://spdx.org/licenses/ODbL-1.0.html"),
        ("ODbL-1.0", "odbl", "https://spdx.org/licenses/ODbL-1.0.html"),
        ("https://example.org/terms", "other", "https://example.org/terms"),
        ("Ask us.", "other", "Ask us."),
    ],
)
def test_licences_have_the_names_of_hugging_face_and_the_addresses_of_spdx(
    licence: str | None, name: str, address: str, records: Path
) -> None:
    assert (licence_name(licence), licence_address(licence)) == (name, address)
    data = (records / MANIFEST).read_bytes()
    cards = make_cards(Facts(Manifest.parse(data, ""), About(licence=licence)), data)
    matter = yaml.safe_load(cards[README].decode().split("---\n")[1])
    assert matter["license"] == name and ("license_name" in matter) == (name == "other")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"licence": " "}, r"--licence must not be empty"),
        ({"creator": "A\nB"}, r"--creator must be one line\."),
        ({"homepage": "example.org"}, r"--homepage must be an address, as https://example\.org/numbers\."),
        ({"published": "20261128"}, r"--published must be a date, as 2026-11-28\. Received: 20261128"),
    ],
)
def test_values_that_nobody_could_use_are_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        About(**given)


def test_what_is_stated_of_a_stream_stays_until_it_is_stated_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    save_about(place, About())
    assert list(tmp_path.iterdir()) == []
    save_about(place, About(licence="MIT", creator="A"))
    save_about(place, About(creator="B"))
    assert load_about(place) == About(licence="MIT", creator="B")
    (tmp_path / "about.json").write_text('{"licences": "MIT"}')
    with pytest.raises(UserError, match=r"about\.json.*licences"):
        load_about(place)


def test_a_table_shows_the_frequent_characters_and_says_how_many_are_rarer(records: Path) -> None:
    letters = {chr(0x4E00 + index): 50 - index for index in range(45)}
    facts = Facts(Manifest.load(records), statistics=Statistics({1: 3}, letters, {"height": (1, 2, 3)}))
    text = card(facts, {"train": 3}, [], []).decode()
    assert text.count("| `") == 40 and "5 other characters are rarer." in text
    assert "Source pictures have a height of 1 to 3 pixels, 2 in the middle." in text


def test_flags_of_the_licence_change_no_shard_and_a_second_call_states_them_of_a_complete_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "digits", tmp_path / "records"
    folder.mkdir()
    lines = [",".join(map(str, [*((row * 7 + index) % 17 for index in range(64)), row % 10])) for row in range(30)]
    (folder / "optdigits.tra").write_text("\n".join(lines) + "\n")
    argv = ["prepare", "--source", "optdigits", "--input", str(folder), "--output", str(output)]
    assert main("beam_jobs", "", BEAM_COMMANDS, [*argv, "--workers", "1"]) == 0
    first = {path.name: path.read_bytes() for path in output.iterdir()}
    assert json.loads(first[CROISSANT])["license"] == "unknown"
    assert main("beam_jobs", "", BEAM_COMMANDS, [*argv, "--licence", "CC-BY-4.0"]) == 0
    assert "were written, with what is stated of the dataset now" in capsys.readouterr().out
    second = {path.name: path.read_bytes() for path in output.iterdir()}
    assert {name for name, data in second.items() if data != first.get(name)} == {ABOUT, CROISSANT, README}
    assert _front_matter(output)["license"] == "cc-by-4.0"
    assert main("tfrecords", "", COMMANDS, ["validate", str(output)]) == 0
    (output / CROISSANT).unlink()
    assert main("beam_jobs", "", BEAM_COMMANDS, argv) == 0
    assert {path.name: path.read_bytes() for path in output.iterdir()} == second
    again = [*argv[:-1], str(tmp_path / "again"), "--licence", "CC-BY-4.0", "--workers", "2"]
    assert main("beam_jobs", "", BEAM_COMMANDS, again) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == second
    capsys.readouterr()
    assert main("tfrecords", "", COMMANDS, ["inspect", str(output)]) == 0
    assert "\nlicence: CC-BY-4.0\n" in capsys.readouterr().out
