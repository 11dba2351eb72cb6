"""What figures were measured on, as far as the system says."""

import os
import platform

import torch


def versions():
    found = {"python": platform.python_version(), "torch": torch.__version__}
    try:
        import triton

        found["triton"] = triton.__version__
    except ImportError:
        pass
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def describe(device):
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "cpu": _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "lastLevelCacheBytes": last_level_cache(),
        "gpu": gpu,
        "driver": _first("/proc/driver/nvidia/version", "NVRM version") if gpu else None,
    }


def last_level_cache():
    """Bytes of the largest cache of CPU 0, or None where the system does not say."""
    folder, sizes = "/sys/devices/system/cpu/cpu0/cache", []
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        text = _read(os.path.join(folder, name, "size")).strip()
        if text[:-1].isdigit() and text[-1:] in ("K", "M"):
            sizes.append(int(text[:-1]) * {"K": 2**10, "M": 2**20}[text[-1]])
    return max(sizes, default=None)


def _first(path, key):
    """What stands behind the first ``key`` of a file of "key: value" lines."""
    for line in _read(path).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
