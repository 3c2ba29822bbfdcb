"""What the numbers were measured on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from threadpoolctl import threadpool_info

PACKAGES = (
    "skorchlite",
    "torch",
    "scikit-learn",
    "numpy",
    "scipy",
    "scikit-learn-intelex",
    "skorch",
    "glum",
    "polars-ds",
)


def describe():
    """Return machine, versions and thread counts as plain values."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "memory_gib": round(_memory_bytes() / 2**30, 1),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
            "system": f"{platform.system()} {platform.machine()}",
            # Other work on the cores slows the libraries unequally: see it before trusting a ratio.
            "load_at_start": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "python": platform.python_version(),
            **{package: _version(package) for package in PACKAGES},
        },
        "threads": {"torch": torch.get_num_threads(), **_pools()},
    }


def _cpu_model():
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _pools():
    return {
        " ".join(filter(None, (pool["prefix"], pool.get("version"), pool.get("architecture")))): (
            pool["num_threads"]
        )
        for pool in threadpool_info()
    }
