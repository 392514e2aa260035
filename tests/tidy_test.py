#!/usr/bin/env python3
"""Checks the rules of the house that a compiler does not know.

Usage: tidy_test.py [ROOT]

Who may include whom, what may lie at the top, how long functions, files and lines may be, where
third-party headers may be named, that every source is built, and a few words that have no place.
Prints every breach as FILE:LINE: what is wrong; exits with 1 if there is any.
"""

import pathlib
import re
import sys

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
COLUMNS_MAX = 100
SCRIPT_COLUMNS_MAX = 130

TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md", "fs", "vmfs", "disklib",
             "vscsi", "tests", "examples"}

# What each folder may include besides itself; the longest prefix decides. Tests may include all.
MAY_INCLUDE = {
    "fs/base/": [],
    "fs/fds/": ["fs/base/"],
    "fs/fss/": ["fs/base/"],
    "vmfs/": ["fs/base/", "fs/fss/file_system.h"],
    "vscsi/scsi/": ["fs/base/"],
    "vscsi/psa/": ["fs/base/", "vscsi/scsi/"],
    "vscsi/": ["fs/base/", "vscsi/scsi/", "vscsi/psa/"],
    "disklib/": ["fs/base/", "fs/fss/", "fs/fds/"],
    "fs/daemon/": [""],
    "tests/": [""],
    "examples/": [""],
}

# Libraries of which one file of the program alone may know.
THIRD_PARTY = ["liburing", "spdlog/", "fuse", "rocksdb/", "rados/", "iscsi/", "nfsc/", "isa-l",
               "openssl/", "archive", "pugixml", "zlib"]

# Put together here, so that this file does not hold them.
FORBIDDEN_WORDS = re.compile(r"\b(%s)\b" % "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X",
                                                     "HA" + "CK"]))

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
COMMENT_OR_TEXT = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'
    r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.DOTALL)
PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
TYPE_OR_NAMESPACE = re.compile(
    r"^(?:export\s+|typedef\s+|static\s+|constexpr\s+|inline\s+)*"
    r"(?:namespace|class|struct|union|enum|extern\s*$)\b")
LAMBDA_BEFORE_BRACE = re.compile(
    r"\[[^\[\]]*\]\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*(?:mutable\s*)?(?:noexcept\s*)?"
    r"(?:->\s*[\w:<>,\s&*]+)?$")
COROUTINE_WORD = re.compile(r"\bco_(?:await|return|yield)\b")


