import { createHash } from "node:crypto";
import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import { HawserError } from "../../src/common/errors.ts";
import { silentLogger, type Logger } from "../../src/observe/logger.ts";
import type { Caller, DirentSink, Entry, ReadReply } from "../../src/vfs/filesystem.ts";
import { MemoryFilesystem } from "../support/memory-filesystem.ts";
import { patternBytes, SparseContent } from "../support/sparse-content.ts";
import { outcome, overriding, python, runPython, ServedHere, signalOnce } from "./serve-here.ts";

const MiB = 1024 * 1024;

class RecordingFilesystem extends MemoryFilesystem {
  readonly reads: number[] = [];
  readonly writes: number[] = [];

  override read(id: number, offset: number, length: number, caller: Caller): ReadReply | Promise<ReadReply> {
    this.reads.push(length);
    return super.read(id, offset, length, caller);
  }

  override write(id: number, offset: number, data: Uint8Array, flags: { killSuidGid: boolean }): number {
    this.writes.push(data.length);
    return super.write(id, offset, data, flags);
  }
}

function withFile(filesystem: MemoryFilesystem, name: string, sizeBytes: number, seed = 1): MemoryFilesystem {
  filesystem.tree.add(filesystem.tree.root, name, {
    type: "file",
    content: new SparseContent(sizeBytes, seed),
  });
  return filesystem;
}

/** A logger that keeps errors. */
function recordingLogger(): { logger: Logger; errors: unknown[] } {
  const errors: unknown[] = [];
  const logger = Object.create(silentLogger, {
    error: { value: (fields: unknown) => void errors.push(fields) },
  }) as Logger;
  return { logger, errors };
}

describe("sizes", () => {
  it("buffered sequential reads arrive as requests of 1 MiB", async () => {
    const filesystem = new RecordingFilesystem();
    withFile(filesystem, "big", 64 * MiB);
    await using mount = await ServedHere.start(filesystem);
    await runPython("f = open(sys.argv[1], 'rb')\nwhile f.read(1 << 20): pass", `${mount.path}/big`);
    expect(Math.max(...filesystem.reads)).toBe(MiB);
    expect(filesystem.reads.filter((length) => length === MiB).length).toBeGreaterThan(50);
  });

  it("O_DIRECT reads and all writes of 1 MiB arrive whole", async () => {
    const filesystem = new RecordingFilesystem({ directIo: true });
    withFile(filesystem, "big", 4 * MiB);
    await using mount = await ServedHere.start(filesystem);
    const code = `
source = os.open(sys.argv[1] + "/big", os.O_RDONLY)
target = os.open(sys.argv[1] + "/copy", os.O_CREAT | os.O_WRONLY)
page_aligned = mmap.mmap(-1, 1 << 20)
while os.readv(source, [page_aligned]) > 0: assert os.writev(target, [page_aligned]) == 1 << 20
`;
    await runPython(code, mount.path);
    expect(filesystem.reads).toEqual([MiB, MiB, MiB, MiB, MiB]);
    expect(filesystem.writes).toEqual([MiB, MiB, MiB, MiB]);
    const copy = Buffer.concat(filesystem.tree.find("/copy")!.content.read(0, 4 * MiB));
    expect(copy.equals(patternBytes(1, 0, 4 * MiB))).toBe(true);
  });

  it.each([1, 65_535, 65_536, 65_537, MiB])(
    "a reply of %i bytes out of shared memory is exact",
    async (size) => {
      const shared = new Uint8Array(new SharedArrayBuffer(size + 3)).subarray(3);
      shared.set(patternBytes(9, 0, size));
      const released = signalOnce();
      class SharedFilesystem extends MemoryFilesystem {
        override read(_id: number, offset: number, length: number): ReadReply {
          const end = Math.min(offset + length, size);
          const half = offset + ((end - offset) >> 1);
          const chunks = [shared.subarray(offset, half), new Uint8Array(0), shared.subarray(half, end)];
          return { chunks, lengthBytes: end - offset, release: released.fire };
        }
      }
      const filesystem = withFile(new SharedFilesystem({ directIo: true }), "file", size);
      await using mount = await ServedHere.start(filesystem);
      const code =
        "import hashlib\nprint(hashlib.sha256(os.read(os.open(sys.argv[1], 0), 1 << 20)).hexdigest())";
      const expected = createHash("sha256")
        .update(patternBytes(9, 0, size))
        .digest("hex");
      expect(await runPython(code, `${mount.path}/file`)).toBe(expected);
      await released.promise;
    },
  );

  it("more writes may wait at once than there are slots, and others are served meanwhile", async () => {
    const arrived = signalOnce();
    const go = signalOnce();
    const memory = withFile(new MemoryFilesystem({ directIo: true }), "other", 100, 5);
    let waiting = 0;
    const filesystem = overriding(memory, {
      async write(id, offset, data, flags) {
        if (++waiting === 80) arrived.fire();
        await go.promise;
        return memory.write(id, offset, data, flags);
      },
    });
    await using mount = await ServedHere.start(filesystem);
    const code = `
def write(i):
    fd = os.open("%s/file-%d" % (sys.argv[1], i), os.O_CREAT | os.O_WRONLY)
    os.write(fd, bytes([i]) * 200000)
    os.close(fd)
threads = [threading.Thread(target=write, args=(i,)) for i in range(80)]
for t in threads: t.start()
for t in threads: t.join()
`;
    const writers = runPython(code, mount.path);
    await arrived.promise;
    const other = "print(os.read(os.open(sys.argv[1], 0), 4096).hex())";
    expect(await runPython(other, `${mount.path}/other`)).toBe(patternBytes(5, 0, 100).toString("hex"));
    go.fire();
    await writers;
    for (let i = 0; i < 80; i++) {
      const content = Buffer.concat(memory.tree.find(`/file-${i}`)!.content.read(0, 300_000));
      expect(content.equals(Buffer.alloc(200_000, i))).toBe(true);
    }
  });
});

