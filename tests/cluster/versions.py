"""Versions of the engines that the tests run, in one place; another version is another download."""

from importlib.metadata import version

BEAM = version("apache-beam")
"""Version of Beam for Python, and so of Prism."""
BEAM_JAVA = "2.62.0"
"""Version of Beam's job servers for Flink and Spark: the newest that Maven Central serves whole. It has none of 2.77.0,
and of 2.70.0 not all that they need."""
FLINK = "1.19.3"
SPARK = "3.5.6"
KAFKA = "4.1.0"
FAKE_GCS = "1.56.1"
"""Version of fake-gcs-server, a server of Google Cloud Storage's protocol."""

FLINK_RUNNER = f"beam-runners-flink-{FLINK.rpartition('.')[0]}"
SPARK_RUNNER = f"beam-runners-spark-{SPARK.partition('.')[0]}"
