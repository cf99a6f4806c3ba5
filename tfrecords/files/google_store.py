"""What gcsfs needs to be told for `gs://`: which credentials, and what a server that is not Google's cannot do.

gcsfs 2026.10 alone waits for long where something is missing, all of it measured without a network:

- 14.6 s for the token of a machine at Google's, once there are no credentials. google-auth looks for such a machine
  too, in 0.01 s here, so that is left to it. A bucket that is public needs none.
- Up to 60 s before each object, on a server named by `STORAGE_EMULATOR_HOST`: it asks by gRPC and TLS whether the
  bucket is a zonal one. `GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false`, which gcsfs reads when it is imported, turns that
  off. Buckets of Google's keep it: a zonal bucket is only read and written that way.
"""

import logging
import os
import warnings
from typing import Any

from tfrecords.errors import UserError
from tfrecords.typed_json import shorten

SCHEMES = frozenset(("gs", "gcs"))
EMULATOR = "STORAGE_EMULATOR_HOST"
"""Variable with the address of a server of the protocol, as Google's own libraries have it."""
_ZONAL = "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"
_KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_tokens: dict[str, str | None] = {}
"""Token of each key file, "" without one, that was looked for: once in a process."""


def emulator() -> str | None:
    """Returns the address of the server to use in the place of Google's; None for Google's."""
    address = os.environ.get(EMULATOR, "")
    if address in ("", "default"):  # as gcsfs has it
        return None
    return address if "://" in address else f"http://{address}"


def before_import() -> None:
    """Sets what gcsfs and google-auth read when they are imported, and keeps their own texts off the terminal."""
    # gcsfs logs a traceback of what it raises when it has tried for the last time; google-auth each of its attempts.
    for name in ("gcsfs", "google.auth"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message="Your application has authenticated using end user credentials")
    if emulator():
        os.environ.setdefault(_ZONAL, "false")


def options(scheme: str) -> dict[str, Any]:
    """Returns the options of gcsfs for a scheme, besides those of fsspec's configuration, which win.

    Raises:
      ImportError: gcsfs, or what it needs, is not installed.
      UserError: The file of the credentials that is named cannot be used.
    """
    before_import()
    import fsspec

    configured: dict[str, Any] = fsspec.config.conf.get(scheme, {})
    if "token" in configured:
        return {}
    if emulator():
        return {"token": "anon"}  # as Google's own libraries do: a server for tests must not see credentials
    token = _found_token()
    return {"token": token} if token else {}


def _found_token() -> str | None:
    """Returns where gcsfs is to take the credentials from; None to let it look for them itself.

    Raises:
      UserError: `GOOGLE_APPLICATION_CREDENTIALS` names a file that cannot be used.
    """
    named = os.environ.get(_KEY_FILE, "")
    if named not in _tokens:
        _tokens[named] = _look(named)
    return _tokens[named]


def _look(named: str) -> str | None:
    import gcsfs  # noqa: F401  (without it nobody is asked for credentials)
    import google.auth
    import google.auth.exceptions
    from gcsfs.credentials import GoogleCredentials

    try:
        google.auth.default(scopes=["https://www.googleapis.com/auth/devstorage.full_control"])
    except (google.auth.exceptions.GoogleAuthError, ValueError) as error:
        if named:
            raise UserError(f"{_KEY_FILE} must name a file with credentials.", shorten(str(error))) from error
        # gcsfs's own tokens, of a browser's login.
        return None if getattr(GoogleCredentials, "tokens", None) else "anon"
    return None  # gcsfs begins with them
