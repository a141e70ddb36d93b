#!/usr/bin/env python3
"""ways.py DOCUMENT [WAY]: the ways from nothing to the first warm pull, as docs/operations.md has them.

Without WAY: their names. With: each of its commands, as WHERE, MARK ("cold", "warm" or "-") and the command, separated by tabs. A block
belongs to the text before it, which begins with, or has, a place of PLACES; a command is what stands before its comment.
"""
import re
import sys

PLACES = {"Where it is built": "build", "On the node": "node", "On each node": "node", "Where the cluster is administered": "cluster",
          "Outside": "outside", "Inside": "inside"}


def ways(document):
    with open(document, encoding="utf-8") as f:
        text = f.read()
    text = text.split("\n## From nothing to the first warm pull\n")[1].split("\n## ")[0]
    for part in text.split("\n### ")[1:]:
        title, body = part.split("\n", 1)
        yield title.strip().lower().replace(" ", "-"), body


def place(text):
    found = re.findall("|".join(PLACES), text)
    if not found:
        sys.exit(f"nothing says where this is to be done: {text!r}")
    return PLACES[found[-1]]


def commands(body):
    before = ""
    for part in re.split(r"\n\s*\n", body):
        if not part.startswith("    "):
            before = part
            continue
        where = place(before)
        for line in part.splitlines():
            command, _, comment = line.strip().partition("  #") if "  #" in line else (line.strip(), "", "")
            mark = re.match(r" (cold|warm)\b", comment)
            yield where, mark[1] if mark else "-", command.strip()


def main(document, way=None):
    for name, body in ways(document):
        if way is None:
            print(name)
        elif name == way:
            for line in commands(body):
                print(*line, sep="\t")


main(*sys.argv[1:])
