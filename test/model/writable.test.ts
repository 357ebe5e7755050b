/**
 * A writable volume against a plain model of a file system, over random histories.
 *
 * The model is a tree of nodes with bytes, as POSIX has it; the volume must show the same names, bytes and errors at
 * every step, whatever write-back has done of its work and however old the listings are. At the end, when all is done,
 * the bucket holds just the model's files, and a new volume over it shows the same tree.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { HawserError } from "../../src/common/errors.ts";
import { ROOT } from "../../src/vfs/filesystem.ts";
import { caller, READ, resolve, settle, walk } from "../unit/vfs/support.ts";
import {
  mkdir,
  mv,
  objects,
  READ_WRITE,
  rm,
  rmdir,
  TRUNCATE,
  writable,
} from "../unit/vfs/writable-support.ts";
import type { WritableVolume } from "../unit/vfs/writable-support.ts";
import { PosixModel } from "../support/posix-model.ts";

const TTL = 1000;
const name = fc.constantFrom("a", "a-1", "b", "c");
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));
const pick = fc.nat(1000);
const text = fc.constantFrom("1", "22", "333", "");

type Step =
  | { op: "create" | "rewrite"; path: string; text: string }
  | { op: "mkdir" | "rmdir" | "unlink"; path: string }
  | { op: "rename" | "exchange"; path: string; to: string }
  | { op: "truncate"; path: string; size: number }
  | { op: "open"; path: string }
  | { op: "write"; pick: number; offset: number; text: string }
  | { op: "read" | "close"; pick: number }
  | { op: "symlink"; path: string; text: string }
  | { op: "drain"; pick: number }
  | { op: "advance"; ms: number }
  | { op: "look" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ op: fc.constantFrom("create", "rewrite"), path, text }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constantFrom("mkdir", "rmdir", "unlink"), path }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant("rename"), path, to: path }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("exchange"), path, to: path }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("truncate"), path, size: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("symlink"), path, text }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("open"), path }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("write"), pick, offset: fc.nat(3), text }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constantFrom("read", "close"), pick }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("drain"), pick: fc.nat(4) }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("advance"), ms: fc.constantFrom(1, 400, 1100, 6000) }),
  },
  { weight: 4, arbitrary: fc.constant({ op: "look" }) },
) as fc.Arbitrary<Step>;

interface Open {
  handle: number;
  node: { bytes: Buffer };
}

class Run {
  readonly volume: WritableVolume;
  readonly model = new PosixModel();
  readonly opens: Open[] = [];

  constructor(volume: WritableVolume) {
    this.volume = volume;
  }

  /** The same on both sides: what it returns, or the code it fails with. */
  async both<T>(real: () => Promise<T>, model: () => unknown): Promise<T | undefined> {
    let wanted: string | undefined;
    try {
      model();
    } catch (error) {
      wanted = (error as HawserError).code;
    }
    try {
      const value = await real();
      assert.equal(wanted, undefined, "it should have failed");
      return value;
    } catch (error) {
      if (!HawserError.is(error)) throw error;
      assert.equal(error.code, wanted);
      return undefined;
    }
  }

  async take(step: Step): Promise<void> {
    const { fs, writeBack, clock } = this.volume;
    const { model } = this;
    switch (step.op) {
      case "create":
      case "rewrite": {
        const exclusive = step.op === "create";
        await this.both(
          () => this.create(step.path, step.text, exclusive),
          () => model.write(step.path, step.text, exclusive),
        );
        return;
      }
      case "mkdir":
        return void (await this.both(
          () => mkdirAt(this.volume, step.path),
          () => model.mkdir(step.path),
        ));
      case "rmdir":
        return void (await this.both(
          () => checked(step.path, () => rmdir(fs, step.path), this),
          () => model.rmdir(step.path),
        ));
      case "unlink":
        return void (await this.both(
          () => checked(step.path, () => rm(fs, step.path), this),
          () => model.unlink(step.path),
        ));
      case "rename":
      case "exchange": {
        const flags = { noReplace: false, exchange: step.op === "exchange" };
        const move = (): Promise<void> =>
          checked(step.path, () => checked(step.to, () => mv(fs, step.path, step.to, flags), this), this);
        await this.both(move, () => model.rename(step.path, step.to, flags.exchange));
        return;
      }
      case "truncate": {
        const node = model.find(step.path);
        if (!node || node.kind !== "file") return;
        const { nodeId } = await resolve(fs, step.path);
        await fs.setattr(nodeId, { sizeBytes: step.size }, caller());
        node.bytes = resized(node.bytes, step.size);
        return;
      }
      case "symlink":
        if (step.text === "") return;
        await this.both(
          async () => {
            const at = await parentOf(this.volume, step.path);
            await fs.symlink(at.parent, at.name, step.text, caller());
          },
          () => model.symlink(step.path, step.text),
        );
        return;
      case "open": {
        const node = model.find(step.path);
        if (!node || node.kind !== "file") return;
        const { nodeId } = await resolve(fs, step.path);
        this.opens.push({ handle: (await fs.open(nodeId, READ_WRITE, caller())).handle, node });
        return;
      }
      case "write": {
        const open = this.opens[step.pick % (this.opens.length || 1)];
        if (!open || step.text === "") return;
        const bytes = Buffer.from(step.text);
        await fs.write(open.handle, step.offset, bytes, { killSuidGid: false }, caller());
        open.node.bytes = resized(
          open.node.bytes,
          Math.max(open.node.bytes.length, step.offset + bytes.length),
        );
        bytes.copy(open.node.bytes, step.offset);
        return;
      }
      case "read": {
        const open = this.opens[step.pick % (this.opens.length || 1)];
        if (!open) return;
        const reply = await fs.read(open.handle, 0, 100, caller());
        assert.equal(Buffer.concat(reply.chunks).toString("latin1"), open.node.bytes.toString("latin1"));
        reply.release();
        return;
      }
      case "close": {
        const [open] = this.opens.splice(step.pick % (this.opens.length || 1), 1);
        if (open) await fs.release(open.handle);
        return;
      }
      case "drain":
        for (let left = step.pick; left > 0 && writeBack.work.length > 0; left--)
          await writeBack.work.shift()!();
        return;
      case "advance":
        clock.advance(step.ms);
        await settle();
        return;
      case "look":
        await this.compare(this.volume);
    }
  }

  async create(path: string, content: string, exclusive: boolean): Promise<void> {
    const { fs } = this.volume;
    const { parent, name } = await parentOf(this.volume, path);
    const flags = { ...TRUNCATE, exclusive };
    const { open } = await fs.create(parent, name, 0o644, flags, caller());
    if (content !== "")
      await fs.write(open.handle, 0, Buffer.from(content), { killSuidGid: false }, caller());
    await fs.flush(open.handle, 0n, caller());
    await fs.release(open.handle);
  }

  async compare({ fs }: WritableVolume): Promise<void> {
    assert.deepEqual(await walk(fs), this.model.paths());
    for (const [path, node] of this.model.files()) {
      const { nodeId, attributes } = await resolve(fs, path);
      assert.equal(attributes.type, node.kind, path);
      if (node.kind === "symlink") {
        assert.equal(await fs.readlink(nodeId, caller()), node.bytes.toString());
        continue;
      }
      const { handle } = await fs.open(nodeId, READ, caller());
      const reply = await fs.read(handle, 0, 100, caller());
      assert.equal(Buffer.concat(reply.chunks).toString("latin1"), node.bytes.toString("latin1"), path);
      reply.release();
      await fs.release(handle);
      const now = await fs.getattr(nodeId, undefined, caller());
      assert.equal(now.attributes.sizeBytes, node.bytes.length, path);
    }
  }

  async end(): Promise<void> {
    const { fs, bucket, writeBack, clock } = this.volume;
    for (const { handle } of this.opens.splice(0)) await fs.release(handle);
    await settle();
    // Empty folders get their markers; then nothing is owed.
    clock.advance(6000);
    await settle();
    await writeBack.drain();
    await this.compare(this.volume);
    const wanted = Object.fromEntries(
      [...this.model.files()].map(([path, node]) => [path, node.bytes.toString("latin1")]),
    );
    const found = Object.entries(await objects(bucket)).filter(([key]) => !key.endsWith("/"));
    assert.deepEqual(Object.fromEntries(found), wanted);
    const again = await writable({}, { metadataTtlMs: TTL });
    for (const [key, value] of Object.entries(await objects(bucket)))
      again.bucket.seed(key, value, { metadata: (await bucket.head(key)).metadata });
    await this.compare(again);
    await fs.close();
  }
}

