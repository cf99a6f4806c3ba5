"""python -m trainer summary: the layers of a model, their output shapes and their weights."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tfrecords.errors import UserError
from tfrecords.interrupts import ending_at_once
from tfrecords.record.labels import Labels
from trainer.distribute.startup import start_tensorflow
from trainer.models.build import FINDERS, MODELS, build_model, check_model
from trainer.pretrained import add_run_arguments, chosen_run
from trainer.run.directory import labels_text
from trainer.run.stand_in import naming_addresses

if TYPE_CHECKING:
    import keras

    from trainer.inside.layers import LayerRow, ModelSize

EPILOG = """\
examples:
  python -m trainer summary --run-dir runs/first
  python -m trainer summary --model barcode --image-shape 28x28x1 --max-length 1

The model is built, and no weights are read: a run may still be training.
Weights that no gradient changes, such as the averages of batch normalisation,
are counted as fixed.
"""

_USUAL_SHAPE = (54, 54, 3)
"""Height, width and channels of the images that `prepare` makes by default."""
_MOST_SIDE = 4096
"""Largest height and width, pixels: that of a crop."""
_OF_MODEL = ("image_shape", "max_length", "alphabet")
"""Options that describe the dataset of `--model`; a run has its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `summary`."""
    chosen, names = add_run_arguments(parser), [*MODELS, *FINDERS]
    chosen.add_argument("--model", choices=names, metavar="NAME", help=f"architecture: {', '.join(names)}")
    usual = "x".join(map(str, _USUAL_SHAPE))
    parser.add_argument(
        "--image-shape",
        type=_image_shape,
        metavar="HxWxC",
        help=f"with --model: height, width and channels of the images, pixels (default: {usual})",
    )
    labels = Labels()
    parser.add_argument(
        "--max-length",
        type=int,
        help=f"with --model: largest number of characters in a number (default: {labels.max_length})",
    )
    parser.add_argument("--alphabet", help=f"with --model: characters of the numbers (default: {labels.alphabet})")
    parser.add_argument("--json", action="store_true", help="print a JSON object")


@naming_addresses()
def run(args: argparse.Namespace) -> int:
    """Prints the table.

    Raises:
      UserError: An option or the run cannot be used.
    """
    name, image_shape, labels, reads_length = _chosen(args)
    check_model(name, image_shape)
    # TensorFlow, whose import takes seconds, comes after the options are checked.
    with ending_at_once():
        start_tensorflow()
    model = build_model(name, image_shape, labels, reads_length)
    print(json.dumps(_json(model, labels), indent=2, ensure_ascii=False) if args.json else _text(model, labels))
    return 0


def _chosen(args: argparse.Namespace) -> tuple[str, tuple[int, int, int], Labels, bool | None]:
    """Returns the arguments of `build_model`.

    Raises:
      UserError: The options do not go together, or the run cannot be used.
    """
    given = {name: getattr(args, name) for name in _OF_MODEL if getattr(args, name) is not None}
    if args.model is None:
        if given:
            flag = f"--{next(iter(given)).replace('_', '-')}"
            raise UserError(f"{flag} needs --model: a run has the images and labels of its dataset.")
        run_ = chosen_run(args.run_dir, args.weights, task=None)
        return run_.config.model, run_.image_shape, run_.labels, run_.reads_length
    image_shape = given.pop("image_shape", _USUAL_SHAPE)
    return args.model, image_shape, Labels(**given), None


def _image_shape(text: str) -> tuple[int, int, int]:
    """Returns the shape of images that a text such as 28x28x1 names: the `type` of a flag.

    Raises:
      ArgumentTypeError: It names none.
    """
    parts = text.split("x")
    sides = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) <= len(str(_MOST_SIDE))]
    if (
        len(parts) != 3
        or len(sides) != 3
        or not all(1 <= side <= _MOST_SIDE for side in sides)
        or sides[2] not in (1, 3)
    ):
        rule = f"it must be a height and width of 1 to {_MOST_SIDE} pixels and 1 or 3 channels, such as 28x28x1."
        raise argparse.ArgumentTypeError(f"{rule} Received: {text}")
    return sides[0], sides[1], sides[2]


def _text(model: keras.Model, labels: Labels) -> str:
    """Returns the table as text."""
    from trainer.inside.layers import layer_rows, model_size

    rows, size = layer_rows(model), model_size(model)
    shape = " x ".join(map(str, model.input_shape[1:]))
    first = f"{model.name}: images of {shape} (height x width x channels); {labels_text(labels)}"
    return "\n".join([first, "", *_table(rows), "", _total(size)])


def _table(rows: list[LayerRow]) -> list[str]:
    """Returns the lines of the table of layers; each column is as wide as its longest entry."""
    head = ("layer", "kind", "configuration", "output shape", "weights", "fixed")
    lines = [head] + [
        (row.name, row.kind, row.configuration, row.shape, f"{row.weights:,}", f"{row.weights - row.trainable:,}")
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numbers = len(head) - 2
    aligned = (
        [f"{text:{'<' if index < numbers else '>'}{widths[index]}}" for index, text in enumerate(line)]
        for line in lines
    )
    return ["  ".join(line).rstrip() for line in aligned]


def _total(size: ModelSize) -> str:
    fixed = size.weights - size.trainable
    return f"{size.weights:,} weights: {size.trainable:,} trainable, {fixed:,} fixed; {size.bytes:,} bytes"


def _json(model: keras.Model, labels: Labels) -> dict[str, Any]:
    """Returns the table as JSON holds it."""
    from trainer.inside.layers import layer_rows, model_size

    return {
        "model": model.name,
        "image_shape": list(model.input_shape[1:]),
        **asdict(labels),
        "layers": [asdict(row) for row in layer_rows(model)],
        **asdict(model_size(model)),
    }
