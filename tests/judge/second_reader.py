#!/usr/bin/env python3
"""Reads and checks VMFS-6 volumes: a second decoder, written apart from Strata's own, for its tests.

    second_reader.py IMAGE... ls [PATH]          the names in a folder
    second_reader.py IMAGE... tree [PATH]        everything below a folder
    second_reader.py IMAGE... stat PATH...       attributes
    second_reader.py IMAGE... sha256 [PATH...]   digests of these files, or of all
    second_reader.py IMAGE... check              every structure; exit code 1 when there is a problem

Give all images of a volume of several extents. --json prints one JSON value; check --hosts-died allows for the locks that hosts
which died have left.
"""

import json
import struct
import sys

from checker import Checker
from damage import Damaged
from descriptors import FILE, TYPE_NAMES
from file_system import FileSystem

COMMANDS = ("ls", "tree", "sha256", "stat", "check")


def split_arguments(arguments):
    """Images, command, paths and whether --json is there. Ends the program where they make no sense."""
    words = [word for word in arguments if not word.startswith("--")]
    at = next((number for number, word in enumerate(words) if word in COMMANDS), 0)
    if at == 0 or not {word for word in arguments if word.startswith("--")} <= {"--json", "--hosts-died"}:
        sys.exit(__doc__)
    return words[:at], words[at], words[at + 1:], "--json" in arguments


def ls(file_system, paths):
    return sorted(name for name, _ in file_system.list(file_system.lookup(paths[0] if paths else "")))


def tree(file_system, paths):
    for path, descriptor in file_system.walk(paths[0] if paths else ""):
        yield {"path": path, "type": TYPE_NAMES.get(descriptor.type, "?"), "size": descriptor.length,
               "mode": f"{descriptor.mode & 0o7777:04o}", "uid": descriptor.uid, "gid": descriptor.gid,
               "mtime": descriptor.mtime}


def sha256(file_system, paths):
    if paths:
        return {path: file_system.sha256(file_system.lookup(path)) for path in paths}
    return {path: file_system.sha256(descriptor) for path, descriptor in file_system.walk() if descriptor.type == FILE}


def stat(file_system, paths):
    return {path: file_system.status(file_system.lookup(path)) for path in paths}


def check(file_system, _):
    checker = Checker(file_system, hosts_died="--hosts-died" in sys.argv)
    checker.run()
    return {"problems": checker.problems, **checker.counts}


def show(command, result):
    if command == "ls":
        print(*result, sep="\n")
    elif command == "tree":
        for entry in result:
            print(f"{entry['type']:7} {entry['mode']} {entry['uid']:5} {entry['gid']:5} {entry['size']:14} "
                  f"{entry['mtime']:10} {entry['path']}")
    elif command == "sha256":
        for path, digest in result.items():
            print(f"{digest}  {path}")
    elif command == "stat":
        for path, facts in result.items():
            print(path, *(f"  {name}: {value}" for name, value in facts.items()), sep="\n")
    else:
        print(*result["problems"], sep="\n", end="\n" if result["problems"] else "")
        print(", ".join(f"{count} {what}" for what, count in result.items() if what != "problems")
              + f": {len(result['problems']) or 'no'} problems")


def main():
    images, command, paths, as_json = split_arguments(sys.argv[1:])
    try:
        file_system = FileSystem(images)
        result = globals()[command](file_system, paths)
        if as_json:
            print(json.dumps(list(result) if command == "tree" else result, indent=1))
        else:
            show(command, result)
    except (Damaged, OSError, struct.error, IndexError) as error:
        sys.exit(f"second_reader: {error}")
    return 1 if command == "check" and result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
