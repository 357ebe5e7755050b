import { describe, expect, it } from "vitest";
import { parseMountTable } from "../../../src/fuse/mount-table.ts";

const TABLE = [
  "21 1 254:0 / / rw,relatime - ext4 /dev/root rw",
  String.raw`36 21 0:45 / /mnt/with\040space rw,nosuid shared:7 master:3 - fuse.hawser s3://a/b rw,user_id=0`,
  "37 21 0:46 / /mnt/daten-ü ro - fuse.hawser x ro",
  "",
].join("\n");

describe("parseMountTable", () => {
  it("reads device, path and type, whatever optional fields lie between", () => {
    expect(parseMountTable(TABLE)).toEqual([
      { mountPoint: "/", major: 254, minor: 0, type: "ext4" },
      { mountPoint: "/mnt/with space", major: 0, minor: 45, type: "fuse.hawser" },
      { mountPoint: "/mnt/daten-ü", major: 0, minor: 46, type: "fuse.hawser" },
    ]);
  });
});
