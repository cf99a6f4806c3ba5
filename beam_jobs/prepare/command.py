"""The main job: a source's pictures and annotations to a dataset directory of TFRecords."""

import argparse
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from beam_jobs import filesystem
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.memory import limit_arenas
from beam_jobs.prepare.monitoring import read_metrics, watch_progress
from beam_jobs.prepare.output_lock import REJECTED_MANIFEST, claim
from beam_jobs.prepare.plan import Plan, find_subsets, make_plan
from beam_jobs.prepare.runner import one_line_errors, parse_beam_options, works_alone
from beam_jobs.prepare.transforms import Finish, ReadAnnotations, WriteShards
from beam_jobs.sources.svhn.digit_struct import DIGIT_ORDERS
from tfrecords.dataset.manifest import DEAD_LETTERS, MANIFEST, Manifest
from tfrecords.errors import UserError
from tfrecords.images.crop import CropSpec
from tfrecords.record.codec import ENCODINGS

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
    cut.add_argument(
        "--whole-crops",
        action="store_true",
        help="with --jitters 0: store the whole crop of evaluation pictures too, for trainer evaluate --crops 10",
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
        whole_crops=args.whole_crops,
        validation_fraction=args.validation_fraction,
        test_fraction=args.test_fraction,
        seed=args.seed,
        encoding=args.encoding,
        digit_order=args.digit_order,
        examples_per_shard=args.examples_per_shard,
        shards=args.shards,
        max_dead_fraction=args.max_dead_fraction,
    )
    options = parse_beam_options(beam_options)
    wanted = tuple(name for name in args.subsets.split(",") if name)
    plan = make_plan(config, find_subsets(args.input, wanted), args.output, works_alone(options))
    start = time.monotonic()
    with claim(plan, args.overwrite) as whole:
        if not whole:
            with watch_progress(plan), one_line_errors(args.verbose):
                result = run_pipeline(plan, options)
    if not whole:
        _show_metrics(*read_metrics(result))
    _summarise(plan)
    seconds = time.monotonic() - start
    done = "stood there already" if whole else f"in {seconds:.1f} s ({plan.pictures / seconds:,.0f}/s)"
    print(f"{plan.pictures:,} pictures {done}: the dataset {plan.config.name} is in {plan.output}")
    print(f"Next: python -m tfrecords inspect {plan.output}")
    return 0


def run_pipeline(plan: Plan, options: PipelineOptions) -> PipelineResult:
    """Reads, cuts and writes everything that `plan` names, and waits for the end."""
    limit_arenas()
    pipeline = beam.Pipeline(options=options)
    (
        pipeline
        | "ReadAnnotations" >> ReadAnnotations(plan)
        | "WriteShards" >> WriteShards(plan)
        | "Finish" >> Finish(plan)
    )
    result = pipeline.run()
    result.wait_until_finish()
    return result


def _show_metrics(counters: dict[str, int], distributions: dict[str, Any]) -> None:
    """Prints what was done in this run, as against what stands there in the end."""
    if kept := counters.get("shards_kept"):
        print(f"{kept} shards stood there already, {counters.get('shards_written', 0)} were written")
    if decode := distributions.get("picture_decode_us"):
        size = distributions["picture_bytes"]
        print(
            f"read {counters['bytes_read'] / 1e6:,.1f} MB, wrote {counters['bytes_written'] / 1e6:,.1f} MB; "
            f"a picture: {size.mean / 1e3:,.1f} kB ({size.min / 1e3:,.1f} to {size.max / 1e3:,.1f}), "
            f"decoded in {decode.mean / 1e3:.2f} ms ({decode.min / 1e3:.2f} to {decode.max / 1e3:.2f})"
        )


def _summarise(plan: Plan) -> None:
    """Prints what was made.

    Raises:
      UserError: too many pictures were rejected.
    """
    failed = not filesystem.exists(plan.path(MANIFEST))
    manifest = Manifest.parse(filesystem.read_bytes(plan.path(REJECTED_MANIFEST if failed else MANIFEST)), plan.output)
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
