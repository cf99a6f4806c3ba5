"""One generation of a stream: the plan of the batches of a ledger entry, which follows from the entry alone."""

import uuid

from beam_jobs.prepare.plan import Plan, count_shards
from beam_jobs.prepare.survey import Survey
from beam_jobs.prepare.versions import versions
from beam_jobs.sources.base import Subset
from beam_jobs.watch.ledger import Entry
from beam_jobs.watch.stream import Stream
from tfrecords.dataset.snapshots import directory_name
from tfrecords.files.place import Place


def plan_generation(stream: Stream, entry: Entry) -> Plan:
    """Returns the plan of an entry's generation; nothing is read, so that every worker can make the same one.

    Args:
      stream: Stream of the entry.
      entry: Entry with batches that have pictures, without those that were refused later.
    """
    subsets = tuple(subset for batch in entry.batches for subset in batch.subsets)
    return plan_subsets(stream, subsets, stream.place / directory_name(entry.entry))


def plan_subsets(stream: Stream, subsets: tuple[Subset, ...], output: Place) -> Plan:
    """Returns the plan of subsets of accepted batches, as a dataset in a directory of its own.

    Args:
      stream: Stream with the configuration.
      subsets: Subsets, named as those of batches.
      output: Place of the dataset directory.
    """
    config = stream.config
    kept = {subset.name: subset.entries for subset in subsets}
    found = Survey(config.max_length or 1, kept, stream.has_boxes)
    return Plan(
        config,
        subsets,
        count_shards(config, kept),
        output,
        uuid.uuid4().hex,
        found,
        versions=versions(config.source),
        # Not those of these batches: all generations must have images of one kind.
        image_splits=(config.split,) if config.split else ("train", "test"),
    )
