/** docs/SEMANTICS.md is a contract: each of its lines is named in the title of a test that holds it. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The text of all calls that title a test or a group of tests. */
function titles(): string {
  const files = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" });
  return files
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(join(root, "test", name), "utf8"))
    .join("\n");
}

const promises = readFileSync(join(root, "docs/SEMANTICS.md"), "utf8").matchAll(/^- \*\*([A-Z]\d+)\*\* /gm);
const ids = [...promises].map((match) => match[1]!);
const text = titles();

test("the promises are numbered once each", () => {
  expect(ids.length).toBeGreaterThan(20);
  expect(new Set(ids).size).toBe(ids.length);
});

test.each(ids)("%s has a test that names it", (id) => {
  expect(text).toMatch(new RegExp(`["'\`\\[(, ]${id}\\b`));
});
