# Two commands: `make demo` shows the whole way on drawn pictures, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
RUN := $(VENV)/bin/python
export PYTHONUNBUFFERED := 1

# How the weights that come with the package are made; trainer/pretrained has them. A training that was stopped goes on.
# FACES=folder has the typefaces; without it, those of trainer/pretrained/typefaces.tsv are gathered on Debian.
FACES ?= $(DEMO)/faces
PRETRAINED ?= $(DEMO)/pretrained
PRETRAINED_COUNT ?= 50000
PRETRAINED_FLAGS ?= --epochs 14
PRETRAINED_WARP = --zoom 0.25 --stretch 0.2 --rotate 10 --shear 0.2 --keep last

# The same for the weights that find numbers in pictures.
PRETRAINED_FINDER ?= $(DEMO)/pretrained-finder
PRETRAINED_FINDER_COUNT ?= 16000
PRETRAINED_FINDER_FLAGS ?= --epochs 7

# The same for the weights that read displays and meters, which begin with those for house numbers.
PRETRAINED_DISPLAY ?= $(DEMO)/pretrained-display
PRETRAINED_DISPLAY_COUNT ?= 12000
PRETRAINED_DISPLAY_FLAGS ?= --epochs 4

# The same for the weights of one handwritten digit, from MNIST's files in the folder MNIST. Half of the images are shown
# dark on light, and all with other contrasts, sizes and margins.
MNIST ?= ../shared/data/mnist
PRETRAINED_MNIST ?= $(DEMO)/pretrained-mnist
PRETRAINED_MNIST_FLAGS ?= --model digits --invert 0.5 --contrast 0.5 --brightness 30 --zoom 0.3 --translate 0.15

.PHONY: help demo stream-demo examples pretrained pretrained-finder pretrained-display pretrained-mnist test test-fast test-cluster \
	test-cluster-short lint lint-images test-images unit docs wheel lock clean

help:
	@echo "make demo   draw pictures, prepare, train, evaluate, predict, report: about five minutes on two cores"
	@echo "make stream-demo   pictures arrive, become snapshots, and a model follows them: about two minutes on two cores"
	@echo "make examples   prepare, train and score each digit system on the data of DATA=folder, SEEDS=1 times, and print their table"
	@echo "make pretrained   draw, prepare, train and score the weights that come with the package, and put them there: 40 minutes; FACES=folder has typefaces"
	@echo "make pretrained-finder   the same for the weights that find numbers in pictures: 40 minutes"
	@echo "make pretrained-display   the same for the weights that read displays and meters: 10 minutes"
	@echo "make pretrained-mnist   prepare, train and score the weights for one handwritten digit: MNIST=folder has its files"
	@echo "make docs   write the API reference to build/docs"
	@echo "make wheel  build dist/, install the wheel in an empty environment and read a number with it"
	@echo "make lock   resolve setup.py's ranges to the newest versions; UPGRADE= keeps the locked ones that still fit"
	@echo "make test   ruff, mypy, the API reference and every test, on all cores"
	@echo "make test-fast   the tests without those marked slow: several hosts, kills, trainings, processes that load TensorFlow or PyTorch"
	@echo "make test-cluster   prepare on Prism, Flink and Spark, with folders and S3: test-cluster-short without Flink and Spark"
	@echo "make lint-images   hadolint, and the schemas of the files in deploy/"
	@echo "make test-images   build the Dockerfile's stages without an engine, as root; IMAGES=worker names some of them"
	@echo "make clean  remove the environment, the demo and the examples"
	@echo "PYTHON=python3.12 make ... chooses the Python (3.10 to 3.13), VENV=folder its environment; DEMO=folder the demo's folder"

# The digit systems of docs/systems.md; ONLY= names some of them.
SEEDS ?= 1
DATA ?= $(or $(DIGITS_TEST_DATA),../shared/data)

# Without compiled bytecode, each process that imports TensorFlow would compile it again where Python may not write it.
$(VENV)/installed: setup.py requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else \
		"streetdigits needs Python 3.10 to 3.13: PYTHON=python3.12 make ... Received: %d.%d" % v)'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check uv
	$(RUN) -m uv pip install --python $(RUN) --quiet --compile-bytecode -r requirements.lock
	$(RUN) -m uv pip install --python $(RUN) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# What only the tests need, other packages' readers among it: PyTorch alone is 2.5 GB to download.
