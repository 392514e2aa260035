#!/usr/bin/env python3
"""A daemon with nothing to do stays small and asleep: under 64 MiB, and awake for little more than its heartbeat."""

import os
import re
import time

import strata_mount

LIMIT_MIB = 64
WATCHED_SECONDS = 9

# A pulse every 3 seconds is one read and one write; the rest is room for timers and the helper thread.
LIMIT_WAKEUPS = 60


def work_a_little(root):
    """Files, reads and a listing, so that the daemon's caches have something to give back."""
    for number in range(300):
        with open(os.path.join(root, f"file-{number}"), "wb") as file:
            file.write(os.urandom(100_000))
            os.fsync(file.fileno())
    for name in os.listdir(root):
        if not name.startswith("file-"):
            continue
        with open(os.path.join(root, name), "rb") as file:
            file.read()


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) // 1024


def wakeups(pid):
    """How often the daemon's threads have gone to sleep so far."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as status:
            total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.MULTILINE)[1])
    return total


def main():
    options = strata_mount.arguments(__doc__)
    strata_mount.require(options.strata)
    problems = []
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        volume.format("1G")
        with volume.mounted() as root:
            work_a_little(root)
            # A dirty volume commits within 5 seconds; after that nothing is left to do.
            time.sleep(8)
            pid = volume.daemon_pid()
            before = wakeups(pid)
            time.sleep(WATCHED_SECONDS)
            woken, mib = wakeups(pid) - before, resident_mib(pid)
    print(f"{mib} MiB resident, {woken} wake-ups in {WATCHED_SECONDS} s")
    if mib >= LIMIT_MIB:
        problems.append(f"{mib} MiB resident, the limit is {LIMIT_MIB}")
    if woken > LIMIT_WAKEUPS:
        problems.append(f"{woken} wake-ups in {WATCHED_SECONDS} s, the limit is {LIMIT_WAKEUPS}")
    strata_mount.finish(problems, f"{__file__} {options.strata}")


if __name__ == "__main__":
    main()
