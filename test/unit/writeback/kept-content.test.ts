/** A file that is closed, not in the bucket yet, and rewritten from scratch: what was closed stays until it is closed again. */
import { execFileSync } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { listRecovered } from "../../../src/writeback/recovered.ts";
import { COPIED_ASIDE } from "../../../src/writeback/kept-content.ts";
import type { StagedFile } from "../../../src/writeback/write-back.ts";
import { Harness } from "./harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.start();
});
afterEach(async () => {
  await h.end();
});

/** How the local file is emptied: with it at hand for nobody else, with a reader's descriptor in the kernel, by ftruncate. */
const WAYS = {
  "O_TRUNC of a file that nobody has open": (file: StagedFile) =>
    file.openForWrite({ empty: true, isAlone: () => true }),
  "O_TRUNC of a file that is open elsewhere": (file: StagedFile) => file.openForWrite({ empty: true }),
  async "a truncation of a file that was opened as it was"(file: StagedFile) {
    await file.openForWrite();
    await file.truncate(0);
  },
  async "a truncation to a part"(file: StagedFile) {
    await file.openForWrite();
    await file.truncate(1);
  },
};

function storeDown(): () => void {
  return h.store.faults.fail({
    times: Infinity,
    error: new HawserError("endpoint_unreachable", "down"),
  });
}

/** Closed as "old", and rewritten as far as "ne". */
async function half(way: keyof typeof WAYS = "O_TRUNC of a file that nobody has open"): Promise<StagedFile> {
  const file = await h.write("a", "the old one");
  await WAYS[way](file);
  await file.write(0, Buffer.from("ne"));
  return file;
}

async function recovered(): Promise<[reason: string, text: string][]> {
  const files = await listRecovered(join(h.folder, "recovered"));
  return await Promise.all(
    files.map(async ({ reason, path }) => [reason, await readFile(path, "utf8")] as [string, string]),
  );
}

async function localFiles(): Promise<string[]> {
  const names = await readdir(join(h.folder, "files"), { recursive: true, withFileTypes: true });
  return names.filter((name) => name.isFile()).map(({ name }) => name);
}

describe("W14 killed while it is rewritten", () => {
  test.for(Object.keys(WAYS) as (keyof typeof WAYS)[])(
    "after %s, what was closed is shown and goes to the bucket, what was not is recovered",
    async (way) => {
      const up = storeDown();
      await half(way);
      await h.crashAndOpen();
      const [restored, ...others] = [...h.wb.restored()];
      expect([restored?.file.key, restored?.base, others]).toEqual(["a", { kind: "absent" }, []]);
      expect(Buffer.from(await restored!.file.read(0, 100)).toString()).toBe("the old one");
      up();
      await h.wb.flush();
      expect(h.text("a")).toBe("the old one");
      expect((await h.store.head("a")).metadata["mode"]).toBe("33188");
      expect(await recovered()).toEqual([["never_closed", "ne"]]);
      expect(await localFiles()).toEqual([]);
    },
  );

  test("between the journal's record and the empty file in its place", async () => {
    const up = storeDown();
    const copy = join(h.folder, "at-the-point");
    let taken = false;
    await h.crashAndOpen({
      faultPoint(point) {
        if (point !== "kept" || taken) return;
        taken = true;
        const args = ["files", "journal"].map((name) => join(h.folder, name));
        execFileSync("sh", ["-c", 'mkdir "$2" && cp -a "$0" "$1" "$2"', ...args, copy]);
      },
    });
    await half();
    expect(taken).toBe(true);
    await h.wb.close();
    up();
    await h.open({ stagingDir: copy });
    await h.wb.flush();
    expect(h.text("a")).toBe("the old one");
    expect(await listRecovered(join(copy, "recovered"))).toEqual([]);
  });

  test("a second time: what was closed last is what counts", async () => {
    const up = storeDown();
    const file = await half();
    await h.closeFile(file);
    await file.openForWrite({ empty: true, isAlone: () => true });
    await h.crashAndOpen();
    up();
    await h.wb.flush();
    expect([h.text("a"), await recovered()]).toEqual(["ne", [["never_closed", ""]]]);
    expect(await localFiles()).toEqual([]);
  });

  test("after a FLUSH in mid-write it was not closed: what was closed before is what counts", async () => {
    const up = storeDown();
    const file = await half();
    await file.flush();
    await file.truncate(0);
    await h.crashAndOpen();
    up();
    await h.wb.flush();
    expect(h.text("a")).toBe("the old one");
  });

  test("after a rename it goes to the new name", async () => {
    const up = storeDown();
    const file = await half();
    await h.wb.rekey([{ file, key: "b", base: { kind: "absent" } }]);
    await h.crashAndOpen();
    up();
    await h.wb.flush();
    expect([h.store.keys(), h.text("b")]).toEqual([["b"], "the old one"]);
  });

  test("after a removal nothing comes back", async () => {
    const up = storeDown();
    await h.wb.drop(await half());
    await h.crashAndOpen();
    up();
    await h.wb.flush();
    expect([h.store.keys(), await recovered(), await localFiles()]).toEqual([[], [], []]);
  });

  test("when what was closed is in the bucket already, that stays", async () => {
    const file = await h.write("a", "the old one");
    file.hold();
    await h.wb.flush();
    await file.openForWrite({ empty: true, isAlone: () => true });
    expect(file.keepsClosed).toBe(false);
    await h.crashAndOpen();
    await h.wb.flush();
    expect([h.text("a"), h.count("put")]).toEqual(["the old one", 1]);
  });

  test("after a power loss what was closed and synced is there, when what was closed since is not", async () => {
    const up = storeDown();
    await h.write("a", "the old one");
    const closedMs = h.clock.now();
    await h.until(() => h.wb.status().syncedAtMs > closedMs, 1000);
    const file = h.wb.find("a")!;
    await file.openForWrite({ empty: true, isAlone: () => true });
    await file.write(0, Buffer.from("ne"));
    await h.wb.close();
    up();
    await h.open({ bootId: "boot-2" });
    await h.wb.flush();
    expect([h.text("a"), await recovered()]).toEqual(["the old one", [["power_loss", "ne"]]]);
  });
});

