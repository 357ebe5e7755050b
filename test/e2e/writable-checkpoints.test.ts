/**
 * Checkpoints as training code saves them: a temporary name, fsync, rename; shards and an index; a hub's cache with
 * links and locks. PyTorch itself is no dependency: what it writes, a ZIP of a pickle and aligned stored tensors, is
 * made by Python's own zipfile and pickle.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { python } from "../support/python.ts";
import { folderTree } from "./stored-tree.ts";
import { type Place, openPlace } from "./writable-place.ts";

let place: Place;
beforeAll(async () => {
  place = await openPlace();
});
afterAll(() => place?.close());

/** torch.save and torch.load, as far as a file system sees them. */
const TORCH = `
import pickle, random, struct, zipfile
def tensors(step):
    return {f"layer.{i}.weight": random.Random(step * 100 + i).randbytes(200_000 + i) for i in range(12)}
def save(state, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({name: (i, len(data)) for i, (name, data) in enumerate(state.items())}))
        archive.writestr("archive/byteorder", "little")
        for i, data in enumerate(state.values()):
            entry = zipfile.ZipInfo(f"archive/data/{i}")
            # Tensors begin at multiples of 64 bytes, by padding in the local header's extra field.
            at = archive.fp.tell() + 30 + len(entry.filename) + 4
            entry.extra = struct.pack("<HH", 0x4246, -at % 64) + b"Z" * (-at % 64)
            archive.writestr(entry, data)
        archive.writestr("archive/version", "3\\n")
def load(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        index = pickle.loads(archive.read("archive/data.pkl"))
        return {name: archive.read(f"archive/data/{i}") for name, (i, size) in index.items()}
`;

test("torch.save's shape, with a temporary name, fsync and rename, twice over the same name", async () => {
  const folder = await place.folder("torch");
  await python(
    `${TORCH}
folder = args[0]
for step in range(4):
    state = tensors(step)
    temporary = f"{folder}/checkpoint.pt.tmp.{os.getpid()}"
    with open(temporary, "wb") as file:
        save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, f"{folder}/checkpoint.pt")
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    assert load(f"{folder}/checkpoint.pt") == state
    save(state, f"{folder}/step-{step}.pt")
    os.path.lexists(f"{folder}/latest") and os.unlink(f"{folder}/latest")
    os.symlink(f"step-{step}.pt", f"{folder}/latest")
assert load(f"{folder}/latest") == tensors(3)
answer(0)`,
    folder,
  );
  const wanted = await folderTree(folder);
  expect(Object.keys(wanted)).toEqual([
    "checkpoint.pt",
    "latest",
    "step-0.pt",
    "step-1.pt",
    "step-2.pt",
    "step-3.pt",
  ]);
  expect(await place.stored("torch")).toEqual(wanted);
  await place.again();
  expect(
    await python(
      `${TORCH}
answer(load(args[0] + "/latest") == tensors(3) and load(args[0] + "/checkpoint.pt") == tensors(3))`,
      folder,
    ),
  ).toBe(true);
});

test("safetensors: written through a mapping and by write, shards before their index, read by mapping", async () => {
  const folder = await place.folder("safetensors");
  const read = await python<boolean>(
    `
import random, struct
folder = args[0]
def parts(shard):
    return {f"block.{shard}.{i}": random.Random(shard * 10 + i).randbytes(4096 * (i + 1) * 37) for i in range(6)}
def head(state):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, data in state.items():
        header[name] = {"dtype": "F32", "shape": [len(data) // 4], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, at
index = {}
for shard in range(3):
    state = parts(shard)
    header, size = head(state)
    name = f"model-{shard:05d}-of-00003.safetensors"
    with open(f"{folder}/{name}", "wb+") as file:
        if shard == 1:
            # As the library's serialize_file does: the size first, then stores into a mapping.
            file.truncate(len(header) + size)
            with mmap.mmap(file.fileno(), 0) as view:
                at = 0
                for piece in (header, *state.values()):
                    view[at:at + len(piece)] = piece
                    at += len(piece)
                view.flush()
        else:
            file.write(header)
            for piece in state.values():
                file.write(piece)
    index.update({tensor: name for tensor in state})
open(f"{folder}/model.safetensors.index.json", "w").write(json.dumps({"weight_map": index}))
right = True
for tensor, name in json.load(open(f"{folder}/model.safetensors.index.json"))["weight_map"].items():
    with open(f"{folder}/{name}", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        length, = struct.unpack_from("<Q", view)
        begin, end = json.loads(view[8:8 + length])[tensor]["data_offsets"]
        right &= view[8 + length + begin:8 + length + end] == parts(int(name[6:11]))[tensor]
answer(right)`,
    folder,
  );
  expect(read).toBe(true);
  const wanted = await folderTree(folder);
  expect(Object.keys(wanted)).toHaveLength(4);
  expect(await place.stored("safetensors")).toEqual(wanted);
});

