"""The machine that a run ran on, and what was installed there."""

import os
import platform
import re
import sqlite3
import subprocess
from pathlib import Path


def machine() -> dict[str, str]:
    """Processor, cores, memory and kernel."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return {
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[1]) / 1e6:.0f} GB" if memory else "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
    }


def programs() -> dict[str, str]:
    """What all systems have in common."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    found["rabbitmq"] = _debian("rabbitmq-server")
    return found | {"commit": _commit()}


def _debian(package: str) -> str:
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    version = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return version.partition("-")[0] or "unknown"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
