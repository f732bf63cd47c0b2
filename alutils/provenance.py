"""What produced a run's numbers: versions, code, device, memory and time."""

import resource
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alutils.paths import ROOT

if TYPE_CHECKING:
    import torch


def provenance(device: "torch.device") -> dict[str, Any]:
    """Return a record of this process, which `provenance.json` holds.

    versions : of Python and of every installed package
    device, threads : the GPU's or CPU's name, and how many threads torch uses
    bfloat16 : `computes_bfloat16`
    peak_memory, peak_gpu_memory : in bytes, the largest resident set and the most that tensors took on a GPU
    finished : the time, UTC
    """
    import torch

    packages = {package.name: package.version for package in distributions()}
    on_gpu = device.type == "cuda"
    return {
        "versions": {"python": sys.version.split()[0]} | dict(sorted(packages.items())),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "bfloat16": computes_bfloat16(device),
        "peak_memory": peak_memory(),
        "peak_gpu_memory": torch.cuda.max_memory_allocated(device) if on_gpu else 0,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def peak_memory() -> int:
    """Return the largest resident set of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@cache
def code() -> dict[str, Any]:
    """Return the commit that is checked out at the first call, and whether the tree is clean then."""
    return {"commit": _git("rev-parse", "HEAD") or "unknown", "clean": _git("status", "--porcelain") == ""}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def computes_bfloat16(device: "torch.device") -> bool:
    """Tell whether the device has instructions for bfloat16: every GPU that torch supports, but not every CPU.

    Without them torch converts number by number, which takes longer than float32.
    """
    import torch

    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def device_name(device: "torch.device") -> str:
    """Return the name of the GPU, or "CPU" and the processor's name."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0]}" if names else "CPU"
