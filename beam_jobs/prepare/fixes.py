"""A reviewed list of corrections of a source's labels, which `prepare --fix` applies as the annotations are read."""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from beam_jobs.annotation import DROPPED, Annotation, RejectedError
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import union
from tfrecords.typed_json import shorten

COLUMNS = ("key", "action", "text", "reason")
DROP, RELABEL = "drop", "relabel"
_SHOWN = 5
"""Unknown keys that an error names."""


@dataclass(frozen=True)
class Fixes:
    """Corrections by key of an annotation: its new number, or None to leave it out.

    Attributes:
      texts: New number of each key, or None.
      sha256: SHA-256 of the list, hexadecimal; empty without one.
    """

    texts: Mapping[str, str | None] = field(default_factory=dict)
    sha256: str = ""

    @property
    def dropped(self) -> int:
        """Number of annotations to leave out."""
        return sum(text is None for text in self.texts.values())

    @property
    def relabelled(self) -> int:
        """Number of annotations that get another number."""
        return len(self.texts) - self.dropped

    def apply(self, annotation: Annotation) -> Annotation:
        """Returns an annotation as the list has it; one that the list does not name, and a rejected one, as it is.

        Boxes of characters stay with the characters in their order. A number of another length keeps the box around
        them all, so that the same is cut out.
        """
        key = annotation.key
        if annotation.dead or key not in self.texts:
            return annotation
        text = self.texts[key]
        if text is None:
            letter = RejectedError("annotation", DROPPED, f"{key}: The list of fixes leaves this number out.").letter
            return replace(annotation, dead=letter)
        if annotation.boxes and len(annotation.boxes) != len(text):
            return replace(annotation, text=text, boxes=(), box=union(annotation.boxes))
        return replace(annotation, text=text)

    def unseen(self) -> "Unseen":
        """Returns the keys of the list, of which none was seen yet."""
        return Unseen(set(self.texts))


class Unseen:
    """Keys of a list that are to be those of annotations."""

    def __init__(self, keys: set[str]) -> None:
        """Takes the keys."""
        self._keys = keys

    def without(self, annotations: Iterable[Annotation]) -> Iterator[Annotation]:
        """Yields annotations as they are, and takes note of those that the source does not reject itself."""
        for annotation in annotations:
            if self._keys and not annotation.dead:
                self._keys.discard(annotation.key)
            yield annotation

    def check(self) -> None:
        """Checks that each key was seen.

        Raises:
          UserError: One was not: there is no such annotation, or the source rejects it itself.
        """
        if self._keys:
            names = ", ".join(sorted(self._keys)[:_SHOWN]) + (", ..." if len(self._keys) > _SHOWN else "")
            rule = "Each key of --fix must be that of a number of the input that can be read, as annotations.parquet"
            raise UserError(f"{rule} has it.", f"{len(self._keys):,} unknown: {names}")


NONE = Fixes()
"""No corrections."""


def read_fixes(path: str) -> Fixes:
    """Reads a list: a CSV file in UTF-8 with a header of the columns key, action, text and reason, in any order.

    The column reason may be missing. The digest is that of what is to be done, not of the file: the order of rows, the
    reasons, and the ends of lines change nothing.

    Args:
      path: Path or address of the file.

    Raises:
      UserError: The file is missing or no such list; a row has another action, `relabel` has no text, or `drop` has
        one; or a key is there twice.
      OSError: The file cannot be read.
    """
    try:
        content = Place(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such list of fixes (--fix).") from error
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} must be a CSV file in UTF-8.", shorten(str(error))) from error
    names = reader.fieldnames or []
    if missing := [name for name in COLUMNS[:3] if name not in names]:
        rule = f"{path} must have the columns {', '.join(COLUMNS)} (reason may be missing); {missing[0]} is not there."
        raise UserError(rule, shorten(", ".join(map(str, names))))
    texts: dict[str, str | None] = {}
    for line, row in rows:
        key, text = _read_row(f"{path}, line {line}", row)
        if key in texts:
            raise UserError(f"{path}, line {line}: a key must be in the list once.", key)
        texts[key] = text
    lines = (f"{key}\t{DROP if text is None else RELABEL}\t{text or ''}\n" for key, text in sorted(texts.items()))
    return Fixes(texts, hashlib.sha256("".join(lines).encode()).hexdigest())


def _read_row(where: str, row: Mapping[str, str | None]) -> tuple[str, str | None]:
    """Returns the key of a row and its new number, None to leave it out.

    Raises:
      UserError: The row breaks a rule.
    """
    key, action, text = ((row.get(name) or "").strip() for name in COLUMNS[:3])
    if not key:
        raise UserError(f"{where}: a fix must have a key.", shorten(str(dict(row))))
    if action not in (DROP, RELABEL):
        raise UserError(f"{where}: the action must be {DROP} or {RELABEL}.", repr(action))
    if action == RELABEL and not text:
        raise UserError(f"{where}: {RELABEL} must have a text; {DROP} leaves the number out.", key)
    if action == DROP and text:
        raise UserError(f"{where}: {DROP} must have no text.", repr(text))
    return key, text if action == RELABEL else None
