/** What a node's programs say, read. */
import { expect, test } from "vitest";
import { reasonIn, saysNoRoom } from "../../../src/launch/no-room.ts";

const LAST = "tar: Exiting with failure status due to previous errors";

test.each([
  ["tar: data: Cannot write: No space left on device", true],
  ["tar: data: Wrote only 512 of 10240 bytes", true],
  ["tar: data: Cannot write: Disk quota exceeded", true],
  ["tar: data: Cannot open: Permission denied", false],
])("%s", (line, isFull) => {
  const said = `${line}\n${LAST}\n`;
  expect(saysNoRoom(said)).toBe(isFull);
  expect(reasonIn(said)).toBe(line);
});

test("of several lines, the one about room tells; of none, none does", () => {
  const said = `tar: a: Wrote only 512 of 10240 bytes\ntar: b: Cannot open: File exists\n${LAST}\n`;
  expect(reasonIn(said)).toMatch(/Wrote only/);
  expect(reasonIn("")).toBe("");
});