function resized(bytes: Buffer, size: number): Buffer {
  const result = Buffer.alloc(size);
  bytes.copy(result);
  return result;
}

async function parentOf({ fs }: WritableVolume, path: string): Promise<{ parent: number; name: string }> {
  const at = path.lastIndexOf("/");
  if (at < 0) return { parent: ROOT, name: path };
  let parent = ROOT;
  for (const part of path.slice(0, at).split("/")) {
    const entry = await fs.lookup(parent, part, caller());
    if (entry.nodeId === 0) throw new HawserError("not_found", path);
    if (entry.attributes.type !== "directory") throw new HawserError("not_a_directory", path);
    parent = entry.nodeId;
  }
  return { parent, name: path.slice(at + 1) };
}

async function mkdirAt(volume: WritableVolume, path: string): Promise<void> {
  await parentOf(volume, path);
  await mkdir(volume.fs, path);
}

/** What the kernel finds out on its way down the path comes first. */
async function checked(path: string, action: () => Promise<void>, run: Run): Promise<void> {
  await parentOf(run.volume, path);
  await action();
}

for (const passthrough of [false, true]) {
  test(`a writable volume is a file system, over random histories (passthrough: ${passthrough})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), async (steps) => {
        const run = new Run(await writable({}, { metadataTtlMs: TTL, passthrough }));
        for (const each of steps) await run.take(each);
        await run.end();
      }),
      { numRuns: 150 },
    );
  });
}
