#!/usr/bin/env python
"""Stands where vLLM's server would: takes its command line, answers from hashes."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.engines.server import FakeServer

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
known, rest = parser.parse_known_args()
if "--wrong" in rest:
    sys.exit("ValueError: no such flag: --wrong")
Path(os.environ["FAKE_VLLM_SAW"]).write_text(
    "\n".join([str(os.getpid()), *sys.argv, *os.environ]), encoding="utf-8"
)
server = FakeServer(port=known.port, name="model")
server.start()
threading.Event().wait()
