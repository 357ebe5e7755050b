import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { listRecovered } from "../../../src/writeback/recovered.ts";
import { Harness, PART, bytesOf } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

/** As the reader of a mount answers whose version is gone. */
const stale = () => Promise.reject(new HawserError("stale", "replaced or deleted"));

describe("an overlay", () => {
  test("whose base somebody has replaced before it was fetched is a conflict, with what is missing in its note", async () => {
    h.store.seed("a", "0123456789");
    await h.wb.close();
    await h.open({ readBase: stale });
    const file = await h.overlay("a");
    await file.write(10, Buffer.from("ours"));
    h.store.seed("a", "theirs");
    await h.closeFile(file);
    await expect(h.wb.flush()).rejects.toMatchObject({ code: "object_changed" });
    expect(h.text("a")).toBe("theirs");
    const [note] = await listRecovered(join(h.folder, "recovered"));
    expect(note).toMatchObject({ key: "a", reason: "conflict", sizeBytes: 14, missing: [[0, 10]] });
    expect((await readFile(note!.path)).subarray(10).toString()).toBe("ours");
  });

  test("fetches nothing when it is written, and what it shows when it is read", async () => {
    h.store.seed("a", "0123456789");
    const file = await h.overlay("a");
    await file.write(3, Buffer.from("xyz"));
    expect(h.count("get")).toBe(0);
    expect(file.backing()).toBeUndefined();
    expect(Buffer.from(await file.read(1, 8)).toString()).toBe("12xyz678");
    await h.closeFile(file);
    await h.wb.flush();
    expect(h.text("a")).toBe("012xyz6789");
  });

  test("fetches of a large object only what is read, and for the upload only the rest of a part that has changed", async () => {
    const content = bytesOf(4 * PART);
    h.store.seed("big", content);
    const fetched: [offset: number, length: number][] = [];
    await h.wb.close();
    await h.open({
      readBase: async ({ key, etag }, offset, target) => {
        fetched.push([offset, target.length]);
        const { bytesRead } = await h.store.get(
          { key, offset, length: target.length, ifMatch: etag },
          target,
        );
        return bytesRead;
      },
    });
    const file = await h.overlay("big");
    await file.write(PART + 100, Buffer.from("changed"));
    expect(fetched).toEqual([]);
    expect(
      Buffer.from(await file.read(PART + 98, 11))
        .subarray(2, 9)
        .toString(),
    ).toBe("changed");
    expect(fetched.reduce((sum, [, length]) => sum + length, 0)).toBeLessThan(1024 * 1024);
    for (const [offset] of fetched) expect(Math.abs(offset - PART)).toBeLessThan(1024 * 1024);
    await h.closeFile(file);
    await h.wb.flush();
    content.write("changed", PART + 100);
    expect(Buffer.compare(h.store.peek("big")!, content)).toBe(0);
    // The part that has changed, and none of the three that have not.
    expect(fetched.reduce((sum, [, length]) => sum + length, 0)).toBeLessThanOrEqual(2 * PART);
    expect(fetched.every(([offset, length]) => offset + length <= 3 * PART)).toBe(true);
  });

  test("keeps the time of what it was made from until it is written", async () => {
    h.store.seed("a", "0123456789");
    const { mtimeMs } = await h.version("a");
    const file = await h.overlay("a");
    expect(Math.floor(file.stamp().mtime)).toBe(mtimeMs);
    await file.write(0, Buffer.from("x"));
    expect(file.stamp().mtime).toBeGreaterThan(mtimeMs);
    await h.closeFile(file);
  });

  test.each<[string, number, number, string]>([
    ["shorter", 4, 2, "01\0\0\0\0"],
    ["longer", 14, 12, "0123456789\0\0"],
  ])("truncated to be %s has zeros where it grows again", async (_name, first, second, expected) => {
    h.store.seed("a", "0123456789");
    const file = await h.overlay("a");
    await file.truncate(first);
    await file.truncate(second);
    await file.truncate(expected.length);
    expect(Buffer.from(await file.read(0, 100)).toString()).toBe(expected);
    await h.closeFile(file);
    await h.wb.flush();
    expect(h.text("a")).toBe(expected);
  });

  test("of a large object sends the parts that have changed", async () => {
    const content = bytesOf(4 * PART + 10);
    h.store.seed("big", content);
    const file = await h.overlay("big");
    await file.write(PART + 100, Buffer.from("changed"));
    await h.closeFile(file);
    await h.wb.flush();
    Buffer.from("changed").copy(content, PART + 100);
    expect(Buffer.compare(h.store.peek("big")!, content)).toBe(0);
    expect(h.count("uploadPart")).toBe(1);
    expect(h.count("uploadPartCopy")).toBe(2);
  });

  test("appended to copies what is whole and sends the end", async () => {
    const content = bytesOf(3 * PART + 10);
    h.store.seed("big", content);
    const file = await h.overlay("big");
    await file.write(content.length, Buffer.from("more"));
    await h.closeFile(file);
    await h.wb.flush();
    expect(Buffer.compare(h.store.peek("big")!, Buffer.concat([content, Buffer.from("more")]))).toBe(0);
    expect(h.count("uploadPart")).toBe(1);
  });

  test("without part copies on the store is sent whole", async () => {
    await h.end();
    h = await Harness.start({}, { capabilities: { partCopy: false } });
    const content = bytesOf(2 * PART);
    h.store.seed("big", content);
    const file = await h.overlay("big");
    await file.write(0, Buffer.from("x"));
    await h.closeFile(file);
    await h.wb.flush();
    content.write("x");
    expect(Buffer.compare(h.store.peek("big")!, content)).toBe(0);
  });

  test("changed twice is laid over what was published the first time", async () => {
    const content = bytesOf(3 * PART);
    h.store.seed("big", content);
    const file = await h.overlay("big");
    file.hold();
    for (const [at, text] of ["one", "two", "three"].entries()) {
      if (at > 0) await file.openForWrite();
      await file.write(PART * at, Buffer.from(text));
      content.write(text, PART * at);
      await h.closeFile(file);
      await h.wb.flush();
      expect(Buffer.compare(h.store.peek("big")!, content)).toBe(0);
    }
    file.unhold();
  });

  test("renamed while it is pending takes the rest from its old name before that is deleted", async () => {
    const content = bytesOf(2 * PART);
    const etag = h.store.seed("old", content);
    const file = await h.overlay("old");
    await file.write(5, Buffer.from("x"));
    await h.closeFile(file);
    await Promise.all([
      h.wb.rekey([{ file, key: "new", base: { kind: "absent" } }]),
      h.wb.remove({ key: "old", etag }),
    ]);
    await h.wb.flush();
    content.write("x", 5);
    expect(h.store.keys()).toEqual(["new"]);
    expect(Buffer.compare(h.store.peek("new")!, content)).toBe(0);
  });

  test("whose base is replaced by somebody else is a conflict, and its note says what is missing", async () => {
    h.store.seed("a", "0123456789");
    const file = await h.overlay("a");
    await file.write(0, Buffer.from("x"));
    h.store.seed("a", "theirs");
    await h.closeFile(file);
    await expect(h.wb.flush()).rejects.toMatchObject({ code: "object_changed" });
    expect(h.text("a")).toBe("theirs");
    expect(h.told.conflicts).toHaveLength(1);
  });

  test("survives a crash with what is local and what is not", async () => {
    h.store.seed("a", "0123456789");
    const file = await h.overlay("a");
    await file.write(3, Buffer.from("xyz"));
    await file.flush();
    await h.crashAndOpen();
    await h.wb.flush();
    expect(h.text("a")).toBe("012xyz6789");
  });

  test("shows data where it is the base's, and holes where nothing is", async () => {
    h.store.seed("a", bytesOf(8192));
    const file = await h.overlay("a");
    await file.truncate(65536);
    expect(await file.seek(0, "data")).toBe(0);
    expect(await file.seek(0, "hole")).toBe(8192);
    await expect(file.seek(8192, "data")).rejects.toMatchObject({ code: "beyond_end" });
    await expect(file.seek(65536, "hole")).rejects.toMatchObject({ code: "beyond_end" });
    await h.closeFile(file);
  });

  test("punched has zeros there", async () => {
    h.store.seed("a", "0123456789");
    const file = await h.overlay("a");
    await file.allocate(3, 2, 3);
    expect(Buffer.from(await file.read(0, 10)).toString()).toBe("01\0\0\x0056789");
    await expect(file.allocate(8, 0, 4096)).rejects.toMatchObject({ code: "not_supported" });
    await h.closeFile(file);
  });
});
