# syntax=docker/dockerfile:1
# Three images, each from a lock of its own part of the tested set; docs/deploying.md has their commands and sizes.
#   docker build --target worker --tag streetdigits-worker .     a Beam worker: Flink, Spark, Dataflow
#   docker build --target trainer --tag streetdigits-trainer .   training; LOCK=requirements-cuda.lock adds CUDA
#   docker build --tag streetdigits .                            every command, on the CPU; launches Beam jobs, too

# Beam wants the minor version of Python that launches the job in its workers, too.
ARG PYTHON=3.12
# Beam's version in requirements-worker.lock: boot and the SDK are released together.
ARG BEAM=2.77.0

# Only for its boot, a static program of 19 MB.
FROM apache/beam_python${PYTHON}_sdk:${BEAM} AS beam

FROM python:${PYTHON}-slim-bookworm AS base
# What is compiled names the source's hash instead of its time, and is compiled with one hash seed (below), so that equal
# inputs make equal layers.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_CACHE_DIR=/root/.cache/uv \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_PYTHON=1
# A number, since Kubernetes' runAsNonRoot cannot look names up. Group 0 shares the home with any user of OpenShift.
RUN useradd --uid 10001 --gid 0 --create-home --no-log-init digits \
    && mkdir --mode 2775 /work \
    && chown 10001:0 /work \
    && chmod 0775 /home/digits
ENV HOME=/home/digits
WORKDIR /work
# These are jobs: they end, and their exit code says how. A probe of a running job would only see that it runs.
HEALTHCHECK NONE
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# uv and the package's wheel, of which no image keeps more than what they install.
FROM base AS build
ARG UV=0.13.9
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip install --cache-dir /root/.cache/pip --root-user-action ignore --target /uv "uv==${UV}"
ENV PATH=/uv/bin:$PATH
WORKDIR /source
COPY requirements.lock ./
# The locked setuptools builds the wheel.
RUN --mount=type=cache,target=/root/.cache/uv \
    grep -E '^(setuptools|wheel)==' requirements.lock > build.lock \
    && uv pip install --no-deps --requirements build.lock
COPY setup.py pyproject.toml README.md LICENSE ./
COPY beam_jobs beam_jobs
COPY streetdigits streetdigits
COPY tfrecords tfrecords
COPY trainer trainer
# The time of every file in the wheel: that of the commit, if the builder hands it in.
ARG SOURCE_DATE_EPOCH=315532800
RUN SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH}" uv build --wheel --no-build-isolation --out-dir /dist

FROM base AS worker
COPY --from=beam /opt/apache/beam/boot /opt/apache/beam/LICENSE /opt/apache/beam/NOTICE /opt/apache/beam/
# boot makes a virtual environment for each worker there, and sees the packages of the system's Python from it.
RUN mkdir --mode 2775 /opt/apache/beam-venv && chown 10001:0 /opt/apache/beam-venv
COPY requirements-worker.lock /opt/streetdigits/requirements.lock
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,from=build,source=/uv,target=/uv \
    PYTHONHASHSEED=0 /uv/bin/uv pip install --no-deps --compile-bytecode --requirements /opt/streetdigits/requirements.lock
# pip, since uv notes the time of the build; with any epoch, it compiles by hash, too.
RUN --mount=type=bind,from=build,source=/uv,target=/uv \
    --mount=type=bind,from=build,source=/dist,target=/dist \
    PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=0 python -m pip install --no-cache-dir --root-user-action ignore --no-deps /dist/*.whl \
    && /uv/bin/uv pip check --no-cache
LABEL org.opencontainers.image.title="streetdigits-worker" \
      org.opencontainers.image.description="Beam worker that prepares pictures of numbers as TFRecords"
USER 10001:0
ENTRYPOINT ["/opt/apache/beam/boot"]

FROM base AS trainer
# requirements-cuda.lock has the same versions, and NVIDIA's libraries in those that TensorFlow was built with.
ARG LOCK=requirements-trainer.lock
COPY ${LOCK} /opt/streetdigits/requirements.lock
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,from=build,source=/uv,target=/uv \
    PYTHONHASHSEED=0 /uv/bin/uv pip install --no-deps --compile-bytecode --requirements /opt/streetdigits/requirements.lock
RUN --mount=type=bind,from=build,source=/uv,target=/uv \
    --mount=type=bind,from=build,source=/dist,target=/dist \
    PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=0 python -m pip install --no-cache-dir --root-user-action ignore --no-deps /dist/*.whl \
    && /uv/bin/uv pip check --no-cache
LABEL org.opencontainers.image.title="streetdigits-trainer" \
      org.opencontainers.image.description="Trains, evaluates and exports readers of numbers in pictures"
USER 10001:0
# One process, which gets Kubernetes' SIGTERM itself and ends with the exit codes of docs/training.md.
ENTRYPOINT ["python", "-m", "trainer"]
CMD ["--help"]

FROM base AS cli
COPY requirements.lock /opt/streetdigits/requirements.lock
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,from=build,source=/uv,target=/uv \
    PYTHONHASHSEED=0 /uv/bin/uv pip install --no-deps --compile-bytecode --requirements /opt/streetdigits/requirements.lock
RUN --mount=type=bind,from=build,source=/uv,target=/uv \
    --mount=type=bind,from=build,source=/dist,target=/dist \
    PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=0 python -m pip install --no-cache-dir --root-user-action ignore --no-deps /dist/*.whl \
    && /uv/bin/uv pip check --no-cache
LABEL org.opencontainers.image.title="streetdigits" \
      org.opencontainers.image.description="Prepares pictures of numbers, trains readers of them, and launches both on clusters"
USER 10001:0
ENTRYPOINT ["streetdigits"]
CMD ["--help"]
