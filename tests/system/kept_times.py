#!/usr/bin/env python3
"""A kernel that delays writes keeps the times of files itself: what stat(2) says survives a remount.

The kernel's clock for time stamps lags behind the daemon's by up to one tick. Around the turn of a second, calls that the kernel
takes for no change of its own times must not move those of the volume: allocation after a write in the same tick, and truncation
to the length a file has.
"""

import os
import time

import strata_mount

CLOCK_REALTIME_COARSE = 5
FILES = 900
SECONDS_TURNED = 4
MARGIN = 0.004


def wait_for_turn():
    """Until the daemon's clock is just before the next full second."""
    now = time.time()
    time.sleep(max(0.0, int(now) + 1 - MARGIN - now))


def allocate_over_turn(files):
    """Writes and allocates, a file at a time, until the kernel's own clock has passed the second. Returns the files used."""
    used = 0
    turn = int(time.time()) + 1
    while time.clock_gettime(CLOCK_REALTIME_COARSE) < turn and used < len(files):
        os.pwrite(files[used], b"x" * 4000, 0)
        os.fsync(files[used])
        os.posix_fallocate(files[used], 0, 20_000)
        used += 1
    return used


def times_of(path):
    status = os.stat(path)
    return status.st_mtime_ns, status.st_ctime_ns


def change(folder):
    """Makes the files and changes them. Returns the times shown at the end."""
    paths = [os.path.join(folder, f"f{number}") for number in range(FILES)]
    files = [os.open(path, os.O_CREAT | os.O_RDWR) for path in paths]
    used = 0
    for _ in range(SECONDS_TURNED):
        wait_for_turn()
        used += allocate_over_turn(files[used:])
    same = os.path.join(folder, "same")
    with open(same, "wb") as file:
        file.write(b"y" * 5000)
        file.flush()
        os.fsync(file.fileno())
    time.sleep(1.1)
    os.truncate(same, 5000)
    for file in files:
        os.close(file)
    print(f"{used} files changed around {SECONDS_TURNED} turns of a second")
    return {path: times_of(path) for path in paths[:used] + [same]}


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0])
    strata_mount.require(options.strata)
    problems = []
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        volume.format("512M")
        with volume.mounted() as folder:
            shown = change(folder)
        with volume.mounted() as folder:
            for path, before in shown.items():
                after = times_of(os.path.join(folder, os.path.basename(path)))
                if after != before:
                    problems.append(f"{os.path.basename(path)}: mtime, ctime are {after}, were {before}")
        problems += volume.check()
    strata_mount.finish(problems, "kept_times.py")


if __name__ == "__main__":
    main()
