"""What machine this is, as far as it matters for times."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def describe() -> dict[str, str]:
    """Processor, cores, memory, kernel, system, and how busy it was just before."""
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    processor = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    system = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    return {
        "processor": processor[1].strip() if processor else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[1]) / (1 << 20):.0f} GiB" if memory else "unknown",
        "kernel": platform.release(),
        "system": system[1] if system else platform.system(),
        "load_average": f"{os.getloadavg()[0]:.2f}",
    }
