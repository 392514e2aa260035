#!/usr/bin/env python3
"""Explores the fuzz targets with clang's libFuzzer, AddressSanitizer and UBSan.

Usage: run.py [--seconds N] [--target T]... [--disks] [--jobs J] [--seed S] [--build FOLDER] [--list]
       run.py --soak [--disks] [--jobs J]

Builds the fuzzer with clang++ (preset "fuzz"), gives each target the inputs kept in
corpus/TARGET and N seconds (5), J targets at a time (2), and ends with 0 only without a finding.
--disks: the targets that read virtual disks and what comes with them. --soak: ten minutes each for
the structures a mount or a disk depends on, two for every other. What was explored stays in
build/fuzz/corpus and is taken up again. A finding is kept in build/fuzz/findings; once its cause is
mended, the file belongs into corpus/TARGET, where every build replays it:

    build/fuzz/targets/TARGET FILE

Ends with 77 where there is no clang with libFuzzer.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
SOAK_SECONDS_LONG = 600
SOAK_SECONDS = 120
DISKS = ["archive", "disk_chain", "disk_check", "disk_descriptor", "manifest", "ovf", "se_file", "se_header",
         "sector_file", "snapshot_intent", "sparse_header", "stream_extent", "vm_folder"]
SOAK_LONG = ["lvm", "superblock", "descriptor", "directory", "cluster", "journal", *DISKS]
MEMORY_MEBIBYTES = 2048
INPUT_SECONDS_MAX = 30
SKIPPED = 77


def has_libfuzzer():
    if shutil.which("clang++") is None or shutil.which("cmake") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "probe.cc")
        source.write_text('extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, '
                          "unsigned long) { return 0; }\n")
        built = subprocess.run(["clang++", "-fsanitize=fuzzer,address", source, "-o",
                                pathlib.Path(folder, "probe")], capture_output=True, check=False)
        return built.returncode == 0


def build(folder, jobs):
    for command in (["cmake", "--preset", "fuzz", "-B", folder],
                    ["cmake", "--build", folder, "--target", "fuzzer", "-j", str(jobs)]):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-8000:]}")


def read_targets(fuzzer):
    """{name: largest input in bytes}, as the fuzzer lists them."""
    text = subprocess.run([fuzzer, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name: int(size) for name, size in (line.split() for line in text.splitlines())}


def link_to(fuzzer, name):
    """The fuzzer under the target's name: that is how it knows which one it is."""
    link = fuzzer.parent / "targets" / name
    link.parent.mkdir(exist_ok=True)
    if not link.exists():
        link.symlink_to(fuzzer)
    return link


class Run:
    def __init__(self, folder, name, seconds, options):
        self.name = name
        self.seconds = seconds
        self.explored = folder / "corpus" / name
        self.findings = folder / "findings" / name
        self.options = options
        self.explored.mkdir(parents=True, exist_ok=True)
        self.findings.mkdir(parents=True, exist_ok=True)

    def start(self, link, input_bytes_max):
        command = [link, self.explored, CORPUS / self.name, f"-max_total_time={self.seconds}",
                   f"-max_len={input_bytes_max}", f"-rss_limit_mb={MEMORY_MEBIBYTES}",
                   f"-malloc_limit_mb={MEMORY_MEBIBYTES // 2}", f"-timeout={INPUT_SECONDS_MAX}",
                   f"-artifact_prefix={self.findings}/", "-print_final_stats=1", "-len_control=0",
                   f"-seed={self.options.seed}"]
        environment = dict(os.environ, UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
        begin = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", env=environment, check=False)
        self.code = done.returncode
        self.text = done.stdout
        self.took = time.monotonic() - begin
        return self

    def figure(self, pattern):
        found = re.findall(pattern, self.text)
        return found[-1] if found else "?"

    def report(self):
        """From the first line that says what went wrong."""
        found = re.search(r"^.*(check failed|ERROR|runtime error|ALARM).*$", self.text, re.MULTILINE)
        return self.text[found.start():][:5000] if found else self.text[-3000:]

    def line(self):
        return (f"{self.name:22} {'clean' if self.code == 0 else 'FINDING':8}"
                f"{self.figure('number_of_executed_units: *([0-9]+)'):>10} inputs"
                f"{self.took:7.0f} s{self.figure(' cov: ([0-9]+)'):>7} edges"
                f"{self.figure('peak_rss_mb: *([0-9]+)'):>6} MiB")


def seconds_of(name, options):
    if not options.soak:
        return options.seconds
    return SOAK_SECONDS_LONG if name in SOAK_LONG else SOAK_SECONDS


def explore(folder, sizes, options):
    fuzzer = folder / "fuzzer"
    names = sorted(options.target or sizes, key=lambda name: (name not in SOAK_LONG, name))
    findings = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=options.jobs) as pool:
        runs = [pool.submit(Run(folder, name, seconds_of(name, options), options).start,
                            link_to(fuzzer, name), sizes[name]) for name in names]
        for future in concurrent.futures.as_completed(runs):
            run = future.result()
            print(run.line(), flush=True)
            if run.code != 0:
                findings += 1
                print(run.report(), flush=True)
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--target", action="append")
    parser.add_argument("--disks", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "1")))
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--soak", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if not has_libfuzzer():
        print("skipped: no clang++ with libFuzzer (package clang)")
        return SKIPPED
    folder = options.build.resolve()
    build(folder, options.jobs)
    sizes = read_targets(folder / "fuzzer")
    if options.disks:
        options.target = (options.target or []) + DISKS
    unknown = set(options.target or []) - set(sizes)
    if unknown:
        sys.exit(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(sizes)}")
    if options.list:
        print("\n".join(sizes))
        return 0
    findings = explore(folder, sizes, options)
    print(f"{findings} of {len(options.target or sizes)} targets have findings"
          if findings else "no finding")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
