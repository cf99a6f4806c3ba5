"""Source to annotation to crop to shard, on Apache Beam. The command line is `python -m beam_jobs`."""

import logging

__all__: list[str] = []

# Beam logs this at every import; nothing here uses BigQuery.
logging.getLogger().addFilter(lambda record: not record.getMessage().startswith("apitools not found"))