$(VENV)/installed-for-tests: $(VENV)/installed requirements-test.lock
	$(RUN) -m uv pip install --python $(RUN) --quiet --compile-bytecode -r requirements-test.lock
	@touch $@

demo: $(VENV)/installed
	$(RUN) -m beam_jobs sample --output $(DEMO)/svhn --count 4000 --seed 0 --overwrite
	$(RUN) -m beam_jobs prepare --source svhn --input $(DEMO)/svhn --output $(DEMO)/records --jitters 0 --overwrite
	$(RUN) -m tfrecords inspect $(DEMO)/records
	$(RUN) -m tfrecords validate $(DEMO)/records
	$(RUN) -m tfrecords show $(DEMO)/records --split train --count 40 --boxes --output $(DEMO)/sheet.png
	$(RUN) -m trainer train --data $(DEMO)/records --run-dir $(DEMO)/run --epochs 7 --overwrite
	$(RUN) -m trainer evaluate --run-dir $(DEMO)/run --data $(DEMO)/records --split test
	$(RUN) -m trainer predict --run-dir $(DEMO)/run $(DEMO)/svhn/test/3.png $(DEMO)/svhn/test/4.png \
		--box 27,6,33,27 --box 67,13,94,41
	$(RUN) -m trainer report --run-dir $(DEMO)/run
	$(RUN) -m beam_jobs sample --scene --output $(DEMO)/streets --count 20 --test-fraction 0.4 --seed 3 --overwrite
	$(RUN) -m trainer predict $(DEMO)/streets/test --all --draw $(DEMO)/found
	@echo
	@echo "The pictures are in $(DEMO)/svhn, the records in $(DEMO)/records, the model in $(DEMO)/run."
	@echo "Streets whose numbers the weights of the package have found and read are in $(DEMO)/found."
	@echo "Look at $(DEMO)/sheet.png and open $(DEMO)/run/report.html in a browser. Then try:"
	@echo "  $(RUN) -m trainer predict --run-dir $(DEMO)/run YOUR.jpg --box LEFT,TOP,WIDTH,HEIGHT"
	@echo "  $(RUN) -m trainer export --run-dir $(DEMO)/run --format savedmodel --output $(DEMO)/reader"
	@echo "  $(RUN) -m beam_jobs download --output svhn    (the genuine pictures; see the README)"

# Eight days of drawn pictures arrive while `watch` and `train --follow` run; the last one corrects the first.
STREAM := $(DEMO)/stream
DAYS ?= 1 2 3 4 5 6 7 8

stream-demo: $(VENV)/installed
	rm -rf $(DEMO)/inbox $(STREAM) $(DEMO)/live
	mkdir -p $(DEMO)/inbox
	@$(RUN) -m beam_jobs watch --source svhn --input $(DEMO)/inbox --output $(STREAM) --jitters 0 \
		--every 1 --settle 1 --until-idle 20 & \
	until test -f $(STREAM)/status.json; do sleep 0.2; done; \
	(for day in $(DAYS); do \
		$(RUN) -m beam_jobs sample --output $(DEMO)/inbox/.day-$$day --count 400 --seed $$day >$(DEMO)/sample.log 2>&1; \
		mv $(DEMO)/inbox/.day-$$day $(DEMO)/inbox/day-$$day; echo "day $$day has arrived"; sleep 3; \
	done; \
	mkdir $(DEMO)/inbox/.fix; \
	echo '{"key": "day-1@train/1.png", "action": "delete"}' >$(DEMO)/inbox/.fix/corrections.jsonl; \
	mv $(DEMO)/inbox/.fix $(DEMO)/inbox/fix) & \
	until test -f $(STREAM)/manifest.json; do sleep 0.2; done; \
	$(RUN) -m trainer train --data $(STREAM) --run-dir $(DEMO)/live --follow --epochs 24 --keep last && wait
	$(RUN) -m beam_jobs status $(STREAM)
	$(RUN) -m beam_jobs compact $(STREAM) --full
	$(RUN) -m beam_jobs snapshots $(STREAM)
	$(RUN) -m tfrecords validate $(STREAM)
	$(RUN) -m trainer evaluate --run-dir $(DEMO)/live --data $(STREAM) --split test
	$(RUN) -m trainer report --run-dir $(DEMO)/live
	@echo
	@echo "The pictures are in $(DEMO)/inbox, the stream in $(STREAM), the model in $(DEMO)/live."
	@echo "Open $(DEMO)/live/report.html in a browser. Then try:"
	@echo "  $(RUN) -m tfrecords inspect $(STREAM) --snapshot 0"
	@echo "  $(RUN) -m trainer train --data $(STREAM) --run-dir $(DEMO)/again --replay $(DEMO)/live    (the same bits)"