describe("what goes wrong above", () => {
  it.each([
    [
      "throws",
      () => {
        throw new TypeError("a bug");
      },
    ],
    ["rejects", () => Promise.reject(new TypeError("a bug"))],
  ])("an operation that %s something else than a HawserError is EIO and logged", async (_how, fail) => {
    class Broken extends MemoryFilesystem {
      override open(): never {
        return fail() as never;
      }
    }
    const { logger, errors } = recordingLogger();
    await using mount = await ServedHere.start(withFile(new Broken(), "file", 10), {}, logger);
    const code = "try: os.open(sys.argv[1], 0)\nexcept OSError as e: print(e.errno)";
    expect(await runPython(code, `${mount.path}/file`)).toBe(String(constants.errno.EIO));
    expect(errors).toEqual([expect.objectContaining({ operation: "open", error: expect.any(TypeError) })]);
  });

  it("a read that answers with more than was asked for is EIO, and released", async () => {
    const released = signalOnce();
    class TooMuch extends MemoryFilesystem {
      override read(): ReadReply {
        return { chunks: [new Uint8Array(MiB)], lengthBytes: MiB, release: released.fire };
      }
    }
    const { logger, errors } = recordingLogger();
    const filesystem = withFile(new TooMuch({ directIo: true }), "file", 10);
    await using mount = await ServedHere.start(filesystem, {}, logger);
    const code = "try: os.read(os.open(sys.argv[1], 0), 10)\nexcept OSError as e: print(e.errno)";
    expect(await runPython(code, `${mount.path}/file`)).toBe(String(constants.errno.EIO));
    await released.promise;
    expect(errors).toHaveLength(1);
  });

  it("a listing that fails half way shows what it had, then the error, and leaks no reference", async () => {
    class HalfListing extends MemoryFilesystem {
      override readdir(id: number, offset: number, sink: DirentSink): void {
        if (offset > 0) throw new HawserError("timed_out", "The store does not answer.");
        super.readdir(id, offset, sink);
        throw new HawserError("timed_out", "The store does not answer.");
      }
    }
    const filesystem = withFile(new HalfListing(), "file", 10);
    await using mount = await ServedHere.start(filesystem);
    const code = `
it = os.scandir(sys.argv[1])
print(next(it).name)
try: next(it)
except OSError as e: print(e.errno)
`;
    expect((await runPython(code, mount.path)).split("\n")).toEqual(["file", String(constants.errno.EIO)]);
    await mount.channel.unmount();
    expect(filesystem.tree.referenced().length).toBeLessThanOrEqual(1);
  });

  it("names that are no UTF-8 are looked up in vain and refused when made", async () => {
    await using mount = await ServedHere.start(new MemoryFilesystem());
    const code = `
path = os.fsencode(sys.argv[1]) + b"/\\xff\\xfe"
print(os.path.exists(path))
try: os.mkdir(path)
except OSError as e: print(e.errno)
os.mkdir(os.fsencode(sys.argv[1]) + "/\\ufffd".encode())
`;
    const lines = (await runPython(code, mount.path)).split("\n");
    expect(lines).toEqual(["False", String(constants.errno.EINVAL)]);
  });
});

describe("what a killed caller leaves", () => {
  it("an entry looked up for nobody is forgotten", async () => {
    const asked = signalOnce();
    const answer = signalOnce<Entry>();
    const forgotten = signalOnce<number>();
    class LateLookup extends MemoryFilesystem {
      override lookup(parent: number, name: string): Entry | Promise<Entry> {
        if (name !== "late") return super.lookup(parent, name);
        asked.fire();
        return answer.promise;
      }
      override forget(nodeId: number, count: number): void {
        super.forget(nodeId, count);
        if (nodeId === 99) forgotten.fire(count);
      }
    }
    const filesystem = new LateLookup();
    await using mount = await ServedHere.start(filesystem);
    const looker = python("os.stat(sys.argv[1])", `${mount.path}/late`);
    await asked.promise;
    looker.kill("SIGKILL");
    expect((await outcome(looker)).signal).toBe("SIGKILL");
    const attributes = filesystem.tree.attributes(filesystem.tree.root);
    answer.fire({ nodeId: 99, attributes, entryTtlMs: 0, attributeTtlMs: 0 });
    expect(await forgotten.promise).toBe(1);
  });
});
