import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { GiB } from "../../../src/common/units.ts";
import { defaultName, loadConfig, parseConfig } from "../../../src/config/file.ts";

const parse = (text: string, environment = {}) => parseConfig(text, "hawser.yaml", environment);

function problemsOf(text: string, environment = {}): string[] {
  try {
    parse(text, environment);
  } catch (error) {
    if (HawserError.is(error, "config_invalid")) return error.message.split("\n");
    throw error;
  }
  return [];
}

const minimal = "volumes:\n  - bucket: data\n    mount: /data\n";

test("a volume needs a bucket and a mount path; the rest has defaults", () => {
  expect(parse(minimal)).toEqual([
    { name: "data", bucket: "data", prefix: "", mount: "/data", mode: "read-only", cache: {} },
  ]);
});

test("sizes, durations, modes, ids and switches are parsed from what people write", () => {
  const [volume] = parse(`
volumes:
  - bucket: my-data
    prefix: imagenet
    mount: /data/imagenet/
    cache: { dir: /scratch/cache, size: 50GiB, keepFree: 1G, memory: 512MiB }
    metadataTtl: 15m
    fileMode: 0755
    dirMode: 0o750
    umask: "022"
    uid: 1000
    allowOther: true
    passthrough: \${PASS:-no}
`);
  expect(volume).toMatchObject({
    prefix: "imagenet/",
    mount: "/data/imagenet",
    name: "imagenet",
    cache: { dir: "/scratch/cache", size: 50 * GiB, keepFree: GiB, memory: GiB / 2 },
    metadataTtl: 900_000,
    fileMode: 0o755,
    dirMode: 0o750,
    umask: 0o022,
    uid: 1000,
    allowOther: true,
    passthrough: false,
  });
});

test("a prefix is a folder, so that imagenet never matches imagenet-old/", () => {
  const prefixes = ["imagenet", "imagenet/", "", "/", "a//b"].map(
    (prefix) => parse(`volumes: [{bucket: data, mount: /d, prefix: "${prefix}"}]`)[0]!.prefix,
  );
  expect(prefixes).toEqual(["imagenet/", "imagenet/", "", "", "a//b/"]);
});

test("a bucket or prefix that looks like a number stays text", () => {
  const [volume] = parse("volumes: [{bucket: 20240101, prefix: 007, mount: /d}]");
  expect(volume).toMatchObject({ bucket: "20240101", prefix: "007/" });
});

test("metadataTtl may be static", () => {
  expect(parse(`${minimal}    metadataTtl: static`)[0]!.metadataTtl).toBe("static");
});

describe("variables", () => {
  test("are filled in from the environment, with defaults", () => {
    const [volume] = parse("volumes: [{bucket: '${B}', prefix: 'run-${N:-1}/x', mount: '/m/${E:-d}'}]", {
      B: "bucket",
      E: "",
    });
    expect(volume).toMatchObject({ bucket: "bucket", prefix: "run-1/x/", mount: "/m/d" });
  });

  test("without a value are an error that says what to do", () => {
    expect(problemsOf("volumes:\n  - bucket: ${NO_SUCH}\n    mount: /d\n")).toEqual([
      "hawser.yaml:2:13: volumes[0].bucket: ${NO_SUCH} is not set; set it in the environment or in .env beside the file, or write ${NO_SUCH:-default}.",
    ]);
  });

  test("cannot add keys or refer to other variables", () => {
    const [volume] = parse("volumes: [{bucket: data, prefix: '${P}', mount: /d}]", {
      P: "a, mode: ${Q}",
      Q: "x",
    });
    expect(volume).toMatchObject({ prefix: "a, mode: ${Q}/", mode: "read-only" });
  });

  test("$${ stands for itself", () => {
    expect(parse("volumes: [{bucket: data, prefix: 'a$${B}', mount: /d}]")[0]!.prefix).toBe("a${B}/");
  });
});

describe("mistakes name file, line and key", () => {
  test.each([
    [
      "volumes:\n  - bukket: x\n    bucket: data\n    mount: /d\n",
      "hawser.yaml:2:5: volumes[0].bukket: unknown key; did you mean 'bucket'?",
    ],
    [
      "volumes:\n  - bucket: data\n    mount: /d\n    cache: {siez: 1}\n",
      "hawser.yaml:4:13: volumes[0].cache.siez: unknown key; did you mean 'size'?",
    ],
    ["volumes:\n  - bucket: data\n", "hawser.yaml:2:5: volumes[0].mount: is required."],
    [`${minimal}    mode: readonly`, "hawser.yaml:4:11: volumes[0].mode: must be read-only or writable."],
    [
      `${minimal}    cache: { size: lots }`,
      "hawser.yaml:4:20: volumes[0].cache.size: 'lots' is not a size; write for example 512MiB or 50GiB.",
    ],
    [
      "volumes: [{bucket: data, mount: data}]",
      "hawser.yaml:1:33: volumes[0].mount: 'data' is a relative path; write an absolute one such as /data/data.",
    ],
    ["volumes: []", "hawser.yaml:1:10: volumes: must name at least one volume."],
    ["", "hawser.yaml: volumes: is required."],
    [
      "volume: []\nvolumes: [{bucket: data, mount: /d}]",
      "hawser.yaml:1:1: volume: unknown key; did you mean 'volumes'?",
    ],
  ])("%j", (text, problem) => {
    expect(problemsOf(text)).toEqual([problem]);
  });

  test("all at once", () => {
    expect(problemsOf("volumes:\n  - bucket: s3://x\n    mount: rel\n    uid: me\n")).toHaveLength(3);
  });

  test("broken YAML and duplicate keys as well", () => {
    expect(problemsOf("volumes:\n  - bucket: [\n")[0]).toMatch(/^hawser\.yaml:\d+:\d+: /);
    expect(problemsOf(`${minimal}    bucket: again\n`)[0]).toMatch(/^hawser\.yaml:4:\d+: .*unique/);
  });

  test("an alias that contains itself ends", () => {
    expect(problemsOf("volumes: &a [*a]")[0]).toContain("nested too deeply");
  });
});