/** How a closed file is opened to be changed where it is. */
const IN_PLACE = {
  "changed in its place": async (file: StagedFile) => await file.openForWrite(),
  "changed while somebody appends": async (file: StagedFile) => {
    await file.openForWrite({ append: true });
    await file.write(11, Buffer.from(", and more"));
    await file.openForWrite();
  },
  "opened twice at once": async (file: StagedFile) => {
    await Promise.all([file.openForWrite({ append: true }), file.openForWrite()]);
  },
};

describe.for(Object.keys(IN_PLACE) as (keyof typeof IN_PLACE)[])("W14 closed, then %s", (way) => {
  async function changed(): Promise<StagedFile> {
    const file = await h.write("a", "the old one");
    await IN_PLACE[way](file);
    await file.write(4, Buffer.from("NEW"));
    return file;
  }

  test("and killed: what was closed goes to the bucket, what was not is recovered", async () => {
    const up = storeDown();
    await changed();
    await h.crashAndOpen();
    expect([...h.wb.restored()].map(({ file }) => file.key)).toEqual(["a"]);
    up();
    await h.wb.flush();
    expect(h.text("a")).toBe("the old one");
    expect(await recovered()).toEqual([["never_closed", expect.stringMatching(/^the NEW one/)]]);
    expect(await localFiles()).toEqual([]);
  });

  test("and renamed, and killed: it goes to the new name", async () => {
    const up = storeDown();
    const file = await changed();
    await h.wb.rekey([{ file, key: "b", base: { kind: "absent" } }]);
    await h.crashAndOpen();
    up();
    await h.wb.flush();
    expect([h.store.keys(), h.text("b")]).toEqual([["b"], "the old one"]);
  });

  test("and removed: nothing comes back", async () => {
    const up = storeDown();
    await h.wb.drop(await changed());
    await h.crashAndOpen();
    up();
    await h.wb.flush();
    expect([h.store.keys(), await recovered(), await localFiles()]).toEqual([[], [], []]);
  });

  test("and closed again: that is published, alone, when all writers have closed it", async () => {
    const file = await changed();
    await h.wb.flush();
    expect([h.store.keys(), h.wb.status().files.length]).toEqual([[], 1]);
    while (file.state === "open") await h.closeFile(file);
    await h.wb.flush();
    expect([h.text("a")?.slice(0, 11), h.count("put")]).toEqual(["the NEW one", 1]);
    expect(await localFiles()).toEqual([]);
  });

  test("and published by an fsync, and killed: that is what counts", async () => {
    const file = await changed();
    await file.fsync();
    await h.crashAndOpen();
    await h.wb.flush();
    expect([h.text("a")?.slice(0, 11), await recovered()]).toEqual(["the NEW one", []]);
    expect(await localFiles()).toEqual([]);
  });

  test("and lost to somebody else's change: what was closed is recovered as well", async () => {
    const file = await changed();
    await h.store.put("a", Buffer.from("theirs"), { reason: "flush" });
    await expect(file.fsync()).rejects.toMatchObject({ code: "object_changed" });
    await expect(h.wb.flush()).rejects.toMatchObject({ code: "object_changed" });
    expect(h.text("a")).toBe("theirs");
    const found = await recovered();
    expect(found.map(([reason]) => reason)).toEqual(["conflict", "conflict"]);
    expect(found.map(([, text]) => text)).toContain("the old one");
  });

  test("after a power loss what was closed and synced is there", async () => {
    const up = storeDown();
    const file = await h.write("a", "the old one");
    const closedMs = h.clock.now();
    await h.until(() => h.wb.status().syncedAtMs > closedMs, 1000);
    await IN_PLACE[way](file);
    await file.write(4, Buffer.from("NEW"));
    await h.wb.close();
    up();
    await h.open({ bootId: "boot-2" });
    await h.wb.flush();
    expect(h.text("a")).toBe("the old one");
    expect((await recovered()).map(([reason]) => reason)).toEqual(["power_loss"]);
  });

  test("and rewritten from scratch then: what was closed is published meanwhile", async () => {
    const file = await h.write("a", "the old one");
    await IN_PLACE[way](file);
    await file.truncate(0);
    expect(file.keepsClosed).toBe(way !== "changed while somebody appends");
    await h.crashAndOpen();
    await h.wb.flush();
    expect(h.text("a")).toBe("the old one");
  });
});

