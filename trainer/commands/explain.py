"""python -m trainer explain: one self-contained page of what happens inside a model."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.manifest import FIND
from tfrecords.errors import UserError
from tfrecords.files.place import Place, place
from tfrecords.files.purpose import check_writable
from tfrecords.flags import add_snapshot
from tfrecords.images.crop import BoundingBox
from tfrecords.interrupts import ending_at_once
from tfrecords.pages.formats import format_bytes, format_percent, visible
from tfrecords.pages.page import check_output, write_page
from tfrecords.progress import progress_of
from trainer.commands.evaluate import check_split
from trainer.commands.evaluate_find import check_task
from trainer.commands.predict import parse_box
from trainer.distribute.startup import start_tensorflow
from trainer.input.records import Records
from trainer.pretrained import NAME, add_run_arguments, chosen_run, find_pretrained, results_folder
from trainer.reader import Reader, read_image
from trainer.report.evidence import MOST_SUBJECTS, Subject, first_of_classes, gather
from trainer.report.explain import Answers, Source, render
from trainer.report.gallery import choose
from trainer.report.pictures import Picture, all_pictures
from trainer.report.room import COMMAND, Explanation, write_pictures
from trainer.run.cache_folder import add_cache_arguments, chosen_cache
from trainer.run.cut import ALLOW
from trainer.run.directory import EXPLANATION, Run
from trainer.run.stand_in import OutputFile, naming_addresses, output_file, published_files, stand_in

if TYPE_CHECKING:
    from tfrecords.dataset.image_cache import ImageCache
    from tfrecords.dataset.reader import Examples
    from trainer.scoring.inference import SplitPredictions
    from trainer.scoring.prediction_file import Prediction

_MOST_EXAMPLES = 100_000
_BATCH = 200
"""Examples per batch; the predictions do not depend on it."""

EPILOG = """\
examples:
  python -m trainer explain --run-dir runs/first --data records
  a picture of your own, and every picture of the page as a file:
    python -m trainer explain --run-dir runs/first --data records \\
      --picture street.jpg --box 120,80,60,40 --png pictures

