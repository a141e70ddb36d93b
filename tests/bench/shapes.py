#!/usr/bin/env python3
"""shapes.py KIND SEED: a made-up trace of one shape each, as traces.py writes it; to see that a policy is not right for one only.

zipf    images with layers in common, the same ones popular for ever
shift   the same, but others are popular every 500 pulls
fresh   builds: every image is new, pulled a few times soon after, then never again
batch   a few popular images, and once a day jobs that pull five times as many others
loop    all images in turn, again and again: more than any cache here holds
huge    many small objects, and sixty with most of the bytes
"""
import bisect
import itertools
import math
import random
import sys

kind, seed = sys.argv[1], int(sys.argv[2])
rnd = random.Random(f"{kind} {seed}")
names = itertools.count(1)
now = 0.0


def between(low, high):
    return int(math.exp(rnd.uniform(math.log(low), math.log(high))))


def layers(low, high):
    """Sizes as in traces.py."""
    ranges = rnd.choices(((1e2, 1e6), (1e6, 1e7), (1e7, 2e8), (2e8, 3e9)), (65, 15, 18.5, 1.5), k=rnd.randint(low, high))
    return [(next(names), between(*r)) for r in ranges]


bases = [layers(1, 6) for _ in range(20)]


def image():
    return [(next(names), rnd.randint(500, 8000))] + rnd.choice(bases) + layers(1, 4)


def zipf(count, exponent):
    sums = list(itertools.accumulate(1 / (i + 1) ** exponent for i in range(count)))
    return lambda: bisect.bisect(sums, rnd.random() * sums[-1])


def request(thing):
    global now
    now += 1
    print(f"{now:.0f},sha256:{thing[0]:064x},{thing[1]}")


def pull(what, share):
    """The manifest, and those layers that the client does not have."""
    request(what[0])
    for part in what[1:]:
        if rnd.random() < share:
            request(part)


if kind in ("zipf", "shift"):
    images, pick = [image() for _ in range(700)], zipf(700, 0.9 if kind == "zipf" else 1.0)
    for i in range(5000):
        if kind == "shift" and i % 500 == 0:
            rnd.shuffle(images)
        pull(images[pick()], 0.5)
elif kind == "fresh":
    images = []
    for i in range(6000):
        if i % 4 == 0:
            images = images[-199:] + [image()]
        pull(images[-1 - min(len(images) - 1, int(rnd.expovariate(1 / 12)))], 0.5)
elif kind == "batch":
    popular, jobs, pick = [image() for _ in range(60)], [image() for _ in range(300)], zipf(60, 0.8)
    for _ in range(25):
        for _ in range(150):
            pull(popular[pick()], 0.5)
        for job in jobs:
            pull(job, 0.8)
elif kind == "loop":
    images = [image() for _ in range(250)]
    for _ in range(16):
        for what in images:
            pull(what, 0.9)
elif kind == "huge":
    small, huge = [(next(names), between(200, 2e5)) for _ in range(8000)], [(next(names), between(2e8, 5e9)) for _ in range(60)]
    pick_small, pick_huge = zipf(8000, 0.8), zipf(60, 0.9)
    for _ in range(40000):
        request(huge[pick_huge()] if rnd.random() < 0.03 else small[pick_small()])
else:
    sys.exit(__doc__)
