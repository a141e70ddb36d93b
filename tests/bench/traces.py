#!/usr/bin/env python3
"""traces.py SEED [REPOSITORIES [PULLS]]: a made-up trace of a registry cache, one request a line: seconds,digest,bytes.

Made after what Anwar et al. report of 75 days of IBM's production registries ("Improving Docker Registry Design Based on
Production Workload Analysis", FAST '18): 65 % of the layers are smaller than 1 MB, 80 % smaller than 10 MB, a few have
gigabytes; popularity is heavy-tailed (a hundredth of the layers gets about half of the requests); a third or more is asked for
once; young images are asked for again soon. Repositories have bases in common and release at their own pace; a release is
pulled in a burst, later at random; a client asks for the layers that it does not have, and forgets all it has at times.
"""
import bisect
import itertools
import math
import random
import sys

seed = int(sys.argv[1])
repositories = int(sys.argv[2]) if len(sys.argv) > 2 else 150
pulls = int(sys.argv[3]) if len(sys.argv) > 3 else 8000
rnd = random.Random(seed)
DAY = 86400.0
END = 75 * DAY
names = itertools.count(1)


def layer():
    x = rnd.random()
    for share, low, high in ((0.65, 1e2, 1e6), (0.80, 1e6, 1e7), (0.985, 1e7, 2e8), (1.0, 2e8, 3e9)):
        if x <= share:
            return next(names), int(math.exp(rnd.uniform(math.log(low), math.log(high))))


def layers(low, high):
    return [layer() for _ in range(rnd.randint(low, high))]


bases = [layers(1, 6) for _ in range(60)]
weights = [1 / (i + 1) for i in range(len(bases))]
popularity = [1 / (i + 1) ** rnd.choice((0.7, 0.95, 1.2)) for i in range(repositories)]
rnd.shuffle(popularity)
releases = []  # of each repository: (time, manifest, layers), the oldest first
for _ in range(repositories):
    base, middle = rnd.choices(bases, weights)[0], layers(0, 5)
    pace = rnd.choice((None, None, 30 * DAY, 7 * DAY, DAY, DAY / 4))
    at, own = rnd.uniform(-END, END) if pace is None else rnd.uniform(-pace, pace), []
    while at < END and len(own) < 400:
        own.append((at, (next(names), rnd.randint(500, 8000)), base + middle + layers(1, 3)))
        if pace is None:
            break
        if rnd.random() < 0.2:
            middle = layers(0, 5)
        at += rnd.expovariate(1 / pace)
    releases.append(own)

events = []
cumulated = list(itertools.accumulate(popularity))
for _ in range(pulls):
    at = rnd.uniform(0, END)
    if rnd.random() < 0.2 * (1 + math.cos(2 * math.pi * at / DAY)):
        continue  # fewer at night
    repository = bisect.bisect(cumulated, rnd.random() * cumulated[-1])
    own = [r for r in releases[repository] if r[0] <= at]
    if own:
        events.append((at, repository, rnd.choice(own[-10:]) if rnd.random() < 0.1 else own[-1]))
for repository, own in enumerate(releases):
    for release in own:
        if release[0] >= 0:
            for _ in range(min(200, int(rnd.paretovariate(1.2))) - 1):
                events.append((release[0] + rnd.expovariate(1 / 7200), repository, release))

clients, requests = {}, []
for at, repository, (_, manifest, parts) in sorted(events, key=lambda e: e[0]):
    if at >= END:
        continue
    has = clients.setdefault((repository % 97, rnd.randrange(rnd.choice((40, 400)))), set())
    if rnd.random() < 0.25:
        has.clear()
    requests.append((at, manifest))
    for part in parts:
        if part not in has:
            has.add(part)
            at += 0.5 * rnd.random()
            requests.append((at, part))
for at, (name, size) in sorted(requests):
    print(f"{at:.0f},sha256:{name:064x},{size}")
