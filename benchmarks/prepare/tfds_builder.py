"""A TensorFlow Datasets builder on Beam for the same pictures.

    python -m benchmarks.prepare --input svhn --only loop,prepare,tfds

runs it. It writes the features of prepare's own records. It has a module of its own, since importing TensorFlow would
add to the memory of the other pipelines.
"""

import json
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import apache_beam.runners.portability.fn_api_runner.fn_runner
import tensorflow  # noqa: F401  (else TFDS imports it while the clock runs)
import tensorflow_datasets as tfds
from etils import epath

from beam_jobs.annotation import Annotation
from beam_jobs.job.runner import parse_beam_options
from benchmarks.prepare.job import Job
from benchmarks.prepare.pipelines import examples
from tfrecords.dataset.tfds_metadata import features_json
from tfrecords.record.schema import DigitExample


class StreetDigits(tfds.core.GeneratorBasedBuilder):
    """Builder of a dataset with the features of prepare's records, images as raw uint8 tensors (54, 54, 3)."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, job: Job, **options: Any) -> None:
        """Takes the work, and the options of the base class."""
        self._job = job
        super().__init__(**options)

    # Without it TFDS looks for the path with a package that it installs on old Pythons only.
    code_path = epath.Path(__file__)

    def _info(self) -> tfds.core.DatasetInfo:
        image = self._job.plan.image
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict.from_json(
                json.loads(features_json(image, self._job.plan.config.labels))
            )
        )

    def _split_generators(self, _: tfds.download.DownloadManager) -> dict[str, beam.PTransform[Any, Any]]:
        splits: dict[str, list[Annotation]] = {split: [] for split in self._job.plan.shards}
        for annotation in self._job.annotations():
            splits[self._job.split_of(annotation)].append(annotation)
        return {split: self._generate_examples(found) for split, found in splits.items() if found}

    def _generate_examples(self, annotations: list[Annotation]) -> beam.PTransform[Any, Any]:
        return beam.Create(annotations) | beam.FlatMap(_keyed_features, self._job)


def _keyed_features(annotation: Annotation, job: Job) -> Iterator[tuple[str, dict[str, Any]]]:
    for example in examples(annotation, job):
        yield example.key, _features(example)


def _features(example: DigitExample) -> dict[str, Any]:
    names = ("key", "image", "digits", "length", "crop_box", "jitter_offset", "source_size", "boxes", "text")
    return {name: getattr(example, name) for name in names}


def build(job: Job) -> None:
    """Runs the builder, with the runner that prepare uses."""
    config = tfds.download.DownloadConfig(beam_options=parse_beam_options([], "prepare"))
    StreetDigits(job, data_dir=job.output).download_and_prepare(download_config=config)
