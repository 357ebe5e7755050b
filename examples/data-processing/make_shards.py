#!/usr/bin/env python3
"""Many small files to few large ones: tar shards, as WebDataset and others read them.

    python3 make_shards.py --data /mnt/data --out /mnt/out --shard-mb 64

A request to a store takes tens of milliseconds however small its object is, so an epoch over a million small objects is a
million of them; over shards of 64 MB it is a few hundred reads of whole files. Each rank packs every n-th file, and an
index says where each one went, with its checksum. Shards are the same whenever they are made from the same files.
"""

import argparse
import concurrent.futures
import io
import json
import os
import tarfile
import zlib


def files_below(folder):
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield os.path.relpath(os.path.join(parent, name), folder)


class Shards:
    """Tar files of about one size, named by rank and number."""

    def __init__(self, folder, rank, limit):
        self.folder = folder
        self.rank = rank
        self.limit = limit
        self.count = 0
        self.tar = None
        self.index = open(os.path.join(folder, f"index-{rank:03}.jsonl"), "w")

    def add(self, name, body):
        if self.tar is None:
            self.name = f"shard-{self.rank:03}-{self.count:05}.tar"
            self.tar = tarfile.open(os.path.join(self.folder, self.name), "w", format=tarfile.USTAR_FORMAT)
            self.count += 1
        entry = tarfile.TarInfo(name)
        entry.size = len(body)
        self.tar.addfile(entry, io.BytesIO(body))
        record = {"file": name, "shard": self.name, "size": len(body), "crc32": zlib.crc32(body)}
        self.index.write(json.dumps(record) + "\n")
        if self.tar.offset >= self.limit:
            self.finish_shard()

    def finish_shard(self):
        if self.tar is not None:
            self.tar.close()
        self.tar = None

    def close(self):
        self.finish_shard()
        self.index.close()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--shard-mb", type=float, default=64)
    parser.add_argument("--readers", type=int, default=16, help="files that are read at the same time")
    args = parser.parse_args()
    rank = int(os.environ.get("RANK", "0"))
    size = int(os.environ.get("WORLD_SIZE", "1"))

    mine = [name for i, name in enumerate(files_below(args.data)) if i % size == rank]
    shards = Shards(args.out, rank, int(args.shard_mb * 1e6))
    with concurrent.futures.ThreadPoolExecutor(args.readers) as readers:
        # In order, with a window of files under way: memory does not grow with the data set.
        window = []
        for name in mine:
            window.append((name, readers.submit(read, os.path.join(args.data, name))))
            if len(window) >= 4 * args.readers:
                oldest, body = window.pop(0)
                shards.add(oldest, body.result())
        for name, body in window:
            shards.add(name, body.result())
    shards.close()
    print(f"{len(mine)} files in {shards.count} shards", flush=True)


if __name__ == "__main__":
    main()
