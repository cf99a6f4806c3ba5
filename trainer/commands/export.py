"""python -m trainer export: a trained model for serving, for phones and for other runtimes."""

import argparse
from pathlib import Path, PurePosixPath

from tfrecords.errors import UserError
from tfrecords.files.place import Place, place
from tfrecords.files.purpose import check_writable
from tfrecords.interrupts import ending_at_once
from tfrecords.record.labels import Labels
from trainer.distribute.startup import start_tensorflow
from trainer.export.formats import FORMATS, Format, export_model, export_photo_reader, photo_formats
from trainer.finding.finder import check_finds
from trainer.pretrained import FINDER, add_run_arguments, chosen_run, run_directory
from trainer.run.directory import Run, labels_text
from trainer.run.stand_in import naming_addresses, published_files, stand_in, upload

_GRAPH = "saved_model.pb"

EPILOG = """\
examples:
  a folder for TensorFlow Serving, which takes picture files (docs/serving.md):
    python -m trainer export --run-dir runs/first --output models/reader/1
  one file, in the format of its suffix:
    python -m trainer export --run-dir runs/first --output reader.onnx
  a graph for a C++ program:
    python -m trainer export --run-dir runs/first --output reader.pb
  a finder and a reader together, from photos to boxes and numbers:
    python -m trainer export --finder pretrained-finder --output models/photos/1

formats:
  savedmodel  input: `pictures` (batch,), the bytes of PNG, JPEG, WebP, GIF or
              BMP files of any size, each showing the number and little else.
              The signature with_boxes also takes `boxes` (batch, 4): left, top,
              width and height of each number in pixels.
  tflite      input: `image` (batch, height, width, 3) uint8 RGB, already cut
              out and resized; one channel of grey where the model was trained
              on that. Needs ai-edge-litert.
  onnx        same input. Needs onnx, tf2onnx and onnxruntime.
  graph       same input. A frozen GraphDef (.pb) for programs in C and C++: one
              file, in which the weights are constants.
  keras, h5   the Keras model itself, from (batch, height, width, 3) 0..255, not
              normalised, to two tensors of logits: one for the digits only
              where each number is a single character. h5 is Keras's legacy
              format (.h5 or .hdf5), for tools that read nothing else.

SavedModel, tflite, onnx and graph return length, digits, confidence,
length_probabilities and digit_probabilities; a SavedModel also returns the
number as text. The length is always 1 for a model that was trained on single
characters. Digits are indices into the alphabet that the model was trained
on: 0..9 themselves, unless `prepare --alphabet` named other characters. Those
are printed, and are in the metadata of an ONNX file. Probabilities are those at
the temperature of the run's calibration.json, if it has one; keras and h5 have
logits, which nothing divides: the temperature is printed. Before an export is
given its name, it is loaded and its predictions are compared with the model's;
a SavedModel on pictures of several formats and sizes, with both signatures.

with --finder, a finder and a reader are one export, which finds and reads the
numbers of complete photos as `predict` does:
  savedmodel  input: `pictures` (batch,), the bytes of picture files of any
              size.
  tflite      input: `picture` (height, width, 3) uint8 RGB: one decoded photo
              of any size. LiteRT has no operation that decodes picture files.
  onnx        same input. ONNX Runtime 1.31 has no ImageDecoder of ai.onnx,
              which would decode them.

They return `count`, the number of numbers of a photo, and rows for four, the
surest number first, 0 from `count` on: boxes (left, top, width and height in
pixels of the photo), box_confidence, length, digits and confidence; a
SavedModel also the number as text. Where no place gives a number, the photo is
read as a whole: the box is the complete photo, and box_confidence is 1. Photos
are not turned (`predict --rotate`). The other formats hold a single model.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `export`."""
    add_run_arguments(parser)
    parser.add_argument(
        "--finder",
        metavar="DIR",
        help="run directory of a model that finds numbers, its address, or "
        f"{FINDER.name}: one export of both, which takes complete photos",
    )
    parser.add_argument(
        "--format",
        choices=list(FORMATS),
        help="format of the export (default: that of the suffix of --output; savedmodel without a suffix)",
    )
    parser.add_argument("--output", type=place, required=True, help="file to write, or folder for a SavedModel")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing export")


