/** Where the bytes of an object are that is still to be copied to another key. */
import { expect, test } from "vitest";
import { PendingMoves } from "../../../src/writeback/pending-moves.ts";

const versionOf = (key: string, etag = "e") => ({ key, etag, sizeBytes: 1, mtimeMs: 0 });
const move = (from: string, toKey: string, etag = "e") =>
  ({ kind: "move", version: versionOf(from, etag), toKey }) as const;

test("what is not moved is where it is", () => {
  expect(new PendingMoves().sourceOf(versionOf("a"))).toEqual(versionOf("a"));
});

test("a chain of moves leads to the object", () => {
  const moves = new PendingMoves();
  for (const [at, item] of [move("a", "b"), move("b", "c"), move("c", "d")].entries()) moves.add(at, item);
  expect(moves.sourceOf(versionOf("d"))).toEqual(versionOf("a"));
  expect(moves.sourceOf(versionOf("d", "other"))).toEqual(versionOf("d", "other"));
  moves.remove(0, move("a", "b"));
  expect(moves.sourceOf(versionOf("d"))).toEqual(versionOf("b"));
});

test("a name that is moved away and comes back is followed to where it began", () => {
  const moves = new PendingMoves();
  const there = [move("a", "b"), move("b", "a"), move("a", "b")];
  for (const [at, item] of there.entries()) moves.add(at, item);
  expect(moves.sourceOf(versionOf("b"))).toEqual(versionOf("a"));
  expect(moves.sourceOf(versionOf("a"))).toEqual(versionOf("a"));
  moves.remove(0, there[0]!);
  expect(moves.sourceOf(versionOf("b"))).toEqual(versionOf("b"));
});

test("what was copied before a crash is read from the copy, whose ETag is another", () => {
  const moves = new PendingMoves();
  moves.add(1, { ...move("a", "b"), copied: { etag: "copy" } });
  expect(moves.sourceOf(versionOf("b"))).toEqual(versionOf("b", "copy"));
});
