#!/usr/bin/env python3
"""For manual.sh: manual.py ENTREPOT PAGES FILE...

Each command has a page; what its --help shows and what its page says are the same options (that they are what the command takes is
shown by completion.sh); and what a page (in PAGES, or one of the FILEs) refers to is there.
"""
import glob
import os
import re
import subprocess
import sys

ENTREPOT, PAGES, *FILES = sys.argv[1:]
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
NEEDED = set(SECTIONS) - {"OPTIONS", "ENVIRONMENT", "FILES"}
NO_DAEMON = ("ca", "completion", "config", "help", "serve", "setup", "version")  # they ask none


def run(*args):
    return subprocess.run([ENTREPOT, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def text_of(file):
    with open(file, encoding="utf-8") as f:
        return f.read()


def sections(page):
    """Of a page, each section's text by its name, in order."""
    return dict(s.split("\n", 1) for s in re.split(r"^\.Sh ", page, flags=re.M)[1:])


def in_mdoc(text):
    return set(re.findall(r"Fl -([a-z][a-z-]+)", text.replace("\\-", "-")))


def in_help(text):
    """Without the options of examples, and of other commands."""
    return set(re.findall(r"--([a-z][a-z-]+)", re.sub(r"entrepot [a-z]+ --[a-z-]+", "", text.split("\nExample")[0]))) - {"help"}


def usage_of(text):
    """The synopsis of a page, or of --help, as plain words."""
    text = re.sub(r"\\.|[\[\]|.]|\b(No|Ns|Ar|Cm|Fl|Op|Oo|Oc|Nm)\b", lambda m: "-" if m[0] == "\\-" else " ", text)
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).split()


def check_page(command, does, helped):
    page = text_of(f"{PAGES}/entrepot-{command}.1")
    has = sections(page)
    if [s for s in SECTIONS if s in has] != list(has) or NEEDED - set(has):
        yield f"its sections are {list(has)}"
        return
    if f".Nm entrepot-{command}\n.Nd {does}\n" != has["NAME"]:
        yield f"NAME is {has['NAME']!r}, and `entrepot --help` has {does!r}"
    usage = helped.split("\n\n")[0].removeprefix("Usage: ")
    if usage_of(has["SYNOPSIS"]) != usage_of(usage):
        yield f"SYNOPSIS is {usage_of(has['SYNOPSIS'])}, and --help has {usage_of(usage)}"
    examples = re.search(r"\nExamples?:\n((?:  .*\n)+)", helped)
    if not examples or f"entrepot {command}" not in examples[1]:
        yield "--help has no example"
    elif examples[1].replace("  entre", "$ entre").replace("\\", "\\e").split("\n")[0].strip() not in has["EXAMPLES"]:
        yield "the first example of --help is not in EXAMPLES"
    said = in_help(helped + helped[helped.rfind("\n  --json"):])
    short = {"output"} & said  # that is -o there
    line = in_help(usage) | short
    items = in_mdoc("\n".join(re.findall(r"^\.It .*", has.get("OPTIONS", ""), re.M)))
    for where, found in (("the usage line", line), ("SYNOPSIS", in_mdoc(has["SYNOPSIS"]) | short), ("OPTIONS", items)):
        if found != said:
            yield f"in {where} {sorted(found - said)} are too many, {sorted(said - found)} are missing"
    if ("ENTREPOT_SOCKET" in has.get("ENVIRONMENT", "")) != (command not in NO_DAEMON or command == "completion"):
        yield "ENVIRONMENT and the options do not agree on whether it asks a daemon"
    if run("help", command).stdout != helped:
        yield "`entrepot help` prints something else than --help"


def check_references(known_pages):
    for file in sorted(glob.glob(f"{PAGES}/*.1")) + FILES:
        text = text_of(file)
        found = re.findall(r"^\.Xr (entrepot\S*) (\d)|man:(entrepot\S*?)\((\d)\)", text, re.M)
        for name in {f"{a or c}.{b or d}" for a, b, c, d in found} - known_pages:
            yield f"{file}: {name} is not there"
        if file.startswith(PAGES):
            listed = re.findall(r"^\.Xr (\S+) (\d)", sections(text).get("SEE ALSO", ""), re.M)
            if listed != sorted(set(listed), key=lambda x: (x[1], x[0])) or os.path.basename(file) in {f"{n}.{s}" for n, s in listed}:
                yield f"{file}: SEE ALSO is out of order, or names the page itself: {listed}"


def main():
    commands = dict(re.findall(r"^  ([a-z]+) +(.*)$", run("--help").stdout, re.M))
    pages = {os.path.basename(p) for p in glob.glob(f"{PAGES}/*")}
    bad = []
    due = {f"entrepot-{c}.1" for c in commands} | {"entrepot.1"}
    if pages != due or len(commands) < 20:
        bad.append(f"pages: {sorted(pages - due)} are too many, {sorted(due - pages)} are missing")
    overview = text_of(f"{PAGES}/entrepot.1")
    listed = re.findall(r"^\.It Xr entrepot-([a-z]+) 1\n(.*)\.$", overview, re.M)
    if [(c, d[0].upper() + d[1:]) for c, d in commands.items()] != listed:
        bad.append(f"entrepot(1) lists {listed}")
    if run("help").stdout != run("--help").stdout:
        bad.append("`entrepot help` is not `entrepot --help`")
    helps = {c: run(c, "--help").stdout for c in commands}
    for c, does in [(c, d) for c, d in commands.items() if f"entrepot-{c}.1" in pages]:
        bad += [f"{c}: {w}" for w in check_page(c, does, helps[c])]
    bad += check_references(pages | {os.path.basename(f) for f in FILES})
    print("\n".join(bad))
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
