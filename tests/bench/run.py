#!/usr/bin/env python3
"""Measures Strata beside what it stands on and what it competes with, in one run, and prints tables and JSON.

Every job runs on all targets one after the other, because disks of shared machines drift within minutes:
  backing   a plain file in the same place
  volumes   a file on a mounted Strata volume, through MNT/volumes
  vdisk     a virtual disk of that volume, through MNT/devices/vdisks (direct jobs only)
  qemu      a plain file behind qemu-storage-daemon's FUSE export
The places are a RAM-backed folder, where only software costs, and one on the disk.
"""

import argparse
import contextlib
import os
import shutil
import tempfile

import daemon_profile
import fio_jobs
import goals
import lifetimes
import metadata
import report
import targets

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
MIB = 1 << 20


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strata", nargs="?", default=os.path.join(ROOT, "build", "release", "strata"))
    parser.add_argument("--ram", default="/dev/shm", help="a folder in memory (default %(default)s)")
    parser.add_argument("--disk", default=os.path.join(ROOT, "build"), help="a folder on the disk")
    parser.add_argument("--seconds", type=int, default=3, help="run time of one job (default %(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="MiB of each file (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="1 second per job on 256 MiB")
    parser.add_argument("--ring", action="store_true", help="requests over io_uring: sets the kernel's switch for the run (root)")
    parser.add_argument("--only", choices=["io", "metadata", "lifetimes"], help="one part only")
    parser.add_argument("--entries", type=int, default=100_000, help="list a folder of that many entries (default %(default)s)")
    parser.add_argument("--profile", action="store_true", help="say where the daemon's time goes (needs perf)")
    parser.add_argument("--json", default=os.path.join(ROOT, "build", "bench.json"), help="where the figures go")
    chosen = parser.parse_args()
    chosen.strata = os.path.abspath(chosen.strata)
    if chosen.quick:
        chosen.seconds, chosen.size, chosen.entries = 1, 256, 10_000
    return chosen


def measure_io(chosen, name, folder):
    """All jobs on all targets in one place. Returns figures by job and target."""
    size = chosen.size * MIB
    with contextlib.ExitStack() as stack:
        mount = stack.enter_context(targets.strata_mount(chosen.strata, folder, f"{4 * chosen.size}M"))
        paths = {"backing": stack.enter_context(targets.backing_file(folder, size)),
                 "volumes": os.path.join(mount.volume, "file.bin"),
                 "vdisk": mount.make_disk("disk.vmdk", size)}
        print(f"requests over {mount.transport()}")
        with open(paths["volumes"], "wb") as file:
            file.truncate(size)
        if shutil.which("qemu-storage-daemon"):
            paths["qemu"] = stack.enter_context(targets.qemu_export(folder, size))
        for path in paths.values():
            fio_jobs.prepare(path, size)
        results = run_jobs(chosen, paths, size)
        report.print_io_table(f"I/O, {name}", [table_row(job, results[job.title], name) for job in fio_jobs.all_jobs()])
        if chosen.profile:
            print_profile(mount, paths["vdisk"], size, folder, name)
    return results


def run_jobs(chosen, paths, size):
    results = {}
    for job in fio_jobs.all_jobs():
        used = {target: path for target, path in paths.items() if job.direct or target != "vdisk"}
        results[job.title] = {target: fio_jobs.measure(job, path, size, chosen.seconds) for target, path in used.items()}
    return results


def table_row(job, figures, place):
    unit, key = ("MB/s", "mb_per_s") if job.sequential else ("IOPS", "iops")
    values = {target: figure[key] for target, figure in figures.items()}
    return job.title, unit, values, goals.verdict(place, job, values)


def print_profile(mount, path, size, folder, name):
    print(f"\nthe daemon during 4 KiB random reads at depth 32, {name}")
    for line in daemon_profile.profile(mount.daemon_pid(), path, size, folder)[:25]:
        print(" ", line)


def measure_metadata(chosen, name, folder):
    """The same operations on our mount and on ext4. Returns rates by file system."""
    count = 500 if chosen.quick else 5000
    with (targets.strata_mount(chosen.strata, folder, "4096M") as mount,
          targets.ext4_mount(folder, 4096 * MIB) as (ext4, what)):
        rates = {"strata": metadata.measure(mount.volume, count)}
        if ext4:
            rates[what] = metadata.measure(ext4, count)
        listed = {"strata": metadata.measure_listing(mount.volume, chosen.entries)}
        if ext4:
            listed[what] = metadata.measure_listing(ext4, chosen.entries)
    rows = [(operation, [f"{side.get(operation, 0):.0f}" for side in rates.values()]) for operation in rates["strata"]]
    report.print_table(f"files per second, {name}", list(rates), rows)
    report.print_table(f"seconds to list {chosen.entries} files with attributes, cold, {name}", list(listed),
                       [("list", [f"{value:.2f}" for value in listed.values()])])
    return {"files_per_second": rates, "seconds_to_list": listed}


def measure_lifetimes(chosen, name, folder):
    seconds = lifetimes.measure(chosen.strata, folder)
    report.print_table(f"seconds, {name}", ["strata"], [(what, [f"{value:.3f}"]) for what, value in seconds.items()])
    return seconds


PARTS = {"io": measure_io, "metadata": measure_metadata, "lifetimes": measure_lifetimes}


def main():
    chosen = options()
    with targets.fuse_ring() if chosen.ring else contextlib.nullcontext():
        measure_all(chosen)


def measure_all(chosen):
    results = {"machine": report.machine(), "seconds_per_job": chosen.seconds, "mib": chosen.size}
    for name, place in (("RAM-backed", chosen.ram), ("on the disk", chosen.disk)):
        os.makedirs(place, exist_ok=True)
        folder = tempfile.mkdtemp(prefix="strata-bench.", dir=place)
        try:
            parts = {part: measure for part, measure in PARTS.items() if chosen.only in (None, part)}
            results[name] = {part: measure(chosen, name, folder) for part, measure in parts.items()}
        finally:
            if not any(os.path.ismount(os.path.join(folder, entry)) for entry in os.listdir(folder)):
                shutil.rmtree(folder)
    report.write_json(chosen.json, results)


if __name__ == "__main__":
    main()
