import fc from "fast-check";
import { expect, test } from "vitest";
import { splitWords } from "../../../src/cli/s3/words.ts";
import { compareListing } from "../../../src/transfer/watch.ts";

const listing = (states: Record<string, string>) =>
  Object.entries(states).map(([key, etag]) => ({ key, etag, sizeBytes: 1, mtimeMs: 0 }));

test("a listing is compared with the one before: new, changed and removed, and nothing else", () => {
  const states = fc.dictionary(fc.constantFrom("a", "b", "c", "d"), fc.constantFrom("1", "2"));
  fc.assert(
    fc.property(states, states, (before, after) => {
      const { after: snapshot } = compareListing(new Map(), listing(before));
      const events = compareListing(snapshot, listing(after)).events.map(({ type, key }) => `${type} ${key}`);
      const expected = [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) => {
        const was = Object.hasOwn(before, key) ? before[key] : undefined;
        const is = Object.hasOwn(after, key) ? after[key] : undefined;
        if (was === is) return [];
        return [`${was === undefined ? "new" : is === undefined ? "removed" : "changed"} ${key}`];
      });
      expect(events.sort()).toEqual(expected.sort());
    }),
  );
});

test.each([
  ["cp a b", ["cp", "a", "b"]],
  [`  rm "s3://b/a b" 'c "d"' `, ["rm", "s3://b/a b", 'c "d"']],
  [String.raw`ls a\ b "\"" '\'`, ["ls", "a b", '"', "\\"]],
  ["cp a '' # what for", ["cp", "a", ""]],
  ["rm s3://b/a#1", ["rm", "s3://b/a#1"]],
])("the words of %s", (line, words) => {
  expect(splitWords(line)).toEqual(words);
});

test("a quote that is not closed is refused", () => {
  expect(() => splitWords("rm 'a")).toThrow("not closed");
});
