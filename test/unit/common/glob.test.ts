import { expect, test } from "vitest";
import { globFolder, globMatcher, isGlob } from "../../../src/common/glob.ts";

test.each([
  ["train/*.tar", ["train/a.tar", "train/.tar"], ["train/a/b.tar", "train/atar", "xtrain/a.tar"]],
  ["train/**/*.tar", ["train/a.tar", "train/a/b/c.tar"], ["train/a.txt", "trainx/a.tar"]],
  ["**", ["a", "a/b/c"], []],
  ["a**b", ["ab", "a/x/b"], ["ba"]],
  ["file-?.bin", ["file-1.bin"], ["file-12.bin", "file-/.bin"]],
  ["[a-c]/[!0-9]", ["a/x", "c/z"], ["d/x", "a/1", "a//"]],
  ["{train,val}/x", ["train/x", "val/x"], ["test/x"]],
  [String.raw`a\*b`, ["a*b"], ["axb", String.raw`a\b`]],
  ["a.b+(c)$", ["a.b+(c)$"], ["aab+(c)$"]],
  ["x,y}", ["x,y}"], ["x"]],
  ["日*", ["日本"], ["本日"]],
])("%s", (glob, matched, others) => {
  const matches = globMatcher(glob);
  for (const path of matched) expect([path, matches(path)]).toEqual([path, true]);
  for (const path of others) expect([path, matches(path)]).toEqual([path, false]);
});

test.each(["a[b", "a{b"])("%s is refused with what to write instead", (glob) => {
  expect(() => globMatcher(glob)).toThrow(/does not close it; write \\/);
});

test.each([
  ["train/*.tar", "train"],
  ["a/b/[c]/d/*", "a/b"],
  ["*", ""],
  ["a/b", "a"],
])("everything that %s matches is below '%s'", (glob, folder) => {
  expect(globFolder(glob)).toBe(folder);
});

test("a path without special characters is no glob", () => {
  expect(["a/b.c", "a*", String.raw`a\b`].map(isGlob)).toEqual([false, true, true]);
});
