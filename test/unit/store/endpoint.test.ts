import { describe, expect, test } from "vitest";
import { pathOf, resolveEndpoint } from "../../../src/store/endpoint.ts";
import type { EndpointOptions } from "../../../src/store/endpoint.ts";
import { PRESETS, STORAGE_PRESETS } from "../../../src/store/presets.ts";

/** Where a GET of the key `k y` goes. */
function urlOf(options: EndpointOptions): string {
  const endpoint = resolveEndpoint(options);
  return `${endpoint.tls ? "https" : "http"}://${endpoint.host}${pathOf(endpoint, "k y")} ${endpoint.region}`;
}

describe("addressing", () => {
  test.each<[EndpointOptions, string]>([
    [{ bucket: "data" }, "https://data.s3.us-east-1.amazonaws.com/k%20y us-east-1"],
    [{ bucket: "data", region: "eu-west-1" }, "https://data.s3.eu-west-1.amazonaws.com/k%20y eu-west-1"],
    [
      { bucket: "data", region: "cn-north-1" },
      "https://data.s3.cn-north-1.amazonaws.com.cn/k%20y cn-north-1",
    ],
    [{ bucket: "my.data" }, "https://s3.us-east-1.amazonaws.com/my.data/k%20y us-east-1"],
    [{ bucket: "Old_Bucket" }, "https://s3.us-east-1.amazonaws.com/Old_Bucket/k%20y us-east-1"],
    [{ bucket: "data", addressing: "path" }, "https://s3.us-east-1.amazonaws.com/data/k%20y us-east-1"],
    [
      { bucket: "data", storage: "r2", accountId: "acc" },
      "https://acc.r2.cloudflarestorage.com/data/k%20y auto",
    ],
    [{ bucket: "data", storage: "gcs" }, "https://storage.googleapis.com/data/k%20y auto"],
    [{ bucket: "data", storage: "wasabi" }, "https://s3.wasabisys.com/data/k%20y us-east-1"],
    [
      { bucket: "data", storage: "wasabi", region: "eu-central-1" },
      "https://s3.eu-central-1.wasabisys.com/data/k%20y eu-central-1",
    ],
    [
      { bucket: "data", storage: "b2", region: "eu-central-003" },
      "https://s3.eu-central-003.backblazeb2.com/data/k%20y eu-central-003",
    ],
    [
      { bucket: "data", storage: "minio", endpoint: "http://minio:9000" },
      "http://minio:9000/data/k%20y us-east-1",
    ],
    [{ bucket: "data", endpoint: "http://127.0.0.1:9100/" }, "http://127.0.0.1:9100/data/k%20y us-east-1"],
    [
      { bucket: "data", endpoint: "https://gate.example/s3/" },
      "https://gate.example/s3/data/k%20y us-east-1",
    ],
    [
      { bucket: "data", endpoint: "https://s3.eu-west-1.amazonaws.com" },
      "https://data.s3.eu-west-1.amazonaws.com/k%20y us-east-1",
    ],
    [
      { bucket: "data", endpoint: "https://s3.example.com", addressing: "virtual" },
      "https://data.s3.example.com/k%20y us-east-1",
    ],
    [
      { bucket: "my.data", endpoint: "http://s3.example.com", addressing: "virtual" },
      "http://my.data.s3.example.com/k%20y us-east-1",
    ],
    [{ bucket: "data", endpoint: "http://[::1]:9000" }, "http://[::1]:9000/data/k%20y us-east-1"],
  ])("%j", (options, url) => {
    expect(urlOf(options)).toBe(url);
  });

  test("an IPv6 endpoint is connected to without its brackets", () => {
    expect(resolveEndpoint({ bucket: "data", endpoint: "http://[::1]:9000" }).hostname).toBe("::1");
  });

  test.each<[EndpointOptions, RegExp]>([
    [{ bucket: "data", storage: "r2" }, /account id/],
    [{ bucket: "data", storage: "minio" }, /--endpoint http:\/\/minio/],
    [{ bucket: "data", endpoint: "minio:9000" }, /no endpoint; write for example/],
    [{ bucket: "data", endpoint: "ftp://x" }, /no endpoint/],
    [{ bucket: "data", endpoint: "https://key:secret@x" }, /must not contain credentials/],
    [{ bucket: "data", endpoint: "http://127.0.0.1:1", addressing: "virtual" }, /use path addressing/],
    [{ bucket: "arn:aws:s3:us-east-1:1:accesspoint/x" }, /alias/],
    [{ bucket: "data--use1-az4--x-s3" }, /directory bucket/],
    [{ bucket: "data/prefix" }, /no bucket name.*prefix/],
    [{ bucket: "" }, /no bucket name/],
    [{ bucket: ".." }, /no bucket name/],
  ])("%j is refused with what to write instead", (options, message) => {
    expect(() => resolveEndpoint(options)).toThrow(message);
  });

  test("every preset has a title, an address or a hint, and capabilities", () => {
    for (const name of STORAGE_PRESETS) {
      const preset = PRESETS[name];
      expect(preset.title).not.toBe("");
      expect(preset.endpoint("x", "account") ?? preset.endpointHint).toBeDefined();
      expect(Object.keys(preset.capabilities).sort()).toEqual([
        "batchDelete",
        "checksums",
        "conditionalPut",
        "partCopy",
      ]);
    }
  });
});