describe("W14 closed, then appended to", () => {
  async function appended(): Promise<StagedFile> {
    const file = await h.write("a", "the old one");
    await file.openForWrite({ append: true });
    await file.write(11, Buffer.from(", and mo"));
    return file;
  }

  test("and killed: it is published as far as it was written, and nothing was copied", async () => {
    const up = storeDown();
    await appended();
    expect(await localFiles()).toHaveLength(1);
    await h.crashAndOpen();
    up();
    await h.wb.flush();
    expect([h.text("a"), await recovered()]).toEqual(["the old one, and mo", []]);
  });

  test("after a power loss what was closed and synced is there, without what may be torn", async () => {
    const up = storeDown();
    const file = await h.write("a", "the old one");
    const closedMs = h.clock.now();
    await h.until(() => h.wb.status().syncedAtMs > closedMs, 1000);
    await file.openForWrite({ append: true });
    await file.write(11, Buffer.from("\0\0\0\0"));
    await h.wb.close();
    up();
    await h.open({ bootId: "boot-2" });
    await h.wb.flush();
    expect([h.text("a"), await recovered()]).toEqual(["the old one", []]);
  });

  test("and cut: what was closed is kept", async () => {
    const up = storeDown();
    const file = await appended();
    await file.truncate(3);
    await h.crashAndOpen();
    up();
    await h.wb.flush();
    expect([h.text("a"), await recovered()]).toEqual(["the old one", [["never_closed", "the"]]]);
  });

  test("and a hole punched into it: what was closed is kept", async () => {
    const up = storeDown();
    const file = await appended();
    await file.allocate(3, 0, 4);
    await h.crashAndOpen();
    up();
    await h.wb.flush();
    expect(h.text("a")).toBe("the old one");
  });
});

test("a large file is copied only where the file system shares blocks", async () => {
  const file = await h.openNew("a");
  await file.truncate(COPIED_ASIDE + 1);
  await h.closeFile(file);
  await file.openForWrite();
  const shares = (await localFiles()).length === 2;
  expect(h.logs.some((line) => line.includes("nothing kept of it"))).toBe(!shares);
});

describe("while it is rewritten", () => {
  test("what was closed is published, and what is closed then in its place", async () => {
    const file = await half();
    await h.wb.flush();
    expect(h.text("a")).toBe("the old one");
    await file.write(2, Buffer.from("w"));
    await h.closeFile(file);
    await h.wb.flush();
    expect([h.text("a"), h.told.conflicts]).toEqual(["new", []]);
    expect(await localFiles()).toEqual([]);
  });

  test("what is closed soon is published alone", async () => {
    const file = await half();
    await h.closeFile(file);
    await h.wb.flush();
    expect([h.text("a"), h.count("put")]).toEqual(["ne", 1]);
    expect(await localFiles()).toEqual([]);
  });

  test("an fsync publishes what it asks for, and nothing older after it", async () => {
    const file = await half();
    await file.fsync();
    expect([h.text("a"), h.count("put")]).toEqual(["ne", 1]);
    await h.closeFile(file);
    await h.wb.flush();
    expect(h.text("a")).toBe("ne");
    expect(await localFiles()).toEqual([]);
  });

  test("a request that was under way and takes effect is not sent again", async () => {
    const release = h.store.faults.hang({ method: "put" });
    const file = await h.write("a", "the old one");
    await h.until(() => h.store.faults.hits.length === 1);
    await file.openForWrite({ empty: true, isAlone: () => true });
    release();
    await h.wb.flush();
    expect([h.text("a"), h.count("put")]).toEqual(["the old one", 1]);
    await file.write(0, Buffer.from("new"));
    await h.closeFile(file);
    await h.wb.flush();
    expect([h.text("a"), h.told.conflicts]).toEqual(["new", []]);
  });

  test("W15 its writer is killed: what was closed has the name again", async () => {
    const up = storeDown();
    const file = await half();
    await file.tear();
    file.releaseWrite();
    await h.until(() => h.told.conflicts.length === 1);
    const again = h.wb.find("a")!;
    expect(Buffer.from(await again.read(0, 100)).toString()).toBe("the old one");
    up();
    await h.wb.flush();
    expect([h.text("a"), await recovered()]).toEqual(["the old one", [["torn", "ne"]]]);
  });

  test("one that is removed leaves no object behind, published meanwhile or not", async () => {
    const file = await half();
    await h.wb.flush();
    await h.wb.drop(file);
    await h.wb.flush();
    expect(h.store.keys()).toEqual([]);
  });
});
