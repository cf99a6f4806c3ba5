"""README.md: a dataset card in Hugging Face's form, YAML between two lines of dashes, then Markdown.

https://huggingface.co/docs/hub/datasets-cards describes the YAML. It is written as JSON values, which are YAML too.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords.cards.facts import Facts, Statistics, origin, task_words
from tfrecords.dataset.about import LICENCES, UNKNOWN, licence_name
from tfrecords.dataset.manifest import ANNOTATIONS

README = "README.md"
"""Name of the file."""
MARK = "<!-- Written by streetdigits. Without this line, the file is yours and is not written again. -->"
"""Line of a card that may be replaced."""
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
_MOST_ROWS = 40
"""Characters that a table shows."""
Configs = list[dict[str, Any]]
"""Hugging Face's configurations: names, and the files of each split."""


def of_directory(facts: Facts) -> bytes:
    """Returns the card of a dataset directory or a stream."""
    configs: Configs = []
    reading = ["```python", "import tfrecords", ""]
    reading += [f'examples = tfrecords.open("DIR", "{next(iter(facts.manifest.splits))}")', "```"]
    if ANNOTATIONS in facts.manifest.files:
        configs = [{"config_name": "pictures", "data_files": ANNOTATIONS}]
        reading += ["", f"`{ANNOTATIONS}`, a row for each number, is the configuration `pictures` of `datasets`."]
    reading += ["", "`python -m tfrecords export DIR --to parquet --output OUT` writes Parquet files with the images."]
    return card(facts, {name: info.examples for name, info in facts.manifest.splits.items()}, configs, reading)


def card(facts: Facts, examples: Mapping[str, int], configs: Configs, reading: list[str]) -> bytes:
    """Returns a card; equal arguments give equal bytes.

    Args:
      facts: What is known of the dataset.
      examples: Number of examples of each split.
      configs: What `datasets.load_dataset` can load.
      reading: Lines on how to read the files.
    """
    manifest, known = facts.manifest, facts.known
    task, words = task_words(manifest)
    lines = [*_front_matter(facts, sum(examples.values()), task, configs), "", MARK, "", f"# {manifest.name}", ""]
    lines += [f"A dataset for {words}.", "", *_paragraphs(facts), "", *_splits(facts, examples)]
    lines += [*_rejected(facts), *(_counts(facts.statistics) if facts.statistics else [])]
    lines += ["", "## Reading it", "", *reading]
    lines += ["", "## How it was made", "", f"With {facts.made}; options: {facts.options}."]
    lines += ["", "## Licence", "", *_licence(facts)]
    lines += ["", "## Citation", ""]
    lines += (
        ["```", *known.citation.strip().splitlines(), "```"] if known.citation else ["Unknown: `--citation` states it."]
    )
    found = {"Page": known.homepage, "Made by": known.creator, "Published": known.published}
    lines += ["", *(f"{title}: {value}  " for title, value in found.items() if value)]
    return ("\n".join(lines).rstrip() + "\n").encode()


def _front_matter(facts: Facts, examples: int, task: str, configs: Configs) -> list[str]:
    """Returns the YAML, between its dashes."""
    licence = facts.known.licence
    name = licence_name(licence)
    found: dict[str, Any] = {"license": name}
    if name not in (*LICENCES, UNKNOWN):
        found["license_name"] = "as-stated"
        is_address = str(licence).startswith(("http://", "https://"))
        found["license_link"] = licence if is_address else README
    found |= {
        "pretty_name": facts.manifest.name,
        "task_categories": [task],
        "size_categories": [next((name for most, name in _SIZES if examples < most), "n>1T")],
        "tags": ["digits", "numbers", "ocr"],
    }
    if configs:
        found["configs"] = configs
    return ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in found.items()), "---"]


def _paragraphs(facts: Facts) -> list[str]:
    """Returns the description, without what the tables have."""
    kept = [line for line in facts.description if not line.startswith(("Split ", "Rejected: "))]
    return [line for sentence in kept for line in (sentence, "")][:-1]


def _splits(facts: Facts, examples: Mapping[str, int]) -> list[str]:
    rows = [(name, f"{facts.manifest.splits[name].pictures:,}", f"{count:,}") for name, count in examples.items()]
    return ["## Splits", "", *_table(("split", "pictures", "examples"), rows)]


def _rejected(facts: Facts) -> list[str]:
    dead = facts.manifest.dead_letters
    if not dead:
        return ["", "No picture was rejected."]
    return [
        "",
        "## Rejected pictures",
        "",
        *_table(("reason", "pictures"), [(why, f"{n:,}") for why, n in dead.items()]),
    ]


def _counts(statistics: Statistics) -> list[str]:
    """Returns the tables of lengths, characters and sizes of the numbers that became examples."""
    lines = ["", "## Numbers", ""]
    lines += _table(("characters", "numbers"), [(str(size), f"{n:,}") for size, n in statistics.lengths.items()])
    frequent = sorted(statistics.characters.items(), key=lambda pair: (-pair[1], pair[0]))
    kept = sorted(frequent[:_MOST_ROWS])
    if kept:
        lines += ["", *_table(("character", "times"), [(f"`{each}`", f"{n:,}") for each, n in kept])]
    if len(frequent) > _MOST_ROWS:
        lines += ["", f"{len(frequent) - _MOST_ROWS:,} other characters are rarer."]
    for name, (least, middle, most) in statistics.sizes.items():
        lines += ["", f"Source pictures have a {name} of {least:,} to {most:,} pixels, {middle:,} in the middle."]
    return lines


def _licence(facts: Facts) -> list[str]:
    licence = facts.known.licence
    where = origin(facts)
    lines = [licence if licence else "Unknown: `--licence` states it."]
    return [*lines, *(["", where] if where else [])]


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    escaped = [tuple(cell.replace("|", "\\|") for cell in row) for row in rows]
    return [f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *escaped)]
