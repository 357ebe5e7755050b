#!/usr/bin/env python3
"""Reads the files of a folder in shuffled epochs, as training does, with the order announced to the mount.

    python3 train.py /data/train --epochs 2 --workers 4

With PyTorch it is a DataLoader with worker processes; without, a pool of processes that reads the same files in the
same order. The "training" is a checksum: what counts here is how fast files arrive.
"""

import argparse
import multiprocessing
import os
import random
import sys
import time
import zlib

from epoch_order import WarmingSampler

try:
    import torch
    from torch.utils.data import DataLoader, Dataset
except ImportError:
    torch = None
    Dataset = object


class Files(Dataset):
    """The files below a folder. A sample is the checksum of a file and its length."""

    def __init__(self, folder):
        self.folder = folder
        self.paths = sorted(
            os.path.relpath(os.path.join(parent, name), folder)
            for parent, _, names in os.walk(folder)
            for name in names
        )

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with open(os.path.join(self.folder, self.paths[index]), "rb") as file:
            content = file.read()
        return zlib.crc32(content), len(content)


class Shuffled:
    """What torch.utils.data.RandomSampler does, for a machine without PyTorch."""

    def __init__(self, count, seed):
        self.count = count
        self.random = random.Random(seed)

    def __len__(self):
        return self.count

    def __iter__(self):
        order = list(range(self.count))
        self.random.shuffle(order)
        return iter(order)


def epochs_with_torch(files, options):
    generator = torch.Generator().manual_seed(options.seed)
    sampler = torch.utils.data.RandomSampler(files, generator=generator)
    warming = WarmingSampler(sampler, files.paths.__getitem__, files.folder)
    loader = DataLoader(files, batch_size=32, sampler=warming, num_workers=options.workers)
    for _ in range(options.epochs):
        yield ((int(c), int(n)) for checksums, lengths in loader for c, n in zip(checksums, lengths))


def epochs_without(files, options):
    print("PyTorch is not installed (pip install torch): plain processes read the files in its place.")
    sampler = WarmingSampler(Shuffled(len(files), options.seed), files.paths.__getitem__, files.folder)
    with multiprocessing.Pool(max(1, options.workers)) as pool:
        for _ in range(options.epochs):
            yield pool.imap(files.__getitem__, sampler, chunksize=32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder of files in a mount")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    files = Files(options.folder)
    if len(files) == 0:
        sys.exit(f"There are no files in {options.folder}.")
    epochs = (epochs_with_torch if torch else epochs_without)(files, options)
    for number, samples in enumerate(epochs, start=1):
        start = time.monotonic()
        total = checksum = count = 0
        for crc, length in samples:
            checksum ^= crc
            total += length
            count += 1
        seconds = time.monotonic() - start
        print(
            f"epoch {number}: {count} files, {total} bytes, checksum {checksum:08x}, {count / seconds:.0f} files/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
