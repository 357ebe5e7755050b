/** A signal kills a writer: what it wrote from scratch is torn, what it continued is not. */
import { expect, test } from "vitest";
import { ROOT } from "../../../src/vfs/filesystem.ts";
import { isSignaled } from "../../../src/vfs/killed-writer.ts";
import { caller } from "./support.ts";
import { KEEP, open, cat, objects, TRUNCATE, writable, WRITE } from "./writable-support.ts";

test("a killed writer's torn rewrite does not replace the object", async () => {
  const volume = await writable({ a: "old" });
  const { fs, bucket, writeBack, killed, kernel } = volume;
  const { handle } = await open(volume, "a", TRUNCATE, 77);
  await fs.write(handle, 0, Buffer.from("ne"), KEEP, caller());
  killed.add(77);
  await fs.flush(handle, 0n, { ...caller(), pid: 77 });
  await fs.release(handle);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "old" });
  expect(kernel.forgotten).toEqual(["1 a"]);
  expect(await cat(fs, "a")).toBe("old");
});

test("a killed writer is gone before its close is done, and its torn rewrite does not replace the object", async () => {
  const volume = await writable({ a: "old" });
  const { fs, bucket, writeBack, killed } = volume;
  const { handle } = await open(volume, "a", TRUNCATE, 77);
  await fs.write(handle, 0, Buffer.from("ne"), KEEP, caller());
  const staged = writeBack.find("a")!;
  let note = (): void => undefined;
  const noted = new Promise<void>((resolve) => (note = resolve));
  staged.tear = async () => {
    await noted;
    staged.torn = true;
  };
  killed.add(77);
  const flushed = fs.flush(handle, 0n, { ...caller(), pid: 77 });
  // Its close was answered, because SIGKILL was pending.
  killed.delete(77);
  const released = fs.release(handle);
  await new Promise((turn) => setImmediate(turn));
  note();
  await Promise.all([flushed, released]);
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ a: "old" });
  expect(await cat(fs, "a")).toBe("old");
});

test("a killed writer's new or continued file is published as far as it was written", async () => {
  const volume = await writable({ log: "1\n" });
  const { fs, bucket, writeBack, killed } = volume;
  killed.add(77);
  const { handle } = await open(volume, "log", { ...WRITE, append: true }, 77);
  await fs.write(handle, 2, Buffer.from("2\n"), KEEP, caller());
  const { open: created } = await fs.create(ROOT, "new", 0o644, WRITE, { ...caller(), pid: 77 });
  await fs.write(created.handle, 0, Buffer.from("x"), KEEP, caller());
  for (const it of [handle, created.handle]) {
    await fs.flush(it, 0n, { ...caller(), pid: 77 });
    await fs.release(it);
  }
  await writeBack.drain();
  expect(await objects(bucket)).toEqual({ log: "1\n2\n", new: "x" });
});

test.each([
  ["1 (a) S 1 1 1 0 -1 4194304 1", false],
  ["1 (a) S 1 1 1 0 -1 1024 1", true],
  ["1 (we ) ird) S 1 1 1 0 -1 4195328 1", true],
  ["", false],
])("the flags of /proc/PID/stat %j say %s", (text, killed) => {
  expect(isSignaled(text)).toBe(killed);
});