@naming_addresses()
def run(args: argparse.Namespace) -> int:
    """Writes the export atomically, and prints what it is and how to load it.

    Raises:
      UserError: The output or the run cannot be used, a module is missing, or the export differs from the model.
      OSError: The export cannot be written.
    """
    kind = FORMATS[args.format or _format_of(args.output)]
    _check_output(args.output, kind, args.overwrite)
    finder = _chosen_finder(args.finder, kind)
    output = stand_in(args.output.parent).folder / args.output.name if args.output.is_remote else args.output.path
    chosen = chosen_run(args.run_dir, args.weights)
    # TensorFlow, whose import takes seconds, comes after the options are checked.
    with ending_at_once():
        start_tensorflow()
    kind.check_modules()
    from trainer.scoring.calibration_file import read_calibration

    calibration = read_calibration(chosen)
    temperature = calibration.temperature if calibration else 1.0
    made = _export_photos(kind, finder, chosen, output) if finder else _export(kind, chosen, output, temperature)
    size = sum(path.stat().st_size for path in (output, *output.rglob("*")) if path.is_file()) / 1e6
    if args.output.is_remote:
        _upload(output, args.output)
    models = f"{finder.config.model} and {chosen.config.model}" if finder else chosen.config.model
    print(f"{kind.title} of {models} ({size:.1f} MB) in {args.output}; {made}")
    # Neither TensorFlow nor Keras nor LiteRT opens s3://.
    first = "Copy it to a disk, and load it there" if args.output.is_remote else "Load it"
    path = args.output.name if args.output.is_remote else str(args.output)
    print(f"{first} with: {kind.loading.format(output=path)}")
    if chosen.labels != Labels():
        print(f"It predicts {labels_text(chosen.labels)}; its digits are indices into these characters")
    if calibration:
        print(_temperature_line(kind, temperature))
    return 0


def _chosen_finder(name: str | None, kind: Format) -> Run | None:
    """Returns the run of the finder to export with the reader; None without one.

    Raises:
      UserError: It is not the run of a finder, or the format holds a single model.
    """
    if name is None:
        return None
    if kind.write_photos is None:
        rule = f"--finder must go with the formats {photo_formats()}: a Keras file or frozen graph holds one model, and"
        raise UserError(f"{rule} neither decodes photos nor cuts numbers out of them.", kind.title)
    finder = Run.load(run_directory(name))
    check_finds(finder)
    return finder


def _export(kind: Format, chosen: Run, output: Path, temperature: float) -> str:
    """Exports a reader, and returns what is printed of the comparison."""
    from trainer.run.weights import load_model

    difference = export_model(kind, load_model(chosen), chosen.crop, chosen.labels, output, temperature)
    return f"its probabilities are within {difference:.0e} of the model's"


def _export_photos(kind: Format, finder: Run, chosen: Run, output: Path) -> str:
    """Exports a finder and a reader together, and returns what is printed of the comparison."""
    from trainer.photo_reader import PhotoReader
    from trainer.reader import Reader

    difference, count = export_photo_reader(kind, PhotoReader.load(finder, Reader(chosen)), output)
    return f"its confidences of {count} numbers in drawn photos are within {difference:.0e} of the models'"


def _temperature_line(kind: Format, temperature: float) -> str:
    """Returns what is printed of the temperature of a calibrated run."""
    if kind.has_logits:
        return (
            f"Its logits are not calibrated: divide them by {temperature} before the softmax, once the number is chosen"
        )
    return f"Its probabilities are calibrated, at the temperature {temperature}"


def _upload(export: Path, output: Place) -> None:
    """Uploads an export; a folder's graph comes last, by which servers recognise one, and files of an earlier one go.

    Raises:
      UserError: The output cannot be written.
    """
    if export.is_file():
        upload(export, output)
        return
    names = published_files(export)
    for name in sorted(names, key=lambda name: name == _GRAPH):
        upload(export / name, output / name)
    output.delete_names(sorted(set(output.walk()) - set(names)))


def _format_of(output: Place) -> str:
    """Returns the name of the format that a suffix means.

    Raises:
      UserError: The suffix is that of no format. A folder may end in a version, as `reader-1.5` does.
    """
    endings = {ending: name for name, kind in FORMATS.items() for ending in kind.endings}
    suffix = _suffix(output)
    if suffix not in endings and not suffix[1:].isdigit():
        known = ", ".join(ending for ending in endings if ending)
        rule = f"--output must end in {known}, or have no suffix: then it is the folder of a SavedModel, which may"
        raise UserError(f"{rule} have any name with --format savedmodel.", output)
    return endings.get(suffix, "savedmodel")


def _suffix(output: Place) -> str:
    """Returns the suffix as it is written: Keras knows `.keras`, and not `.KERAS`."""
    return PurePosixPath(output.name).suffix


def _check_output(output: Place, kind: Format, overwrite: bool) -> None:
    """Raises a UserError if an export of this kind may not be written to `output`."""
    if kind.ending and _suffix(output) not in kind.endings:
        raise UserError(f"--output of the format {kind.title} must end in {' or '.join(kind.endings)}.", output)
    if not output.has_listing:
        raise UserError("--output must be local or in a store, as s3:// or gs://: a web server takes none.", output)
    check_writable("--output", output.parent)
    if not output.exists():
        return
    if not overwrite:
        raise UserError("The output already exists: use --overwrite to replace it, or another --output.", output)
    # A slip in --output must not cost a user's folder.
    if output.is_dir() and (kind.ending or not (output / _GRAPH).is_file()):
        raise UserError("--overwrite replaces only an export, never another folder.", output)
