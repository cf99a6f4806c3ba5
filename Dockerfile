# Every command with its libraries: docker build -t streetdigits . && docker run --rm streetdigits predict --help
FROM python:3.12-slim

RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /streetdigits

# A layer of their own for the locked dependencies, which change seldom.
COPY requirements.lock ./
RUN pip install --no-cache-dir uv && uv pip install --system --no-cache -r requirements.lock

COPY setup.py pyproject.toml README.md LICENSE ./
COPY beam_jobs beam_jobs
COPY streetdigits streetdigits
COPY tfrecords tfrecords
COPY trainer trainer
RUN uv pip install --system --no-cache --no-deps --no-build-isolation .

ENTRYPOINT ["streetdigits"]
CMD ["--help"]