The page shows layers, kernels and feature maps, what predictions depend on,
confused digits, mistakes, and whether confidence can be trusted. It needs no
earlier evaluation. Without --picture, one example of each digit is looked into.
Of a model that finds numbers, it shows heat maps over six pictures, the kernels
of the first convolution, and feature maps.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `explain`."""
    add_run_arguments(parser)
    parser.add_argument("--data", type=place, required=True, help="dataset directory, or its address")
    add_snapshot(parser)
    parser.add_argument("--split", default="test", help="split of the examples")
    parser.add_argument(
        "--examples", type=int, default=2000, help="number of examples to predict, the first ones in stored order"
    )
    parser.add_argument("--picture", type=place, help="picture file to look into instead of examples")
    parser.add_argument(
        "--box",
        metavar="X,Y,W,H",
        help="box of the number in the picture: left, top, width and height in pixels, from 0",
    )
    parser.add_argument("--png", type=place, help="new or empty folder for the pictures as PNG files")
    parser.add_argument(
        "--output",
        type=place,
        help=f"HTML file to write (default: {EXPLANATION} in the run directory; for the pretrained weights in "
        f"DATA-{NAME})",
    )
    parser.add_argument(
        ALLOW, action="store_true", help="use images cut with another growth or crop size than the run's"
    )
    add_cache_arguments(parser)


@naming_addresses()
def run(args: argparse.Namespace) -> int:
    """Writes the page and the picture files, and prints what they hold and where they are.

    Raises:
      UserError: An option, the run, the dataset or the picture cannot be used.
      OSError: A file cannot be read or written.
    """
    trained, records, output = _check(args)
    if trained.task == FIND:
        # These decode pictures, with libraries that take a tenth of a second to import.
        from trainer.commands.explain_find import explain_finder
        from trainer.report.explain_find import finder_pictures

        explanation, evidence = explain_finder(args, trained, records, output)
        following = ("predict", "--finder", args.run_dir, "PHOTO")
        print_summary(args, output, explanation, finder_pictures(evidence), following)
        return 0
    return _explain(args, trained, records, output)


def _explain(args: argparse.Namespace, trained: Run, records: Records, output: OutputFile) -> int:
    images = records.images(args.split)
    crop, channels = trained.crop, trained.image_shape[2]
    picture = read_image(args.picture, _box(args), crop, channels) if args.picture else None
    # TensorFlow, whose import takes seconds, comes after the options are checked.
    with ending_at_once():
        start_tensorflow()
    reader = Reader(trained)
    own = None if picture is None else _own_subject(args.picture.name, picture, reader)
    found = _predict(args, reader, records, images)
    view = _View(args.split, records, trained)
    answers = _answers(found, view)
    subjects, notes = ([own], []) if own else _subjects(found, answers.rows, view)
    evidence = gather(reader.model, subjects, found.digits[:, 0], trained.labels.alphabet, view.images)
    if len(found.keys) < len(images):
        notes.append(f"Only the first {len(found.keys):,} of {len(images):,} examples are predicted (`--examples`).")
    name = trained.directory.resolve().name
    source = Source(name, trained.config.model, records.manifest.name, args.split, len(images), tuple(notes))
    explanation = render(source, answers, evidence)
    write_page(output.path, explanation.html)
    output.publish()
    exported = f"{(args.run_dir or '').rstrip('/')}.keras"
    following = ("export", "--run-dir", args.run_dir, "--output", exported) if args.run_dir else ()
    print_summary(args, output, explanation, all_pictures(evidence), following)
    return 0


def _check(args: argparse.Namespace) -> tuple[Run, Records, OutputFile]:
    """Returns the run, the dataset and the path of the page, once every option has been checked.

    Raises:
      UserError: An option cannot be used.
    """
    if not 1 <= args.examples <= _MOST_EXAMPLES:
        raise UserError(f"--examples must be 1..{_MOST_EXAMPLES}.", args.examples)
    if args.box and not args.picture:
        raise UserError("--box must be given with --picture.", args.box)
    _box(args)
    trained = chosen_run(args.run_dir, args.weights, task=None)
    records = Records.open(args.data, chosen_cache(args), args.snapshot)
    check_task(trained, records.manifest, args.data)
    check_split(args, trained, records.manifest)
    output = output_file(args.output or results_folder(trained, args.data).place / EXPLANATION)
    if find_pretrained(output.path.resolve().parent):
        raise UserError("--output must not be in the folder of the package's weights.", output.place)
    check_output(output.path, COMMAND)
    check_writable("--output", output.place.parent)
    if args.png:
        _check_empty(args.png)
    return trained, records, output


def _check_empty(folder: Place) -> None:
    """Raises a UserError if the folder of the picture files has files, or cannot be written to."""
    if folder.is_remote:
        is_new = not folder.exists()
    else:
        is_new = not folder.path.exists() or (folder.is_dir() and not any(folder.path.iterdir()))
    if not is_new:
        raise UserError("--png must be a new or an empty folder.", folder)
    check_writable("--png", folder)


def _box(args: argparse.Namespace) -> list[BoundingBox]:
    return [parse_box(args.box)] if args.box else []


def _own_subject(name: str, image: NDArray[np.uint8], reader: Reader) -> Subject:
    """Returns the picture of the command line, (height, width, channels) uint8, with what the model reads in it."""
    predictions = reader.predict(image[None])
    answer = predictions.texts[0]
    story = f"Read as {answer or 'no number'}, {format_percent(float(predictions.confidence[0]))} confident."
    return Subject("picture", name, story, image, answer, max(1, len(answer)))


class _View:
    """Examples of the split, and their images as the model takes them."""

    def __init__(self, split: str, records: Records, trained: Run) -> None:
        self.examples: Examples = records.examples(split)
        self._size = trained.image_shape[:2]

    def images(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns the central windows of the examples' images, (images, height, width, channels)."""
        from trainer.input.augment import centre_slices

        stored = self.examples.batch(indices.tolist(), ["image"])["image"]
        rows, columns = centre_slices(stored.shape[1], stored.shape[2], self._size)
        return np.ascontiguousarray(stored[:, rows, columns])


