"""Where pages lead: URLs of a server, or files of a site."""

import urllib.parse
from typing import Protocol

from tfrecords.browse.query import Query


class Links(Protocol):
    """Addresses of pages; an empty one is not there.

    Attributes:
      is_site: Whether the pages are files, which no form can ask for.
    """

    is_site: bool

    def examples(self, query: Query, page: int = 1) -> str:
        """Returns the address of a page of a query's examples, from 1."""

    def example(self, query: Query, position: int) -> str:
        """Returns the address of an example at a position in a query's order, from 0."""

    def rejected(self, query: Query, reason: str = "", page: int = 1) -> str:
        """Returns the address of a page of rejected pictures, from 1."""

    def letter(self, query: Query, reason: str, position: int) -> str:
        """Returns the address of a rejected picture at a position among those of a reason, from 0."""

    def about(self, query: Query) -> str:
        """Returns the address of the page of counts and settings."""

    def snapshots(self, query: Query) -> str:
        """Returns the address of the list of snapshots."""

    def difference(self, query: Query, before: int, after: int) -> str:
        """Returns the address of what differs between two snapshots."""


class ServerLinks:
    """URLs of a server."""

    is_site = False

    def examples(self, query: Query, page: int = 1) -> str:
        """Returns `/?split=train&page=2`."""
        return query.url("/", **({"page": page} if page > 1 else {}))

    def example(self, query: Query, position: int) -> str:
        """Returns `/example?split=train&n=17`, where the first one is 1."""
        return query.url("/example", n=position + 1)

    def rejected(self, query: Query, reason: str = "", page: int = 1) -> str:
        """Returns `/rejected?reason=too_long&page=2`."""
        return _url("/rejected", query, reason=reason, page=page if page > 1 else "")

    def letter(self, query: Query, reason: str, position: int) -> str:
        """Returns `/letter?reason=too_long&n=5`, where the first one is 1."""
        return _url("/letter", query, reason=reason, n=position + 1)

    def about(self, query: Query) -> str:
        """Returns `/about`."""
        return _url("/about", query)

    def snapshots(self, query: Query) -> str:
        """Returns `/snapshots`."""
        return _url("/snapshots", query)

    def difference(self, query: Query, before: int, after: int) -> str:
        """Returns `/difference?a=41&b=42`."""
        return _url("/difference", query, a=before, b=after)


class SiteLinks:
    """Files of a site, which has no other order than its own.

    Attributes:
      examples_shown: Number of examples of the site.
      rejected_shown: Number of its rejected pictures.
      has_snapshots: Whether it has a list of snapshots.
    """

    is_site = True

    def __init__(self, examples_shown: int, rejected_shown: int, has_snapshots: bool) -> None:
        """Takes what the site has."""
        self.examples_shown, self.rejected_shown = examples_shown, rejected_shown
        self.has_snapshots = has_snapshots

    def examples(self, query: Query, page: int = 1) -> str:
        """Returns `index.html`, or `page-0002.html`."""
        return "index.html" if page == 1 else f"page-{page:04d}.html"

    def example(self, query: Query, position: int) -> str:
        """Returns `example-00017.html`, where the first one is 1."""
        return f"example-{position + 1:05d}.html"

    def rejected(self, query: Query, reason: str = "", page: int = 1) -> str:
        """Returns `rejected.html`, or `rejected-0002.html`; nothing for one reason alone."""
        if reason or not self.rejected_shown:
            return ""
        return "rejected.html" if page == 1 else f"rejected-{page:04d}.html"

    def letter(self, query: Query, reason: str, position: int) -> str:
        """Returns nothing: the site lists rejected pictures only."""
        return ""

    def about(self, query: Query) -> str:
        """Returns `about.html`."""
        return "about.html"

    def snapshots(self, query: Query) -> str:
        """Returns `snapshots.html`, if the dataset is a stream."""
        return "snapshots.html" if self.has_snapshots else ""

    def difference(self, query: Query, before: int, after: int) -> str:
        """Returns nothing: no difference is computed for a site."""
        return ""


def _url(path: str, query: Query, **values: object) -> str:
    """Returns the URL of a page that keeps only the snapshot of a query."""
    given = {"snapshot": query.snapshot, **values}
    words = urllib.parse.urlencode({name: value for name, value in given.items() if value not in (None, "")})
    return f"{path}?{words}" if words else path
