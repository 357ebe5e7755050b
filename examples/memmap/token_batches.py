#!/usr/bin/env python3
"""Random windows of a file of tokens, as language models are trained on: np.memmap over a mount.

    python3 token_batches.py /data/train.bin --batches 100 --batch-size 12 --length 1024

Each window is read where it lies; the mount fetches the blocks that it touches. Once training has touched the whole
file it is on the local disk, and `hawser warm /data/train.bin` brings it there at once. Without numpy the windows
are `array`s.
"""

import argparse
import array
import mmap
import random
import time

try:
    import numpy
except ImportError:
    numpy = None

TOKEN_BYTES = 2


class Tokens:
    """A file of unsigned 16-bit tokens, mapped."""

    def __init__(self, path):
        if numpy is not None:
            self.tokens = numpy.memmap(path, dtype="<u2", mode="r")
            self.count = len(self.tokens)
            return
        with open(path, "rb") as file:
            self.mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self.count = len(self.mapping) // TOKEN_BYTES

    def window(self, start, length):
        if numpy is not None:
            return self.tokens[start : start + length].astype("i8")
        return array.array("H", self.mapping[start * TOKEN_BYTES : (start + length) * TOKEN_BYTES])


def batches(tokens, count, batch_size, length, seed):
    chooser = random.Random(seed)
    for _ in range(count):
        starts = [chooser.randrange(tokens.count - length) for _ in range(batch_size)]
        yield [tokens.window(start, length) for start in starts]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if numpy is None:
        print("numpy is not installed (pip install numpy): windows are plain arrays.")
    tokens = Tokens(options.file)
    start, total = time.monotonic(), 0
    for batch in batches(tokens, options.batches, options.batch_size, options.length, options.seed):
        total += sum(int(window[0]) + int(window[-1]) for window in batch)
    seconds = time.monotonic() - start
    print(f"{options.batches} batches, checksum {total}, {options.batches / seconds:.0f} batches/s")


if __name__ == "__main__":
    main()
