"""What a job would do, in lines: for `prepare --dry-run`."""

from beam_jobs.prepare.output_lock import preview_output
from beam_jobs.prepare.plan import Plan
from tfrecords.dataset.manifest import FIND


def describe(plan: Plan, overwrite: bool) -> list[str]:
    """Returns lines about what a job would read and write; nothing is written.

    Args:
      plan: Plan of the job.
      overwrite: Whether the job may replace a dataset.

    Raises:
      UserError: The job would refuse the output.
    """
    rows = [
        ("subset", f"{subset.name}: {_count(subset.entries, 'entries')} in {subset.path}") for subset in plan.subsets
    ]
    rows.append(("pictures", f"{plan.pictures:,}"))
    if plan.config.task == FIND:
        size, encoding = plan.config.canvas, plan.config.encoding
        rows.append(("task", f"find: complete pictures in {encoding} images of {size} x {size} pixels"))
    for split, shards in plan.shards.items():
        examples = _count(max(1, plan.config.jitters(split)), "examples")
        rows.append(("split", f"{split}: {_count(shards, 'shards')}, {examples} of each picture"))
    rows.append(("output", f"{plan.output}: {preview_output(plan, overwrite)}"))
    return [f"{title:<11}{text}" for title, text in rows]


def _count(count: int, things: str) -> str:
    """Returns a count with its things, whose plural is given."""
    singular = {"entries": "entry"}.get(things, things.removesuffix("s"))
    return f"{count:,} {singular if count == 1 else things}"
