import fc from "fast-check";
import { expect, test } from "vitest";
import { compareKeys } from "../../../src/store/key-order.ts";
import { FolderTotals } from "../../../src/transfer/browse/folder-totals.ts";

test("each folder's total is what adding up all keys below it gives, and it is told once", () => {
  const name = fc.constantFrom("a", "b", "-", "aa", "");
  const key = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));
  const keys = fc.uniqueArray(key).map((all) => all.filter((one) => one !== "").sort(compareKeys));
  fc.assert(
    fc.property(keys, fc.integer({ min: 0, max: 3 }), (sorted, depth) => {
      const totals = new FolderTotals("", depth);
      const told = [
        ...sorted.flatMap((one) => totals.add({ key: one, sizeBytes: one.length, mtimeMs: 0, etag: "" })),
        ...totals.end(),
      ];
      const folders = new Set([""]);
      for (const one of sorted) {
        const names = one.split("/").slice(0, -1);
        for (let at = 1; at <= Math.min(depth, names.length); at++)
          folders.add(`${names.slice(0, at).join("/")}/`);
      }
      expect(told.map(({ folder }) => folder).sort()).toEqual([...folders].sort());
      for (const { folder, objects, bytes } of told) {
        const below = sorted.filter((one) => one.startsWith(folder));
        expect([objects, bytes]).toEqual([below.length, below.join("").length]);
      }
    }),
  );
});
