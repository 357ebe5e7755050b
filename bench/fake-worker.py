#!/usr/bin/python3
"""A worker that says what the launcher expects and does nothing: for launches on more nodes than one machine can serve."""

import base64
import json
import os
import shutil
import sys
import time

POOL = sys.argv[4]
FOLDER = f"/var/lib/hawser/pools/{POOL}"
SPEC = f"{FOLDER}/pool.json"


def spec():
    try:
        with open(SPEC) as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def status():
    usage = {"cpuPercent": 0, "cpus": 1, "memoryUsedBytes": 1, "memoryBytes": 1, "diskUsedBytes": 1, "diskBytes": 1}
    usage.update({"receivedBytes": 0, "sentBytes": 0, "gpus": []})
    answer = {"version": "fake", "program": "fake", "jobs": [], "mounts": [], "kept": [], "usage": usage}
    return {**answer, **({"spec": spec()} if spec() else {})}


def adopt(params):
    os.makedirs(FOLDER, exist_ok=True)
    with open(SPEC, "w") as file:
        json.dump(params["spec"], file)
    return {"work": "/tmp"}


def job(params, **more):
    return {"name": params["name"], "run": params.get("run", ""), "startedMs": int(time.time() * 1000), "logBytes": 5, **more}


def answer(method, params, emit):
    if method == "status":
        return status()
    if method == "adopt":
        return adopt(params)
    if method == "mount":
        return {"mounted": [], "notes": []}
    if method == "prove":
        return {"proofs": []}
    if method == "start":
        return job(params)
    if method == "follow":
        emit({"offset": 0, "data": base64.b64encode(b"done\n").decode()})
        return job(params, code=0, endedMs=int(time.time() * 1000))
    if method == "marker":
        return {"value": None}
    if method == "drain":
        return {"unflushed": []}
    if method == "release":
        shutil.rmtree(FOLDER, ignore_errors=True)
    return {}


for line in sys.stdin:
    request = json.loads(line)
    tell = lambda message: print(json.dumps({"id": request["id"], **message}), flush=True)
    tell({"result": answer(request["method"], request["params"], lambda event: tell({"event": event}))})
