"""python -m trainer predict: the numbers in a user's own pictures, read and printed batch by batch, or in a split."""

import argparse
import functools
import itertools
import sys
from collections import Counter
from pathlib import Path

from tfrecords.dataset.manifest import UNKNOWN_SPLIT
from tfrecords.errors import UserError
from tfrecords.files.place import Place, place
from tfrecords.flags import add_snapshot
from tfrecords.images.crop import BoundingBox
from tfrecords.progress import progress, silent
from trainer.commands.predict_answers import LARGE, Answering, Answers
from trainer.commands.predict_found import add_finding_arguments, check_finding, chosen_finder
from trainer.commands.refusals import add_refusal_arguments, check_refusals, chosen_refusals
from trainer.input.photos import find_photos, is_folder, left_out_line
from trainer.lite.runtime import AUTO, LITE, RUNTIMES
from trainer.pretrained import add_run_arguments, chosen_run
from trainer.reader import number_box
from trainer.run.cache_folder import add_cache_arguments
from trainer.run.cut import ALLOW
from trainer.run.stand_in import naming_addresses
from trainer.scoring.prediction_output import PredictionPrinter

EPILOG = """\
examples:
  a picture that shows the number and little else, with the pretrained weights:
    python -m trainer predict house.jpg
  the same with a model of your own:
    python -m trainer predict --run-dir runs/first house.jpg
  a street photo, with the box of the number (left, top, width, height, pixels):
    python -m trainer predict street.jpg --box 120,80,60,40
  several, each with its own box, printed as JSON:
    python -m trainer predict --json a.png --box 1,2,30,20 b.png --box -1,5,40,9
  a folder with its subfolders, printed as one JSON object per line:
    python -m trainer predict photos --json-lines > numbers.jsonl
  only numbers of which 99 % are right, and a refusal for each other picture:
    python -m trainer predict --run-dir runs/first photos --target-accuracy 0.99
  paths from another program:
    find . -name '*.jpg' -print0 | python -m trainer predict - --null
  Kaggle's submission for its test.csv, prepared as the split predict:
    python -m trainer predict --run-dir runs/digits --data kaggle-records \\
      --output submission.csv

A model reads pictures that look like those that it was trained on. Models of
MNIST and optdigits, whose digits are light on dark, predict wrong digits for
dark strokes on paper, with high confidence, unless they were trained with
--invert 0.5.

A refused picture is printed as `refused`; in JSON its `number` is null, and
`best_guess` is what would have been read. Refusals are counted at the end. What
--target-accuracy promises holds for pictures like those of the validation
split, and for no others (docs/training.md).

In a folder, files with the suffix of a picture format are read in order of
their names, those of linked folders too. Hidden files are skipped; other files
are counted at the end. A list of paths may have the line ends and the
byte-order mark that Windows writes. Predictions are printed after each batch:
with --batch-size 1, each line of standard input is answered at once.

With --data, a CSV file is written. Its columns are ImageId,Label, in the order
of the file that the pictures come from, if the source is mnist, the split is a
complete subset, and the model reads one digit. Otherwise they are key,number,
in the order of the keys. Rows that `prepare` rejected are counted, since Kaggle
refuses a file without them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `predict`."""
    parser.add_argument(
        "photos",
        nargs="*",
        metavar="PHOTO",
        help="picture files of any common format or their addresses, local folders, or - for paths from standard "
        "input, one per line",
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--box",
        action="append",
        metavar="X,Y,W,H",
        help="box of the number: left, top, width and height in pixels, from 0; one per photo, in the same order. "
        "Without boxes, numbers are looked for",
    )
    add_finding_arguments(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON array with all probabilities")
    form.add_argument(
        "--json-lines", action="store_true", help="print one JSON object per line, with all probabilities"
    )
    add_refusal_arguments(parser)
    parser.add_argument(
        "--null", action="store_true", help="separate paths on standard input by NUL, as find -print0 does"
    )
    parser.add_argument("--batch-size", type=int, default=64, help="pictures per batch")
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default=AUTO,
        help=f"what computes the predictions of photos. lite: ONNX Runtime, for weights that come with the package; "
        f"{AUTO}: that where it is installed, otherwise TensorFlow",
    )
    parser.add_argument(
        "--data", type=place, help="dataset directory, or its address, to read instead of photos; needs --output"
    )
    add_snapshot(parser)
    parser.add_argument("--split", default=UNKNOWN_SPLIT, help="split of --data to read")
    parser.add_argument("--output", type=place, help="CSV file to write for --data; an existing one is replaced")
    parser.add_argument(ALLOW, action="store_true", help="read images of --data cut with another growth or crop size")
    add_cache_arguments(parser)


