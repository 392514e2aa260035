#!/usr/bin/env python3
"""Measures virtual disks beside QEMU's, in one run, and prints tables with ratios and goals, and JSON.

  chains    4 KiB random reads: 32 links beside one, warm and cold, and beside qemu's own drivers on the same chain
  deltas    first 4 KiB writes into a fresh delta, 32 in flight, beside qcow2 overlays of the same base
  bytes     what a delta writes for what a guest writes, counted at its write calls
  clone     `strata disk clone` beside `qemu-img convert` and a bare io_uring copy loop, on the disk, with the source in
            the page cache and without; durable at the end

Ours runs in process, qemu's block layer in `qemu-img bench`, with the faster of its ways of I/O. Runs come in interleaved pairs,
because machines drift; a ratio is the median of the pairs' ratios, above 1 where ours is better. On a machine that others use,
run it as `chrt -r 10 tests/bench/disks.py`. Build the target disk_benches first.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time

import report

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
MIB = 1 << 20
STRIDE = MIB + 4096
DELTA_DISK = 4 << 30
CHAIN_READS = 20_000  # qemu takes seconds for them
KINDS = ["seSparse", "vmfsSparse"]
EXTENDED = "extended_l2=on,cluster_size=128k"
# Our format, a flush after so many writes (0: none), qcow2's options, the ratio aimed at.
DELTAS = [
    ("seSparse", 0, EXTENDED, 1.0),
    ("seSparse", 32, EXTENDED, 0.8),
    ("seSparse", 0, "", 10.0),
    ("vmfsSparse", 0, EXTENDED, None),
    ("vmfsSparse", 32, EXTENDED, None),
]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", default=os.path.join(ROOT, "build", "release"), help="where the programs are")
    parser.add_argument("--ram", default="/dev/shm", help="a folder in memory, 3 GiB free (default %(default)s)")
    parser.add_argument("--disk", default=os.path.join(ROOT, "build"), help="a folder on the disk, for clones")
    parser.add_argument("--pairs", type=int, default=10, help="runs of each, in turn (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each of the reads (default %(default)s)")
    parser.add_argument("--writes", type=int, default=20_000, help="of one run on a delta (default %(default)s)")
    parser.add_argument("--clone-pairs", type=int, default=3, help="runs of each clone (default %(default)s)")
    parser.add_argument("--clone-mib", type=int, default=10240, help="of the cloned disk, half of it data (default %(default)s)")
    parser.add_argument("--only", choices=list(PARTS), help="one part only")
    parser.add_argument("--json", default=os.path.join(ROOT, "build", "bench_disks.json"), help="where the figures go")
    chosen = parser.parse_args()
    chosen.build = os.path.abspath(chosen.build)
    return chosen


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def program(chosen, name, *arguments):
    return json.loads(run(os.path.join(chosen.build, name), *[str(argument) for argument in arguments]))


def qemu_seconds(path, image_format, count, way, *more):
    """Of `count` 4 KiB blocks a stride apart, 32 in flight."""
    said = run("qemu-img", "bench", "-f", image_format, "-d", "32", "-c", str(count), "-s", "4096", "-S", str(STRIDE),
               "-t", "writeback", "-i", way, *more, path)
    return float(re.search(r"completed in ([\d.]+) seconds", said)[1])


def fastest_way(measure):
    """How qemu does its I/O best here: `measure` answers the seconds of a way, or raises."""
    seconds = {}
    for way in ("threads", "io_uring", "native"):
        try:
            seconds[way] = measure(way)
        except (RuntimeError, TypeError):
            continue
    return min(seconds, key=seconds.get)


def compared(name, ours, peers, unit, goal, is_less_better=False):
    """One row: medians, and the median of the pairs' ratios."""
    ratios = [peer / mine if is_less_better else mine / peer for mine, peer in zip(ours, peers)]
    return {"what": name, "ours": statistics.median(ours), "peer": statistics.median(peers), "unit": unit,
            "ratio": statistics.median(ratios), "worst": min(ratios), "best": max(ratios), "goal": goal}