examples: $(VENV)/installed
	$(RUN) -m benchmarks.systems --data $(DATA) --seeds $(SEEDS) $(if $(ONLY),--only $(ONLY))

$(DEMO)/faces: trainer/pretrained/typefaces.tsv | $(VENV)/installed
	rm -rf $@
	$(RUN) -m beam_jobs.sample.typefaces --list $< --output $@

pretrained: $(VENV)/installed-for-tests $(FACES)
	$(RUN) -m beam_jobs sample --output $(PRETRAINED)/drawn --count $(PRETRAINED_COUNT) --seed 31 --style varied \
		--faces $(FACES) --test-fraction 0.01 --overwrite
	$(RUN) -m beam_jobs prepare --source svhn --input $(PRETRAINED)/drawn --output $(PRETRAINED)/records --jitters 0 \
		--validation-fraction 0.01 --backgrounds 0.15 --overwrite
	$(RUN) -m trainer train --data $(PRETRAINED)/records --run-dir $(PRETRAINED)/run --global-batch-size 32 \
		--learning-rate 0.002 --warmup-epochs 0.3 --ema-decay 0.998 $(PRETRAINED_WARP) $(PRETRAINED_FLAGS)
	$(RUN) -m trainer evaluate --run-dir $(PRETRAINED)/run --data $(PRETRAINED)/records --split test
	$(RUN) -m trainer.pretrained --run-dir $(PRETRAINED)/run

pretrained-finder: $(VENV)/installed-for-tests $(FACES)
	$(RUN) -m beam_jobs sample --scene --output $(PRETRAINED_FINDER)/scenes --count $(PRETRAINED_FINDER_COUNT) --seed 21 \
		--faces $(FACES) --test-fraction 0.03 --overwrite
	$(RUN) -m beam_jobs prepare --source coco --task find --canvas 256 --input $(PRETRAINED_FINDER)/scenes \
		--output $(PRETRAINED_FINDER)/records --validation-fraction 0.03 --overwrite
	$(RUN) -m trainer train --data $(PRETRAINED_FINDER)/records --model finder --run-dir $(PRETRAINED_FINDER)/run \
		--global-batch-size 16 --ema-decay 0.998 $(PRETRAINED_FINDER_FLAGS)
	$(RUN) -m trainer evaluate --run-dir $(PRETRAINED_FINDER)/run --data $(PRETRAINED_FINDER)/records --split test
	$(RUN) -m trainer.pretrained --run-dir $(PRETRAINED_FINDER)/run --name finder

pretrained-display: $(VENV)/installed-for-tests $(FACES)
	$(RUN) -m beam_jobs sample --output $(PRETRAINED_DISPLAY)/drawn --count $(PRETRAINED_DISPLAY_COUNT) --seed 31 --style device \
		--faces $(FACES) --test-fraction 0.05 --overwrite
	$(RUN) -m beam_jobs prepare --source svhn --input $(PRETRAINED_DISPLAY)/drawn --output $(PRETRAINED_DISPLAY)/records --jitters 0 \
		--validation-fraction 0.02 --backgrounds 0.1 --overwrite
	$(RUN) -m trainer train --data $(PRETRAINED_DISPLAY)/records --run-dir $(PRETRAINED_DISPLAY)/run --init pretrained \
		--global-batch-size 32 --learning-rate 0.001 --warmup-epochs 0.2 --ema-decay 0.995 $(PRETRAINED_WARP) $(PRETRAINED_DISPLAY_FLAGS)
	$(RUN) -m trainer evaluate --run-dir $(PRETRAINED_DISPLAY)/run --data $(PRETRAINED_DISPLAY)/records --split test
	$(RUN) -m trainer.pretrained --run-dir $(PRETRAINED_DISPLAY)/run --name display

