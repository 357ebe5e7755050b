import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { DIFFERENCES } from "./differences.ts";

test("docs/INTEROP.md lists the known differences, and no others", () => {
  const text = readFileSync(new URL("../../docs/INTEROP.md", import.meta.url), "utf8");
  const section = text.split("## ").find((part) => part.startsWith("Where a server differs"))!;
  const rows = section
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .slice(1);
  expect(rows).toEqual(DIFFERENCES.map((one) => `| ${one.server} | ${one.case} | ${one.reason} |`));
});
