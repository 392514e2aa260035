"""How long volumes of several sizes take to be made, mounted and unmounted."""

import os
import time

from targets import StrataMount

SIZES = ["4G", "1T", "64T"]


def measure(strata, folder):
    """Seconds by name, for a new volume of each size; a size that no file here can have is left out."""
    seconds = {}
    for size in SIZES:
        if _can_hold(folder, size):
            seconds |= _measure_one(strata, folder, size)
    return seconds


def _measure_one(strata, folder, size):
    mount = StrataMount(strata, folder)
    try:
        seconds = {f"mkfs of {size}": _timed(mount.format, size),
                   f"first mount of {size}": _timed(mount.mount)}
        seconds[f"statfs of {size}"] = _timed(os.statvfs, mount.volume)
        seconds[f"unmount of {size}"] = _timed(mount.unmount)
        seconds[f"second mount of {size}"] = _timed(mount.mount)
        seconds[f"second unmount of {size}"] = _timed(mount.unmount)
        return seconds
    finally:
        if os.path.exists(mount.image):
            os.remove(mount.image)


def _can_hold(folder, size):
    """Whether a sparse file of a little more than that size can be made there."""
    path = os.path.join(folder, "probe")
    units = {"G": 1 << 30, "T": 1 << 40}
    with open(path, "wb") as file:
        try:
            file.truncate(int(size[:-1]) * units[size[-1]] + (1 << 30))
        except OSError:
            return False
        finally:
            os.remove(path)
    return True


def _timed(action, *arguments):
    started = time.monotonic()
    action(*arguments)
    return time.monotonic() - started
