# A worker or a workstation with everything installed: docker build -t streetdigits . && docker run -it streetdigits
FROM python:3.12-slim

RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /streetdigits

# The locked dependencies change seldom: they get a layer of their own.
COPY requirements.lock ./
RUN pip install --no-cache-dir uv && uv pip install --system --no-cache -r requirements.lock

COPY setup.py pyproject.toml README.md LICENSE ./
COPY beam_jobs beam_jobs
COPY tfrecords tfrecords
COPY trainer trainer
RUN uv pip install --system --no-cache --no-deps --no-build-isolation .

ENTRYPOINT ["python", "-m"]
CMD ["beam_jobs", "--help"]
