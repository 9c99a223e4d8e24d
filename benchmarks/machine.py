"""The facts of the machine, without which no figure means anything."""

import os
import platform
import re
import tempfile
import time
from pathlib import Path

import apsw

FSYNC_SECONDS = 1.0
BLOCK_BYTES = 4096


def facts(directory: Path) -> dict[str, str]:
    """What to print above the figures; ``directory`` is where the databases stand."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{_memory_bytes() / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "disk": f"{filesystem(directory)}, {syncs_per_second(directory):,.0f} synced 4 KiB writes/s",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def syncs_per_second(directory: Path) -> float:
    """How often the disk acknowledges a rewritten block in a second."""
    with tempfile.TemporaryFile(dir=directory) as file:
        descriptor = file.fileno()
        os.pwrite(descriptor, os.urandom(BLOCK_BYTES), 0)
        os.fsync(descriptor)
        count, began_at = 0, time.perf_counter()
        while time.perf_counter() < began_at + FSYNC_SECONDS:
            os.pwrite(descriptor, os.urandom(BLOCK_BYTES), 0)
            os.fsync(descriptor)
            count += 1
        return count / (time.perf_counter() - began_at)


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def filesystem(directory: Path) -> str:
    """The type of file system; on memory alone a sync costs nothing, so say it."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown file system"
    holding = [(point, kind) for point, kind in mounts if directory.is_relative_to(point)]
    return max(holding, key=lambda mount: len(mount[0]))[1]
