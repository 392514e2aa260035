"""The fio jobs of the I/O benchmark, and one run of one job on one file."""

import json
from dataclasses import dataclass

from targets import run


@dataclass(frozen=True)
class Job:
    """One access pattern."""
    name: str
    pattern: str
    block: str
    depth: int
    direct: bool

    @property
    def title(self):
        return f"{self.name}, {'direct' if self.direct else 'buffered'}"

    @property
    def sequential(self):
        return self.block == "1M"


def all_jobs():
    patterns = [("4 KiB random read, depth 1", "randread", "4k", 1), ("4 KiB random read, depth 32", "randread", "4k", 32),
                ("4 KiB random write, depth 1", "randwrite", "4k", 1), ("4 KiB random write, depth 32", "randwrite", "4k", 32),
                ("1 MiB sequential read, depth 8", "read", "1M", 8), ("1 MiB sequential write, depth 8", "write", "1M", 8)]
    return [Job(*pattern, direct) for direct in (True, False) for pattern in patterns]


def prepare(path, size):
    """Writes the whole file once, so that later runs meet allocated blocks."""
    run("fio", "--name=prepare", f"--filename={path}", f"--size={size}", "--rw=write", "--bs=1M", "--iodepth=8",
        "--ioengine=io_uring", "--direct=1", "--allow_file_create=0", "--fallocate=none", "--output-format=json")


def measure(job, path, size, seconds):
    """Runs a job. Buffered writes include the fsync at the end."""
    output = run(
        "fio", "--name=job", f"--filename={path}", f"--size={size}", f"--rw={job.pattern}", f"--bs={job.block}",
        f"--iodepth={job.depth}", "--ioengine=io_uring", f"--direct={int(job.direct)}", "--time_based",
        f"--runtime={seconds}", "--randrepeat=1", "--norandommap", "--allow_file_create=0", "--fallocate=none",
        "--end_fsync=1", "--output-format=json", timeout=seconds + 120)
    result = json.loads(output[output.index("{"):])["jobs"][0]
    side = result["write" if "write" in job.pattern else "read"]
    percentiles = side["clat_ns"].get("percentile", {})
    return {"iops": side["iops"], "mb_per_s": side["bw_bytes"] / 1e6,
            "p50_us": percentiles.get("50.000000", 0) / 1e3, "p99_us": percentiles.get("99.000000", 0) / 1e3}
