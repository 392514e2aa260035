"""How long a volume takes to be made, mounted and unmounted."""

import os
import time

from targets import StrataMount


def measure(strata, folder, size):
    """Seconds by name, for a new volume of that size."""
    mount = StrataMount(strata, folder)
    try:
        seconds = {f"mkfs of {size}": _timed(mount.format, size)}
        seconds["first mount"] = _timed(mount.mount)
        seconds["unmount"] = _timed(mount.unmount)
        seconds["second mount"] = _timed(mount.mount)
        mount.unmount()
        return seconds
    finally:
        if os.path.exists(mount.image):
            os.remove(mount.image)


def _timed(action, *arguments):
    started = time.monotonic()
    action(*arguments)
    return time.monotonic() - started
