# `make help` lists what there is. PYTHON=/path/to/python uses an environment of yours.
# A step is a notebook; its stamp, build/<profile>/<notebook>.done, lists what it made.
SHELL := /bin/sh
PROFILE := paper
STEP := build/$(PROFILE)
.DELETE_ON_ERROR:
.NOTPARALLEL: # a step uses all cores, and those that time something must run alone
.PHONY: help setup check steps reproduce smoke test full export lab mutants clean
PY := $(or $(PYTHON),.venv/bin/python)
SETUP := $(if $(PYTHON),check,.venv/.installed)
export PYTHONPATH := $(CURDIR)
BASE := $(or $(shell command -v python3.11),python3)
PIP := .venv/bin/pip install -q --disable-pip-version-check
TAKE_UP = $(PY) -m kd_offload.claims.manifest

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
setup: $(SETUP) ## make .venv from the pinned list and install the package

.venv/.installed: requirements.txt pyproject.toml
	@$(BASE) .ci/check.py
	$(BASE) -m venv .venv
	$(PIP) -r requirements.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@
check:
	@$(PY) .ci/check.py --packages

# A notebook is executed from its text, the core, the wings it uses, the steps it reads.
wing = $(wildcard $(foreach w,$(1),kd_offload/$(w)/*.py kd_offload/$(w)/*.in))
after = $(foreach n,$(1),$(STEP)/$(n).done)
CORE := $(wildcard kd_offload/*.py kd_offload/*.toml kd_offload/scenarios/*.py)
NOTEBOOKS := $(basename $(notdir $(sort $(wildcard notebooks/[0-9]*.ipynb))))

$(STEP)/%.done: notebooks/%.ipynb $(CORE) | $(SETUP)
	$(PY) -m kd_offload.run $< --profile $(PROFILE) --stamp $@

$(STEP)/01_problem.done: $(call wing,beyond rivals draw)
$(STEP)/02_labels.done: $(call wing,beyond proofs rivals draw) kd_offload/studies/label_speed.py
$(STEP)/03_data.done: $(call wing,draw) kd_offload/beyond/prices.py
$(STEP)/04_teacher_and_student.done: $(call wing,draw) $(call after,03_data)
$(STEP)/05_better_students.done: $(call wing,beyond rivals studies draw) $(call after,04_teacher_and_student)
$(STEP)/06_rivals.done: $(call wing,beyond rivals studies draw) $(call after,03_data)
LEARNED := $(call after,04_teacher_and_student 05_better_students 06_rivals)
$(call after,07_latency 08_conditions 09_online 12_scale): $(call wing,beyond rivals studies draw) $(LEARNED)
$(STEP)/09_online.done: $(wildcard data/traces/*)
$(STEP)/10_inference_time.done: $(call wing,beyond rivals studies draw device) $(call after,07_latency)
$(STEP)/11_effective_latency.done: $(call wing,studies draw) $(call after,07_latency 10_inference_time)
$(STEP)/13_claims.done: $(call wing,claims) $(call after,02_labels 07_latency 10_inference_time)

steps: # a step whose products are missing or altered runs again
	@for s in $(STEP)/*.done; do test ! -f $$s || sha256sum -c --status $$s || rm $$s; done
	@$(MAKE) --no-print-directory PROFILE=$(PROFILE) $(call after,$(NOTEBOOKS))

reproduce: steps ## every table and figure, at the paper's sizes (about 50 minutes on 2 cores)
	@$(TAKE_UP) $(STEP)/*.done
smoke: ## the same, small, into build/smoke (about 7 minutes)
	@$(MAKE) --no-print-directory PROFILE=smoke steps
	@$(PY) -m pytest -q tests/after_smoke.py

full: $(call after,03_data) ## what is too slow for reproduce (hours)
	$(PY) -m kd_offload.studies.slow
	$(TAKE_UP) slow
	rm -f $(call after,05_better_students 06_rivals 08_conditions)
export: $(call after,07_latency) ## the trained students as ONNX and C99, into exports/
	$(PY) -m kd_offload.device.card
	$(TAKE_UP) exports
test: $(SETUP) ## lint and tests
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest
mutants: $(SETUP) ## plant bugs, see that tests find them (hours)
	$(PY) tests/plant/mutants.py
lab: $(SETUP) ## open copies of the notebooks, on the reference results
	@mkdir -p build/lab/notebooks && cp -n notebooks/*.ipynb build/lab/notebooks
	$(PY) -m jupyter lab build/lab/notebooks
clean: ## delete what is not committed (.venv stays)
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	git clean -fdXq data figures
