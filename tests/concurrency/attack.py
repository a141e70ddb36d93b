#!/usr/bin/env python3
"""attack.py PORT SECONDS SCALE PART: clients that mean harm, all at once, each on a connection of its own; SCALE is their number in percent of
the whole. What they did is printed at the end. The upstream of bad.test is an endless.py."""
import asyncio
import base64
import collections
import sys
import time

port, seconds, scale = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]) / 100
until = time.monotonic() + seconds
done = collections.Counter()
UNKNOWN = "sha256:" + "0" * 63


def at_work():
    return time.monotonic() < until


def many(n):
    return max(1, int(n * scale))


async def connect():
    return await asyncio.open_connection("127.0.0.1", port)


def request(path, *headers):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


async def read_answer(r):
    head = await r.readuntil(b"\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if length:
        await r.readexactly(int(length[0].split(b":")[1]))
    return head


async def reader(n, what, path):
    """Asks for something without an end, and takes all of it."""
    r, w = await connect()
    w.write(request(path.format(n % 10), "Connection: close"))
    while at_work() and await r.read(1 << 18):
        pass
    w.close()
    done[what] += 1


async def leaver(n, what):
    r, w = await connect()
    w.write(request(["/v2/bad.test/silent/manifests/l%d" % n, "/v2/bad.test/slow/blobs/" + UNKNOWN + "1", "/v2/bad.test/endless/blobs/" + UNKNOWN + "2"][n % 3]))
    await asyncio.sleep(0.2)
    w.close()
    done[what] += 1


def login(n, i):
    return "Authorization: Basic " + base64.b64encode(b"nobody-%d-%d:guess" % (n, i)).decode()


async def asker(n, what, path, header=lambda n, i: "Accept: */*"):
    """Many requests on one connection, each of them different."""
    r, w = await connect()
    i = 0
    while at_work():
        i += 1
        w.write(request(path.format(n, i), header(n, i)))
        await read_answer(r)
        done[what] += 1
    w.close()


async def trailer(n, what):
    r, w = await connect()
    w.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    while at_work():
        w.write(b"".join(b"Trailer-%d: Authorization\r\n" % i for i in range(200)))
        await w.drain()
        await asyncio.sleep(0.01)
    w.close()
    done[what] += 1


async def hanger(n, what):
    """Waits for an answer that does not come; where it is refused it asks again, on the same connection."""
    r, w = await connect()
    while at_work():
        w.write(request("/v2/bad.test/silent/manifests/h%d" % n))
        done[what] += 1
        await asyncio.wait_for(read_answer(r), max(0.1, until - time.monotonic()))
        await asyncio.sleep(1)
    w.close()


async def again_and_again(attack, n, *args):
    while at_work():
        try:
            await attack(n, *args)
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
            await asyncio.sleep(0.05)


async def main():
    parts = {"endless": [(2, reader, "endless blobs", "/v2/bad.test/endless/blobs/" + UNKNOWN + "{}"), (4, reader, "endless errors", "/v2/bad.test/error/500/manifests/{}")],
             "many": [(4, asker, "made-up hosts", "/v2/x/manifests/1?ns=h{}-{}.evil.test"),
                      (4, asker, "unchecked logins", "/token?service=x&scope=repository:x:pull", login)],
             "idle": [(200, leaver, "clients that left"), (1000, trailer, "connections of trailers"), (3000, hanger, "hanging tags")]}
    jobs = []
    for count, attack, *args in parts[sys.argv[4]]:
        for n in range(many(count)):
            jobs.append(asyncio.create_task(again_and_again(attack, n, *args)))
    await asyncio.sleep(seconds)
    for j in jobs:
        j.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    for what, n in done.items():
        print(f"{n:9} {what}")


asyncio.run(main())
