"""What the tests of large things share: times, the daemon's memory, and the judgement at the end of each.

Every test ends the same way: unmount, a clean `strata fsck`, a clean check by the second decoder, mounted again, contents as
before, and, where it can open the volume, the same names through `vmfs6-fuse` (it knows at most 40,792 descriptors and 18.8 TiB).
"""

import contextlib
import os
import subprocess
import time

import second_reader_view
from strata_mount import Volume, run

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
LIST_BATCH = 1000


def say(what, value):
    print(f"  {what:58} {value}", flush=True)


@contextlib.contextmanager
def timed(what, count=None):
    """Prints how long the block took, and operations per second where a count is given. Gives a list with the seconds."""
    taken = []
    started = time.monotonic()
    yield taken
    taken.append(time.monotonic() - started)
    say(what, f"{taken[0]:9.3f} s" + (f" {count / max(taken[0], 1e-6):10,.0f} /s" if count else ""))


def drop_caches():
    """Lets the kernel forget names and inodes. False where that is not allowed."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("2")
    except OSError:
        return False
    return True


def peak_mib(pid):
    """The largest resident size a running process has had."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def list_with_attributes(folder):
    """Name and size of every entry, as `ls -l` would ask for them."""
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}


class ScaleVolume(Volume):
    """A volume of one or more images whose every step is timed, and the problems found."""

    def __init__(self, strata, work, images=1):
        super().__init__(strata, work)
        self.images = [self.image] + [f"{self.image}.{number}" for number in range(1, images)]
        self.problems = []

    def expect(self, condition, problem):
        if not condition:
            print("DIFFERS:", problem, flush=True)
            self.problems.append(problem)

    def format(self, size):
        with timed(f"mkfs of {size}"):
            for image in self.images:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(image)
            run(self.strata, "mkfs", *self.images, "--label", "scale", "--size", size)

    @contextlib.contextmanager
    def mounted(self, *options):
        """Mounted and unmounted again, both timed; gives the folder of the volume's files."""
        with timed("mount"):
            run(self.strata, "mount", *self.images, self.mount_point, *options)
        try:
            yield os.path.join(self.mount_point, "volumes", "scale")
            say("peak memory of the daemon", f"{peak_mib(self.daemon_pid()):9.0f} MiB")
        finally:
            with timed("unmount"):
                run(self.strata, "umount", self.mount_point)

    def check(self):
        """Runs both checkers, which must find nothing, and prints what they took."""
        checker = subprocess.Popen([self.strata, "fsck", *self.images], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        started = time.monotonic()
        output = checker.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(checker.pid, 0)
        checker.returncode = os.waitstatus_to_exitcode(status)
        say("fsck", f"{time.monotonic() - started:9.3f} s {usage.ru_maxrss / 1024:10,.0f} MiB")
        self.expect(checker.returncode == 0, f"fsck ends with {checker.returncode}:\n{output[-3000:]}")
        with timed("check by the second decoder"):
            for problem in second_reader_view.check(self.images):
                self.expect(False, f"second decoder: {problem}")

    def check_by_other_reader(self, folder, names):
        """vmfs6-fuse must list the same names in that folder."""
        with self.read_by_vmfs6_fuse() as root:
            seen = set(os.listdir(os.path.join(root, folder)))
        self.expect(seen == set(names), f"vmfs6-fuse lists {len(seen)} names in {folder} instead of {len(names)}: "
                                        f"{sorted(seen ^ set(names))[:5]}")
