#!/usr/bin/env python3
"""Two nodes count the words of a prefix together: count, checkpoint, verify.

    python3 count.py --data /mnt/data --out /mnt/out

Each node counts its share of the files and saves what it has after each one, so that it can be ended and started again
at any time. Node 0 waits until every node has finished, adds up, counts everything once more by itself, and says whether
both agree. The nodes talk to each other through the writable volume alone.
"""

import argparse
import collections
import json
import os
import sys
import time


def save(path, value):
    """Whole or not at all, and in the bucket when it returns."""
    with open(path + ".tmp", "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".tmp", path)


def load(path):
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def words_of(path):
    with open(path) as file:
        return collections.Counter(file.read().split())


def count(data, out, rank, size, crash_after):
    path = os.path.join(out, f"rank-{rank}.json")
    state = load(path) or {"files": [], "words": {}, "finished": False}
    if state["files"]:
        print(f"{len(state['files'])} files were counted before", flush=True)
    words = collections.Counter(state["words"])
    for i, name in enumerate(sorted(os.listdir(data))[rank::size]):
        if name in state["files"]:
            continue
        words += words_of(os.path.join(data, name))
        state = {"files": [*state["files"], name], "words": words, "finished": False}
        save(path, state)
        if crash_after == i + 1 and os.environ.get("HAWSER_RESTART", "0") == "0":
            sys.exit("ending in the middle, as wished")
    save(path, {**state, "finished": True})


def gather(out, size, patience):
    """The counts of all ranks, once all have finished."""
    total = collections.Counter()
    for rank in range(size):
        path = os.path.join(out, f"rank-{rank}.json")
        deadline = time.monotonic() + patience
        while not (state := load(path)) or not state["finished"]:
            if time.monotonic() > deadline:
                sys.exit(f"{path} is not finished after {patience} s")
            time.sleep(0.2)
        total += collections.Counter(state["words"])
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--crash-after", type=int, help="end with 1 after so many files, once")
    parser.add_argument("--patience", type=float, default=600, help="seconds to wait for another node")
    args = parser.parse_args()
    rank = int(os.environ.get("RANK", "0"))
    size = int(os.environ.get("WORLD_SIZE", "1"))

    count(args.data, args.out, rank, size, args.crash_after)
    if rank != 0:
        return
    total = gather(args.out, size, args.patience)
    expected = sum((words_of(os.path.join(args.data, name)) for name in os.listdir(args.data)), collections.Counter())
    if total != expected:
        sys.exit(f"the nodes counted {sum(total.values())} words, and there are {sum(expected.values())}")
    save(os.path.join(args.out, "total.json"), total)
    print(f"{sum(total.values())} words, {len(total)} different ones: verified", flush=True)


if __name__ == "__main__":
    main()
