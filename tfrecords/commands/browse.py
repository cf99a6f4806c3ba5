"""python -m tfrecords browse: serves pages of a dataset directory, example by example, or writes them as a site."""

import argparse
import sys
from typing import TYPE_CHECKING

from tfrecords.errors import UserError
from tfrecords.files.place import place
from tfrecords.flags import add_snapshot, local_path

if TYPE_CHECKING:
    from tfrecords.browse.source_folder import SourceFolder
    from tfrecords.browse.stock import Stock

EPILOG = """\
examples:
  python -m tfrecords browse svhn-records
  python -m tfrecords browse svhn-records --input svhn --port 8080
  python -m tfrecords browse stream --snapshot 41
  python -m tfrecords browse svhn-records --output site --count 500

The pages filter by split, number, key, length, height and suspicion, sort,
and show each picture with its boxes, its record, its source picture (--input)
and what is known of it; rejected pictures with their reasons; snapshots of a
stream and what differs between them. Keys: arrows or j and k turn pages, u
goes back to the list, / to the filter. Ctrl-C ends it.

Nothing is ever written, nor asked of another host, and only this machine is
served. To look from another one: ssh -L 8000:localhost:8000 HOST.

A filter or an order reads every record once, in the background; pages in
stored order read only what they show.
"""
_LOOPBACK = "127.0.0.1"
_LARGEST_PORT = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `browse`."""
    text = "dataset directory or stream that prepare or watch wrote, or its address"
    parser.add_argument("directory", type=place, metavar="DIR", help=text)
    add_snapshot(parser)
    text = "folder of the source pictures, to show them with the crops; it is only read"
    parser.add_argument("--input", type=local_path, metavar="DIR", help=text)
    text = "suspects.parquet of an audit (default: that in the directory, if any)"
    parser.add_argument("--suspects", type=place, metavar="FILE", help=text)
    server = parser.add_argument_group("server")
    server.add_argument("--port", type=int, default=8000, metavar="N", help="port to serve on; 0 takes any free one")
    text = "address or name to serve on; without a password, so that others can look too unless it is a loopback one"
    server.add_argument("--host", default=_LOOPBACK, metavar="HOST", help=text)
    site = parser.add_argument_group("site")
    text = "folder to write a static site of a sample to, in place of serving"
    site.add_argument("--output", type=local_path, metavar="DIR", help=text)
    site.add_argument("--split", default="", metavar="NAME", help="split of the sample (default: all)")
    text = "largest number of examples, and of rejected pictures"
    site.add_argument("--count", type=int, default=200, metavar="N", help=text)
    site.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of the sample")
    site.add_argument("--overwrite", action="store_true", help="replace an earlier site")


def run(args: argparse.Namespace) -> int:
    """Serves the pages until it is interrupted, or writes the site.

    Raises:
      UserError: An option is out of range, DIR is no dataset, or the port or the output cannot be used.
    """
    _check(args)
    # Only pages need the library, and the folder is not touched without it.
    import jinja2  # noqa: F401

    from tfrecords.browse.source_folder import SourceFolder
    from tfrecords.browse.stock import Stock

    if args.output is not None:
        from tfrecords.browse.site import check_site

        check_site(args.output, args.overwrite)
    stock = Stock(args.directory, args.snapshot, args.suspects)
    sources = SourceFolder(args.input) if args.input else None
    if args.output is None:
        _serve(args, stock, sources)
        return 0
    from tfrecords.browse.site import INDEX, write_site

    count = write_site(args.output, stock, sources, args.split, args.count, args.seed)
    print(f"wrote a site of {count:,} examples, which begins with {args.output / INDEX}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Checks the options that need no file to be read.

    Raises:
      UserError: One is out of range.
    """
    if not 0 <= args.port <= _LARGEST_PORT:
        raise UserError(f"--port must be 0..{_LARGEST_PORT}.", args.port)
    if args.count < 1:
        raise UserError("--count must be at least 1.", args.count)
    if args.seed < 0:
        raise UserError("--seed must be at least 0.", args.seed)
    if args.input is not None and not args.input.is_dir():
        raise UserError("--input must be a folder of source pictures.", args.input)
    given = [name for name in ("split", "overwrite") if getattr(args, name)]
    if args.output is None and given:
        raise UserError(f"--{given[0]} is for a site, which --output names; a server has all splits.")


def _serve(args: argparse.Namespace, stock: "Stock", sources: "SourceFolder | None") -> None:
    from http import HTTPStatus

    from tfrecords.browse.router import Router
    from tfrecords.browse.server import Server, is_loopback, serve

    router = Router(stock, sources)

    def answer(target: str) -> tuple[HTTPStatus, str]:
        found = router.answer(target)
        # In the background, and not before somebody looks: the first page would wait. Over a network it is asked for.
        if not stock.shown.place.is_remote:
            stock.shown.scan.start()
        return found

    server = Server(args.host, args.port, answer)
    if not is_loopback(args.host):
        warning = f"anybody who reaches {args.host} can look at the dataset and the pictures of --input"
        print(f"warning: {warning}; there is no password", file=sys.stderr)
    # Compiles the templates and opens the first files, so that the first page is there at once.
    router.answer("/")
    print(f"{args.directory}: {server.url} (Ctrl-C ends it)", flush=True)
    serve(server)
