import { describe, expect, it } from "vitest";
import type { Caller, ReadReply } from "../../src/vfs/filesystem.ts";
import { MemoryFilesystem } from "../support/memory-filesystem.ts";
import { SparseContent } from "../support/sparse-content.ts";
import { outcome, python, runPython, ServedHere, signalOnce } from "./serve-here.ts";

/** Reads of `stuck` never settle, whatever happens to their caller. */
class StuckFilesystem extends MemoryFilesystem {
  readonly stuck = signalOnce<Caller>();
  readonly late = signalOnce<ReadReply>();
  released = 0;

  constructor() {
    super({ directIo: true });
    this.tree.add(this.tree.root, "stuck", { type: "file", content: new SparseContent(4096, 1) });
    this.tree.add(this.tree.root, "fine", { type: "file", content: new SparseContent(4096, 2) });
  }

  override read(id: number, offset: number, length: number, caller: Caller): ReadReply | Promise<ReadReply> {
    const reply = super.read(id, offset, length, caller) as ReadReply;
    if (reply.chunks[0]![0] !== new SparseContent(1, 1).read(0, 1)[0]![0]) return reply;
    this.stuck.fire(caller);
    return this.late.promise;
  }
}

const READ = "os.read(os.open(sys.argv[1], os.O_RDONLY), 4096)\n";

describe("a reader whose read is never answered", () => {
  it("is gone after kill -9", async () => {
    const filesystem = new StuckFilesystem();
    await using mount = await ServedHere.start(filesystem);
    const reader = python(READ, `${mount.path}/stuck`);
    await filesystem.stuck.promise;
    reader.kill("SIGKILL");
    expect((await outcome(reader)).signal).toBe("SIGKILL");
  });

  it("is gone after kill -9 also when a SIGALRM came first", async () => {
    const filesystem = new StuckFilesystem();
    await using mount = await ServedHere.start(filesystem);
    const reader = python(`signal.signal(signal.SIGALRM, lambda *_: None)\n${READ}`, `${mount.path}/stuck`);
    const { signal } = await filesystem.stuck.promise;
    reader.kill("SIGALRM");
    // The alarm's INTERRUPT has been looked at by the time another read was answered by another process.
    await runPython(READ, `${mount.path}/fine`);
    expect(signal.aborted).toBe(false);
    reader.kill("SIGKILL");
    expect((await outcome(reader)).signal).toBe("SIGKILL");
    expect(signal.aborted).toBe(true);
  });

  it("has its late answer released", async () => {
    const filesystem = new StuckFilesystem();
    await using mount = await ServedHere.start(filesystem);
    const reader = python(READ, `${mount.path}/stuck`);
    await filesystem.stuck.promise;
    reader.kill("SIGKILL");
    await outcome(reader);
    const released = signalOnce();
    filesystem.late.fire({ chunks: [new Uint8Array(10)], lengthBytes: 10, release: () => released.fire() });
    await released.promise;
  });
});

it("a signal with a handler does not end a read", async () => {
  const filesystem = new StuckFilesystem();
  await using mount = await ServedHere.start(filesystem);
  const code = `
def handler(*_):
    print("alarm", flush=True)
signal.signal(signal.SIGALRM, handler)
data = os.read(os.open(sys.argv[1], os.O_RDONLY), 4096)
print(len(data))
`;
  const reader = python(code, `${mount.path}/stuck`);
  const ended = outcome(reader);
  await filesystem.stuck.promise;
  reader.kill("SIGALRM");
  await runPython(READ, `${mount.path}/fine`);
  filesystem.late.fire({ chunks: [new Uint8Array(10)], lengthBytes: 10, release() {} });
  // Python runs the handler once the system call returns, with its data.
  expect((await ended).stdout.split("\n")).toEqual(["alarm", "10", ""]);
});
