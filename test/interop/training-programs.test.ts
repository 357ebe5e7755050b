/**
 * What training jobs write with, as it is released, on a writable mount: PyTorch, its distributed checkpoints, safetensors
 * and the Hugging Face hub's cache. Each ends with the bucket holding what the mount shows.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { folderTree } from "../e2e/stored-tree.ts";
import { openPlace, type Place } from "../e2e/writable-place.ts";
import { pipTools, type PipTools } from "../support/pip-tools.ts";
import { torchTools } from "../support/torch-tools.ts";

const execute = promisify(execFile);

let place: Place;
beforeAll(async () => {
  place = await openPlace();
});
afterAll(() => place?.close());

/** Runs a program to its end. @returns what it printed last, as JSON */
async function python<T>(tools: PipTools, code: string, ...args: string[]): Promise<T> {
  const { stdout } = await execute(tools.program("python"), ["-c", code, ...args], {
    env: { ...process.env, OMP_NUM_THREADS: "2", HOME: place.scratch, PYTHONWARNINGS: "ignore" },
    timeout: 300_000,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as T;
}

/** A run that can stop anywhere and go on from its checkpoint. */
const TRAINING = `
import json, os, sys
import torch
folder = sys.argv[1]

def begin():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(512, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 512))
    return model, torch.optim.AdamW(model.parameters())

def train(model, optimizer, steps):
    for step in steps:
        torch.manual_seed(1000 + step)
        optimizer.zero_grad()
        model(torch.randn(8, 512)).square().mean().backward()
        optimizer.step()

def save(model, optimizer, step):
    temporary = f"{folder}/checkpoint.pt.tmp"
    with open(temporary, "wb") as file:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, f"{folder}/checkpoint.pt")

def load(**how):
    model, optimizer = begin()
    state = torch.load(f"{folder}/checkpoint.pt", **how)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return model, optimizer, state["step"]

def total(model):
    return float(sum(value.double().sum() for value in model.state_dict().values()))
`;

test("torch.save under a temporary name, renamed, is loaded by torch.load, and the run goes on from it", async () => {
  const tools = await torchTools();
  const folder = await place.folder("torch");
  const whole = await python<number>(
    tools,
    `${TRAINING}
model, optimizer = begin()
train(model, optimizer, range(4))
for step in range(4, 7):
    save(model, optimizer, step)
    torch.save(model.state_dict(), f"{folder}/step-{step}.pt")
    again, _, at = load()
    assert at == step and total(again) == total(model)
    mapped, _, _ = load(mmap=True)
    assert total(mapped) == total(model)
    train(model, optimizer, [step])
print(total(model))`,
    folder,
  );
  const wanted = await folderTree(folder);
  expect(Object.keys(wanted)).toEqual(["checkpoint.pt", "step-4.pt", "step-5.pt", "step-6.pt"]);
  expect(await place.stored("torch")).toEqual(wanted);
  await place.again();
  const resumed = await python<number>(
    tools,
    `${TRAINING}
model, optimizer, step = load(weights_only=True)
train(model, optimizer, range(step, 7))
print(total(model))`,
    folder,
  );
  expect(resumed).toBe(whole);
});

test("torch.distributed.checkpoint writes its shards and its metadata, and loads them", async () => {
  const tools = await torchTools();
  const folder = await place.folder("dcp");
  const same = await python<boolean>(
    tools,
    `${TRAINING}
import torch.distributed.checkpoint as dcp
model, optimizer = begin()
for step in (1, 2):
    train(model, optimizer, [step])
    dcp.save({"model": model.state_dict()}, checkpoint_id=f"{folder}/step-{step}", no_dist=True)
    # Over the checkpoint that is there, too.
    dcp.save({"model": model.state_dict()}, checkpoint_id=f"{folder}/last", no_dist=True)
other, _ = begin()
state = {"model": other.state_dict()}
dcp.load(state, checkpoint_id=f"{folder}/last", no_dist=True)
other.load_state_dict(state["model"])
print(json.dumps(total(other) == total(model)))`,
    folder,
  );
  expect(same).toBe(true);
  const wanted = await folderTree(folder);
  expect(Object.keys(wanted)).toContain("last/.metadata");
  expect(await place.stored("dcp")).toEqual(wanted);
});

test("safetensors writes shards that are read lazily, through mappings", async () => {
  const tools = await torchTools();
  const folder = await place.folder("safetensors");
  const read = await python<boolean>(
    tools,
    `${TRAINING}
from safetensors import safe_open
from safetensors.torch import load_file, save_file
import numpy, safetensors.numpy
model, _ = begin()
shards = [{f"{i}.{name}": value + i for name, value in model.state_dict().items()} for i in range(3)]
for turn in range(2):
    for i, shard in enumerate(shards):
        save_file(shard, f"{folder}/model-{i}.safetensors", metadata={"format": "pt"})
safetensors.numpy.save_file({"x": numpy.arange(1_000_000, dtype=numpy.float32)}, f"{folder}/numbers.safetensors")
right = bool((safetensors.numpy.load_file(f"{folder}/numbers.safetensors")["x"] == numpy.arange(1_000_000)).all())
for i, shard in enumerate(shards):
    with safe_open(f"{folder}/model-{i}.safetensors", framework="pt") as file:
        right &= set(file.keys()) == set(shard) and all(torch.equal(file.get_tensor(name), shard[name]) for name in file.keys())
        part = file.get_slice(f"{i}.0.weight")[100:200, :10]
        right &= torch.equal(part, shard[f"{i}.0.weight"][100:200, :10])
    right &= all(torch.equal(value, shard[name]) for name, value in load_file(f"{folder}/model-{i}.safetensors").items())
print(json.dumps(right))`,
    folder,
  );
  expect(read).toBe(true);
  const wanted = await folderTree(folder);
  expect(Object.keys(wanted)).toHaveLength(4);
  expect(await place.stored("safetensors")).toEqual(wanted);
});

test("huggingface_hub fills its cache from three processes at once, each blob once, and finds it again", async () => {
  const tools = await pipTools("huggingface_hub");
  const folder = await place.folder("hub");
  const code = `
import hashlib, http.server, json, os, random, subprocess, sys, threading
folder = sys.argv[1]
# The hub, as far as downloads ask for it: three files, two of them the same blob.
FILES = {"config.json": b'{"layers": 2}', "model.bin": random.Random(1).randbytes(3_000_000), "old/model.bin": random.Random(1).randbytes(3_000_000)}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, send):
        name = self.path.split("/resolve/", 1)[-1].split("/", 1)[-1].split("?")[0]
        body = FILES.get(name)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        if body is not None:
            self.send_header("ETag", '"' + hashlib.sha256(body).hexdigest() + '"')
            self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if send and body: self.wfile.write(body)
    def do_HEAD(self): self.answer(False)
    def do_GET(self): self.answer(True)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
program = '''
import json, sys
from huggingface_hub import hf_hub_download
print(json.dumps([hf_hub_download("org/name", name) for name in ("config.json", "model.bin", "old/model.bin")]))
'''
environment = {**os.environ, "HF_HOME": folder, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
running = [subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
paths = [json.loads(child.communicate()[0]) for child in running]
assert all(child.returncode == 0 for child in running)
assert paths[0] == paths[1] == paths[2]
for name, path in zip(FILES, paths[0]):
    assert os.path.islink(path) and open(path, "rb").read() == FILES[name], path
server.shutdown()
# Offline now: the cache alone answers.
offline = subprocess.run([sys.executable, "-c", program], env={**environment, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.PIPE, text=True, check=True)
assert json.loads(offline.stdout) == paths[0]
from huggingface_hub import scan_cache_dir
found = scan_cache_dir(folder + "/hub")
repository, = found.repos
print(json.dumps([len(found.warnings), repository.repo_id, repository.nb_files, repository.size_on_disk]))
`;
  const found = [0, "org/name", 2, 3_000_013];
  expect(await python(tools, code, folder)).toEqual(found);
  const wanted = await folderTree(folder);
  expect(Object.keys(wanted).filter((name) => /\/blobs\//.test(name))).toHaveLength(2);
  expect(Object.values(wanted).filter((line) => line.startsWith("->"))).toHaveLength(3);
  expect(await place.stored("hub")).toEqual(wanted);
});