describe("volumes together", () => {
  const two = (a: string, b: string) =>
    problemsOf(`volumes: [{bucket: data, mount: ${a}, name: a}, {bucket: data, mount: ${b}, name: b}]`);

  test("cannot share a path", () => {
    expect(two("/data", "/data/")[0]).toContain("two volumes are mounted at /data");
  });
  test("cannot be nested, in either order", () => {
    expect(two("/data", "/data/sub")[0]).toContain("/data/sub is inside /data");
    expect(two("/data/sub", "/data")[0]).toContain("/data/sub is inside /data");
  });
  test("may have paths with a common beginning", () => {
    expect(two("/data", "/data-old")).toEqual([]);
  });
  test("cannot share a name", () => {
    expect(problemsOf("volumes: [{bucket: b1, mount: /x/data}, {bucket: b1, mount: /y/data}]")[0]).toContain(
      "two volumes are called 'data'",
    );
  });
  test("cannot keep a cache inside a mount", () => {
    expect(problemsOf("volumes: [{bucket: b1, mount: /d, cache: {dir: /d/cache}}]")[0]).toContain(
      "a cache needs a local disk",
    );
  });
});

test("system paths are refused as mount points", () => {
  expect(problemsOf("volumes: [{bucket: data, mount: /etc}]")[0]).toContain("/etc is a system folder");
});

test("anchors and merges keep repeated settings in one place", () => {
  const volumes = parse(`
volumes:
  - &base { bucket: data, mount: /a, region: eu-central-1 }
  - { <<: *base, mount: /b }
`);
  expect(volumes[1]).toMatchObject({ bucket: "data", mount: "/b", region: "eu-central-1" });
});

test("names come from the mount path", () => {
  expect(["/data", "/x/my data", "/x/.hidden", "/x/é"].map(defaultName)).toEqual([
    "data",
    "my_data",
    "hidden",
    "volume",
  ]);
});

describe("files", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "hawser-config-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test(".env beside the file fills in variables, and the environment wins", () => {
    writeFileSync(join(folder, ".env"), 'A=from-file\nB="from file"\n# comment\n');
    writeFileSync(join(folder, "hawser.yaml"), "volumes: [{bucket: '${A}', prefix: '${B}', mount: /d}]");
    const config = loadConfig(join(folder, "hawser.yaml"), { A: "from-environment" });
    expect(config.volumes[0]).toMatchObject({ bucket: "from-environment", prefix: "from file/" });
    expect(config.environment["B"]).toBe("from file");
  });

  test("a missing file says so", () => {
    expect(() => loadConfig(join(folder, "no.yaml"), {})).toThrow(
      expect.objectContaining({ code: "config_not_found" }),
    );
  });

  test("credentials may be keys from variables", () => {
    writeFileSync(
      join(folder, "hawser.yaml"),
      "volumes: [{bucket: data, mount: /d, credentials: {accessKeyId: '${K}', secretAccessKey: '${S}'}}]",
    );
    const { volumes } = loadConfig(join(folder, "hawser.yaml"), { K: "key", S: "secret" });
    expect(volumes[0]!.credentials).toEqual({ accessKeyId: "key", secretAccessKey: "secret" });
  });
});

test("what says how a volume is written is refused where it is read-only, each key with its line", () => {
  const writing = `    fsync: local
    staging: { size: 1GiB }
    objects: { storageClass: STANDARD_IA }
`;
  expect(problemsOf(minimal + writing)).toEqual([
    expect.stringMatching(/^hawser.yaml:5:\d+: volumes\[0\].staging.size: is for writable volumes/),
    expect.stringMatching(/^hawser.yaml:4:\d+: volumes\[0\].fsync: is for writable volumes/),
    expect.stringMatching(/^hawser.yaml:6:\d+: volumes\[0\].objects.storageClass: is for writable volumes/),
  ]);
  expect(problemsOf(`${minimal}    mode: writable\n${writing}`)).toEqual([]);
});
