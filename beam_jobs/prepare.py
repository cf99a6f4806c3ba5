"""The main job: a source's pictures and annotations to a dataset directory of TFRecords."""

import argparse
import re
import time
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_jobs import files
from beam_jobs.config import PrepareConfig
from beam_jobs.finish import REJECTED_MANIFEST
from beam_jobs.plan import Plan, find_subsets, make_plan
from beam_jobs.progress import watch_progress
from beam_jobs.sources.digit_struct import DIGIT_ORDERS
from beam_jobs.transforms import Finish, ReadAnnotations, WriteShards
from tfrecords.codec import ENCODINGS
from tfrecords.crop import CropSpec
from tfrecords.errors import UserError
from tfrecords.manifest import DEAD_LETTERS, MANIFEST, Manifest

EPILOG = """\
examples:
  SVHN as it unpacks, with folders train, test and extra:
    python -m beam_jobs prepare --source svhn --input svhn --output svhn-records
  one folder of pictures with a digitStruct.mat, a tenth of it held out:
    python -m beam_jobs prepare --source svhn --input photos --output records --test-fraction 0.1
  two worker processes; a cluster (any option of Beam's passes through):
    ... --direct_running_mode multi_processing --direct_num_workers 2
    ... --runner FlinkRunner --flink_master HOST:8081 --setup_file ./setup.py

The same input, configuration and seed make the same bytes, on any runner with any number of workers.
"""
# Named in full: what Beam calls DirectRunner first tries another runner, which it would have to download.
_DEFAULT_RUNNER = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; their defaults are `PrepareConfig`'s and `CropSpec`'s."""
    config, crop = PrepareConfig(), CropSpec()
    data = parser.add_argument_group("data")
    data.add_argument("--source", choices=["svhn"], required=True, help="published format of the input")
    data.add_argument("--input", type=Path, required=True, help="folder of the source")
    data.add_argument("--output", required=True, help="dataset directory to make; any file system of Beam's")
    data.add_argument(
        "--subsets",
        default="",
        help="which to read, as train,extra; all that are there when empty; "
        "pictures of test become the split test, all others train",
    )
    data.add_argument("--name", default=config.name, help="of the dataset, first part of the shards' names")
    data.add_argument("--overwrite", action="store_true", help="replace a dataset that stands in the output")
    data.add_argument(
        "--digit-order",
        choices=DIGIT_ORDERS,
        default=config.digit_order,
        help="reading order: by the boxes' left edges, or as stored",
    )
    split = parser.add_argument_group("splits and shards")
    split.add_argument(
        "--validation-fraction",
        type=float,
        default=config.validation_fraction,
        help="share of the training pictures drawn for validation",
    )
    split.add_argument(
        "--test-fraction",
        type=float,
        default=config.test_fraction,
        help="share of the training pictures drawn for test",
    )
    split.add_argument("--seed", type=int, default=config.seed, help="of splits, shards, order and jitters")
    split.add_argument("--examples-per-shard", type=int, default=config.examples_per_shard, help="aimed at")
    split.add_argument(
        "--shards", type=int, default=config.shards, help="of the largest split, instead of --examples-per-shard"
    )
    cut = parser.add_argument_group("pictures")
    cut.add_argument(
        "--growth",
        type=float,
        default=crop.growth,
        help="added to the union of the digits' boxes, as a fraction of its size",
    )
    cut.add_argument("--crop-size", type=int, default=crop.crop_size, help="what the crop is resized to, pixels")
    cut.add_argument("--record-size", type=int, default=crop.record_size, help="of the window that is stored, pixels")
    cut.add_argument(
        "--jitters",
        type=int,
        default=crop.jitters,
        help="windows at random places a training picture; 0 stores the whole crop",
    )
    cut.add_argument("--encoding", choices=ENCODINGS, default=config.encoding, help="of the stored pixels")
    cut.add_argument(
        "--max-dead-fraction",
        type=float,
        default=config.max_dead_fraction,
        help="more rejected pictures than this share fail the job",
    )


def run(args: argparse.Namespace, beam_options: list[str]) -> int:
    """Runs the job; `beam_options` are those that the parser does not know.

    Raises:
      UserError: an option or the input cannot be used, or too many pictures were rejected.
    """
    config = PrepareConfig(
        source=args.source,
        name=args.name,
        crop=CropSpec(args.growth, args.crop_size, args.record_size, args.jitters),
        validation_fraction=args.validation_fraction,
        test_fraction=args.test_fraction,
        seed=args.seed,
        encoding=args.encoding,
        digit_order=args.digit_order,
        examples_per_shard=args.examples_per_shard,
        shards=args.shards,
        max_dead_fraction=args.max_dead_fraction,
    )
    options = _beam_options(beam_options)
    wanted = tuple(name for name in args.subsets.split(",") if name)
    plan = make_plan(config, find_subsets(args.input, wanted), args.output)
    _clear_output(plan, args.overwrite)
    start = time.monotonic()
    with watch_progress(plan.output, plan.pictures):
        run_pipeline(plan, options)
    _summarise(plan, time.monotonic() - start)
    return 0


def run_pipeline(plan: Plan, options: PipelineOptions) -> None:
    """Reads, cuts and writes everything that `plan` names, and waits for the end."""
    with beam.Pipeline(options=options) as pipeline:
        (
            pipeline
            | "ReadAnnotations" >> ReadAnnotations(plan)
            | "WriteShards" >> WriteShards(plan)
            | "Finish" >> Finish(plan)
        )


def _beam_options(flags: list[str]) -> PipelineOptions:
    """Returns Beam's options, with a runner that needs nothing started or downloaded as the default.

    Raises:
      UserError: Beam does not know an option, which it would pass over in silence.
    """
    options = PipelineOptions(flags)
    standard = options.view_as(StandardOptions)
    standard.runner = standard.runner or _DEFAULT_RUNNER
    # A job server brings options of its own, which only it knows.
    if not re.search("portable|flink|spark", standard.runner.lower()):
        known = options.get_all_options()
        unknown = [name for name in options.get_all_options(retain_unknown_options=True) if name not in known]
        if unknown or (flags and not flags[0].startswith("-")):
            raise UserError("prepare takes its own options (see --help) and Beam's; it knows no such one.", flags)
    return options


def _clear_output(plan: Plan, overwrite: bool) -> None:
    """Makes sure that the output is a folder without a manifest.

    Raises:
      UserError: a dataset stands there and is not to be overwritten.
    """
    files.make_folder(plan.output)
    if files.exists(plan.path(MANIFEST)) and not overwrite:
        raise UserError(f"{plan.output} holds a dataset already: give --overwrite to replace it, or another --output.")
    files.delete([plan.path(name) for name in (MANIFEST, REJECTED_MANIFEST)])


def _summarise(plan: Plan, seconds: float) -> None:
    """Prints what was made.

    Raises:
      UserError: too many pictures were rejected.
    """
    failed = not files.exists(plan.path(MANIFEST))
    manifest = Manifest.parse(files.read_bytes(plan.path(REJECTED_MANIFEST if failed else MANIFEST)), plan.output)
    dead = sum(manifest.dead_letters.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in manifest.dead_letters.items())
    where = plan.path(DEAD_LETTERS)
    if failed:
        raise UserError(
            f"At most {plan.config.max_dead_fraction:g} of the pictures may be rejected (--max-dead-fraction); "
            f"all are counted, each with its reason in {where}, and no dataset was made.",
            f"{dead} of {plan.pictures} ({reasons})",
        )
    for split, info in manifest.splits.items():
        size = sum(shard.bytes for shard in info.shards) / 1e6
        print(
            f"{split:<11}{info.pictures:>9,} pictures {info.examples:>10,} examples "
            f"{len(info.shards):>5} shards {size:>10,.1f} MB"
        )
    if dead:
        print(f"{'rejected':<11}{dead:>9,} pictures ({reasons}): see {where}")
    speed = f"{seconds:.1f} s ({plan.pictures / seconds:,.0f}/s)"
    print(f"{plan.pictures:,} pictures in {speed}: the dataset {manifest.name} is in {plan.output}")
    print(f"Next: python -m tfrecords inspect {plan.output}")
