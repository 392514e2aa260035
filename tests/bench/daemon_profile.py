"""Where the daemon's time goes while fio reads: a summary by perf."""

import os
import subprocess

from fio_jobs import Job, measure
from targets import run

READS = Job("4 KiB random read, depth 32", "randread", "4k", 32, True)


def profile(pid, path, size, folder, seconds=4):
    """The functions with the largest share, user and kernel, one per line."""
    data = os.path.join(folder, "perf.data")
    recorder = subprocess.Popen(["perf", "record", "-q", "-g", "-F", "499", "-p", str(pid), "-o", data,
                                 "--", "sleep", str(seconds)], stderr=subprocess.DEVNULL)
    try:
        measure(READS, path, size, seconds + 1)
    finally:
        recorder.wait(timeout=60)
    report = run("perf", "report", "-i", data, "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.8",
                 "--sort", "dso,symbol")
    os.remove(data)
    return [line.rstrip(" -") for line in report.splitlines() if line.strip() and not line.startswith("#")]
