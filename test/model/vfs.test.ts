/**
 * A read-only volume against a plain model, over random histories.
 *
 * The model is the bucket's history. What the volume may answer at a time is what was true at some moment of the
 * metadata's lifetime before it; what was true all that time it must answer.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { HawserError } from "../../src/common/errors.ts";
import { ROOT } from "../../src/vfs/filesystem.ts";
import type { NodeId } from "../../src/vfs/filesystem.ts";
import { caller, READ, settle, Sink, volume } from "../unit/vfs/support.ts";
import type { TestVolume } from "../unit/vfs/support.ts";

const TTL = 1000;
/** Names that sort around a slash, so that files and folders of one name and their neighbours meet on page borders. */
const NAMES = ["a", "a-1", "a.b", "a0", "b", "é", "😀"];
const name = fc.constantFrom(...NAMES);
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));

type Step =
  | { op: "put"; path: string; text: string }
  | { op: "delete"; path: string }
  | { op: "advance"; ms: number }
  | { op: "lookup"; paths: string[] }
  | { op: "list"; path: string; room: number; plus: boolean }
  | { op: "open"; path: string }
  | { op: "read"; pick: number }
  | { op: "close"; pick: number }
  | { op: "opendir"; path: string }
  | { op: "readdir"; pick: number; room: number }
  | { op: "closedir"; pick: number }
  | { op: "forget"; pick: number };

const pick = fc.nat(1000);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant("put"), path, text: fc.constantFrom("1", "22", "333") }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("delete"), path }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("advance"), ms: fc.constantFrom(1, 40, 400, 1100, 6000) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("lookup"),
      paths: fc.array(path, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("list"),
      path,
      room: fc.integer({ min: 1, max: 9 }),
      plus: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("open"), path }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("read"), pick }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("close"), pick }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("opendir"), path }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant("readdir"), pick, room: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("closedir"), pick }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("forget"), pick }) },
) as fc.Arbitrary<Step>;

/** What a path was, from `since` on: a folder, an ETag, or nothing. */
interface Moment {
  since: number;
  objects: Map<string, { etag: string; text: string }>;
}

class Model {
  readonly history: Moment[];
  readonly #volume: TestVolume;

  constructor(volume: TestVolume) {
    this.#volume = volume;
    this.history = [{ since: 0, objects: new Map() }];
  }

