#!/usr/bin/env python3
"""A prediction service: the model comes from a volume, what it predicted goes to another one.

    python3 serve.py --model /mnt/model/model.json --out /mnt/out --port 8080
    curl -d 'what a good film' http://127.0.0.1:8080/predict

Predictions are collected and written as one file every so many, and when the service is told to stop: an object of the
store is written whole, so a file a request would be a request to the store each, and one that is appended to for ever
would never be finished. The model is loaded anew when its file has changed.
"""

import argparse
import http.server
import json
import os
import re
import signal
import threading
import time
import uuid


class Model:
    """Sentiment by the sum of word weights, as its file has them now."""

    def __init__(self, path):
        self.path = path
        self.version = None
        self.load()

    def load(self):
        stat = os.stat(self.path)
        version = (stat.st_mtime_ns, stat.st_size)
        if version == self.version:
            return
        with open(self.path) as file:
            self.weights = json.load(file)
        self.version = version

    def predict(self, text):
        self.load()
        score = sum(self.weights.get(word, 0) for word in re.findall(r"[a-z]+", text.lower()))
        return {"label": "positive" if score > 0 else "negative" if score < 0 else "neutral", "score": score}


class Record:
    """What was predicted: in memory until there is enough of it, then a file."""

    def __init__(self, folder, most):
        self.folder = folder
        self.most = most
        self.lines = []
        self.lock = threading.Lock()

    def add(self, entry):
        with self.lock:
            self.lines.append(json.dumps(entry) + "\n")
            if len(self.lines) >= self.most:
                self.write()

    def write(self):
        if not self.lines:
            return
        name = time.strftime("%Y%m%dT%H%M%S") + f"-{uuid.uuid4().hex[:8]}.jsonl"
        with open(os.path.join(self.folder, name), "w") as file:
            file.writelines(self.lines)
        self.lines = []

    def close(self):
        with self.lock:
            self.write()


def handler_for(model, record):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200 if self.path == "/ready" else 404, {"ready": True})

        def do_POST(self):
            text = self.rfile.read(int(self.headers.get("content-length", 0))).decode(errors="replace")
            prediction = model.predict(text)
            record.add({"text": text, **prediction})
            self.answer(200, prediction)

        def answer(self, status, value):
            body = json.dumps(value).encode() + b"\n"
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, form, *values):
            pass

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--most", type=int, default=1000, help="predictions in a file")
    args = parser.parse_args()

    record = Record(args.out, args.most)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", args.port), handler_for(Model(args.model), record))
    # From a thread of its own: shutdown waits for the loop, which runs in this one.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving on port {args.port}", flush=True)
    server.serve_forever()
    record.close()
    print("everything predicted is written", flush=True)


if __name__ == "__main__":
    main()
