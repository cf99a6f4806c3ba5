"""`python -m trainer summary`: layers, shapes and weights, as a table and as JSON."""

import json
from pathlib import Path

import pytest

from tests.untrained import make_run
from tfrecords.cli import main
from tfrecords.record.labels import Labels
from trainer.__main__ import COMMANDS
from trainer.run.directory import WEIGHTS


def summary(*words: str) -> int:
    return main("trainer", "", COMMANDS, ["summary", *words])


def test_a_table_lists_each_layer_with_its_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert summary("--model", "barcode", "--image-shape", "28x28x1", "--max-length", "1") == 0
    first, before, head, *rows, after, total = capsys.readouterr().out.splitlines()
    assert first == "barcode: images of 28 x 28 x 1 (height x width x channels); numbers of up to 1 of '0123456789'"
    assert head.split() == ["layer", "kind", "configuration", "output", "shape", "weights", "fixed"]
    assert not before and not after and len({len(line) for line in (head, *rows)}) == 1
    lines = {row.split()[0]: " ".join(row.split()[1:]) for row in rows}
    assert lines["conv2"] == "Conv2D 20 of 5x5 8 x 8 x 20 10,020 0"
    assert lines["standardise"].endswith("28 x 28 x 1 3 3")
    assert lines["barcode"] == "GlobalAveragePooling2D 40 0 0"
    # The published number of weights, 4 bytes each.
    assert total == "18,813 weights: 18,810 trainable, 3 fixed; 75,252 bytes"


def test_json_describes_the_model_of_a_run_without_its_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "run", Labels(2, "01é"), (16, 24, 1))
    (tmp_path / "run" / WEIGHTS).unlink()
    assert summary("--run-dir", str(tmp_path / "run"), "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    facts = {name: value for name, value in shown.items() if name != "layers"}
    rows = {row["name"]: row for row in shown["layers"]}
    assert facts.pop("bytes") == 4 * facts["weights"]
    assert facts.pop("weights") == sum(row["weights"] for row in rows.values())
    assert facts.pop("trainable") == sum(row["trainable"] for row in rows.values())
    assert facts == {"model": "compact", "image_shape": [16, 24, 1], "max_length": 2, "alphabet": "01é"}
    conv = {"kind": "Conv2D", "configuration": "32 of 5x5, stride 2, padded, no bias", "shape": "8 x 12 x 32"}
    assert rows["stem_conv"] == {"name": "stem_conv", **conv, "weights": 800, "trainable": 800}
    assert (rows["digit_logits"]["shape"], rows["length_logits"]["shape"]) == ("2 x 3", "4")


@pytest.mark.parametrize(
    "shape", ["28", "28x28x2", "0x28x1", "4097x28x1", "28x28x1x1", "²x28x1", "28x28x", "9" * 5000 + "x1x1"]
)
def test_a_shape_that_is_none_is_refused(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        summary("--model", "compact", "--image-shape", shape)
    rule = "--image-shape: it must be a height and width of 1 to 4096 pixels and 1 or 3 channels, such as 28x28x1."
    assert f"{rule} Received: {shape}" in capsys.readouterr().err


def test_options_of_an_architecture_are_refused_with_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--image-shape", "28x28x1"], ["--max-length", "1"], ["--alphabet", "01"]):
        assert summary(*words) == 1
        rule = f"{words[0]} needs --model: a run has the images and labels of its dataset.\n"
        assert capsys.readouterr().err == f"error: {rule}"
