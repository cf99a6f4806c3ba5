"""The page at a URL: its path and values to one of the views. Nothing of a URL is ever the path of a file."""

import urllib.parse
from collections.abc import Callable, Mapping
from http import HTTPStatus

from tfrecords.browse.catalogue import StillReadingError
from tfrecords.browse.links import ServerLinks
from tfrecords.browse.query import Query, parse_number
from tfrecords.browse.source_folder import SourceFolder
from tfrecords.browse.stock import LIMIT, Stock
from tfrecords.browse.views import REJECTED_PER_PAGE, Views
from tfrecords.errors import UserError, one_line
from tfrecords.typed_json import shorten

_MOST_VALUES = 40
"""Values of a URL that are looked at."""
Values = Mapping[str, str]


class Router:
    """Answers the URLs of a server."""

    def __init__(self, stock: Stock, sources: SourceFolder | None) -> None:
        """Takes what is served."""
        self._stock, self._sources = stock, sources
        self._routes: dict[str, Callable[[Query, Values], str]] = {
            "/": self._examples,
            "/example": self._example,
            "/rejected": self._rejected,
            "/letter": self._letter,
            "/about": lambda query, values: self._views(query).about(query),
            "/snapshots": self._snapshots,
            "/difference": self._difference,
        }

    def answer(self, target: str) -> tuple[HTTPStatus, str]:
        """Returns status and page of the target of a request, as `/example?n=17`."""
        path, _, query_text = target.partition("?")
        route = self._routes.get(path)
        if route is None:
            text = f"There is no page {shorten(repr(path))}."
            return HTTPStatus.NOT_FOUND, self._message(Query(), "Not found", text)
        query = Query()
        try:
            values = parse_values(query_text)
            query = Query.parse(values)
            self._stock.catalogue(query.snapshot).check(query)
            return HTTPStatus.OK, route(query, values)
        except StillReadingError as reading:
            share = f"{reading.done:,} of {reading.total:,} records were read so far"
            text = f"Filters and orders need every record to be read once: {share}. The page comes by itself."
            return HTTPStatus.SERVICE_UNAVAILABLE, self._message(query, "Reading the records", text)
        except UserError as error:
            return HTTPStatus.BAD_REQUEST, self._message(Query(), "This page cannot be shown", str(error))
        except OSError as error:
            return HTTPStatus.BAD_REQUEST, self._message(Query(), "This page cannot be shown", one_line(error))

    def _views(self, query: Query) -> Views:
        return Views(self._stock.catalogue(query.snapshot), self._sources, ServerLinks())

    def _message(self, query: Query, title: str, text: str) -> str:
        return self._views(query).message(query, title, text)

    def _examples(self, query: Query, values: Values) -> str:
        views = self._views(query)
        total = views.catalogue.count(query)
        page = _position("page", values, -(-total // views.per_page)) + 1
        start = (page - 1) * views.per_page
        return views.examples(query, page, views.catalogue.spots(query, start, start + views.per_page), total)

    def _example(self, query: Query, values: Values) -> str:
        views = self._views(query)
        total = views.catalogue.count(query)
        position = _position("n", values, total)
        spots = views.catalogue.spots(query, position, position + 1)
        if not spots:
            raise UserError("No example passes these filters.")
        return views.example(query, position, total, spots[0])

    def _rejected(self, query: Query, values: Values) -> str:
        views, reason = self._views(query), values.get("reason", "")
        pages = -(-views.catalogue.annotations.count(reason) // REJECTED_PER_PAGE)
        return views.rejected(query, reason, _position("page", values, pages) + 1)

    def _letter(self, query: Query, values: Values) -> str:
        views, reason = self._views(query), values.get("reason", "")
        position = _position("n", values, views.catalogue.annotations.count(reason))
        return views.letter(query, reason, position)

    def _snapshots(self, query: Query, values: Values) -> str:
        views = self._views(query)
        if views.catalogue.snapshot is None:
            raise UserError(f"{views.catalogue.place} is no stream, and has no snapshots.")
        return views.snapshots(query, *self._stock.snapshots())

    def _difference(self, query: Query, values: Values) -> str:
        before, after = (parse_number(name, values.get(name, "")) for name in ("a", "b"))
        return self._views(query).difference(query, before, after, self._stock.difference(before, after), LIMIT)


def parse_values(text: str) -> dict[str, str]:
    """Returns the values in the query of a URL by name; of several with one name, the last one.

    Raises:
      UserError: It is no query, or has too many values.
    """
    try:
        found = urllib.parse.parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_VALUES, errors="strict")
    except ValueError as error:
        raise UserError(f"A URL must have at most {_MOST_VALUES} values, in UTF-8.", shorten(repr(text))) from error
    return dict(found)


def _position(name: str, values: Values, most: int) -> int:
    """Returns a value that counts from 1, as a position from 0.

    Raises:
      UserError: It is not in 1..most, or not 1 where there is nothing.
    """
    found = parse_number(name, values.get(name, "") or "1")
    if not 1 <= found <= max(1, most):
        raise UserError(f"{name} must be 1..{max(1, most)}.", found)
    return found - 1
