"""A draft of fixes.csv, the list that `beam_jobs prepare --fix` applies once a person has reviewed it."""

import csv
import io
from collections.abc import Iterable, Sequence

from trainer.audit.labels import LONGER
from trainer.audit.suspects import DUPLICATE_EXACT, DUPLICATE_NEAR, LABELS, LEAK, Suspect

COLUMNS = ("key", "action", "text", "reason")
DROP, RELABEL = "drop", "relabel"
_DECIMALS = 3


def draft_fixes(suspects: Iterable[Suspect]) -> list[tuple[str, str, str, str]]:
    """Returns a row per picture with a fix to suggest, in the given order: key, action, text, reason.

    A label that a reader confidently contradicts is replaced by the suggested number; where readers see no number, or a
    longer one than they can read, the picture is dropped. Of two copies the one that should go is dropped. Boxes and
    outliers have no fix to suggest.

    Args:
      suspects: Suspicions; of several about one picture the first that suggests something counts.
    """
    rows: dict[str, tuple[str, str, str, str]] = {}
    for one in suspects:
        if one.key in rows or one.kind not in (*LABELS, DUPLICATE_EXACT, DUPLICATE_NEAR, LEAK):
            continue
        if one.kind in LABELS and not one.evidence["confident"]:
            continue
        reason = f"{one.kind}, score {one.score:.{_DECIMALS}f}, given {one.given}"
        if one.kind in LABELS and one.suggested and not one.suggested.endswith(LONGER):
            rows[one.key] = (one.key, RELABEL, one.suggested, reason)
        elif one.kind in LABELS:
            rows[one.key] = (one.key, DROP, "", f"{reason}, read as {one.suggested or 'no number'}")
        else:
            other = f"copy of {one.evidence['copy_of']}, labelled {one.evidence['its_label']}"
            rows[one.key] = (one.key, DROP, "", f"{reason}, {other}")
    return list(rows.values())


def fixes_csv(rows: Sequence[tuple[str, str, str, str]]) -> bytes:
    """Returns rows of `draft_fixes` as the content of a CSV file with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode()