  change(key: string, object: { etag: string; text: string } | undefined): void {
    const objects = new Map(this.history.at(-1)!.objects);
    if (object) objects.set(key, object);
    else objects.delete(key);
    this.history.push({ since: this.#volume.clock.monotonic(), objects });
  }

  /** The bucket's states of the last lifetime, and of `sinceMs` if that is longer ago. */
  window(since = this.#volume.clock.monotonic() - TTL): Moment[] {
    const from = Math.min(since, this.#volume.clock.monotonic() - TTL);
    return this.history.filter((_, i) => (this.history[i + 1]?.since ?? Infinity) >= from);
  }

  /** What a path is in one state. */
  static what(moment: Moment, path: string): string {
    if ([...moment.objects.keys()].some((key) => key.startsWith(`${path}/`))) return "folder";
    return moment.objects.get(path)?.etag ?? "none";
  }

  whats(path: string): string[] {
    return [...new Set(this.window().map((moment) => Model.what(moment, path)))];
  }
}

interface OpenFolder {
  handle: number;
  path: string;
  since: number;
  offset: number;
  seen: string[];
  ended: boolean;
}

class Run {
  readonly volume: TestVolume;
  readonly model: Model;
  readonly lookups = new Map<NodeId, number>();
  readonly inos = new Map<string, number>();
  readonly versions = new Map<NodeId, string>();
  readonly files: { handle: number; etag: string; text: string }[] = [];
  readonly folders: OpenFolder[] = [];

  constructor(pageKeys: number) {
    this.volume = volume({}, { metadataTtlMs: TTL, staleForMs: 0 });
    this.volume.bucket.pageKeys = pageKeys;
    this.model = new Model(this.volume);
  }

  /** A node id stands for one version of one path, an inode number for one path. */
  meet(path: string, nodeId: NodeId, ino: number, version: string): void {
    this.lookups.set(nodeId, (this.lookups.get(nodeId) ?? 0) + 1);
    assert.equal(this.inos.get(path) ?? ino, ino);
    this.inos.set(path, ino);
    const identity = `${path} ${version}`;
    assert.equal(this.versions.get(nodeId) ?? identity, identity);
    this.versions.set(nodeId, identity);
  }

  version(nodeId: NodeId, type: string): string {
    if (type === "directory") return "folder";
    return Buffer.from(this.volume.fs.getxattr(nodeId, "user.hawser.etag", caller())).toString();
  }

  /** Resolves a path. @returns 0 where a name on the way is missing or no folder */
  async resolve(path: string): Promise<NodeId> {
    let at: NodeId = ROOT;
    let walked = "";
    for (const name of path.split("/")) {
      walked = walked === "" ? name : `${walked}/${name}`;
      let entry;
      try {
        entry = await this.volume.fs.lookup(at, name, caller());
      } catch (error) {
        if (HawserError.is(error, "not_a_directory", "stale")) return 0;
        throw error;
      }
      if (entry.nodeId === 0) {
        // A folder on the way may have gone since it was believed in; then its names say nothing.
        if (walked === name || this.model.whats(parentOf(walked)).every((what) => what === "folder")) {
          assert.ok(this.model.whats(walked).includes("none"), `${walked} is there`);
        }
        return 0;
      }
      const version = this.version(entry.nodeId, entry.attributes.type);
      assert.ok(this.model.whats(walked).includes(version), `${walked} was never ${version}`);
      assert.ok(entry.entryTtlMs <= TTL);
      this.meet(walked, entry.nodeId, entry.attributes.ino, version);
      at = entry.nodeId;
    }
    return at;
  }

  async readPage(folder: OpenFolder, sink: Sink): Promise<void> {
    await this.volume.fs.readdir(folder.handle, folder.offset, sink, caller());
    if (sink.entries.length === 0) folder.ended = true;
    for (const entry of sink.entries) {
      folder.offset = entry.offset;
      if (entry.name === "." || entry.name === "..") continue;
      const path = folder.path === "" ? entry.name : `${folder.path}/${entry.name}`;
      const whats = this.model.window(folder.since - TTL).map((moment) => Model.what(moment, path));
      // A folder that became a file is another entry.
      if (!whats.includes("folder")) assert.ok(!folder.seen.includes(entry.name), `${path} was told twice`);
      folder.seen.push(entry.name);
      assert.ok(
        whats.some((what) => what !== "none"),
        `${path} was never there`,
      );
      if (entry.nodeId) this.meet(path, entry.nodeId, entry.ino, this.version(entry.nodeId, entry.type));
    }
    if (folder.ended) this.checkWhole(folder);
  }

  /** A name that was there all the time, in a folder that was, must have been told. */
  checkWhole(folder: OpenFolder): void {
    const moments = this.model.window(folder.since - TTL);
    if (folder.path !== "" && moments.some((moment) => Model.what(moment, folder.path) !== "folder")) return;
    for (const name of NAMES) {
      const path = folder.path === "" ? name : `${folder.path}/${name}`;
      const always = moments.every((moment) => Model.what(moment, path) !== "none");
      if (always) assert.ok(folder.seen.includes(name), `${path} was not told`);
    }
  }

  async openFolder(path: string): Promise<OpenFolder | undefined> {
    const nodeId = path === "" ? ROOT : await this.resolve(path);
    if (nodeId === 0) return undefined;
    try {
      const { handle } = this.volume.fs.opendir(nodeId, caller());
      return { handle, path, since: this.volume.clock.monotonic(), offset: 0, seen: [], ended: false };
    } catch (error) {
      if (HawserError.is(error, "not_a_directory", "stale")) return undefined;
      throw error;
    }
  }

  async apply(step: Step): Promise<void> {
    const { fs, bucket, clock } = this.volume;
    switch (step.op) {
      case "put": {
        const { etag } = await bucket.put(step.path, Buffer.from(step.text));
        return this.model.change(step.path, { etag, text: step.text });
      }
      case "delete":
        await bucket.delete(step.path);
        return this.model.change(step.path, undefined);
      case "advance":
        clock.advance(step.ms);
        return settle();
      case "lookup":
        await Promise.all(step.paths.map((path) => this.resolve(path)));
        return undefined;
      case "list": {
        const folder = await this.openFolder(step.path === "b" ? "" : step.path);
        if (!folder) return undefined;
        while (!folder.ended) await this.readPage(folder, new Sink(step.plus, step.room));
        return fs.releasedir(folder.handle);
      }
      case "open": {
        const nodeId = await this.resolve(step.path);
        if (nodeId === 0) return undefined;
        const version = this.versions.get(nodeId)!.split(" ")[1]!;
        if (version === "folder") return undefined;
        try {
          const { handle } = await fs.open(nodeId, READ, caller());
          const text = this.model.history
            .map((moment) => moment.objects.get(step.path))
            .find((object) => object?.etag === version)!.text;
          this.files.push({ handle, etag: version, text });
        } catch (error) {
          if (!HawserError.is(error, "stale")) throw error;
        }
        return undefined;
      }
      case "read": {
        const file = this.files[step.pick % this.files.length];
        if (!file) return undefined;
        try {
          const reply = await fs.read(file.handle, 0, 100, caller());
          assert.equal(Buffer.concat(reply.chunks).toString(), file.text);
        } catch (error) {
          if (!HawserError.is(error, "stale")) throw error;
        }
        return undefined;
      }
      case "close": {
        const [file] = this.files.splice(step.pick % Math.max(1, this.files.length), 1);
        if (file) fs.release(file.handle);
        return undefined;
      }
      case "opendir": {
        const folder = await this.openFolder(step.path === "b" ? "" : step.path);
        if (folder) this.folders.push(folder);
        return undefined;
      }
      case "readdir": {
        const folder = this.folders[step.pick % this.folders.length];
        if (folder && !folder.ended) await this.readPage(folder, new Sink(true, step.room));
        return undefined;
      }
      case "closedir": {
        const [folder] = this.folders.splice(step.pick % Math.max(1, this.folders.length), 1);
        if (folder) fs.releasedir(folder.handle);
        return undefined;
      }
      case "forget": {
        const [nodeId, count] = [...this.lookups][step.pick % Math.max(1, this.lookups.size)] ?? [0, 0];
        fs.forget(nodeId, count);
        this.lookups.delete(nodeId);
        return undefined;
      }
    }
  }

  /** After everything is closed and forgotten, time takes the rest. */
  async end(): Promise<void> {
    const { fs, clock, content } = this.volume;
    for (const file of this.files) fs.release(file.handle);
    for (const folder of this.folders) fs.releasedir(folder.handle);
    for (const [nodeId, count] of this.lookups) fs.forget(nodeId, count);
    await settle();
    for (let i = 0; i < 6; i++) clock.advance(6000);
    const { entries, openFiles, openFolders, replacedVersions } = fs.counts();
    assert.deepEqual([entries, openFiles, openFolders, replacedVersions], [1, 0, 0, 0]);
    assert.equal(content.open_, 0);
    await fs.close();
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

test("R12 a volume answers what the bucket's last minute allows, over random histories", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.array(step, { maxLength: 120, size: "max" }),
      async (pageKeys, steps) => {
        const run = new Run(pageKeys);
        for (const step of steps) await run.apply(step);
        await run.end();
      },
    ),
    { numRuns: 80, endOnFailure: true, interruptAfterTimeLimit: 60_000 },
  );
}, 120_000);
