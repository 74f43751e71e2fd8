"""Runs in a machine with an RDMA device: the script /lab/steps.sh, with the machine's number where it is one of two."""

import subprocess
from pathlib import Path

numbers = [word.partition("=")[2] for word in Path("/proc/cmdline").read_text().split() if word.startswith("verbs_rank=")]
subprocess.run(["sh", "/lab/steps.sh", *numbers], cwd="/tmp")
