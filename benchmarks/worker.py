"""Benchmarks that run each backend in a process of its own."""

import json
import os
import subprocess
import sys


def run_worker(file, arguments, backend=None, **variables):
    """Runs a benchmark's file again and collects what it prints.

    Args:
        file: string. The benchmark's `__file__`.
        arguments: list of strings, which tell it that it is the worker.
        backend: string or `None`. The worker's `KERAS_BACKEND`.
        **variables: strings. Others of its environment.

    Returns:
        Pair of the list of dicts that it printed, one JSON object a line, and
        of the reason why it failed, or `None`.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    if backend is not None:
        environment["KERAS_BACKEND"] = backend
    result = subprocess.run(
        [sys.executable, file, *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    lines = result.stdout.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    if result.returncode == 0:
        return rows, None
    reasons = result.stderr.strip().splitlines()
    return rows, (reasons or [f"exit status {result.returncode}"])[-1]
