/** What one process leaves and the next takes up. */
import {
  appendFile,
  mkdir,
  readFile,
  readdir,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { Journal } from "../../../src/writeback/journal.ts";
import { dropRecovered, listRecovered, restoreRecovered } from "../../../src/writeback/recovered.ts";
import { Harness, PART, bytesOf } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

/** Of the staged files. */
async function localPaths(): Promise<string[]> {
  const entries = await readdir(join(h.folder, "files"), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
}

const recovered = () => listRecovered(join(h.folder, "recovered"));

describe("a restart", () => {
  test("shows what is pending, and publishes it", async () => {
    await h.write("a", "content");
    await h.crashAndOpen();
    const [restored] = [...h.wb.restored()];
    expect(restored).toMatchObject({
      file: { key: "a" },
      base: { kind: "absent" },
      meta: { contentType: "text/plain" },
    });
    await h.wb.flush();
    expect(h.text("a")).toBe("content");
  });

  test("shows removes, moves and marks that are not done", async () => {
    h.store.faults.fail({ error: new HawserError("endpoint_unreachable", "down"), times: Infinity });
    const version = { key: "m", etag: "e", sizeBytes: 1, mtimeMs: 0 };
    await h.wb.remove({ key: "r" });
    await h.wb.move(version, "n");
    await h.wb.mark("f/", {});
    await h.crashAndOpen();
    expect([...h.wb.restoredItems()]).toEqual([
      { kind: "remove", key: "r" },
      { kind: "move", version, toKey: "n" },
      { kind: "mark", key: "f/", meta: {} },
    ]);
  });

  test("shows nothing of what was done before anybody asked, and a copy that was made as made", async () => {
    for (const key of ["m", "kept", "gone"]) h.store.seed(key, key);
    const versions = [await h.version("m"), await h.version("kept")];
    const up = h.store.faults.fail({
      error: new HawserError("endpoint_unreachable", "down"),
      times: Infinity,
    });
    await h.wb.move(versions[0]!, "n");
    await h.wb.move(versions[1]!, "copied");
    await h.wb.remove({ key: "gone" });
    await h.write("file", "content");
    await h.wb.close();
    up();
    h.store.faults.hang({ method: "delete", key: "kept" });
    await h.open();
    await h.until(() => h.wb.status().items === 1 && h.wb.status().files.length === 0);
    const { etag } = await h.version("copied");
    const left = [...h.wb.restoredItems()];
    expect(left).toMatchObject([{ kind: "move", toKey: "copied", copied: { etag } }]);
    expect([...h.wb.restored()]).toEqual([]);
    h.store.faults.heal();
  });

  test("tells of what began before anybody listened", async () => {
    for (const key of ["m", "chmod"]) h.store.seed(key, key);
    const goOn = h.store.faults.hang({ method: "copy" });
    await h.wb.move(await h.version("m"), "n");
    await h.wb.replaceMeta(await h.version("chmod"), { metadata: { mode: "33152" } });
    await h.wb.close();
    const asked = h.store.faults.hits.length;
    // Before anybody can listen both copies have been asked for.
    const listened = h.open();
    await h.until(() => h.store.faults.hits.length >= asked + 2);
    await listened;
    goOn();
    await h.until(() => h.wb.status().items === 0);
    expect(Object.fromEntries(h.told.copied)).toEqual({ m: "n", chmod: "chmod" });
  });

  test("goes on with a multipart from the parts that are there", async () => {
    const content = bytesOf(4 * PART);
    h.store.faults.fail({
      method: "uploadPart",
      nth: 3,
      times: Infinity,
      error: new HawserError("slow_down", "no"),
    });
    await h.write("big", content);
    await h.until(() => h.logs.some((line) => line.includes("tried again")));
    h.store.faults.heal();
    const before = h.count("uploadPart");
    await h.crashAndOpen();
    await h.wb.flush();
    expect(Buffer.compare(h.store.peek("big")!, content)).toBe(0);
    expect(before).toBeGreaterThanOrEqual(2);
    expect(h.count("uploadPart")).toBe(4);
    expect(h.count("createMultipart")).toBe(1);
  });

  test("finds that an upload whose answer was lost has succeeded", async () => {
    const content = bytesOf(2 * PART);
    h.store.faults.fail({ method: "completeMultipart", errorAfter: new HawserError("timed_out", "lost") });
    h.store.faults.fail({ method: "head", times: Infinity, error: new HawserError("timed_out", "down") });
    await h.write("big", content);
    await h.until(() => h.logs.some((line) => line.includes("tried again")));
    h.store.faults.heal();
    await h.crashAndOpen();
    await h.wb.flush();
    expect(h.count("createMultipart")).toBe(1);
    expect(h.told.conflicts).toEqual([]);
    expect(Buffer.compare(h.store.peek("big")!, content)).toBe(0);
  });

  test("keeps what was never closed out of the bucket", async () => {
    const file = await h.openNew("a");
    await file.write(0, Buffer.from("half"));
    await h.crashAndOpen();
    await h.wb.flush();
    expect(h.store.keys()).toEqual([]);
    const [kept] = await recovered();
    expect(kept).toMatchObject({ key: "a", reason: "never_closed", sizeBytes: 4, missing: [] });
    expect(await readFile(kept!.path, "utf8")).toBe("half");
  });

  test("after a power loss publishes what was synced and nothing else", async () => {
    h.store.faults.fail({
      method: "put",
      times: Infinity,
      error: new HawserError("endpoint_unreachable", "down"),
    });
    await h.write("synced", "content");
    const closedMs = h.clock.now();
    await h.until(() => h.wb.status().syncedAtMs > closedMs, 1000);
    await h.write("late", "content");
    await h.wb.close();
    h.store.faults.heal();
    await h.open({ bootId: "boot-2" });
    await h.wb.flush();
    expect(h.store.keys()).toEqual(["synced"]);
    expect((await recovered()).map(({ reason }) => reason)).toEqual(["power_loss"]);
  });

  test("after a power loss fetches again what was fetched and never synced", async () => {
    const { etag } = await h.store.put("a", Buffer.from("the base version"));
    const version = await h.version("a");
    const meta = {};
    await h.wb.close();
    const { journal } = await Journal.open(join(h.folder, "journal"), "boot-1", () => undefined);
    const stamp = { size: 16, mtime: 1_000_000 };
    const base = { kind: "version", etag } as const;
    journal.add({ t: "stage", id: 9, uuid: "v.s.9", key: "a", base, overlay: version, meta, at: 0 });
    journal.add({ t: "local", id: 9, ranges: [[0, 3]] });
    journal.add({ t: "flush", id: 9, ...stamp }, { t: "seal", id: 9, n: 1, seq: 1, ...stamp });
    journal.add({ t: "synced", id: 9, ...stamp }, { t: "fetched", id: 9, ranges: [[3, 16]] });
    await journal.close();
    // What was synced is there; of what was fetched nothing had reached the disk.
    await mkdir(join(h.folder, "files/9"), { recursive: true });
    await writeFile(join(h.folder, "files/9/9"), Buffer.concat([Buffer.from("THE"), Buffer.alloc(13)]));
    await utimes(join(h.folder, "files/9/9"), stamp.mtime / 1000, stamp.mtime / 1000);
    await h.open({ bootId: "boot-2" });
    await h.wb.flush();
    expect(h.text("a")).toBe("THE base version");
    expect(await recovered()).toEqual([]);
  });

  describe("after a power loss, with fsync: local,", () => {
    /** An overlay of `the base version`, "THE" written and fsynced. */
    async function fsynced() {
      h.store.seed("a", "the base version");
      await h.wb.close();
      await h.open({ options: { fsync: "local" } });
      h.store.faults.fail({
        method: "put",
        times: Infinity,
        error: new HawserError("endpoint_unreachable", "down"),
      });
      const file = await h.overlay("a");
      await file.write(0, Buffer.from("THE"));
      await file.fsync();
      return file;
    }

    async function powerLoss(): Promise<void> {
      await h.wb.close();
      h.store.faults.heal();
      await h.open({ bootId: "boot-2", options: { fsync: "local" } });
      await h.wb.flush();
    }

    test("what was written after an fsync and never synced is the base's again", async () => {
      const file = await fsynced();
      await file.write(4, Buffer.from("BASE"));
      await h.wb.close();
      // Nothing of it had reached the disk.
      const [path] = await localPaths();
      const bytes = await readFile(path!);
      bytes.fill(0, 3);
      const { atime, mtime } = await stat(path!);
      await writeFile(path!, bytes);
      await utimes(path!, atime, mtime);
      await powerLoss();
      expect([h.text("a"), await recovered()]).toEqual(["THE base version", []]);
    });

    test("what was changed and closed after an fsync is synced within seconds, and whole then", async () => {
      const file = await fsynced();
      await file.write(4, Buffer.from("BASE"));
      await h.closeFile(file);
      const closedMs = h.clock.now();
      await h.until(() => h.wb.status().syncedAtMs > closedMs, 1000);
      await powerLoss();
      expect([h.text("a"), await recovered()]).toEqual(["THE BASE version", []]);
    });

    test("what was changed, closed and not synced since is recovered: it may be torn", async () => {
      const file = await fsynced();
      await file.write(4, Buffer.from("BASE"));
      await h.closeFile(file);
      await h.until(() => h.wb.find("a")!.state !== "closed", 1);
      await powerLoss();
      expect(h.text("a")).toBe("the base version");
      expect(await recovered()).toMatchObject([{ reason: "power_loss" }]);
    });

    test("what was only dated after the fsync is whole", async () => {
      const file = await fsynced();
      await file.setTimes(1_000_000);
      await h.closeFile(file);
      await h.until(() => h.wb.find("a")!.state !== "closed", 1);
      await powerLoss();
      expect([h.text("a"), await recovered()]).toEqual(["THE base version", []]);
    });
  });

  test("after a power loss keeps a file whose fetched bytes are gone from the bucket as well", async () => {
    const { etag } = await h.store.put("a", Buffer.from("the base version"));
    const version = await h.version("a");
    await h.wb.close();
    const { journal } = await Journal.open(join(h.folder, "journal"), "boot-1", () => undefined);
    const stamp = { size: 16, mtime: 1_000_000 };
    const base = { kind: "version", etag } as const;
    journal.add({ t: "stage", id: 9, uuid: "v.s.9", key: "a", base, overlay: version, meta: {}, at: 0 });
    journal.add({ t: "local", id: 9, ranges: [[0, 3]] });
    journal.add({ t: "flush", id: 9, ...stamp }, { t: "seal", id: 9, n: 1, seq: 1, ...stamp });
    journal.add({ t: "synced", id: 9, ...stamp }, { t: "fetched", id: 9, ranges: [[3, 16]] });
    await journal.close();
    await mkdir(join(h.folder, "files/9"), { recursive: true });
    await writeFile(join(h.folder, "files/9/9"), Buffer.concat([Buffer.from("THE"), Buffer.alloc(13)]));
    await h.store.put("a", Buffer.from("somebody else's"));
    await h.open({ bootId: "boot-2" });
    await expect(h.wb.flush()).rejects.toMatchObject({ code: "object_changed" });
    expect(h.text("a")).toBe("somebody else's");
    expect(await recovered()).toMatchObject([{ reason: "conflict", missing: [[3, 16]] }]);
  });

  test("removes local files that no record tells of", async () => {
    await h.wb.close();
    await writeFile(join(h.folder, "files/7/7"), "left");
    await h.open();
    expect(await readdir(join(h.folder, "files/7"))).toEqual([]);
  });

  test("says which files are missing", async () => {
    h.store.faults.fail({ method: "put", times: Infinity, error: new HawserError("slow_down", "no") });
    await h.write("a", "content");
    await h.wb.close();
    await rm(join(h.folder, "files/1/1"));
    await h.open();
    expect(h.logs.join("")).toContain("is missing from the staging folder");
    expect(h.wb.find("a")).toBeUndefined();
  });

  test("leaves a file that is open in a process that lives on as it is", async () => {
    const file = await h.openNew("a");
    await file.write(0, Buffer.from("half"));
    await h.crashAndOpen({ connection: "kept" });
    const [restored] = [...h.wb.restored()];
    await restored!.file.openForWrite();
    await restored!.file.write(4, Buffer.from(" and more"));
    await h.closeFile(restored!.file);
    await h.wb.flush();
    expect(h.text("a")).toBe("half and more");
  });

  test("takes an object away that appeared under a name its file had left", async () => {
    h.store.faults.hang({ method: "put" });
    const file = await h.write("old", "content");
    await h.until(() => h.store.faults.hits.length === 1);
    await h.wb.rekey([{ file, key: "new", base: { kind: "absent" } }]);
    const id = (await readFile(join(h.folder, "journal"), "latin1")).match(/"uuid":"([^"]+)"/)![1]!;
    await h.wb.close();
    h.store.faults.heal();
    h.store.seed("old", "content", { metadata: { "hawser-upload": `${id}-1` } });
    await h.open();
    await h.wb.flush();
    await h.wb.flush();
    expect(h.store.keys()).toEqual(["new"]);
    expect(h.text("new")).toBe("content");
    expect(h.count("put")).toBe(0);
  });
});

describe("a journal cut at any byte", () => {
  test("loses no file that was in the part before, and is read again after the next start", async () => {
    h.store.faults.fail({ method: "put", times: Infinity, error: new HawserError("slow_down", "no") });
    await h.write("a", "first");
    await h.wb.close();
    const path = join(h.folder, "journal");
    const whole = (await readFile(path)).length;
    await h.open();
    await h.write("b", "second");
    await h.wb.close();
    const cut = whole + Math.floor(((await readFile(path)).length - whole) * 0.4);
    await truncate(path, cut);
    await appendFile(path, Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9]));
    h.store.faults.heal();
    await h.open();
    expect(h.logs.join("")).toContain("the journal's end could not be read");
    await h.wb.flush();
    expect(h.text("a")).toBe("first");
    await h.crashAndOpen();
    expect(h.wb.status().files).toEqual([]);
  });

  test("holds what one turn has changed together", async () => {
    h.store.faults.fail({ times: Infinity, error: new HawserError("slow_down", "no") });
    const source = await h.write("a.tmp", "new");
    const target = await h.write("a", "old");
    await h.until(() => h.wb.status().files.every(({ state }) => state !== "closed"), 0);
    const path = join(h.folder, "journal");
    const before = (await readFile(path)).length;
    await Promise.all([
      h.wb.drop(target),
      h.wb.rekey([{ file: source, key: "a", base: { kind: "absent" } }]),
      h.wb.remove({ key: "b" }),
    ]);
    await h.wb.close();
    const after = await readFile(path);
    for (const [length, text] of [
      [before + 20, "old"],
      [after.length, "new"],
    ] as const) {
      await writeFile(path, after.subarray(0, length));
      // Both local files were there at that moment.
      await writeFile(join(h.folder, "files/1/1"), "new");
      await writeFile(join(h.folder, "files/2/2"), "old");
      await h.open();
      expect(Buffer.from(await h.wb.find("a")!.read(0, 9)).toString()).toBe(text);
      await h.wb.close();
    }
    h.store.faults.heal();
    await h.open();
  });
});

describe("recovered files", () => {
  test("are listed, restored and dropped", async () => {
    for (const key of ["a", "b"]) await (await h.openNew(key)).write(0, Buffer.from(key));
    await h.crashAndOpen();
    const folder = join(h.folder, "recovered");
    const [first, second] = await recovered();
    const target = join(h.folder, "restored");
    await restoreRecovered(folder, first!.name, target);
    expect(await readFile(target, "utf8")).toBe(first!.key);
    await expect(restoreRecovered(folder, second!.name, target)).rejects.toMatchObject({ code: "exists" });
    await dropRecovered(folder, second!.name);
    expect(await recovered()).toEqual([]);
    await expect(dropRecovered(folder, second!.name)).rejects.toMatchObject({ code: "not_found" });
  });
});
