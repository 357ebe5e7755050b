"""Hands the order in which an epoch will read its files to `hawser warm`, before the workers ask for them.

A shuffled epoch looks random to a file system, but the sampler knows it: the whole order exists before the first
batch. `hawser warm --files-from -` fetches files in the order given, behind what the workers wait for, so that from the
second batch on they find their files on the local disk. Nothing here needs PyTorch: a DataLoader takes any sampler
that can be iterated and has a length.
"""

import os
import subprocess
import threading

HAWSER = os.environ.get("HAWSER", "hawser")


def warm(paths, folder):
    """Fetches files in this order, in the background. `paths` are relative to `folder`, which is in a mount.

    Returns a thread; it has ended when the mount knows the whole list, which takes a second for a million paths.
    A machine without the mount, or with a plain folder in its place, trains all the same: the failure is printed.
    """

    def send():
        command = [HAWSER, "warm", "--files-from", "-", folder]
        done = subprocess.run(command, input="\n".join(paths), text=True, capture_output=True)
        if done.returncode != 0:
            print(f"not warmed: {done.stderr.strip()}")

    # Not a daemon thread, which one that a pool's own thread starts would be: a program that ends first would cut it off.
    thread = threading.Thread(target=send, daemon=False)
    thread.start()
    return thread


def cancel(folder):
    """Ends what is still being fetched for the mount that `folder` is in, e.g. when an epoch is broken off."""
    subprocess.run([HAWSER, "warm", "--cancel", folder], capture_output=True)


class WarmingSampler:
    """A sampler around another one, which announces each epoch's files before it yields the first index.

    `path_of(index)` is the path of a sample, relative to `folder`. In distributed training each rank wraps its own
    DistributedSampler, and so fetches just its own share.
    """

    def __init__(self, sampler, path_of, folder):
        self.sampler = sampler
        self.path_of = path_of
        self.folder = folder

    def __len__(self):
        return len(self.sampler)

    def __iter__(self):
        order = list(self.sampler)
        warm([self.path_of(index) for index in order], self.folder)
        return iter(order)

    def set_epoch(self, epoch):
        """For DistributedSampler."""
        self.sampler.set_epoch(epoch)
