# `make help` lists targets. PYTHON=/path/to/python uses your environment.
# A step runs a notebook; its stamp, build/<profile>/<name>.done, lists its products.
PROFILE := paper
STEP := build/$(PROFILE)
.DELETE_ON_ERROR .NOTPARALLEL: # steps use all cores
.PHONY: help setup check steps reproduce smoke test full testbed export lab mutants site clean
PY := $(or $(PYTHON),.venv/bin/python)
SETUP := $(if $(PYTHON),check,.venv/.installed)
export PYTHONPATH := $(CURDIR)
BASE := $(or $(shell command -v python3.11),python3)
PIP := .venv/bin/pip install -q --disable-pip-version-check
TAKE_UP = $(PY) -m kd_offload.claims.manifest

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
setup: $(SETUP) ## make .venv from the pinned list
.venv/.installed: requirements.txt pyproject.toml
	@$(BASE) .ci/check.py
	$(BASE) -m venv .venv
	$(PIP) -r requirements.txt && $(PIP) --no-deps --no-build-isolation -e .
	@touch $@
check:
	@$(PY) .ci/check.py --packages

# What a notebook depends on
wing = $(wildcard $(foreach w,$(1),kd_offload/$(w)/*.py kd_offload/$(w)/*.in))
after = $(foreach n,$(1),$(STEP)/$(n).done)
ALL := $(call wing,beyond rivals studies draw)
CORE := $(wildcard kd_offload/*.py kd_offload/*.toml kd_offload/scenarios/*.py)
NOTEBOOKS := $(basename $(notdir $(sort $(wildcard notebooks/[0-9]*.ipynb))))

$(STEP)/%.done: notebooks/%.ipynb $(CORE) | $(SETUP)
	$(PY) -m kd_offload.run $< --profile $(PROFILE) --stamp $@

$(STEP)/01_problem.done: $(call wing,beyond rivals draw)
$(STEP)/02_labels.done: $(call wing,beyond proofs rivals draw) kd_offload/studies/label_speed.py
$(STEP)/03_data.done: $(call wing,draw) kd_offload/beyond/prices.py
$(STEP)/04_teacher_and_student.done: $(call wing,draw) $(call after,03_data)
$(STEP)/05_better_students.done: $(ALL) $(call after,04_teacher_and_student)
$(STEP)/06_rivals.done: $(ALL) $(call after,03_data)
$(call after,07_latency 08_conditions 09_online 12_scale 13_testbed): \
  $(ALL) $(call after,04_teacher_and_student 05_better_students 06_rivals)
$(STEP)/09_online.done: $(wildcard data/traces/*)
$(STEP)/10_inference_time.done: $(ALL) $(call wing,device) $(call after,07_latency)
$(STEP)/11_effective_latency.done: $(call wing,studies draw) $(call after,07_latency 10_inference_time)
$(STEP)/13_testbed.done: $(call wing,runtime)
$(STEP)/14_claims.done: $(call wing,claims) $(call after,02_labels 07_latency 10_inference_time)

steps: # a step with missing or altered products runs again
	@for s in $(STEP)/*.done; do test ! -f $$s || sha256sum -c --status $$s || rm $$s; done
	@$(MAKE) --no-print-directory PROFILE=$(PROFILE) $(call after,$(NOTEBOOKS))

reproduce: steps ## every table and figure (80 min)
	@$(TAKE_UP) $(STEP)/*.done
smoke: ## the same, small, into build/smoke (8 min)
	@$(MAKE) --no-print-directory PROFILE=smoke steps && $(PY) -m pytest -q tests/after_smoke.py

full: $(call after,03_data) ## what is too slow for that (hours)
	$(PY) -m kd_offload.studies.slow
	$(TAKE_UP) slow
	rm -f $(call after,05_better_students 06_rivals 08_conditions)
testbed: $(SETUP) ## tasks on three processes over shaped links (15 min)
	$(PY) -m kd_offload.runtime.testbed
	rm -f $(call after,13_testbed)
export: $(call after,07_latency) ## the students as ONNX and C99, into exports/
	$(PY) -m kd_offload.device.card
	$(TAKE_UP) exports
test: $(SETUP) ## lint and tests
	$(PY) -m ruff check . && $(PY) -m ruff format --check .
	$(PY) -m pytest
mutants: $(SETUP) ## plant bugs, to be found (hours)
	$(PY) tests/plant/mutants.py
lab: $(SETUP) ## open copies of the notebooks; N=07 runs that one
	@mkdir -p build/lab/notebooks && cp -n notebooks/*.ipynb build/lab/notebooks
	$(PY) -m $(if $(N),kd_offload.run notebooks/$(N)*.ipynb --profile lab,jupyter lab build/lab/notebooks)
site: $(SETUP) ## the results as a site, in build/site
	$(PY) website/build.py
clean: ## delete what is not committed, but .venv
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	git clean -fdXq data figures