pretrained-mnist: $(VENV)/installed-for-tests
	$(RUN) -m beam_jobs prepare --source mnist --input $(MNIST) --output $(PRETRAINED_MNIST)/records --overwrite
	$(RUN) -m trainer train --data $(PRETRAINED_MNIST)/records --run-dir $(PRETRAINED_MNIST)/run $(PRETRAINED_MNIST_FLAGS)
	$(RUN) -m trainer evaluate --run-dir $(PRETRAINED_MNIST)/run --data $(PRETRAINED_MNIST)/records --split test
	$(RUN) -m trainer.pretrained --run-dir $(PRETRAINED_MNIST)/run --name mnist

# A process per core; one that runs out of tests takes some of another's.
# Twice as many as cores: tests of kills, arrivals and disks wait for a third of their time.
WORKERS = $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 2))')
PYTEST = $(RUN) -m pytest --numprocesses $(WORKERS) --dist worksteal --durations 15

# Type checking and the API reference take one core each: next to the tests they cost least time.
test: $(VENV)/installed-for-tests
	$(MAKE) --no-print-directory --jobs 2 unit lint docs

lint: $(VENV)/installed-for-tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

unit: $(VENV)/installed-for-tests
	$(PYTEST)

test-fast: $(VENV)/installed-for-tests
	$(PYTEST) -m "not slow and not cluster"

# On real engines, one after the other: each takes all cores. What is not at hand is skipped, and said.
CLUSTER = $(RUN) -m pytest tests/cluster -rs --durations 8 --show-capture no

test-cluster: $(VENV)/installed-for-tests
	$(CLUSTER) -m cluster

test-cluster-short: $(VENV)/installed-for-tests
	$(CLUSTER) -m "cluster and not slow"

docs: $(VENV)/installed-for-tests
	rm -rf build/docs
	$(RUN) -m docs.reference build/docs

wheel: $(VENV)/installed
	rm -rf dist
	$(RUN) -m uv build --quiet --out-dir dist
	.ci/check_wheel $(RUN)

# The locks name no host and hold for every Python that setup.py allows; where both name a package, they agree.
UPGRADE ?= --upgrade
# In the package, since an installed `prepare` sends it to workers; requirements-worker.lock is a link to it.
WORKER_LOCK = beam_jobs/job/requirements-worker.lock
COMPILE = $(RUN) -m uv pip compile --quiet --universal --python-version 3.10 --no-header --no-emit-index-url setup.py

lock: $(VENV)/installed
	$(COMPILE) $(UPGRADE) --extra all --extra dev --output-file requirements-test.lock
	$(COMPILE) $(UPGRADE) --extra all --constraint requirements-test.lock --output-file requirements.lock
	$(COMPILE) $(UPGRADE) --extra beam --constraint requirements-test.lock --output-file $(WORKER_LOCK)
	$(COMPILE) $(UPGRADE) --extra train --extra s3 --extra gcs --constraint requirements-test.lock --output-file requirements-trainer.lock
	echo 'tensorflow[and-cuda]' | $(COMPILE) - $(UPGRADE) --extra train --extra s3 --extra gcs --constraint requirements-test.lock \
		--output-file requirements-cuda.lock

# What the images' files say: hadolint, and the schemas of Kubernetes and compose.
lint-images: $(VENV)/installed-for-tests
	$(VENV)/bin/hadolint --failure-threshold style Dockerfile
	$(RUN) -m pytest tests/test_dockerfile.py tests/test_deploy.py

# The stages of the Dockerfile, built without an engine, as root: apt-get install buildah debootstrap
IMAGES ?= worker,trainer,cli
test-images: $(VENV)/installed-for-tests
	STREETDIGITS_IMAGES=$(IMAGES) $(RUN) -m pytest tests/test_dockerfile.py

clean:
	rm -rf $(VENV) $(DEMO) examples
