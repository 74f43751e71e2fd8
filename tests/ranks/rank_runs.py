"""Running programs, and reading what they wrote."""

import csv
import subprocess


def run(command, folder, environment=None, timeout=240):
    return subprocess.run([str(word) for word in command], cwd=folder, text=True, capture_output=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, env=environment)


def rows(folder, table):
    with open(folder / table, newline="") as file:
        return list(csv.DictReader(file))
