import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import type { OpenFlags, OpenReply } from "../../src/vfs/filesystem.ts";
import { MemoryFilesystem } from "../support/memory-filesystem.ts";
import { patternBytes, SparseContent } from "../support/sparse-content.ts";
import { overriding, python, runPython, ServedHere, signalOnce, outcome } from "./serve-here.ts";

function withFile(filesystem: MemoryFilesystem, name: string, content: SparseContent): MemoryFilesystem {
  filesystem.tree.add(filesystem.tree.root, name, { type: "file", content });
  return filesystem;
}

describe("settings", () => {
  it("show what was settled, and the readahead is raised to one request", async () => {
    await using mount = await ServedHere.start(new MemoryFilesystem());
    expect(mount.settings).toMatchObject({
      kind: "native",
      maxWriteBytes: 1_048_576,
      readdirPlus: true,
      notify: true,
    });
    const line = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .find((entry) => entry.includes(` ${mount.path} `))!;
    const device = line.split(" ")[2]!;
    expect(readFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, "utf8").trim()).toBe("1024");
    expect(line).toContain("fuse.hawser test");
    expect(line).toContain("nosuid,nodev");
    expect(line).toContain("default_permissions");
  });
});

describe("notifications", () => {
  it("make the kernel forget pages and names", async () => {
    const filesystem = withFile(
      new MemoryFilesystem({ keepCache: true, ttlMs: 3_600_000 }),
      "file",
      SparseContent.of(Buffer.from("before")),
    );
    await using mount = await ServedHere.start(filesystem);
    const read = (): Promise<string> => runPython("print(open(sys.argv[1]).read())", `${mount.path}/file`);
    expect(await read()).toBe("before");
    const node = filesystem.tree.find("/file")!;
    node.content.write(0, Buffer.from("after!"));
    expect(await read()).toBe("before");
    await filesystem.kernel!.invalidateInode(node.id, 0, 0);
    expect(await read()).toBe("after!");
    filesystem.replace("/file", SparseContent.of(Buffer.from("third!")));
    await filesystem.kernel!.invalidateEntry(filesystem.tree.root.id, Buffer.from("file"));
    expect(await read()).toBe("third!");
  });

  it("of what the kernel does not hold, and of long names, resolve", async () => {
    const filesystem = new MemoryFilesystem();
    await using mount = await ServedHere.start(filesystem);
    await runPython("os.listdir(sys.argv[1])", mount.path);
    await filesystem.kernel!.invalidateEntry(1, Buffer.from("never-seen"));
    await filesystem.kernel!.invalidateEntry(1, Buffer.from("x".repeat(255)));
    await filesystem.kernel!.invalidateInode(123_456, 0, 0);
  });

  it("resolve after the end too", async () => {
    const filesystem = new MemoryFilesystem();
    const mount = await ServedHere.start(filesystem);
    await mount[Symbol.asyncDispose]();
    await filesystem.kernel!.invalidateEntry(1, Buffer.from("x"));
    expect(filesystem.kernel!.openBacking(0)).toBeUndefined();
  });

  it("that wait for a lookup in the same folder do not hold up anything else", async () => {
    const asked = signalOnce();
    const answer = signalOnce();
    const memory = withFile(new MemoryFilesystem(), "other", new SparseContent(100, 3));
    const filesystem = overriding(memory, {
      async lookup(parent, name) {
        if (name === "slow") {
          asked.fire();
          await answer.promise;
        }
        return memory.lookup(parent, name);
      },
    });
    await using mount = await ServedHere.start(filesystem);
    // Looked up before the folder is locked by the waiting notification.
    const holder = python(
      "fd = os.open(sys.argv[1], 0)\nprint('open', flush=True)\nsys.stdin.read(1)\nprint(len(os.read(fd, 200)))",
      `${mount.path}/other`,
    );
    const held = outcome(holder);
    await new Promise((resolve) => holder.stdout!.once("data", resolve));
    const looker = python("print(os.path.exists(sys.argv[1]))", `${mount.path}/slow`);
    const looked = outcome(looker);
    await asked.promise;
    let isDone = false;
    const notified = memory.kernel!.invalidateEntry(1, Buffer.from("gone")).then(() => (isDone = true));
    holder.stdin!.end("x");
    expect((await held).stdout).toBe("open\n100\n");
    expect(isDone).toBe(false);
    answer.fire();
    await notified;
    expect((await looked).stdout).toBe("False\n");
  });

  it("that wait for ever do not keep close() from ending everything", async () => {
    const asked = signalOnce();
    const memory = new MemoryFilesystem();
    const filesystem = overriding(memory, {
      lookup() {
        asked.fire();
        return new Promise(() => {});
      },
    });
    const mount = await ServedHere.start(filesystem);
    const looked = outcome(python("os.stat(sys.argv[1])", `${mount.path}/slow`));
    await asked.promise;
    const notified = memory.kernel!.invalidateEntry(1, Buffer.from("gone"));
    await mount[Symbol.asyncDispose]();
    await notified;
    expect((await looked).code).toBe(1);
  });
});