class Tidy:
    def __init__(self, root):
        self.root = root
        self.problems = []
        self.cmake = (root / "CMakeLists.txt").read_text()
        self.third_party_users = {}

    def report(self, path, line, what):
        self.problems.append(f"{path}:{line}: {what}")

    def files(self):
        for path in sorted(self.root.rglob("*")):
            parts = path.relative_to(self.root).parts
            if parts[0] == "build" or any(part.startswith(".") or part == "__pycache__"
                                          for part in parts):
                continue
            if path.is_file():
                yield "/".join(parts), path

    def check_all(self):
        for entry in sorted(self.root.iterdir()):
            if entry.name.startswith(".") or entry.name == "build":
                continue
            if entry.name not in TOP_LEVEL:
                self.report(entry.name, 1, "not a name of the top level")
        for name, path in self.files():
            if path.suffix in (".h", ".cc", ".py", ".sh", ".txt", ".md"):
                self.check_text(name, path.read_text())
            if path.suffix in (".h", ".cc"):
                self.check_source(name, path.read_text())
        for library, users in self.third_party_users.items():
            for name, line in users[1:]:
                self.report(name, line, f"<{library}…> is named in {users[0][0]} already")

    def check_text(self, name, text):
        lines = text.splitlines()
        is_code = name.endswith((".h", ".cc", ".py", ".sh"))
        if is_code and len(lines) > FILE_LINES_MAX:
            self.report(name, len(lines), f"{len(lines)} lines in a file, not {FILE_LINES_MAX}")
        columns_max = COLUMNS_MAX if name.endswith((".h", ".cc")) else SCRIPT_COLUMNS_MAX
        for number, line in enumerate(lines, 1):
            if is_code and len(line) > columns_max:
                self.report(name, number, f"{len(line)} columns, not {columns_max}")
            if FORBIDDEN_WORDS.search(line):
                self.report(name, number, "a note to oneself")
            if line != line.rstrip():
                self.report(name, number, "white space at the end")

    def check_source(self, name, text):
        if name.endswith(".h") and not re.search(r"^#pragma once$", text, re.MULTILINE):
            self.report(name, 1, "no #pragma once")
        if name.endswith(".cc") and not re.search(r"(?<![\w/])" + re.escape(name) + r"(?![\w.])",
                                                  self.cmake):
            self.report(name, 1, "not named in CMakeLists.txt")
        self.check_includes(name, text)
        self.check_blocks(name, blank_out(text))

    def check_includes(self, name, text):
        first = True
        for number, line in enumerate(text.splitlines(), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            own, target = found.group(1) == '"', found.group(2)
            self.check_include(name, number, own, target)
            header = re.sub(r"\.cc$", ".h", name)
            if first and header != name and (self.root / header).exists() and target != header:
                self.report(name, number, f'"{header}" is to be included first')
            first = False

    def check_include(self, name, number, own, target):
        if not own:
            for library in THIRD_PARTY:
                if target.startswith(library) and not name.startswith("tests/"):
                    users = self.third_party_users.setdefault(library, [])
                    if not users or users[-1][0] != name:
                        users.append((name, number))
            return
        if not (self.root / target).is_file():
            self.report(name, number, f'"{target}" is not a file, seen from the root')
        home = max((prefix for prefix in MAY_INCLUDE if name.startswith(prefix)), key=len,
                   default=None)
        if home is None:
            self.report(name, number, "no rule says what this folder may include")
            return
        there = max((prefix for prefix in MAY_INCLUDE if target.startswith(prefix)), key=len,
                    default=None)
        if there != home and not any(target.startswith(p) for p in MAY_INCLUDE[home]):
            self.report(name, number, f'{home} may not include "{target}"')

    def check_blocks(self, name, code):
        """Walks the braces of `code`: function lengths, and lambdas that are coroutines."""
        open_blocks = []  # kind, offset of the brace
        statement = 0  # where the text before the next brace begins
        for match in re.finditer(r"[{};]", code):
            at = match.start()
            if match.group() == "{":
                open_blocks.append((kind_of(code[statement:at], open_blocks), at))
            elif match.group() == "}" and open_blocks:
                self.check_block(name, code, *open_blocks.pop(), at)
            statement = at + 1

    def check_block(self, name, code, kind, begin, end):
        line = code.count("\n", 0, begin) + 1
        length = code.count("\n", begin, end) + 1
        if kind == "function" and length > FUNCTION_LINES_MAX:
            self.report(name, line, f"{length} lines in a function, not {FUNCTION_LINES_MAX}")
        if kind == "lambda" and COROUTINE_WORD.search(code, begin, end):
            self.report(name, line, "a lambda is a coroutine")


def blank_out(text):
    """The code without comments, literals and preprocessor lines, of the same lines."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())
    return PREPROCESSOR.sub(blank, COMMENT_OR_TEXT.sub(blank, text))


def kind_of(head, open_blocks):
    """What the brace after `head` opens: a container, a function, a lambda, or something else."""
    if LAMBDA_BEFORE_BRACE.search(head):
        return "lambda"
    if any(kind != "container" for kind, _ in open_blocks):
        return "other"
    head = re.sub(r"^\s*(?:(?:public|private|protected)\s*:)?\s*", "", head)
    head = re.sub(r"^template\s*<.*?>\s*(?=[a-zA-Z])", "", head, flags=re.DOTALL)
    if TYPE_OR_NAMESPACE.search(head):
        return "container"
    return "function" if "(" in head else "other"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    if root.is_file():
        root = root.parent.parent
    tidy = Tidy(root)
    tidy.check_all()
    for problem in tidy.problems:
        print(problem)
    print(f"{len(tidy.problems)} breaches")
    return 1 if tidy.problems else 0


if __name__ == "__main__":
    sys.exit(main())
