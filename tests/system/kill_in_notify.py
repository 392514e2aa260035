#!/usr/bin/env python3
"""Kills the daemon while it makes the kernel forget names in a folder that is busy: no thread of it stays behind.

The thread that tells the kernel waits for the folder's lock; who creates a file there holds it until the daemon answers. A dead
daemon answers nobody, so somebody else must end its connection: else its process, and with it the volume, would be held for ever.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import time

import strata_mount

WORKERS = 3
GONE_WITHIN_SECONDS = 15


def create_and_remove(root, number):
    """Until the mount ends."""
    with contextlib.suppress(OSError):
        for count in range(1_000_000):
            path = os.path.join(root, f"made-{number}-{count % 7}")
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            os.unlink(path)


def make_and_delete_disks(strata, root, number):
    """Until the mount ends."""
    path = os.path.join(root, f"disk-{number}.vmdk")
    with contextlib.suppress(RuntimeError):
        while True:
            strata_mount.run(strata, "disk", "create", path, "--size", "1M")
            strata_mount.run(strata, "disk", "delete", path)


def state_of(process):
    """As /proc has it; None: the process is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0]
    return None


def has_ended(process):
    """A zombie alone waits for its parent; one that still has threads is not dead."""
    threads = os.listdir(f"/proc/{process}/task") if state_of(process) == "Z" else []
    return state_of(process) is None or (threads and all(state_of(thread) == "Z" for thread in threads))


def kill_in_the_middle(volume, chance):
    """Returns the problems."""
    strata_mount.run(volume.strata, "mount", volume.image, volume.mount_point)
    root = os.path.join(volume.mount_point, "volumes", strata_mount.LABEL)
    workers = [multiprocessing.Process(target=create_and_remove, args=(root, number)) for number in range(WORKERS)]
    workers += [multiprocessing.Process(target=make_and_delete_disks, args=(volume.strata, root, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    time.sleep(chance.uniform(0.2, 1.0))
    daemon = volume.daemon_pid()
    os.kill(daemon, signal.SIGKILL)
    problems = wait_for_end(daemon, workers)
    # By force if somebody hangs: that ends the connection, and with it the test's own processes.
    for mount_point in (os.path.join(volume.mount_point, "devices"), volume.mount_point):
        strata_mount.run("umount", "-l", *(["-f"] if problems else []), mount_point)
    return problems


def wait_for_end(daemon, workers):
    """Returns the problems."""
    deadline = time.monotonic() + GONE_WITHIN_SECONDS
    while time.monotonic() < deadline and not has_ended(daemon):
        time.sleep(0.05)
    problems = [] if has_ended(daemon) else [f"daemon {daemon}: killed {GONE_WITHIN_SECONDS} s ago, and still there"]
    for worker in workers:
        worker.join(timeout=max(0.1, deadline - time.monotonic()))
        if worker.exitcode is None:
            problems.append("a worker hangs in the dead mount")
    return problems


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0], rounds=12)
    strata_mount.require(options.strata)
    if os.geteuid() != 0:
        strata_mount.skip("unmounting by force takes root")
    chance = random.Random(options.seed)
    problems = []
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        volume.format("1G")
        for number in range(options.rounds):
            problems = kill_in_the_middle(volume, chance)
            if problems:
                print(f"round {number + 1}")
                break
        if not problems:
            with volume.mounted():
                pass  # replays the journal
            problems = volume.check(hosts_died=True)
    strata_mount.finish(problems, f"{__file__} {options.strata} --seed {options.seed} --rounds {options.rounds}")


if __name__ == "__main__":
    main()
