/**
 * A file that took the place of an object which was to be deleted, and that the filesystem has forgotten: when the file
 * goes from that name before it is published, the object goes as well.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { StagedFile } from "../../../src/writeback/write-back.ts";
import { Harness } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

/** A deletion that waits: for whoever has the object open, as after an unlink. */
async function removedOnceFree(key: string, etag: string | undefined): Promise<() => void> {
  let free = (): void => undefined;
  await h.wb.remove({ key, etag }, new Promise((resolve) => (free = resolve)));
  return free;
}

/** An object whose deletion has not begun when a file takes its key. */
async function takesItsPlace(etag: string | undefined): Promise<StagedFile> {
  const free = await removedOnceFree("a.tmp", etag);
  const file = await h.write("a.tmp", "new");
  free();
  return file;
}

describe.each(["its ETag is known", "its ETag is not known"] as const)("%s", (how) => {
  let file: StagedFile;
  beforeEach(async () => {
    h.store.seed("a.tmp", "old");
    const { etag } = await h.version("a.tmp");
    file = await takesItsPlace(how === "its ETag is known" ? etag : undefined);
  });

  test("the file is published in its place", async () => {
    await h.wb.flush();
    expect(h.text("a.tmp")).toBe("new");
    expect(h.count("delete")).toBe(0);
  });

  test("the file is renamed: the object goes", async () => {
    await h.wb.rekey([{ file, key: "a", base: { kind: "absent" } }]);
    await h.wb.flush();
    expect([h.text("a.tmp"), h.text("a")]).toEqual([undefined, "new"]);
  });

  test("the file is removed: the object goes", async () => {
    await h.wb.drop(file);
    await h.wb.flush();
    expect(h.store.keys()).toEqual([]);
  });

  test("the file is renamed after a crash: the object goes", async () => {
    h.store.faults.hang({ method: "put" });
    await h.crashAndOpen();
    h.store.faults.heal();
    await h.wb.rekey([{ file: h.wb.find("a.tmp")!, key: "a", base: { kind: "absent" } }]);
    const flushed = h.wb.flush().then(() => true);
    let isOver = false;
    void flushed.then(() => (isOver = true));
    await h.until(() => isOver, 500);
    expect([h.text("a.tmp"), h.text("a")]).toEqual([undefined, "new"]);
  });

  test("the next file takes the place, and goes, too", async () => {
    await h.wb.rekey([{ file, key: "a", base: { kind: "absent" } }]);
    const next = await h.write("a.tmp", "newer");
    await h.wb.drop(next);
    await h.wb.flush();
    expect([h.text("a.tmp"), h.text("a")]).toEqual([undefined, "new"]);
  });

  test("a file that was renamed there and away leaves nothing either", async () => {
    await h.wb.drop(file);
    const other = await h.write("b", "other");
    await h.wb.rekey([{ file: other, key: "a.tmp", base: { kind: "absent" } }]);
    await h.wb.rekey([{ file: other, key: "c", base: { kind: "absent" } }]);
    await h.wb.flush();
    expect(h.store.keys()).toEqual(["c"]);
  });
});

test("a file put over one that is still to be moved there, and renamed, leaves nothing under the name", async () => {
  h.store.seed("from", "moved");
  const release = h.store.faults.hang({ method: "copy" });
  const version = await h.version("from");
  await h.wb.move(version, "to");
  await h.until(() => h.store.faults.hits.length === 1);
  const file = await h.write("b", "new");
  await h.wb.rekey([{ file, key: "to", base: { kind: "any" } }]);
  await h.wb.rekey([{ file, key: "c", base: { kind: "absent" } }]);
  release();
  await h.wb.flush();
  expect(h.store.keys()).toEqual(["c"]);
});

test("a deletion that a move into the key comes after stays: the file replaces what is moved there", async () => {
  h.store.seed("to", "old");
  h.store.seed("from", "moved");
  const { etag } = await h.version("to");
  const free = await removedOnceFree("to", etag);
  await h.wb.move(await h.version("from"), "to");
  const file = await h.write("b", "new");
  await h.wb.rekey([{ file, key: "to", base: { kind: "any" } }]);
  free();
  await h.wb.flush();
  expect(h.store.keys()).toEqual(["to"]);
  expect(h.text("to")).toBe("new");
  expect(h.told.conflicts).toEqual([]);
});

test("two deletions of different versions, and a new file: it takes nobody's place, and conflicts with nobody", async () => {
  h.store.seed("a", "old");
  const { etag } = await h.version("a");
  const free = await removedOnceFree("a", etag);
  const freeOther = await removedOnceFree("a", "an-earlier-one");
  await h.write("a", "new");
  free();
  freeOther();
  await h.wb.flush();
  expect(h.text("a")).toBe("new");
  expect(h.told.conflicts).toEqual([]);
});

describe.each(["its ETag is known", "its ETag is not known"] as const)(
  "the file that took its place comes to nothing, %s",
  (how) => {
    let file: StagedFile;
    beforeEach(async () => {
      h.store.seed("a", "old");
      const { etag } = await h.version("a");
      const free = await removedOnceFree("a", how === "its ETag is known" ? etag : undefined);
      file = await h.openNew("a");
      free();
      await file.write(0, Buffer.from("unfinished"));
    });

    test("never closed when everything ends: the object goes, and the filesystem is told that it does", async () => {
      await h.crashAndOpen();
      expect([...h.wb.restoredItems()]).toEqual([{ kind: "remove", key: "a" }]);
      await h.wb.flush();
      expect([h.store.keys(), h.wb.status().recovered]).toEqual([[], 1]);
    });

    test("torn by a program that was killed: the object goes", async () => {
      await file.tear();
      file.releaseWrite();
      await h.until(() => h.told.conflicts.length > 0);
      await h.wb.flush();
      expect([h.store.keys(), h.wb.status().recovered]).toEqual([[], 1]);
    });
  },
);
