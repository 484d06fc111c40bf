# `make help` lists the targets. PYTHON=/path/to/python uses an environment of your own.
# A step executes a notebook; build/<profile>/<name>.d has the modules that the notebook imported.
PROFILE := paper
.DELETE_ON_ERROR .NOTPARALLEL: # a step uses all cores
.PHONY: help setup check verify public models figures reproduce smoke check-claims test slow export lab site clean
PY := $(or $(PYTHON),.venv/bin/python)
SETUP := $(if $(PYTHON),check,.venv/.installed)
BASE := $(or $(shell command -v python3.11),python3)
COMPILED := $(shell grep -rl njit --include=*.py kd_offload anygraph experiments | LC_ALL=C sort)
export PYTHONPATH := $(CURDIR)
# numba does not see a change in what a function calls: each state of the code has its own folder
export NUMBA_CACHE_DIR ?= $(CURDIR)/build/numba/$(shell cat /dev/null $(COMPILED) | cksum | tr ' ' _)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
setup: $(SETUP) ## make .venv, with everything that is needed
.venv/.installed: requirements.txt pyproject.toml
	@"$(BASE)" .ci/check.py
	"$(BASE)" -m venv .venv
	.venv/bin/pip install -q -r requirements.txt
	.venv/bin/pip install -q --no-deps --no-build-isolation -e . && touch $@
check: ; @"$(PY)" .ci/check.py --packages

verify: $(SETUP) ## judge the claims anew, from the trained models: minutes
	@"$(PY)" -m experiments.verify $(CLAIM:%=--claim %)
public: $(SETUP) ## decide the task graphs in a folder: GRAPHS=folder
	@"$(PY)" -m experiments.public "$(GRAPHS)"
models: $(SETUP) ## plan and split the models in a folder, wheels too: MODELS=folder
	@"$(PY)" -m experiments.models $(if $(MODELS),"$(MODELS)")
figures: $(SETUP) ## draw every figure anew, from the saved tables
	@"$(PY)" -m experiments.redraw

step = $(foreach name,$(1),build/$(PROFILE)/$(name).done)
STORY := $(basename $(notdir $(sort $(wildcard notebooks/[0-9]*.ipynb))))
DATA := $(call step,training/02_data)
NETWORKS := $(call step,$(addprefix training/03_,chain dag fusion networks))
TRAINED := $(NETWORKS) $(call step,training/05_other_learners training/09_any_graph)
slow_step = $(if $(filter-out paper,$(PROFILE)),$(call step,slow/$(1)))# the reference run reads them
OUT := $(if $(filter-out paper,$(PROFILE)),build/$(PROFILE)/)
RUN = "$(PY)" -m experiments.execute $< --profile $(PROFILE) --stamp $@

build/$(PROFILE)/%.done: notebooks/%.ipynb requirements.txt experiments/execute.py | $(SETUP)
	$(RUN)
$(NETWORKS): build/$(PROFILE)/training/03_%.done: notebooks/training/03_teacher_and_student.ipynb \
  requirements.txt experiments/execute.py $(DATA) | $(SETUP)
	$(RUN) -p scenarios $*
$(call step,02_labels $(addprefix training/,04_dependence 05_other_learners) slow/05_dqn): $(DATA)
$(call step,03_teacher_and_student): $(NETWORKS)
$(call step,slow/04_distillation): $(NETWORKS)
$(call step,04_distillation): $(call step,training/04_dependence) $(call slow_step,04_distillation) $(NETWORKS)
$(call step,05_other_learners): $(call step,training/05_other_learners) $(call slow_step,05_dqn)
$(call step,09_any_graph 11_application 11_plan): $(call step,training/09_any_graph)
$(call step,06_latency 07_conditions 08_inference_time 10_scale slow/11_testbed): $(TRAINED)
$(call step,06_latency): $(call slow_step,05_dqn)
$(call step,08_inference_time): $(call step,06_latency)
$(call step,11_testbed): $(TRAINED) $(call slow_step,11_testbed)
$(call step,12_claims): $(call step,02_labels 04_distillation 06_latency 08_inference_time 10_scale)
-include $(wildcard build/$(PROFILE)/*.d build/$(PROFILE)/*/*.d)

reproduce: $(call step,$(STORY)) $(OUT)figures/claims.html ## make every table and figure
$(OUT)figures/claims.html: $(call step,12_claims) # the page to print
	@"$(PY)" -m nbconvert --log-level ERROR --to html --no-input --output-dir $(@D) --output claims \
	  $(if $(OUT),$(OUT)notebooks,notebooks/executed)/12_claims.ipynb
smoke: ## the same at small sizes
	@$(MAKE) --no-print-directory PROFILE=smoke reproduce && "$(PY)" -m pytest -q tests/after_smoke.py
check-claims: $(SETUP) ## compare your claims with the committed ones
	@"$(PY)" -m experiments.claims.check $(CLAIM:%=--claim %) $(SCENARIO:%=--scenario %) $(REFERENCE)
test: $(SETUP) ## run lint and tests
	"$(PY)" -m ruff check . && "$(PY)" -m ruff format --check . && "$(PY)" -m pytest -n 2
slow: $(call step,slow/04_distillation slow/05_dqn slow/11_testbed) ## what reproduce reads: two hours
export: $(NETWORKS) $(call step,training/09_any_graph) ## write the students as ONNX and C99
	"$(PY)" -m experiments.export
lab: $(SETUP) ## open the notebooks; N=06 runs one, and what it needs, at small size
	@$(if $(N),$(MAKE) PROFILE=lab $(patsubst notebooks/%.ipynb,build/lab/%.done,$(wildcard notebooks/$(N)*.ipynb)),\
	  mkdir -p build/lab/open && cp -n notebooks/*.ipynb build/lab/open && "$(PY)" -m jupyter lab build/lab/open)
site: $(SETUP) ## build the documentation's site
	"$(PY)" -m sphinx -q -c docs . build/site
clean: ## delete what git lacks
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	git clean -fdXq data figures
