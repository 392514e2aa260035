"""Creates, stats, unlinks and listings per second, on one folder."""

import os
import time


def drop_caches():
    """Forgets cached names and inodes. Returns whether that was allowed."""
    try:
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("2")
    except OSError:
        return False
    return True


def measure(folder, count):
    """Operations per second by name. Each file gets 100 bytes; cold means after the kernel's caches were dropped."""
    place = os.path.join(folder, "many")
    os.mkdir(place)
    names = [os.path.join(place, f"file-{number:06}") for number in range(count)]
    rates = {"create": _rate(names, _create)}
    rates["stat, cold" if drop_caches() else "stat, cached"] = _rate(names, os.stat)
    rates["unlink"] = _rate(names, os.unlink)
    few = names[:max(count // 10, 1)]
    rates["create and fsync"] = _rate(few, _create_and_sync)
    for name in few:
        os.unlink(name)
    os.rmdir(place)
    return rates


def measure_listing(folder, count):
    """Seconds to list a folder of that many entries, with the status of each."""
    place = os.path.join(folder, "listed")
    os.mkdir(place)
    for number in range(count):
        os.close(os.open(os.path.join(place, f"entry-{number:06}"), os.O_CREAT | os.O_WRONLY))
    drop_caches()
    started = time.monotonic()
    with os.scandir(place) as entries:
        seen = sum(1 for entry in entries if entry.stat().st_size == 0)
    if seen != count:
        raise RuntimeError(f"{place} lists {seen} entries instead of {count}")
    return time.monotonic() - started


def _rate(names, operation):
    started = time.monotonic()
    for name in names:
        operation(name)
    return len(names) / (time.monotonic() - started)


def _create(name):
    descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(descriptor, b"x" * 100)
    os.close(descriptor)


def _create_and_sync(name):
    descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(descriptor, b"x" * 100)
    os.fsync(descriptor)
    os.close(descriptor)
