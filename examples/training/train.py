#!/usr/bin/env python3
"""Data-parallel training with checkpoints: what changes in a real program is the model, not the shape.

    python3 train.py --data /mnt/data --out /mnt/out

Each rank reads every n-th file of the data volume. Gradients are summed over all ranks; rank 0 writes a checkpoint every
few steps by the usual idiom: write beside it, fsync, rename. fsync returns when the bytes are in the bucket, so a file
called step-*.json is complete wherever it is seen.

A program that is started again goes on from the newest checkpoint. Rank 0 reads it and sends it to the others: two nodes
never train from different steps, whenever they have last listed the folder.
"""

import argparse
import json
import os
import socket
import struct
import sys
import time


class Ranks:
    """All ranks, joined in a star around rank 0, which adds up and tells the result."""

    def __init__(self):
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        address = (os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", "29500")))
        self.peers = []
        if self.size == 1:
            return
        if self.rank == 0:
            server = socket.create_server(("", address[1]), backlog=self.size)
            while len(self.peers) < self.size - 1:
                self.peers.append(server.accept()[0])
            server.close()
        else:
            self.peers.append(connect(address))

    def sum(self, values):
        """The sum over all ranks of each value; the same on all of them."""
        if self.rank != 0:
            send(self.peers[0], values)
            return receive(self.peers[0])
        total = list(values)
        for peer in self.peers:
            total = [a + b for a, b in zip(total, receive(peer))]
        return self.broadcast(total)

    def broadcast(self, value):
        """What rank 0 has, on all of them."""
        if self.rank != 0:
            return receive(self.peers[0])
        for peer in self.peers:
            send(peer, value)
        return value


def connect(address, patience=60):
    deadline = time.monotonic() + patience
    while True:
        try:
            return socket.create_connection(address, timeout=patience)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def send(peer, value):
    body = json.dumps(value).encode()
    peer.sendall(struct.pack("!I", len(body)) + body)


def receive(peer):
    (length,) = struct.unpack("!I", exactly(peer, 4))
    return json.loads(exactly(peer, length))


def exactly(peer, length):
    parts = b""
    while len(parts) < length:
        part = peer.recv(length - len(parts))
        if not part:
            raise ConnectionError("another rank has ended")
        parts += part
    return parts


def read_samples(folder, rank, size):
    """Lines 'x1,x2,…,y' of every n-th file."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".csv"))
    for name in names[rank::size]:
        with open(os.path.join(folder, name)) as file:
            for line in file:
                *inputs, wanted = map(float, line.split(","))
                yield [1.0, *inputs], wanted


def newest_checkpoint(folder):
    names = sorted(name for name in os.listdir(folder) if name.startswith("step-") and name.endswith(".json"))
    if not names:
        return None
    with open(os.path.join(folder, names[-1])) as file:
        return json.load(file)


def save_checkpoint(folder, step, weights):
    path = os.path.join(folder, f"step-{step:06}.json")
    with open(path + ".tmp", "w") as file:
        json.dump({"step": step, "weights": weights}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".tmp", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=20, help="steps between two checkpoints")
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--crash-at", type=int, help="end with 1 at this step, once: to see it resume")
    args = parser.parse_args()

    ranks = Ranks()
    samples = list(read_samples(args.data, ranks.rank, ranks.size))
    (count,) = ranks.sum([len(samples)])
    if count == 0:
        sys.exit(f"There is no *.csv in {args.data}")
    checkpoints = os.path.join(args.out, "checkpoints")
    start = None
    if ranks.rank == 0:
        os.makedirs(checkpoints, exist_ok=True)
        start = newest_checkpoint(checkpoints)
        print(f"resuming at step {start['step']}" if start else f"starting with {count} samples", flush=True)
    start = ranks.broadcast(start) or {"step": 0, "weights": [0.0] * len(samples[0][0])}

    weights = start["weights"]
    for step in range(start["step"] + 1, args.steps + 1):
        gradient = [0.0] * (len(weights) + 1)
        for inputs, wanted in samples:
            error = sum(w * x for w, x in zip(weights, inputs)) - wanted
            for i, x in enumerate(inputs):
                gradient[i] += error * x
            gradient[-1] += error * error
        *gradient, loss = ranks.sum(gradient)
        weights = [w - args.rate * g / count for w, g in zip(weights, gradient)]
        if step == args.crash_at and os.environ.get("HAWSER_RESTART", "0") == "0":
            sys.exit(f"crashing at step {step}, as wished")
        if ranks.rank == 0 and (step % args.every == 0 or step == args.steps):
            save_checkpoint(checkpoints, step, weights)
            print(f"step {step}: loss {loss / count:.6f}, saved", flush=True)
    if ranks.rank == 0:
        print("weights", *(f"{w:.3f}" for w in weights), flush=True)


if __name__ == "__main__":
    main()
