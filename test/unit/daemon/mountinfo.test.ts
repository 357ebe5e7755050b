import { expect, test } from "vitest";
import { mountAt, mountCovering, parseMountinfo, readMounts } from "../../../src/daemon/mountinfo.ts";

const TABLE = `22 1 0:21 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/a
40 22 0:45 / /data rw,nosuid,nodev - fuse.hawser s3://data rw,user_id=0
41 22 0:46 / /it\\040has\\011odd\\134names ro,nosuid master:1 propagate_from:2 - fuse.hawser s3://b/p\\040q ro
42 40 0:47 / /data rw - tmpfs tmpfs rw
43 22 0:48 / /data-old rw - ext4 /dev/sda rw
broken line
`;

test("reads point, device, type, source and mode, with any number of optional fields", () => {
  const mounts = parseMountinfo(TABLE);
  expect(mounts).toHaveLength(5);
  expect(mounts[1]).toEqual({
    mountPoint: "/data",
    deviceMinor: 45,
    type: "fuse.hawser",
    source: "s3://data",
    readOnly: false,
  });
  expect(mounts[2]).toMatchObject({
    mountPoint: "/it has\todd\\names",
    source: "s3://b/p q",
    readOnly: true,
  });
});

test("the topmost of several at a path counts", () => {
  expect(mountAt("/data", parseMountinfo(TABLE))?.type).toBe("tmpfs");
  expect(mountAt("/dat", parseMountinfo(TABLE))).toBeUndefined();
});

test("a path lies in the nearest mount above it, by whole names", () => {
  const covering = (path: string) => mountCovering(path, parseMountinfo(TABLE))?.mountPoint;
  expect([covering("/data/x/y"), covering("/data-old/x"), covering("/database"), covering("/")]).toEqual([
    "/data",
    "/data-old",
    "/",
    "/",
  ]);
});

test("this machine's own table can be read", () => {
  expect(mountAt("/", readMounts())).toBeDefined();
});