def _predict(args: argparse.Namespace, reader: Reader, records: Records, images: ImageCache) -> SplitPredictions:
    """Returns the predictions for the first examples of the split, and shows the progress."""
    from trainer.fit.errors import readable
    from trainer.input.cached import leave_all
    from trainer.input.dataset import split_dataset
    from trainer.scoring.inference import predict_split

    count = min(args.examples, len(images))
    size = min(_BATCH, count)
    batches = -(-count // size)
    read = readable(split_dataset(images, size).take(batches), args.data, args.split, reader.run.reads_length)
    shown = progress_of(_first(read, count), f"explain {args.split}", batches, "batches")
    found = predict_split(reader.forward, shown, reader.run.labels, records.manifest.labels)
    leave_all()
    if reader.calibration is None:
        return found
    return replace(found, predictions=found.predictions.with_temperature(reader.calibration.temperature))


def _first(batches: Iterable[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Yields batches until they have `count` examples, the last one cut short."""
    for batch in batches:
        part = {name: values[:count] for name, values in batch.items()}
        yield part
        count -= len(part["length"])


def _answers(found: SplitPredictions, view: _View) -> Answers:
    from trainer.scoring.metrics import score
    from trainer.scoring.prediction_file import prediction_rows

    rows = prediction_rows(found.keys, found.predictions, found.length, found.digits)
    chosen = choose(rows)
    place = {key: index for index, key in enumerate(found.keys)}
    images = {one.key: view.examples[place[one.key]].image for one in (*chosen.wrong, *chosen.unsure)}
    return Answers(rows, score(found.predictions, found.length, found.digits), chosen, images)


def _subjects(found: SplitPredictions, rows: list[Prediction], view: _View) -> tuple[list[Subject], list[str]]:
    """Returns the first example of each class, and a sentence about the classes that have none."""
    labels = found.predictions.labels
    first = found.digits[:, 0]
    chosen = first_of_classes(first, len(labels.alphabet), 1)
    ordered = chosen[np.argsort(first[chosen], kind="stable")]
    shown = ordered[:MOST_SUBJECTS]
    subjects = []
    for index, image in zip(shown.tolist(), view.images(shown), strict=True) if shown.size else ():
        row, character = rows[index], int(first[index])
        begins = visible(labels.alphabet[character])
        title = begins if labels.max_length == 1 else f"{row.number} (begins with {begins})"
        verdict = f"{'right' if row.correct else 'wrong'}, {format_percent(row.confidence)} confident"
        story = f"{row.key}: read as {row.answer or 'no number'}, which is {verdict}."
        positions = min(max(1, int(found.predictions.length[index])), labels.max_length)
        subjects.append(Subject(f"class-{character:02}", title, story, image, row.answer, positions))
    absent = [one for index, one in enumerate(labels.alphabet) if index not in first[chosen]]
    notes = (
        [f"No number of the predicted examples begins with {' '.join(map(visible, absent))}, so none is looked into."]
        if absent
        else []
    )
    if len(ordered) > len(shown):
        notes.append(f"Examples of {len(shown)} of the {len(ordered)} characters are looked into, the first ones.")
    return subjects, notes


def print_summary(
    args: argparse.Namespace,
    output: OutputFile,
    explanation: Explanation,
    shown: Sequence[Picture],
    following: Sequence[str],
) -> None:
    """Prints what a page holds and where it is, and writes its pictures if `--png` says so.

    Args:
      args: Options of `explain`.
      output: File of the page.
      explanation: The page.
      shown: Pictures for `--png`.
      following: Words of the command to run next; none for no line.
    """
    for line in explanation.notes:
        print(f"note: {line}", file=sys.stderr)
    size = format_bytes(output.path.stat().st_size)
    print(f"Explanation with {explanation.num_pictures} pictures ({size}): {output.place}")
    if args.png:
        pictures = stand_in(args.png)
        count = write_pictures(pictures.folder, shown)
        pictures.publish(*published_files(pictures.folder))
        print(f"Pictures as PNG files: {count} in {args.png}")
    if following:
        print(f"Next: python -m trainer {shlex.join(following)}")
