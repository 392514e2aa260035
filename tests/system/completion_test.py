#!/usr/bin/env python3
"""The completion file and the man page know every command and option that `strata --help` lists, and no others.

    completion_test.py STRATA_BINARY
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPLETION = ROOT / "fs/daemon/completion/strata.bash"
MAN_PAGE = ROOT / "fs/daemon/strata.1"

QUERY = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_strata
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


def complete(*words):
    """What completion offers for the last of the words."""
    answer = subprocess.run(["bash", "-c", QUERY, "bash", COMPLETION, "strata", *words],
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


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release/strata"
    man = MAN_PAGE.read_text()
    problems = []
    check(program, [], man, problems)
    faults = subprocess.run(["man", "--warnings", "-l", "-Tutf8", MAN_PAGE], capture_output=True, text=True,
                            env={"LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "PATH": "/usr/bin:/bin"}) \
        if pathlib.Path("/usr/bin/man").exists() else None
    if faults and faults.stderr:
        problems.append(f"man: {faults.stderr}")
    for problem in problems:
        print(f"FAIL: {problem}")
    print("PASS" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