def print_rows(title, rows):
    print(f"\n{title}")
    print(f"  {'':62} {'ours':>11} {'peer':>11}   {'ratio':>6} {'worst':>6} {'best':>6}   goal")
    for row in rows:
        verdict = "" if row["goal"] is None else f"{row['goal']}: " + ("reached" if row["ratio"] >= row["goal"] else "missed")
        print(f"  {row['what'] + ', ' + row['unit']:62} {row['ours']:11.2f} {row['peer']:11.2f}   {row['ratio']:6.2f} "
              f"{row['worst']:6.2f} {row['best']:6.2f}   {verdict}", flush=True)


def measure_chains(chosen):
    rows, cold = [], {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory(dir=chosen.ram) as folder:
            figures = program(chosen, "chain_bench", folder, kind, chosen.seconds)
            for queue in ("1", "32"):
                pairs = figures[f"queue_{queue}"]
                rows.append(compared(f"{kind}: 32 links beside 1, queue {queue}", [many for _, many in pairs],
                                     [one for one, _ in pairs], "reads/s", 0.95))
            rows.append(beside_qemu(chosen, folder, kind))
            cold[kind] = {"us_per_window": figures["cold_us"], "map_bytes": figures["map_bytes"]}
    print_rows("chains, 4 KiB reads in RAM, warm map", rows)
    for kind, figures in cold.items():
        print(f"  {kind}: cold map {figures['us_per_window']} us for the first read of a window of 32 links; "
              f"the map takes {figures['map_bytes'] // 1024} KiB")
    return {"rows": rows, "cold": cold}


def beside_qemu(chosen, folder, kind):
    path = os.path.join(folder, "link32.vmdk")

    def qemu(way):
        return qemu_seconds(path, "vmdk", CHAIN_READS, way)
    ours, peers = [], []
    way = fastest_way(qemu)
    for _ in range(chosen.pairs):
        ours.append(CHAIN_READS / program(chosen, "chain_bench", folder, "link32.vmdk", CHAIN_READS, "stride")["seconds"])
        peers.append(CHAIN_READS / qemu(way))
    return compared(f"{kind}: 32 links from a cold map beside qemu's vmdk ({way})", ours, peers, "reads/s", None)


def measure_deltas(chosen):
    def qcow2(way, creation=EXTENDED, flush_every=0):
        with tempfile.TemporaryDirectory(dir=chosen.ram) as folder:
            base, overlay = os.path.join(folder, "base.raw"), os.path.join(folder, "over.qcow2")
            run("qemu-img", "create", "-q", "-f", "raw", base, str(DELTA_DISK))
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, *(["-o", creation] if creation else []),
                overlay)
            flush = [f"--flush-interval={flush_every}"] if flush_every else []
            return qemu_seconds(overlay, "qcow2", chosen.writes, way, "-w", *flush)
    way = fastest_way(qcow2)
    rows = []
    for kind, flush_every, creation, goal in DELTAS:
        ours, peers = [], []
        for _ in range(chosen.pairs):
            with tempfile.TemporaryDirectory(dir=chosen.ram) as folder:
                figures = program(chosen, "delta_bench", folder, kind, chosen.writes, flush_every)
            ours.append(figures["writes"] / figures["seconds"])
            peers.append(chosen.writes / qcow2(way, creation, flush_every))
        flushes = f"flush every {flush_every}" if flush_every else "no flush"
        peer = "qcow2, extended L2" if creation else "qcow2, default"
        rows.append(compared(f"{kind} beside {peer} ({way}), {flushes}", ours, peers, "writes/s", goal))
    print_rows("first 4 KiB writes into a fresh delta in RAM, 32 in flight", rows)
    return {"rows": rows}


