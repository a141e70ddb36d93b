#!/usr/bin/env python3
"""Takes what a reader would copy out of Markdown files, so that a test can use it: tests/snippets.py FOLDER FILE...

Each indented block, and each span of code that an engine would be given, becomes FOLDER/NN; FOLDER/index has a line for each:
NN, the file, the heading above, and the path in the text before that says where the block goes ("-" if none does), separated by tabs.
"""
import os
import re
import sys

ENGINES = "ctr|docker|podman|buildah|skopeo|crane|oras|cosign|nerdctl"
# A span is for copying if it is a command of an engine, a configuration, or an image named through the cache.
SPAN = re.compile(rf"^(?:(?:{ENGINES}) .*\S|\{{.*\}}|docker://\S+:5000/\S+|\[\[.*)$")


def paragraphs(text):
    """The parts between empty lines; an indented block with empty lines in it stays one."""
    block = []
    for part in re.split(r"\n\s*\n", text):
        if part.startswith("    "):
            block.append(part)
            continue
        if block:
            yield "\n\n".join(block)
            block = []
        yield part
    if block:
        yield "\n\n".join(block)


def path_of(text):
    paths = re.findall(r"`(?:certs\.d|/etc)/[^`\s]+\.(?:toml|json|conf|yaml)`", text)
    return paths[-1].strip("`") if paths else "-"


def snippets(file):
    heading, before = "-", ""
    with open(file, encoding="utf-8") as f:
        for part in paragraphs(f.read()):
            if part.startswith("    "):
                yield heading, path_of(before), re.sub(r"(?m)^ {4}", "", part).strip("\n")
                continue
            lines = part.strip("\n").split("\n")
            if lines[0].startswith("#"):
                heading = lines[0].lstrip("# ")
                lines = lines[1:]
            before = "\n".join(lines)
            for span in re.findall(r"`([^`]+)`", before.replace("\n", " ")):
                if SPAN.match(re.sub(r"\s+", " ", span)):
                    yield heading, path_of(before), re.sub(r"\s+", " ", span)


def main():
    folder, files = sys.argv[1], sys.argv[2:]
    os.makedirs(folder)
    number = 0
    with open(os.path.join(folder, "index"), "w", encoding="utf-8") as index:
        for file in files:
            for heading, path, text in snippets(file):
                number += 1
                with open(os.path.join(folder, f"{number:02}"), "w", encoding="utf-8") as out:
                    out.write(text + "\n")
                print(f"{number:02}\t{file}\t{heading}\t{path}", file=index)


if __name__ == "__main__":
    main()
