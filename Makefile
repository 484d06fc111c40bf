# `make help` lists targets. PYTHON=/path/to/python uses your environment.
# A step runs a notebook; its stamp, build/<profile>/<name>.done, lists products.
PROFILE := paper
STEP := build/$(PROFILE)
.DELETE_ON_ERROR .NOTPARALLEL: # use all cores
.PHONY: help setup check steps reproduce smoke check-claims test full testbed export lab site clean
PY := $(or $(PYTHON),.venv/bin/python)
SETUP := $(if $(PYTHON),check,.venv/.installed)
export PYTHONPATH := $(CURDIR)
MAKEFLAGS += --no-print-directory
BASE := $(or $(shell command -v python3.11),python3)
PIP := .venv/bin/pip install -q
TAKE = $(PY) -m kd_offload.claims.manifest

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
setup: $(SETUP) ## make .venv
.venv/.installed: requirements.txt pyproject.toml
	@$(BASE) .ci/check.py
	$(BASE) -m venv .venv
	$(PIP) -r requirements.txt && $(PIP) --no-deps --no-build-isolation -e . && touch $@
check:
	@$(PY) .ci/check.py --packages

wing = $(wildcard $(foreach w,$(1),kd_offload/$(w)/*.py kd_offload/$(w)/*.in))
after = $(foreach n,$(1),$(STEP)/$(n).done)
ALL := $(call wing,beyond baselines studies draw)
CORE := $(wildcard kd_offload/*.py kd_offload/*.toml kd_offload/scenarios/*.py)
NOTEBOOKS := $(basename $(notdir $(sort $(wildcard notebooks/[0-9]*.ipynb))))

$(STEP)/%.done: notebooks/%.ipynb $(CORE) | $(SETUP)
	$(PY) notebooks/execute.py $< --profile $(PROFILE) --stamp $@

$(STEP)/01_problem.done: $(call wing,beyond baselines draw)
$(STEP)/02_labels.done: $(call wing,beyond proofs baselines draw) kd_offload/studies/label_speed.py
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

steps: # also if products differ
	@for s in $(STEP)/*.done; do test ! -f $$s || sha256sum -c --status $$s || rm $$s; done
	@$(MAKE) PROFILE=$(PROFILE) $(call after,$(NOTEBOOKS))

reproduce: steps ## make every table and figure (65 min)
	@$(TAKE) $(STEP)/*.done
smoke: ## the same, small (8 min)
	@$(MAKE) PROFILE=smoke steps && $(PY) -m pytest -q tests/after_smoke.py
check-claims: $(SETUP) ## compare claims with git's
	@$(PY) -m kd_offload.claims.check $(REFERENCE)
full: $(call after,05_better_students 06_rivals) ## make slow tables (hours)
	$(PY) -m kd_offload.studies.slow
	$(TAKE) $(STEP)/*.done slow
	rm -f $(call after,05_better_students 06_rivals 08_conditions 10_inference_time)
testbed: $(SETUP) ## run the system (15 min)
	$(PY) -m kd_offload.runtime.testbed && $(PY) -m kd_offload.runtime.costs
	$(TAKE) figures/testbed figures/layer_times && rm -f $(call after,13_testbed)
export: $(call after,07_latency) ## students as ONNX and C99
	$(PY) -m kd_offload.device.card
	$(TAKE) $(STEP)/*.done exports
test: $(SETUP) ## run lint and tests
	$(PY) -m ruff check . && $(PY) -m ruff format --check .
	$(PY) -m pytest
mutants: $(SETUP) ## plant bugs (hours)
	$(PY) tests/plant/mutants.py
lab: $(SETUP) ## open notebooks; N=07 runs one
	@mkdir -p build/lab/notebooks && cp -n notebooks/*.ipynb build/lab/notebooks
	$(PY) $(if $(N),notebooks/execute.py notebooks/$(N)*.ipynb --profile lab,-m jupyter lab build/lab/notebooks)
site: $(SETUP) ## build the site
	$(PY) website/build.py
clean: ## delete what git lacks
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	git clean -fdXq data figures
