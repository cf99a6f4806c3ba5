"""Flink's own interface, for jobs whose job server is gone: Ctrl-C in a terminal ends one that Beam started."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

_SECONDS = 5.0
_ENDED = ("FINISHED", "CANCELED", "FAILED")


def web_address(master: str) -> str:
    """Returns the address of the web page of a Flink cluster; empty for one that Beam starts by itself.

    Args:
      master: Value of Beam's `--flink_master`.
    """
    master = master.strip().rstrip("/")
    if not master or master.startswith("["):
        return ""
    return master if master.startswith(("http://", "https://")) else f"http://{master}"


def cancel_job(address: str, name: str) -> bool:
    """Cancels the running jobs of a name.

    Args:
      address: Address of the cluster's web page; empty for none.
      name: Name of the job, which is unique if Beam made it.

    Returns:
      Whether there was such a job, and the cluster accepted.
    """
    if not address:
        return False
    try:
        jobs = _ask(f"{address}/jobs/overview")["jobs"]
        ours = [job["jid"] for job in jobs if job["name"] == name and job["state"] not in _ENDED]
        for job in ours:
            _ask(f"{address}/jobs/{urllib.parse.quote(job)}?mode=cancel", "PATCH")
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(ours)


def _ask(address: str, method: str = "GET") -> Any:
    # Of http:// or https://: see `web_address`.
    request = urllib.request.Request(address, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
        return json.loads(answer.read() or b"{}")
