# `make help` lists what there is. Every step is a real file; nothing is done twice.
#
# PYTHON=/path/to/python  uses an existing environment (conda, say) and installs nothing.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: check-python help reproduce smoke test lab clean setup bench-labels proofs export full
.DEFAULT_GOAL := help

ifdef PYTHON
PY := $(PYTHON)
SETUP := check-python
export PYTHONPATH := $(CURDIR)
else
PY := .venv/bin/python
SETUP := .venv/.installed
BASE := $(firstword $(shell command -v python3.11 python3 2>/dev/null) python3)
endif

WRONG := import sys; v = sys.version_info; sys.exit(v[:2] != (3, 11) and "error: Python 3.11 is needed, found %d.%d (%s); put python3.11 on the PATH or say PYTHON=" % (*v[:2], sys.executable))

LACKS := import re, sys; from importlib.util import find_spec; names = re.findall(r"- (\w+)==", open("environment.yml").read()); lacking = [n for n in names if n not in ("jupyter", "ruff") and not find_spec(n)]; sys.exit(bool(lacking) and "error: PYTHON=%s lacks %s; see environment.yml" % (sys.executable, ", ".join(lacking)))

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(SETUP) ## make .venv from the pinned list and install the package

.venv/.installed: requirements.txt pyproject.toml
	@command -v $(BASE) >/dev/null || { echo "error: Python 3.11 is needed, and no python3 is on the PATH"; exit 1; }
	@$(BASE) -c '$(WRONG)'
	@$(BASE) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: Python's venv module is missing (on Debian: apt install python3.11-venv)"; exit 1; }
	$(BASE) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

check-python:
	@command -v $(PY) >/dev/null || { echo "error: PYTHON=$(PY) is not there"; exit 1; }
	@$(PY) -c '$(WRONG)'
	@$(PY) -c '$(LACKS)'

# What a step depends on, by floor of the package.
m = $(addprefix kd_offload/,$(addsuffix .py,$(1)))
MODEL := $(call m,__init__ config graphs sampling delay)
LABELS := $(MODEL) $(call m,labels)
DATA := $(LABELS) $(call m,networks dataset run)
LEARN := $(DATA) $(call m,learning)
TUNE := $(LEARN) $(call m,verification tuning studies)
RIVALS := $(TUNE) $(call m,heuristics heft policies classifiers environment)
EVALUATE := $(RIVALS) $(call m,statistics evaluation)
DRAW := $(call m,plotting plotting_learning plotting_questions plotting_online)
NOTEBOOKS := 01_problem 02_generate_data 03_train_teacher 04_distill_student 04b_better_student 04c_rivals 05_latency 05b_conditions 05c_online 06_inference_time 06b_effective_latency 07_claims

# pipeline: profile, folder of the products, folder of the executed notebooks, tasks a proof
define pipeline
S_$(1) := build/$(1)
F_$(1) := $(2)figures
STEPS_$(1) := $(foreach n,$(NOTEBOOKS),build/$(1)/$(n).done)

build/$(1)/01_problem.done: notebooks/01_problem.ipynb $(EVALUATE) $(DRAW)
build/$(1)/label_generation.done: $(LABELS) $(call m,heuristics bench) | build/$(1)/01_problem.done
	$$(PY) -m kd_offload.bench labels --profile $(1) --out $(2)figures/label_generation.csv
	@touch $$@
build/$(1)/proofs.done: $(LABELS) tests/proofs.py tests/oracles.py | build/$(1)/label_generation.done
	$$(PY) tests/proofs.py --tasks $(4) --profile $(1) --out $(2)figures/proofs.csv
	@touch $$@
build/$(1)/02_generate_data.done: notebooks/02_generate_data.ipynb $(DATA) $(DRAW) $(2)figures/label_generation.csv $(2)figures/proofs.csv | build/$(1)/01_problem.done
build/$(1)/03_train_teacher.done: notebooks/03_train_teacher.ipynb $(LEARN) $(DRAW) build/$(1)/02_generate_data.done
build/$(1)/04_distill_student.done: notebooks/04_distill_student.ipynb $(LEARN) $(DRAW) build/$(1)/03_train_teacher.done
build/$(1)/04b_better_student.done: notebooks/04b_better_student.ipynb $(TUNE) $(DRAW) build/$(1)/04_distill_student.done
build/$(1)/04c_rivals.done: notebooks/04c_rivals.ipynb $(RIVALS) $(DRAW) build/$(1)/02_generate_data.done | build/$(1)/04b_better_student.done
build/$(1)/05_latency.done: notebooks/05_latency.ipynb $(EVALUATE) $(DRAW) build/$(1)/04b_better_student.done build/$(1)/04c_rivals.done
build/$(1)/05b_conditions.done: notebooks/05b_conditions.ipynb $(EVALUATE) $(call m,any_graph questions traces online export claims sensitivity full) $(DRAW) build/$(1)/05_latency.done
build/$(1)/05c_online.done: notebooks/05c_online.ipynb $(EVALUATE) $(call m,traces online) $(DRAW) build/$(1)/05_latency.done | build/$(1)/05b_conditions.done
build/$(1)/06_inference_time.done: notebooks/06_inference_time.ipynb $(EVALUATE) $(call m,export) $(DRAW) build/$(1)/05_latency.done | build/$(1)/05c_online.done
build/$(1)/06b_effective_latency.done: notebooks/06b_effective_latency.ipynb $(call m,questions) $(DRAW) build/$(1)/06_inference_time.done
build/$(1)/07_claims.done: notebooks/07_claims.ipynb $(EVALUATE) $(call m,claims report) build/$(1)/06b_effective_latency.done $(addprefix $(2)figures/,$(addsuffix .csv,latency paired wrong_labels following inference_time label_generation proofs))

