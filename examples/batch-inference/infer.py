#!/usr/bin/env python3
"""Batch inference: every object of a prefix goes through a model once, and the results are written back.

    python3 infer.py --data /mnt/data --model /mnt/model/model.json --out /mnt/out

Each rank takes every n-th file. A file's result is written beside its final name and renamed, so a result that is there
is whole, and a run that is started again does only what is missing. The model, word weights in a JSON file, stands for
whatever you load.
"""

import argparse
import json
import os
import re


class Model:
    """Sentiment by the sum of word weights."""

    def __init__(self, path):
        with open(path) as file:
            self.weights = json.load(file)

    def predict(self, text):
        score = sum(self.weights.get(word, 0) for word in re.findall(r"[a-z]+", text.lower()))
        return {"label": "positive" if score > 0 else "negative" if score < 0 else "neutral", "score": score}


def files_below(folder):
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield os.path.relpath(os.path.join(parent, name), folder)


def infer(model, source, target):
    """One file of texts, a line each, to one file of predictions, a line each."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    lines = 0
    with open(source) as texts, open(target + ".tmp", "w") as results:
        for text in texts:
            results.write(json.dumps(model.predict(text)) + "\n")
            lines += 1
    os.rename(target + ".tmp", target)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    rank = int(os.environ.get("RANK", "0"))
    size = int(os.environ.get("WORLD_SIZE", "1"))

    model = Model(args.model)
    mine = [name for i, name in enumerate(files_below(args.data)) if i % size == rank]
    done = lines = 0
    for name in mine:
        target = os.path.join(args.out, name + ".jsonl")
        if os.path.exists(target):
            continue
        lines += infer(model, os.path.join(args.data, name), target)
        done += 1
    print(f"{done} of {len(mine)} files were missing, {lines} predictions", flush=True)


if __name__ == "__main__":
    main()
