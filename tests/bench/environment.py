"""Where figures were taken: what decides about them besides the code. Called by `tests.bench.__main__`."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from devstack.airflow import REPOSITORY
from devstack.postgres import version as postgres_version


def environment() -> dict[str, str | int | float]:
    """Facts of this machine, of the versions, and of how busy the machine was before anything was started."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "airflow": importlib.metadata.version("apache-airflow"),
        "postgresql": postgres_version(),
        "kubernaut": importlib.metadata.version("kubernaut-airflow"),
        "commit": _commit(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    """Of the working copy; `+` where something in it is not committed. `unknown` without git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=REPOSITORY, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return described.stdout.strip() or "unknown"
