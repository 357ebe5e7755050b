import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { errorReference } from "../../../src/cli/error-reference.ts";
import { configReference } from "../../../src/config/reference.ts";
import { STORAGE_KINDS } from "../../../src/config/schema.ts";
import { STORAGE_PRESETS } from "../../../src/store/presets.ts";

const doc = (name: string) => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), "utf8");

test("docs/ERRORS.md lists every code: 'hawser config errors > docs/ERRORS.md' renews it", () => {
  expect(doc("ERRORS.md").trimEnd()).toBe(errorReference().trimEnd());
});

test("docs/CONFIG.md lists every key: 'hawser config reference > docs/CONFIG.md' renews it", () => {
  expect(doc("CONFIG.md").trimEnd()).toBe(configReference().trimEnd());
});

test("the kinds of store that can be configured are those that have a preset", () => {
  expect([...STORAGE_KINDS]).toEqual([...STORAGE_PRESETS]);
});
