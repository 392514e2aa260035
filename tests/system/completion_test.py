#!/usr/bin/env python3
"""The completion files and the man pages know every command and option that `strata --help` and `vmkfstools --help` list,
and no others.

    completion_test.py STRATA_BINARY
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPLETIONS = ROOT / "fs/daemon/completion"
MAN_PAGES = ROOT / "fs/daemon"

QUERY = """
source "$1/$2.bash"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_$1
printf '%s\\n' "${COMPREPLY[@]}"
"""


def help_of(program, command):
    """What --help lists for a command: options, subcommands, and the words each option takes."""
    text = subprocess.run([program, *command, "--help"], check=True, capture_output=True, text=True).stdout
    options, subcommands, values = set(), set(), {}
    section = ""
    for line in text.splitlines():
        if re.match(r"\S.*:$", line):
            section = line
        elif section == "Options:" and (found := re.match(r"  (?:-\w,)?(--[\w-]+)( \w+:\{(.*?)\})?", line)):
            options.add(found[1])
            if found[3]:
                values[found[1]] = set(found[3].split(","))
        elif section == "Subcommands:" and (found := re.match(r"  (\S+)", line)):
            subcommands.add(found[1])
    return options, subcommands, values


def complete(*words, name="strata"):
    """What completion offers for the last of the words."""
    answer = subprocess.run(["bash", "-c", QUERY, "bash", COMPLETIONS, name, *words],
                            check=True, capture_output=True, text=True).stdout
    return set(answer.split("\n")) - {""}


def check(program, command, man, problems):
    """Compares one command, and those below it, with its help."""
    options, subcommands, values = help_of(program, command)
    name = " ".join(["strata", *command])
    offered = complete(*command, "-")
    if offered != options:
        problems.append(f"{name}: completion offers {sorted(offered)}, the help lists {sorted(options)}")
    if subcommands and (found := complete(*command, "")) != subcommands | options:
        problems.append(f"{name}: completion offers {sorted(found)}, the help lists {sorted(subcommands | options)}")
    for option, words in values.items():
        if (found := complete(*command, option, "")) != words:
            problems.append(f"{name} {option}: completion offers {sorted(found)}, the help lists {sorted(words)}")
    if command and not subcommands and f".SS {name}\n" not in man:
        problems.append(f"{name}: not in the man page")
    section = man.split(f".SS {name}\n")[-1].split("\n.S")[0].replace("\\", "")
    for option in options - {"--help", "--version"}:
        if f"{option}" not in section:
            problems.append(f"{name} {option}: not in the man page")
    for option in set(re.findall(r"--[a-z][\w-]*", section)) - options if command and not subcommands else ():
        problems.append(f"{name}: the man page names {option}, which does not exist")
    for subcommand in subcommands:
        check(program, [*command, subcommand], man, problems)


def check_vmkfstools(program, man, problems):
    """Completion offers what is done, the man page names everything."""
    text = subprocess.run(["vmkfstools", "--help"], executable=program, check=True, capture_output=True, text=True).stdout
    done, refused, values = set(), set(), {}
    section = ""
    for line in text.splitlines():
        if re.match(r"\S.*:$", line):
            section = line
        elif found := re.match(r" {2,4}(-[\w,-]+)( \w+:\{(.*?)\})?", line):
            (refused if section == "Not done here:" else done).update(found[1].split(","))
            values |= {option: set(found[3].split(",")) for option in found[1].split(",") if found[3]}
    named = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", man.split(".SH DISKS")[1].replace("\\", "")))
    if not done or not refused or named != done | refused:
        problems.append(f"vmkfstools: the man page and the help differ in {sorted(named ^ (done | refused))}")
    if (offered := complete("-", name="vmkfstools")) != done:
        problems.append(f"vmkfstools: completion and help differ in {sorted(offered ^ done)}")
    for option, words in values.items():
        if (found := complete(option, "", name="vmkfstools")) != words:
            problems.append(f"vmkfstools {option}: completion offers {sorted(found)}, the help lists {sorted(words)}")


def check_layout(page, problems):
    """What man(1) has to say of a page, where it is there."""
    if not pathlib.Path("/usr/bin/man").exists():
        return
    faults = subprocess.run(["man", "--warnings", "-l", "-Tutf8", page], capture_output=True, text=True, check=False,
                            env={"LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "PATH": "/usr/bin:/bin"})
    if faults.stderr:
        problems.append(f"man: {faults.stderr}")


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release/strata"
    problems = []
    check(program, [], (MAN_PAGES / "strata.1").read_text(), problems)
    check_vmkfstools(program, (MAN_PAGES / "vmkfstools.1").read_text(), problems)
    for page in ("strata.1", "vmkfstools.1"):
        check_layout(MAN_PAGES / page, problems)
    for problem in problems:
        print(f"FAIL: {problem}")
    print("PASS" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
