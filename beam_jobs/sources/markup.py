"""XML that anybody may have written: no entities are expanded, and what cannot be read is one line.

A document type is where XML defines entities, and a few lines of them expand to gigabytes; no annotation tool writes
one, so it is refused (https://docs.python.org/3/library/xml.html#xml-security).
"""

import re
from collections.abc import Iterator
from typing import IO, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tfrecords.errors import UserError

_CHUNK = 1 << 18
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")
_PLAIN = ("utf-8", "utf8", "us-ascii", "ascii")
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_NO_TYPE = "XML must have no document type or entities."


def parse(data: bytes) -> Element:
    """Returns the root element of an XML document.

    Args:
      data: Document, in UTF-8, in UTF-16 with its mark, or in the encoding that it declares.

    Raises:
      UserError: The document is not well formed, or has a document type.
    """
    text: bytes | str = data
    encoding = ""
    if data[:1] != b"<" or b"encoding" in data[:200]:
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
        declared = _DECLARED.match(data[:200])
        if not encoding and declared and declared[1].decode().lower() not in _PLAIN:
            encoding = declared[1].decode()
    try:
        if encoding:
            text = data.decode(encoding)
        if (b"<!DOCTYPE" if isinstance(text, bytes) else "<!DOCTYPE") in text:  # type: ignore[operator]
            raise UserError(_NO_TYPE, "<!DOCTYPE")
        return ElementTree.fromstring(text)  # noqa: S314  (it has no document type)
    except (ElementTree.ParseError, UnicodeError, LookupError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError("The XML must be well formed.", str(error)[:100]) from error


def ends(stream: IO[bytes]) -> Iterator[list[tuple[str, Element]]]:
    """Yields, piece by piece, the elements of a large XML document in UTF-8, each with the word `end`.

    Elements come when they are complete: children first, the root last. The reader clears the elements that it has
    used. What is left of one, about 100 bytes, stays with the root.

    Args:
      stream: Document, open for reading.

    Raises:
      UserError: The document is not well formed, not in UTF-8, or has a document type.
    """
    parser: Any = ElementTree.XMLPullParser(("end",))
    head = stream.read(_CHUNK)
    declared = _DECLARED.match(head[:200].removeprefix(_MARKS[0][0]))
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or (declared and declared[1].decode().lower() not in _PLAIN):
        raise UserError("The XML must be in UTF-8.", declared[1].decode() if declared else "UTF-16")
    chunk, tail = head, b""
    try:
        while chunk:
            if b"<!DOCTYPE" in tail + chunk:
                raise UserError(_NO_TYPE, "<!DOCTYPE")
            tail = chunk[-len(b"<!DOCTYPE") :]
            parser.feed(chunk)
            yield list(parser.read_events())
            chunk = stream.read(_CHUNK)
        parser.close()
        yield list(parser.read_events())
    except ElementTree.ParseError as error:
        raise UserError("The XML must be well formed.", str(error)[:100]) from error