def measure_bytes(chosen):
    rows = []
    print("\nbytes written for each byte of the guest: 256 random 4 KiB blocks in 256 MiB")
    print(f"  {'':44} {'delta':>8} {'volume':>8} {'zeroed':>8} {'syncs':>6}   goal (delta, at most)")
    for kind in KINDS:
        for flush_every, goal in ((256, 1.15), (1, 1.5)):
            for place in ("folder", "volume"):
                with tempfile.TemporaryDirectory(dir=chosen.ram) as folder:
                    figures = program(chosen, "counted_writes_bench", kind, flush_every, folder,
                                      *(["volume"] if place == "volume" else []))
                figures |= {"place": place, "goal": goal}
                rows.append(figures)
                flushes = "one flush" if flush_every == 256 else "a flush each"
                print(f"  {f'{kind}, {flushes}, on a {place}':44} {figures['delta']:8.3f} {figures['volume']:8.3f} "
                      f"{figures['zeroed']:8.3f} {figures['syncs']:6}   {goal}: "
                      + ("reached" if figures["delta"] <= goal else "missed"))
    return {"rows": rows}


def make_source(chosen, folder):
    """A flat disk of which every other MiB is data."""
    flat = os.path.join(folder, "source-flat.vmdk")
    run(os.path.join(chosen.build, "strata"), "disk", "create", os.path.join(folder, "source.vmdk"),
        "--size", f"{chosen.clone_mib}M")
    data = os.urandom(MIB)
    with open(flat, "r+b") as file:
        for at in range(0, chosen.clone_mib, 2):
            file.seek(at * MIB)
            file.write(data)
        os.fsync(file.fileno())
    return flat


def forget(path):
    """Takes a file that was synced out of the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def measure_clone(chosen):
    with tempfile.TemporaryDirectory(dir=chosen.disk) as folder:
        flat = make_source(chosen, folder)

        def timed(is_cold, *commands):
            if is_cold:
                forget(flat)
            started = time.monotonic()
            for command in commands:
                run(*command)
            seconds = time.monotonic() - started
            for name in os.listdir(folder):
                if name.startswith("target"):
                    os.unlink(os.path.join(folder, name))
            return seconds
        target = os.path.join(folder, "target.raw")
        ours = [os.path.join(chosen.build, "strata"), "disk", "clone", os.path.join(folder, "source.vmdk"),
                os.path.join(folder, "target.vmdk")]
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "raw"]
        peers = {
            "qemu-img convert -W -m 16 -t none -T none":
                (1.15, [convert + ["-W", "-m", "16", "-t", "none", "-T", "none", flat, target]]),
            "qemu-img convert, then sync": (3.0, [convert + [flat, target], ["sync", target]]),
            "bare io_uring loop with sync": (0.9, [[os.path.join(chosen.build, "copy_bench"), flat, target]]),
        }
        rows = []
        for cache in ("warm", "cold"):
            for name, (goal, commands) in peers.items():
                is_cold = cache == "cold"
                pairs = [(timed(is_cold, ours), timed(is_cold, *commands)) for _ in range(chosen.clone_pairs)]
                rows.append(compared(f"{cache} clone beside {name}", [pair[0] for pair in pairs], [pair[1] for pair in pairs],
                                     "s", goal, is_less_better=True))
    print_rows(f"clone of {chosen.clone_mib // 2} MiB of data in {chosen.clone_mib} MiB, on the disk, durable at the end", rows)
    return {"rows": rows}


PARTS = {"chains": measure_chains, "deltas": measure_deltas, "bytes": measure_bytes, "clone": measure_clone}


def main():
    chosen = options()
    results = {"machine": report.machine(), "pairs": chosen.pairs}
    for part, measure in PARTS.items():
        if chosen.only in (None, part):
            results[part] = measure(chosen)
    report.write_json(chosen.json, results)


if __name__ == "__main__":
    main()