@naming_addresses()
def run(args: argparse.Namespace) -> int:
    """Reads photos, or the split of a dataset; returns 1 if something could not be read.

    Raises:
      UserError: An option, the run, the dataset or standard input cannot be used.
      OSError: The file of --output cannot be written.
    """
    if args.batch_size < 1:
        raise UserError("--batch-size must be at least 1.", args.batch_size)
    check_refusals(args)
    check_finding(args)
    if bool(args.photos) == bool(args.data):
        given = f"{len(args.photos)} photos and --data {args.data}" if args.data else "neither"
        raise UserError("Either photos must be given, or --data with a dataset directory.", given)
    if args.data:
        if args.runtime == LITE:
            raise UserError(f"--runtime {LITE} must go with photos: a dataset is read with TensorFlow.", args.data)
        from trainer.commands.predict_split import predict_split

        return predict_split(args)
    if args.snapshot is not None:
        raise UserError("--snapshot must go with --data: it is that of a stream.", args.snapshot)
    if args.output:
        raise UserError("--output must go with --data: predictions of photos are printed.", args.output)
    return _predict_photos(args)


def _predict_photos(args: argparse.Namespace) -> int:
    """Prints the number in every picture that can be read; prints an error for each other one and returns 1.

    Raises:
      UserError: An option, the run or standard input cannot be used.
    """
    for name in args.photos:
        Place(name)  # an address with a slash too few would be the name of a file
    boxes = _boxes(args)
    chosen = chosen_run(args.run_dir, args.weights)
    least = chosen_refusals(args, chosen).min_confidence
    finder = chosen_finder(args)
    answering = Answering(args, chosen, finder, least)
    photos = functools.partial(find_photos, args.photos, sys.stdin.buffer, b"\0" if args.null else b"\n")
    left_out: Counter[str] = Counter()
    pairs = zip(photos(left_out), boxes or itertools.repeat(None), strict=False)
    total = None if "-" in args.photos else sum(1 for _ in photos())
    printer = PredictionPrinter(args.json, args.json_lines)
    done = Answers()
    is_short = total is not None and total <= args.batch_size
    with silent() if is_short else progress("predict", total, "pictures", keep=False) as shown:
        while batch := list(itertools.islice(pairs, args.batch_size)):
            answers = answering.answer(batch)
            if answers.rows:
                printer.write(answers.rows)
            done.add(answers)
            shown.update(len(batch))
    printer.close()
    if left_out:
        print(left_out_line(left_out), file=sys.stderr)
    _print_summary(args, done, printer, least is not None, finder is not None)
    return 1 if done.failed else 0


def _print_summary(
    args: argparse.Namespace, done: Answers, printer: PredictionPrinter, refuses: bool, finds: bool
) -> None:
    """Prints what was read, and what may be wrong with it, to standard error.

    Args:
      args: Options.
      done: Numbers of pictures.
      printer: Printer, with its numbers of predictions.
      refuses: Whether unsure answers were refused.
      finds: Whether numbers were looked for.
    """
    if done.large:
        rule = "was read as if the number filled it; give --box X,Y,W,H where the number is a part of the picture."
        print(f"warning: what is larger than {LARGE} pixels ({done.large:,} of {done.read:,}) {rule}", file=sys.stderr)
    elif done.empty and not args.box and not finds:
        rule = "found; give --box X,Y,W,H where one is a small part of the picture."
        print(f"note: in {done.empty:,} of {done.read:,} pictures no number was {rule}", file=sys.stderr)
    elif done.empty and finds:
        print(f"note: in {done.empty:,} of {done.read:,} pictures no number was found", file=sys.stderr)
    if finds and args.draw:
        print(f"Drew {done.read:,} pictures with their numbers in {args.draw}.", file=sys.stderr)
    lost = f"; {done.failed:,} could not be read" if done.failed else ""
    several = f"; {printer.count - done.empty:,} numbers" if args.all else ""
    refused = f"; {printer.refused:,} refused" if refuses else ""
    read = done.read if args.all else done.read - printer.refused
    print(f"Read {read:,} of {done.read + done.failed:,} pictures{several}{refused}{lost}.", file=sys.stderr)


def parse_box(text: str) -> BoundingBox:
    """Returns the box of "x,y,w,h": left, top, width, height.

    Raises:
      UserError: The text is not four numbers, or the width or height is not above 0.
    """
    try:
        left, top, width, height = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError("--box must be four numbers, X,Y,W,H.", text) from error
    return number_box(left, top, width, height)


def _boxes(args: argparse.Namespace) -> list[BoundingBox]:
    boxes = [parse_box(text) for text in args.box or []]
    if boxes and len(boxes) != len(args.photos):
        raise UserError("--box must be given once per photo, or not at all.", f"{len(boxes)} boxes")
    no_files = [name for name in args.photos if name == "-" or (not Place(name).is_remote and is_folder(Path(name)))]
    if boxes and no_files:
        raise UserError("--box must be given for files, not for folders or standard input.", no_files[0])
    return boxes
