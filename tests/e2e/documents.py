#!/usr/bin/env python3
"""For documents.sh: documents.py ENTREPOT FOLDER RULES FILE...

What documents promise is there: alerts' entries, links and their anchors, commands with their options, keys of the configuration,
metrics (by docs/metrics.md, which tests/patience/health.sh compares with the daemon). RULES are the alerts; FOLDER stands for /etc/entrepot.
"""
import os
import re
import subprocess
import sys

import yaml

ENTREPOT, FOLDER, RULES, *FILES = sys.argv[1:]
RUNBOOK, QUESTIONS, METRICS = "docs/operations.md", "docs/faq.md", "docs/metrics.md"
CONFIG = "# /etc/entrepot/config.yaml"
# A command of ours: not the argument of another program's option, nor the name of a unit, a folder, a release.
COMMAND = re.compile(r"(?<!-n )(?<!-u )(?<![\w.-])entrepot(?::[\w.]+)? (?=[a-z]+(?:[ ,]|$))([^|;&<>()]*)")


def text_of(file):
    with open(file, encoding="utf-8") as f:
        return f.read()


def headings(text):
    """Each heading outside of a block, with the level, and the anchor that a forge gives it."""
    for level, title in re.findall(r"^(#+) (.*)$", text, re.M):
        yield len(level), re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def blocks(text):
    """Indented blocks, without what they are indented by, an empty line ends one."""
    for block in re.findall(r"(?:^ {4,}.*\n)+", text, re.M):
        by = min(len(line) - len(line.lstrip()) for line in block.splitlines())
        yield "".join(line[by:] + "\n" for line in block.splitlines())


def commands(text):
    code = [line for block in blocks(text) for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    code += [re.sub(r"\s+", " ", span).replace("\\|", "|") for span in re.findall(r"`([^`]+)`", text)]
    for line in code:
        for found in COMMAND.findall(line):
            yield re.split(r" {2,}| #", found)[0].strip()


def run(*args):
    return subprocess.run([ENTREPOT, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)


HELP = {}  # of each command, what its --help prints


def wrong_in(command):
    name, *rest = [w.strip("'\"") for w in command.split()]
    name = name.rstrip(",")
    if name not in HELP:
        return f"no command is called {name}"
    words = [w for w in rest if not w.startswith("-")]
    forms = re.search(rf"entrepot {name} ((?:[a-z]+\|)+[a-z]+)", HELP[name])
    if name in ("config", "debug") and (not words or words[0] not in forms.group(1).split("|")):
        return f"{name} is followed by one of {forms.group(1)}"
    for option in (w.split("=")[0] for w in rest if re.match(r"--?[a-z]", w)):
        if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", HELP[name]):
            return f"{name} has no option {option}"
    return None


def check_commands(file):
    found = list(commands(text_of(file)))
    return found, [f"{file}: entrepot {c}: {w}" for c in found for w in [wrong_in(c)] if w]


def check_links(file):
    text = text_of(file)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = os.path.normpath(os.path.join(os.path.dirname(file), path)) if path else file
        if not os.path.exists(there):
            yield f"{file}: a link to {target}, which is not there"
        elif anchor and anchor not in {a for _, a in headings(text_of(there))}:
            yield f"{file}: a link to {target}: {there} has no such heading"


def check_runbook():
    with open(RULES, encoding="utf-8") as f:
        rules = [r for g in yaml.safe_load(f)["spec"]["groups"] for r in g["rules"]]
    linked = {r["annotations"]["runbook_url"] for r in rules}
    part = re.search(r"^## Runbook\n(.*?)^## ", text_of(RUNBOOK), re.M | re.S).group(1)
    entries = {f"{RUNBOOK}#{anchor}" for level, anchor in headings(part) if level == 3}
    yield from (f"no entry for {url}" for url in sorted(linked - entries))
    yield from (f"{url}: no alert links to this entry" for url in sorted(entries - linked))
    for entry in re.split(r"^### ", part, flags=re.M)[1:]:
        yield from (f"{entry.split()[0]} lacks {w}" for w in ("**Means:**", "**Look:**", "**Do:**") if w not in entry)


def check_configurations(file):
    count = 0
    for block in blocks(text_of(file)):
        if not block.startswith(CONFIG):
            continue
        count += 1
        path = os.path.join(FOLDER, f"{count}.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(block.replace("/etc/entrepot/", FOLDER + "/"))
        r = run("config", "show", "--config", path)
        if r.returncode != 0:
            yield f"{file}: {r.stderr.strip()}\n{block}"
    if file == RUNBOOK and count < 5:
        yield f"{file}: {count} configurations alone were found"


def check_metrics(file):
    known = set(re.findall(r"`(entrepot_[a-z_]+)`", text_of(METRICS)))
    yield from (f"{file}: no metric is called {m}" for m in sorted(set(re.findall(r"\bentrepot_[a-z][a-z_]+\b", text_of(file))) - known))


def main():
    HELP.update({c: run(c, "--help").stdout for c in re.findall(r"^  ([a-z]+) ", run("--help").stdout, re.M)})
    bad = list(check_runbook())
    count = 0
    for file in FILES:
        found, wrong = check_commands(file)
        count += len(found)
        bad += wrong + list(check_links(file)) + list(check_configurations(file))
        if file in (RUNBOOK, QUESTIONS):
            bad += list(check_metrics(file))
    print(f"{count} commands")
    print("\n".join(bad))
    return 1 if bad or count < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
