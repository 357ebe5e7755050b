import fc from "fast-check";
import { expect, test } from "vitest";
import { MemoryStore } from "../../../src/store/memory-store.ts";
import { isBefore, keyToPath, nameProblem, normalizePrefix, pathToKey } from "../../../src/vfs/key-path.ts";
import { findUnreachableKeys } from "../../../src/vfs/unreachable.ts";
import { compareKeys } from "../../../src/store/key-order.ts";
import { names, volume, walk } from "./support.ts";

test.each([
  ["a", ["a"], false],
  ["a/b/c.txt", ["a", "b", "c.txt"], false],
  ["dir/", ["dir"], true],
  ["", [], true],
  ["with space/new\nline/ünïcode/😀", ["with space", "new\nline", "ünïcode", "😀"], false],
  ["...", ["..."], false],
  ["x".repeat(255), ["x".repeat(255)], false],
])("R1 key %j has a path", (key, names, folder) => {
  expect(keyToPath("", key)).toEqual({ reachable: true, names, folder });
});

test.each([
  ["a//b", "empty_component"],
  ["/a", "empty_component"],
  ["a//", "empty_component"],
  ["a/./b", "dot_component"],
  ["../a", "dot_component"],
  ["a/..", "dot_component"],
  ["x".repeat(256), "name_too_long"],
  ["é".repeat(128), "name_too_long"],
  ["a\0b", "nul_byte"],
  ["a\ufffd", "invalid_utf8"],
  ["a\ud800", "invalid_utf8"],
])("R2 key %j has none: %s", (key, reason) => {
  expect(keyToPath("", key)).toEqual({ reachable: false, reason });
});

test.each([
  ["imagenet", "imagenet/"],
  ["imagenet/", "imagenet/"],
  ["a/b", "a/b/"],
  ["", ""],
  ["logs//", "logs//"],
])("R3 prefix %j is used as %j", (prefix, used) => {
  expect(normalizePrefix(prefix)).toBe(used);
});

test("R3 a prefix never matches a longer name", async () => {
  const objects = { "imagenet/a": "1", "imagenet-old/b": "2", "imagenet.txt": "3", imagenet: "4" };
  expect(await walk(volume(objects, { prefix: "imagenet" }).fs)).toEqual(["a"]);
  expect(await walk(volume(objects, { prefix: "imagenet/" }).fs)).toEqual(["a"]);
  expect(await walk(volume(objects, { prefix: "none" }).fs)).toEqual([]);
});

test("a prefix that can be no key is refused", () => {
  expect(() => normalizePrefix("a\0")).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  expect(() => normalizePrefix("a\ud800")).toThrow(expect.objectContaining({ code: "invalid_argument" }));
});

const component = fc.oneof(
  fc.constantFrom("a", "a-1", "b", ".", "..", "", "x".repeat(256), "é", "😀"),
  fc.string({ maxLength: 5, unit: "binary" }),
);
const key = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));

test("every key either has one path, from which it can be made again, or a reason", () => {
  fc.assert(
    fc.property(key, (key) => {
      const path = keyToPath("p/", `p/${key}`)!;
      if (!path.reachable) {
        expect(path.reason).toBeTruthy();
        return;
      }
      expect(pathToKey("p/", path.names, path.folder)).toBe(`p/${key}`);
      expect(path.names.filter((name) => nameProblem(name) !== undefined)).toEqual([]);
    }),
  );
});

test("a name is before a later key exactly when its folder would be, too", () => {
  const name = fc.string({ minLength: 1, maxLength: 4, unit: fc.constantFrom("a", "-", ".", "0", "é") });
  fc.assert(
    fc.property(name, name, (a, b) => {
      fc.pre(compareKeys(a, b) < 0);
      expect(isBefore(a, b)).toBe(compareKeys(`${a}/`, b) < 0);
    }),
  );
});

test("R2 in any bucket, walk and report together name every key, once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(key, { maxLength: 12 }),
      fc.integer({ min: 1, max: 4 }),
      async (keys, pageKeys) => {
        const sendable = keys.filter((key) => !/\p{Surrogate}/u.test(key) && key !== "");
        const { fs, bucket } = volume(
          Object.fromEntries(sendable.map((key) => [key, key.endsWith("/") ? "" : "x"])),
        );
        bucket.pageKeys = pageKeys;
        const reachable = (await walk(fs)).filter((path) => !path.endsWith("/"));
        const report: string[] = [];
        for await (const { key } of findUnreachableKeys(bucket, "")) report.push(key);
        const markers = sendable.filter((key) => key.endsWith("/") && !report.includes(key));
        expect([...reachable, ...report, ...markers].sort()).toEqual([...sendable].sort());
      },
    ),
    { numRuns: 150 },
  );
});

test("R2 the report tells each reason", async () => {
  const store = new MemoryStore({
    objects: {
      a: "1",
      "a-1": "1",
      "a/b": "2",
      "m/": "content",
      "m/x": "",
      "n/": "",
      "d//e": "3",
      "./f": "4",
    },
  });
  const report = [];
  for await (const key of findUnreachableKeys(store, "")) report.push(key);
  expect(report).toEqual([
    { key: "./f", reason: "dot_component" },
    { key: "a", reason: "shadowed_by_folder" },
    { key: "d//e", reason: "empty_component" },
    { key: "m/", reason: "marker_with_content" },
  ]);
});

test("R2 a mounted volume remembers the ones it met", async () => {
  const { fs } = volume({ a: "1", "a/b": "2", "c//d": "3" });
  await walk(fs);
  expect(fs.unreachableKeys()).toContainEqual({ key: "a", reason: "shadowed_by_folder" });
  expect(fs.unreachableKeys()).toContainEqual({ key: "c//", reason: "empty_component" });
});

test("R4 an object beside a folder of its name gives way, over any page border", async () => {
  const objects: Record<string, string> = { img: "1" };
  for (let i = 0; i < 10; i++) objects[`img-${i}`] = "x";
  objects["img/a"] = "2";
  objects["img0"] = "3";
  for (const pageKeys of [1, 2, 3, 1000]) {
    const { fs, bucket } = volume(objects);
    bucket.pageKeys = pageKeys;
    const listed = await names(fs);
    expect(listed.filter((name) => name === "img")).toHaveLength(1);
    expect(listed).toHaveLength(12);
    expect(await walk(fs)).toContain("img/a");
  }
});

test("R5 an empty folder is kept by its marker", async () => {
  const { fs } = volume({ "empty/": "", "full/": "", "full/a": "1", "deep/er/": "" });
  expect(await walk(fs)).toEqual(["deep/", "deep/er/", "empty/", "full/", "full/a"]);
});
