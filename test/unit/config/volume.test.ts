import { describe, expect, test } from "vitest";
import { refusePath } from "../../../src/config/mount-path.ts";
import { jsonSchema } from "../../../src/config/schema.ts";
import { didYouMean, editDistance, nearest } from "../../../src/config/suggest.ts";
import { parseS3Url, parseVolume, volumeUrl } from "../../../src/config/volume.ts";

describe("mount paths", () => {
  test.each([
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/opt",
    "/var",
    "/home",
    "/usr/local",
    "/usr/bin/x",
    "/etc/x",
    "/proc/1",
    "/sys/fs",
    "/dev/shm",
  ])("%s is refused", (path) => expect(refusePath(path)).toContain("cannot be a mount point"));
  test.each([
    "/data",
    "/mnt",
    "/mnt/data",
    "/home/me/data",
    "/opt/data",
    "/var/data",
    "/tmp/x",
    "/run/x",
    "/binary",
    "/root/data",
  ])("%s is accepted", (path) => expect(refusePath(path)).toBeUndefined());
});

describe("a volume from flags", () => {
  const flagOf = (path: readonly (string | number)[]) => `--${path.join("-")}`;

  test("is checked by the same schema, and mistakes are named as the caller calls them", () => {
    expect(() => parseVolume({ bucket: "data", mount: "/d", cache: { size: "x" } }, flagOf)).toThrow(
      expect.objectContaining({
        code: "invalid_argument",
        message: expect.stringMatching(/^--cache-size: 'x' is not a size/),
      }),
    );
  });
  test.each(["data", "/etc", "./x"])("a mount path %s has an error code of its own", (mount) => {
    expect(() => parseVolume({ bucket: "data", mount })).toThrow(
      expect.objectContaining({ code: "mount_point_forbidden" }),
    );
  });
  test("a cache inside the mount point is refused", () => {
    expect(() => parseVolume({ bucket: "data", mount: "/d", cache: { dir: "/d/c" } })).toThrow(
      "is inside the mount point",
    );
  });
  test.each([
    ["endpoint", "127.0.0.1:9000"],
    ["endpoint", "ftp://x"],
    ["endpoint", "http://key:secret@host"],
    ["endpoint", "http://host/?x=1"],
    ["bucket", "s3://data"],
    ["bucket", "a/b"],
    ["bucket", ""],
    ["prefix", "/abs"],
    ["prefix", "a\0b"],
    ["mount", "/a\0b"],
    ["fileMode", "0999"],
    ["fileMode", 0o10000],
    ["uid", "-1"],
    ["uid", 4294967295],
    ["region", "eu central"],
    ["storage", "azure"],
    ["credentials", { profile: "" }],
    ["metadataTtl", "soon"],
    ["allowOther", "maybe"],
  ])("%s: %j is refused", (key, value) => {
    expect(() => parseVolume({ bucket: "data", mount: "/d", [key]: value })).toThrow(
      expect.objectContaining({ name: "HawserError" }),
    );
  });
  test("an endpoint keeps its port and loses its slash", () => {
    expect(parseVolume({ bucket: "data", mount: "/d", endpoint: "http://127.0.0.1:9000/" }).endpoint).toBe(
      "http://127.0.0.1:9000",
    );
  });
});

describe("sources", () => {
  test.each([
    ["s3://data", { bucket: "data", prefix: "" }],
    ["s3://data/", { bucket: "data", prefix: "" }],
    ["s3://data/a/b c/", { bucket: "data", prefix: "a/b c/" }],
  ])("%s", (url, location) => expect(parseS3Url(url)).toEqual(location));
  test.each(["data", "http://x", "s3://", "s3:///x", "/data"])("%s is refused", (url) => {
    expect(() => parseS3Url(url)).toThrow("is not a source");
  });
  test("appear in messages without a slash at the end", () => {
    expect(volumeUrl({ bucket: "b", prefix: "" })).toBe("s3://b");
    expect(volumeUrl({ bucket: "b", prefix: "p/" })).toBe("s3://b/p");
  });
});

describe("suggestions", () => {
  test("the nearest word within a third of its length", () => {
    expect(nearest("bukket", ["bucket", "mount"])).toBe("bucket");
    expect(nearest("metadatattl", ["metadata", "metadataTtl"])).toBe("metadataTtl");
    expect(nearest("xyz", ["bucket"])).toBeUndefined();
    expect(didYouMean("xyz", ["bucket"])).toBe("");
  });
  test("a swap of neighbours is one edit", () => {
    expect(editDistance("siez", "size")).toBe(1);
    expect(editDistance("", "abc")).toBe(3);
  });
});

test("the JSON Schema names every key with a description and refuses others", () => {
  const schema = jsonSchema() as {
    properties: {
      volumes: {
        items: {
          properties: Record<string, { description?: string }>;
          additionalProperties: boolean;
          required: string[];
        };
      };
    };
  };
  const volume = schema.properties.volumes.items;
  expect(volume.additionalProperties).toBe(false);
  expect(volume.required.sort()).toEqual(["bucket", "mount"]);
  const undescribed = Object.entries(volume.properties).filter(([, value]) => !value.description);
  expect(undescribed).toEqual([]);
});