describe("passthrough", () => {
  /** Opens answer with a backing file of other content than the filesystem would give. */
  class BackedFilesystem extends MemoryFilesystem {
    readonly ids: number[] = [];
    readonly released: number[] = [];
    readonly #fd: number;

    constructor(fd: number) {
      super();
      this.#fd = fd;
    }

    override open(nodeId: number, flags: OpenFlags): OpenReply {
      const reply = super.open(nodeId, flags) as OpenReply;
      const backingId = this.kernel!.openBacking(this.#fd);
      if (backingId === undefined) return reply;
      this.ids.push(backingId);
      return { ...reply, backingId };
    }

    override release(handle: number): void {
      this.released.push(handle);
      // 77 is the channel's.
      if (handle !== 77) super.release(handle);
    }
  }

  /** Mounts a folder with one `file` of 100,000 bytes, which a local one stands behind. */
  async function withBackedFile(
    use: (filesystem: BackedFilesystem, mount: ServedHere) => Promise<void>,
  ): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), "hawser-backing-"));
    writeFileSync(join(folder, "backing"), patternBytes(8, 0, 100_000));
    const fd = openSync(join(folder, "backing"), "r");
    const filesystem = new BackedFilesystem(fd);
    withFile(filesystem, "file", new SparseContent(100_000, 8));
    {
      await using mount = await ServedHere.start(filesystem, { passthrough: true });
      await use(filesystem, mount);
      for (const id of filesystem.ids) filesystem.kernel!.closeBacking(id);
    }
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }

  it("reads and maps the backing file without asking, where the kernel can", async () => {
    await withBackedFile(async (filesystem, mount) => {
      const code = `
f = open(sys.argv[1], "rb")
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
import hashlib
print(hashlib.sha256(f.read()).hexdigest() == hashlib.sha256(m[:]).hexdigest(), m[99999])
`;
      const expected = `True ${patternBytes(8, 99_999, 1)[0]}`;
      expect(await runPython(code, `${mount.path}/file`)).toBe(expected);
      expect(filesystem.ids.length > 0).toBe(mount.settings.passthrough);
      if (mount.settings.passthrough) expect(filesystem.counts["read"]).toBeUndefined();
    });
  });

  it("answers opens for reading by itself, until that is ended", async () => {
    await withBackedFile(async (filesystem, mount) => {
      const path = `${mount.path}/file`;
      const { answeredOpens } = filesystem.kernel!;
      expect(answeredOpens !== undefined).toBe(mount.settings.passthrough);
      if (answeredOpens) {
        const opens = (): number => filesystem.counts["open"] ?? 0;
        const last = `print(open(sys.argv[1], "rb").read()[-1])`;
        const expected = String(patternBytes(8, 99_999, 1)[0]);
        expect(await runPython(last, path)).toBe(expected);
        expect(opens()).toBe(1);
        const nodeId = filesystem.tree.find("/file")!.id;
        const reply = { handle: 77, keepCache: false, directIo: false, noFlush: true };
        answeredOpens.begin(nodeId, { ...reply, backingId: filesystem.ids[0]! });
        expect(answeredOpens.use(nodeId)).toBe("unused");
        for (let i = 0; i < 3; i++) expect(await runPython(last, path)).toBe(expected);
        expect(opens()).toBe(1);
        await vi.waitFor(() => expect(answeredOpens.counts()).toEqual({ open: 0, total: 3 }));
        expect([answeredOpens.use(nodeId), answeredOpens.use(nodeId)]).toEqual(["used", "unused"]);
        // Whoever writes, or goes around the page cache, is asked for.
        await runPython(`os.close(os.open(sys.argv[1], os.O_RDWR))`, path);
        await runPython(`os.close(os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT))`, path);
        expect(opens()).toBe(3);
        const holder = python(`f = open(sys.argv[1], "rb"); os.write(1, b"open"); sys.stdin.read()`, path);
        await once(holder.stdout!, "data");
        expect(answeredOpens.use(nodeId)).toBe("open");
        expect(answeredOpens.end(nodeId)).toBe(1);
        expect(answeredOpens.counts()).toEqual({ open: 0, total: 4 });
        expect(filesystem.released).not.toContain(77);
        holder.stdin!.end();
        await vi.waitFor(() => expect(filesystem.released).toContain(77));
        expect(await runPython(last, path)).toBe(expected);
        expect(opens()).toBe(4);
        expect(answeredOpens.end(nodeId)).toBe(0);
      }
    });
  });

  it("is neither offered nor asked for when it is not wished", async () => {
    const filesystem = new MemoryFilesystem();
    await using mount = await ServedHere.start(filesystem, { passthrough: false });
    expect(mount.settings.passthrough).toBe(false);
    expect(filesystem.kernel!.passthrough).toBe(false);
    expect(filesystem.kernel!.openBacking(0)).toBeUndefined();
  });
});

describe("the end", () => {
  it("by an abort is told apart from an unmount where fusectl is there, and rejects nothing", async () => {
    const mount = await ServedHere.start(new MemoryFilesystem());
    await outcome(
      python("import subprocess\nsubprocess.run(['umount', '-f', '-l', sys.argv[1]])", mount.path),
    );
    expect(await mount.channel.ended).toEqual({ reason: "unmounted" });
    await mount[Symbol.asyncDispose]();
  });

  it("while replies are being written by threads", async () => {
    const filesystem = withFile(
      new MemoryFilesystem({ directIo: true }),
      "big",
      new SparseContent(2 ** 32, 1),
    );
    const mount = await ServedHere.start(filesystem);
    const code = `
fd = os.open(sys.argv[1], 0)
page = mmap.mmap(-1, 1 << 20)
print("reading", flush=True)
while os.preadv(fd, [page], 0): pass
`;
    const readers = [1, 2, 3, 4].map(() => python(code, `${mount.path}/big`));
    const ends = readers.map((reader) => outcome(reader));
    await Promise.all(
      readers.map((reader) => new Promise((resolve) => reader.stdout!.once("data", resolve))),
    );
    await mount[Symbol.asyncDispose]();
    for (const end of await Promise.all(ends))
      expect(end.stderr).toMatch(/ENOTCONN|ECONNABORTED|not connected|abort/);
    expect(filesystem.counts["read"]).toBe(filesystem.counts["readReleased"]);
  });
});