test("a hub's cache: blobs, snapshots of links into them, refs, and locks between processes", async () => {
  const folder = await place.folder("hub");
  const downloads = await python<number>(
    `
import subprocess
folder = args[0]
program = '''
import fcntl, hashlib, os, random, sys
folder = sys.argv[1] + "/models--org--name"
made = 0
for i in range(12):
    data = random.Random(i // 2).randbytes(50_000)
    etag = hashlib.sha256(data).hexdigest()
    for below in ("blobs", "refs", "snapshots/abc/nested", ".locks"):
        os.makedirs(f"{folder}/{below}", exist_ok=True)
    with open(f"{folder}/.locks/{etag}.lock", "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        blob = f"{folder}/blobs/{etag}"
        if not os.path.exists(blob):
            made += 1
            # The second half comes later, as after a broken download.
            with open(blob + ".incomplete", "ab") as part: part.write(data[:30_000])
            with open(blob + ".incomplete", "ab") as part:
                assert part.tell() == 30_000
                part.write(data[30_000:])
            os.replace(blob + ".incomplete", blob)
            os.chmod(blob, 0o644)
        pointer = f"{folder}/snapshots/abc/nested/file-{i}.bin"
        try: os.symlink(os.path.relpath(blob, os.path.dirname(pointer)), pointer)
        except FileExistsError: assert os.path.realpath(pointer) == os.path.realpath(blob)
        fcntl.flock(lock, fcntl.LOCK_UN)
    assert open(pointer, "rb").read() == data
open(f"{folder}/refs/main", "w").write("abc")
print(made)
'''
running = [subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE, text=True) for _ in range(3)]
made = [int(child.communicate()[0]) for child in running]
assert all(child.returncode == 0 for child in running)
answer(sum(made))`,
    folder,
  );
  // Each blob was fetched by one process only.
  expect(downloads).toBe(6);
  const wanted = await folderTree(folder);
  expect(Object.values(wanted).filter((line) => line.startsWith("->"))).toHaveLength(12);
  expect(await place.stored("hub")).toEqual(wanted);
  await place.again();
  expect(await folderTree(folder)).toEqual(wanted);
});

test("POSIX locks and flock exclude, block and are let go of when a process is killed", async () => {
  const folder = await place.folder("locks");
  const order = await python<unknown[]>(
    `
import subprocess
path = args[0] + "/lock"
open(path, "w").write("x" * 100)
holder = '''
import fcntl, os, sys
file = open(sys.argv[1], "r+")
(fcntl.flock if sys.argv[2] == "flock" else fcntl.lockf)(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
'''
results = []
for kind, lock in (("flock", fcntl.flock), ("posix", fcntl.lockf)):
    child = subprocess.Popen([sys.executable, "-c", holder, path, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\\n"
    file = open(path, "r+")
    results.append(name_of(lambda: lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)))
    child.kill()
    child.wait()
    results.append(name_of(lambda: lock(file, fcntl.LOCK_EX)))
    file.close()
# Ranges of one file.
child = subprocess.Popen([sys.executable, "-c", '''
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.lockf(file, fcntl.LOCK_EX, 10, 50)
print("held", flush=True)
sys.stdin.read()
''', path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
assert child.stdout.readline() == "held\\n"
with open(path, "r+") as file:
    for start in (0, 49, 50, 59, 60):
        results.append(name_of(lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)))
child.stdin.close()
child.wait()
answer(results)`,
    folder,
  );
  expect(order).toEqual(["EAGAIN", null, "EAGAIN", null, null, null, "EAGAIN", "EAGAIN", null]);
});
