"""Flink's own interface, to cancel its jobs: a job server (2.62) that is told to cancel one only ends its own part."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

_SECONDS = 5.0
_SECONDS_TO_END = 30.0
"""Longest wait for a cancelled job: a task ends when its worker has done so."""
_SECONDS_TO_APPEAR = 2.0
"""Longest wait for a job that its job server was about to submit."""
_SECONDS_BETWEEN = 0.2
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


def cancel_job(address: str, name: str) -> bool | None:
    """Cancels the jobs of a name, and waits until they have ended.

    Args:
      address: Address of the cluster's web page; empty for none.
      name: Name of the job, which is unique if Beam made it.

    Returns:
      Whether they have ended; None if the cluster has no such job.
    """
    if not address:
        return False
    start = time.monotonic()
    is_cancelled = False
    while (waited := time.monotonic() - start) < _SECONDS_TO_END:
        try:
            states = _states(address, name)
            running = [job for job, state in states.items() if state not in _ENDED]
            if states and not running:
                return True
            if not states and waited > _SECONDS_TO_APPEAR:
                return None
            if running and not is_cancelled:
                for job in running:
                    _ask(f"{address}/jobs/{urllib.parse.quote(job)}?mode=cancel", "PATCH")
                is_cancelled = True
        except (OSError, ValueError, KeyError, TypeError):
            return False
        time.sleep(_SECONDS_BETWEEN)
    return False


def _states(address: str, name: str) -> dict[str, str]:
    """Returns the states of the jobs of a name by their ids, as RUNNING."""
    return {job["jid"]: job["state"] for job in _ask(f"{address}/jobs/overview")["jobs"] if job["name"] == name}


def _ask(address: str, method: str = "GET") -> Any:
    # Of http:// or https://: see `web_address`.
    request = urllib.request.Request(address, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
        return json.loads(answer.read() or b"{}")