# One rule executes a notebook; the copy is moved into place by kd_offload.run only when all went well.
$$(STEPS_$(1)): | $$(SETUP)
	$$(PY) -m kd_offload.run notebooks/$$(basename $$(@F)).ipynb --profile $(1)
	@mkdir -p $$(@D) && touch $$@
build/$(1)/label_generation.done build/$(1)/proofs.done: | $$(SETUP)

# Products come from their step; where one is missing, the step's mark is taken away, and the step runs again.
$(call products,$(1),01_problem,$(addprefix $(2)figures/,$(call csv_figure,example_task example_schedule landscape) scenarios.csv) $(3)/01_problem.ipynb)
$(call products,$(1),label_generation,$(2)figures/label_generation.csv)
$(call products,$(1),proofs,$(2)figures/proofs.csv)
$(call products,$(1),02_generate_data,$(addprefix $(2)figures/,$(call csv_figure,label_shares search_tree) search_effort.csv label_prices.csv $(call figure,label_generation)) $(foreach s,$(TRAINED),$(foreach t,train validation test,$(2)data/$(s)/$(t)/manifest.json)) $(3)/02_generate_data.ipynb)
$(call products,$(1),03_train_teacher,$(addprefix $(2)figures/,$(call csv_figure,teacher_curves)) $(call models,$(2),teacher) $(3)/03_train_teacher.ipynb)
$(call products,$(1),04_distill_student,$(addprefix $(2)figures/,$(call csv_figure,student_curves) model_sizes.csv) $(call models,$(2),student student_plain) $(3)/04_distill_student.ipynb)
$(call products,$(1),04b_better_student,$(addprefix $(2)figures/,$(call csv_figure,distillation_study tuning_curves ideas any_graph) tuned_sizes.csv) $(call models,$(2),student_tuned student_verified) $(3)/04b_better_student.ipynb)
$(call products,$(1),04c_rivals,$(addprefix $(2)figures/,$(call csv_figure,dqn_curves) classifiers.csv) $(call models,$(2),linear) $(3)/04c_rivals.ipynb)
$(call products,$(1),05_latency,$(addprefix $(2)figures/,$(call csv_figure,latency wrong_labels adaptation) paired.csv following.csv) $(3)/05_latency.ipynb)
$(call products,$(1),05b_conditions,$(addprefix $(2)figures/,$(call csv_figure,sweeps by_size label_cost robustness sensitivity)) $(3)/05b_conditions.ipynb)
$(call products,$(1),05c_online,$(addprefix $(2)figures/,$(call csv_figure,online)) $(3)/05c_online.ipynb)
$(call products,$(1),06_inference_time,$(addprefix $(2)figures/,$(call csv_figure,inference_time tradeoff) throughput.csv device_times.csv) $(3)/06_inference_time.ipynb)
$(call products,$(1),06b_effective_latency,$(addprefix $(2)figures/,$(call csv_figure,effective_latency)) $(3)/06b_effective_latency.ipynb)
$(call products,$(1),07_claims,$(addprefix $(2)figures/,claims.csv claims.html claims.pdf) $(3)/07_claims.ipynb)
endef
TRAINED := chain dag fusion $(addprefix networks_,alexnet vgg16 resnet18 mobilenetv2 inception)
models = $(foreach r,$(2),$(foreach s,$(TRAINED),$(1)data/models/$(r)_$(s)_0.npz $(1)data/models/$(r)_$(s)_1.npz))
figure = $(foreach f,$(1),$(f).png $(f).pdf)
csv_figure = $(foreach f,$(1),$(f).csv $(f).png $(f).pdf)
define products
ALL_$(1) += $(3)
ifneq ($(filter-out $(wildcard $(3)),$(3)),)
$$(shell rm -f build/$(1)/$(2).done)
endif
$(3): build/$(1)/$(2).done
	@:
endef

$(eval $(call pipeline,paper,,notebooks/executed,1500))
$(eval $(call pipeline,smoke,build/smoke/,build/smoke/notebooks,20))

reproduce: $(STEPS_paper) $(ALL_paper) ## every table and figure, at the paper's sizes (about 50 minutes on 2 cores)
smoke: $(STEPS_smoke) $(ALL_smoke) ## the same on small sizes, into build/smoke (about 5 minutes)
bench-labels: figures/label_generation.csv ## exact labels a second, against its rivals
proofs: figures/proofs.csv ## labels against independent exact methods

export: $(SETUP) build/paper/04b_better_student.done ## the trained students as ONNX and C99 with their model card, into exports/
	$(PY) -m kd_offload.export

full: $(SETUP) build/paper/04b_better_student.done ## what is too slow for reproduce, which reads it: studies, DQN, other ranges, any graph (more than an hour)
	$(PY) -m kd_offload.full
	rm -f $(addprefix build/paper/,04b_better_student.done 04c_rivals.done 05_latency.done 05b_conditions.done)

test: $(SETUP) ## lint, unit and property tests, and the whole pipeline on tiny sizes
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest

lab: $(SETUP) ## open the notebooks
	$(PY) -m jupyter lab notebooks

clean: ## delete what was generated and is not part of the repository (the environment stays)
	@mkdir -p data figures
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	find data -mindepth 1 -maxdepth 1 -type d ! -name models ! -name traces ! -name decisions -exec rm -rf {} +
	find data figures -name '.*.mark' -delete
	rm -f $(foreach m,teacher student_plain linear,data/models/$(m)_*)
	find data/decisions -type f ! -name 'dqn_*' -delete
