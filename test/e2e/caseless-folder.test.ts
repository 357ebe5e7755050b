/** Downloads into a folder that keeps no names apart that differ in case only. */
import { readFileSync, readdirSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { copy } from "../../src/transfer/copy.ts";
import { sync } from "../../src/transfer/sync.ts";
import { compileChildPrograms } from "../support/child-programs.ts";
import { MemoryMount } from "../support/memory-mount.ts";
import { ENGINES, Place, counts, failures } from "../unit/transfer/place.ts";

beforeAll(compileChildPrograms);

describe.each(ENGINES)("with the %s engine", (engine) => {
  test("of keys that become one file one comes, and the other is named", async () => {
    await using place = await Place.open(engine);
    await using mount = await MemoryMount.start({ channel: "native", ignoresCase: true });
    for (const key of ["p/A.txt", "p/a.txt", "p/b.txt"]) await place.put(key, key);
    const target = mount.at("home");
    const read = (name: string): string => readFileSync(mount.at("home", name), "utf8");
    const copied = await copy(place.connection, ["s3://data/p"], target, { recursive: true });
    expect(counts(copied)).toEqual({ downloaded: 2, failed: 1 });
    expect(failures(copied)).toEqual({ "s3://data/p/a.txt": "exists" });
    expect([read("a.txt"), read("b.txt")]).toEqual(["p/A.txt", "p/b.txt"]);
    for (const direction of ["down", "both"] as const) {
      const synced = await sync(place.connection, target, "s3://data/p", { direction });
      expect(failures(synced)).toEqual({ "s3://data/p/a.txt": "exists" });
      expect([read("a.txt"), read("b.txt")]).toEqual(["p/A.txt", "p/b.txt"]);
    }
    expect(await place.keys()).toEqual(["p/A.txt", "p/a.txt", "p/b.txt"]);
  });

  test("a key whose case has changed is not deleted as the file that it has become, nor the other way round", async () => {
    await using place = await Place.open(engine);
    await using mount = await MemoryMount.start({ channel: "native", ignoresCase: true });
    const target = mount.at("home");
    const how = { direction: "both", delete: true } as const;
    for (const key of ["p/a.txt", "p/gone.txt"]) await place.put(key, key);
    await sync(place.connection, target, "s3://data/p", how);
    const store = await place.store();
    for (const key of ["p/a.txt", "p/gone.txt"]) await store.delete(key);
    await place.put("p/A.txt", "new");
    const synced = await sync(place.connection, target, "s3://data/p", how);
    expect(counts(synced)).toEqual({ downloaded: 1, deleted: 1 });
    expect(readdirSync(target)).toEqual(["a.txt"]);
    expect(readFileSync(mount.at("home", "a.txt"), "utf8")).toBe("new");
    // The file is there as a.txt now, and there is none of the object's name.
    expect(failures(await sync(place.connection, target, "s3://data/p", how))).toEqual({});
    expect(await place.keys()).toContain("p/A.txt");
    await store.delete("p/a.txt");
    const down = await sync(place.connection, "s3://data/p", target, { delete: true });
    expect(down.deleted).toBe(0);
    expect(readFileSync(mount.at("home", "a.txt"), "utf8")).toBe("new");
  });
});
