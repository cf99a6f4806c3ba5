"""Each page from the values that its template shows."""

import base64
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrecords.browse import details
from tfrecords.browse.catalogue import Catalogue, Spot
from tfrecords.browse.links import Links
from tfrecords.browse.pictures import draw_example, thumbnail
from tfrecords.browse.query import ANY_SUSPECT, MATCHES, SCORE, SORTS, Query
from tfrecords.browse.source_folder import SourceFolder
from tfrecords.dataset.compare import Difference
from tfrecords.dataset.snapshots import Snapshot
from tfrecords.errors import UserError
from tfrecords.pages.formats import visible
from tfrecords.pages.page import render_page
from tfrecords.record.scene import SceneExample

COMMAND = "python -m tfrecords browse"
PER_PAGE, PER_PAGE_OF_SCENES = 48, 24
REJECTED_PER_PAGE = 48
_FOLDER = Path(__file__).parent
_SCRIPT = (_FOLDER / "keys.js").read_text()
SCRIPT_POLICY = f"script-src 'sha256-{base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()}'"
"""The only script that a page may run: the one for the keyboard, by its digest."""


class Views:
    """Pages of one state of a dataset.

    Attributes:
      catalogue: Dataset.
      sources: Folder of source pictures; None if none was given.
      links: Where the pages lead.
    """

    def __init__(self, catalogue: Catalogue, sources: SourceFolder | None, links: Links) -> None:
        """Takes what the pages show."""
        self.catalogue, self.sources, self.links = catalogue, sources, links

    @property
    def per_page(self) -> int:
        """Number of examples of a page."""
        return PER_PAGE_OF_SCENES if self.catalogue.is_of_scenes else PER_PAGE

    def examples(self, query: Query, page: int, spots: Sequence[Spot], total: int, sample: str = "") -> str:
        """Returns a list of examples.

        Args:
          query: What was asked for.
          page: Number of the page, from 1.
          spots: Examples of the page.
          total: Number of examples of all pages.
          sample: Sentence about what was chosen, of a site.
        """
        start = (page - 1) * self.per_page
        suspects = self.catalogue.suspects.kinds
        values = {
            "query": query,
            "total": total,
            "sample": sample,
            "cards": [self._card(query, start + offset, spot) for offset, spot in enumerate(spots)],
            "pager": _pager(page, -(-total // self.per_page), lambda number: self.links.examples(query, number)),
            "matches": MATCHES,
            "sorts": {name: title for name, title in SORTS.items() if suspects or name != SCORE},
            "any_suspect": ANY_SUSPECT,
            "height": self._height_title,
        }
        return self._render("examples.html", query, "Examples", values)

    @property
    def _height_title(self) -> str:
        return "Height of the picture" if self.catalogue.is_of_scenes else "Height of the crop"

    def _card(self, query: Query, position: int, spot: Spot) -> dict[str, Any]:
        """Returns what a list shows of an example."""
        card = {"href": self.links.example(query, position), "split": spot.split, "uri": "", "suspects": []}
        try:
            example = self.catalogue.example(spot)
        except UserError as error:
            return {**card, "text": "damaged", "key": self.catalogue.without_path(str(error))}
        texts = example.texts if isinstance(example, SceneExample) else (example.text,)
        suspects = self.catalogue.suspects.of(example.key)
        return {
            **card,
            "uri": thumbnail(example),
            "text": _spelled(texts),
            "key": example.key,
            "suspects": [f"{each.kind} {each.score:.3g}" for each in suspects[:2]],
        }

    def example(self, query: Query, position: int, total: int, spot: Spot) -> str:
        """Returns the page of one example.

        Args:
          query: What was asked for.
          position: Position in its order, from 0.
          total: Number of examples that it finds.
          spot: The example.
        """
        values: dict[str, Any] = {
            "position": position,
            "total": total,
            "spot": spot,
            "before": self.links.example(query, position - 1) if position else "",
            "after": self.links.example(query, position + 1) if position + 1 < total else "",
            "list": self.links.examples(query, position // self.per_page + 1),
            "error": "",
            "drawing": None,
            "fields": [],
            "suspects": [],
            "source": None,
        }
        try:
            example = self.catalogue.example(spot)
            texts = example.texts if isinstance(example, SceneExample) else (example.text,)
            values |= {
                "heading": _spelled(texts),
                "key": example.key,
                "drawing": draw_example(example),
                "fields": details.fields_of(self.catalogue, spot),
                "suspects": self.catalogue.suspects.of(example.key),
                "source": details.source_of(self.catalogue, self.sources, example),
            }
        except UserError as error:
            text = self.catalogue.without_path(str(error))
            values |= {"heading": "damaged", "key": f"example {spot.index}", "error": text}
        return self._render("example.html", query, "Examples", values)

    def rejected(self, query: Query, reason: str, page: int, most: int | None = None) -> str:
        """Returns a list of rejected pictures.

        Args:
          query: What was asked for; only its snapshot counts.
          reason: Reason; an empty text stands for all.
          page: Number of the page, from 1.
          most: Number of pictures that all pages show at most; None for all of them.

        Raises:
          UserError: No picture was rejected for the reason.
        """
        annotations = self.catalogue.annotations
        if reason and reason not in annotations.reasons:
            rule = f"reason must be one of those of this dataset: {', '.join(annotations.reasons) or 'there is none'}."
            raise UserError(rule, repr(reason))
        found = annotations.count(reason)
        total = found if most is None else min(found, most)
        start = (page - 1) * REJECTED_PER_PAGE
        rows = annotations.rejected(reason, start, min(total, start + REJECTED_PER_PAGE))
        values = {
            "reason": reason,
            "found": found,
            "total": total,
            "stated": sum(self.catalogue.manifest.dead_letters.values()),
            "reasons": [(name, count, self.links.rejected(query, name)) for name, count in annotations.reasons.items()],
            "all": self.links.rejected(query),
            "cards": [
                {
                    "href": self.links.letter(query, reason, start + offset),
                    **details.letter_card(row, self.sources),
                }
                for offset, row in enumerate(rows)
            ],
            "with_pictures": self.sources is not None,
            "notes": annotations.notes,
            "pager": _pager(
                page, -(-total // REJECTED_PER_PAGE), lambda number: self.links.rejected(query, reason, number)
            ),
        }
        return self._render("rejected.html", query, "Rejected", values)

    def letter(self, query: Query, reason: str, position: int) -> str:
        """Returns the page of one rejected picture.

        Raises:
          UserError: There are not as many.
        """
        annotations = self.catalogue.annotations
        total = annotations.count(reason)
        rows = annotations.rejected(reason, position, position + 1)
        if not rows:
            raise UserError(f"n must be at most {total}, the number of rejected pictures.", position + 1)
        values = {
            "row": rows[0],
            "position": position,
            "total": total,
            "before": self.links.letter(query, reason, position - 1) if position else "",
            "after": self.links.letter(query, reason, position + 1) if position + 1 < total else "",
            "list": self.links.rejected(query, reason, position // REJECTED_PER_PAGE + 1),
            "source": details.source_of_rows(rows, self.sources, annotations.notes),
        }
        return self._render("letter.html", query, "Rejected", values)

    def about(self, query: Query) -> str:
        """Returns the page of counts and settings."""
        manifest = self.catalogue.manifest
        splits = [
            (
                name,
                info.pictures,
                info.examples,
                len(info.shards),
                sum(shard.bytes for shard in info.shards),
                "" if self.links.is_site else self.links.examples(Query(split=name, snapshot=query.snapshot)),
            )
            for name, info in manifest.splits.items()
        ]
        values = {
            "manifest": manifest,
            "splits_of_manifest": splits,
            "notes": self._notes(),
        }
        return self._render("about.html", query, "About", values)

    def _notes(self) -> list[str]:
        """Returns sentences about damaged records and suspicions of nothing; none as long as records were not read."""
        scan = self.catalogue.scan
        facts = scan.result(0) if scan.is_started else None
        if facts is None:
            return []
        notes = []
        if facts.damaged:
            checks = "`python -m tfrecords validate` lists them"
            notes.append(f"{facts.damaged:,} records cannot be read, and no filter finds them: {checks}.")
        if unknown := facts.count_unknown(self.catalogue.suspects):
            notes.append(f"{unknown:,} keys of the suspects are those of no example.")
        return notes

    def snapshots(self, query: Query, found: Sequence[Snapshot], more: int, damaged: Sequence[str]) -> str:
        """Returns the list of a stream's snapshots.

        Args:
          query: What was asked for; only its snapshot counts.
          found: Snapshots to list, the newest first.
          more: Number of older ones, which are not listed.
          damaged: Sentences about those that cannot be read.
        """
        rows = [
            {
                "number": each.snapshot,
                "href": "" if self.links.is_site else self.links.examples(Query(snapshot=each.snapshot)),
                "is_shown": each.snapshot == self.catalogue.snapshot,
                "examples": {name: total.examples for name, total in each.totals.items()},
                "rejected": sum(each.dead_letters.values()),
                "batches": each.batches,
                "directories": len(each.parts),
                "difference": self.links.difference(query, before.snapshot, each.snapshot) if before else "",
                "before": before.snapshot if before else None,
            }
            for each, before in itertools.zip_longest(found, found[1:])
        ]
        names = list(dict.fromkeys(name for each in found for name in each.totals))
        values = {"rows": rows, "names": names, "more": more, "damaged": damaged}
        return self._render("snapshots.html", query, "Snapshots", values)

    def difference(self, query: Query, before: int, after: int, found: Difference, limit: int) -> str:
        """Returns what differs between two snapshots.

        Args:
          query: What was asked for; only its snapshot counts.
          before: Number of the first snapshot.
          after: Number of the second one.
          found: What differs.
          limit: Largest number of keys of each kind that `found` has.
        """
        changes = []
        for kind, change in found.changes.items():
            # What only the first snapshot has is to be seen there.
            shown = before if kind == "removed" else after
            keys = [(key, self.links.examples(Query(key=key, snapshot=shown))) for key in change.keys]
            changes.append((kind, change.count, keys))
        values = {
            "before": before,
            "after": after,
            "difference": found,
            "changes": changes,
            "limit": limit,
            "is_of_scenes": self.catalogue.is_of_scenes,
        }
        return self._render("difference.html", query, "Snapshots", values)

    def message(self, query: Query, title: str, text: str) -> str:
        """Returns a page of one sentence: an error, or how far reading is."""
        return self._render("message.html", query, "", {"heading": title, "text": text})

    def _render(self, template: str, query: Query, current: str, values: Mapping[str, Any]) -> str:
        catalogue, links = self.catalogue, self.links
        listed = Query(snapshot=query.snapshot)
        targets = [("Examples", links.examples(listed)), ("Rejected", links.rejected(listed))]
        if catalogue.snapshot is not None:
            targets.append(("Snapshots", links.snapshots(listed)))
        targets.append(("About", links.about(listed)))
        common = {
            "name": catalogue.manifest.name,
            "snapshot": catalogue.snapshot,
            "splits": {name: len(examples) for name, examples in catalogue.splits.items()},
            "kinds": catalogue.suspects.kinds,
            "is_of_scenes": catalogue.is_of_scenes,
            "is_site": links.is_site,
            "stated_rejected": sum(catalogue.manifest.dead_letters.values()),
            "navigation": [(title, href, title == current) for title, href in targets if href],
            "script": _SCRIPT,
            "script_policy": SCRIPT_POLICY,
        }
        return render_page(_FOLDER / template, COMMAND, {**common, **values})


def _spelled(texts: Sequence[str]) -> str:
    return ", ".join(visible(text) for text in texts if text) or "no number"


def _pager(page: int, pages: int, href: Any) -> dict[str, Any]:
    """Returns what a pager shows; an address is empty where there is no such page."""
    return {
        "page": page,
        "pages": pages,
        "first": href(1) if page > 1 else "",
        "before": href(page - 1) if page > 1 else "",
        "after": href(page + 1) if page < pages else "",
        "last": href(pages) if page < pages else "",
    }
