import { CreateMultipartUploadCommand } from "@aws-sdk/client-s3";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { S3Program } from "../../../support/s3-program.ts";

let s3: S3Program;
beforeEach(async () => void (s3 = await S3Program.start()));
afterEach(() => s3.close());

describe("s3 cleanup", () => {
  beforeEach(() =>
    s3.putAll(
      "runs/a/epoch_9.pt",
      "runs/a/epoch_10.pt",
      "runs/a/epoch_11.pt",
      "runs/a/best.pt",
      "runs/a/log.txt",
      "runs/b/checkpoint-5/model.safetensors",
      "runs/b/checkpoint-5/config.json",
      "runs/b/checkpoint-10/model.safetensors",
    ),
  );

  test("keeps the newest of each run, by number, and says what goes and stays", async () => {
    const dry = await s3.s3("cleanup", s3.uri("runs"), "--keep-last-n", "1", "--dry-run");
    expect(dry.code).toBe(0);
    expect(dry.out).toMatch(/a\/\n +keep +epoch_11\.pt .*\n +remove +epoch_10\.pt .*\n +remove +epoch_9\.pt/);
    expect(dry.out).toContain("Would remove: 3 checkpoints (4 B); 2 stay.");
    expect((await s3.keys()).length).toBe(8);
    expect((await s3.s3("cleanup", s3.uri("runs"), "--keep-last-n", "1")).code).toBe(0);
    expect(await s3.keys()).toEqual([
      "runs/a/best.pt",
      "runs/a/epoch_11.pt",
      "runs/a/log.txt",
      "runs/b/checkpoint-10/model.safetensors",
    ]);
  });
  test("--json tells each verdict", async () => {
    const { json } = await s3.s3("cleanup", s3.uri("runs/a"), "--max-total-size", "2", "--dry-run", "--json");
    expect(json.map(({ name, verdict }) => [name, verdict])).toEqual([
      ["epoch_11.pt", "keep"],
      ["epoch_10.pt", "keep"],
      ["epoch_9.pt", "over-size"],
    ]);
  });
  test("what is young enough stays", async () => {
    await s3.s3("cleanup", s3.uri("runs"), "--keep-last-n", "0", "--older-than", "1h");
    expect((await s3.keys()).length).toBe(8);
  });
  test("a pattern that matches nothing is said", async () => {
    expect(await s3.s3("cleanup", s3.uri("runs"), "--pattern", "snap-*", "--keep-last-n", "1")).toMatchObject(
      {
        code: 1,
        err: expect.stringContaining("matches 'snap-*'"),
      },
    );
    expect(await s3.s3("cleanup", s3.uri("runs/b/checkpoint-5"), "--keep-last-n", "1")).toMatchObject({
      code: 1,
      err: expect.stringContaining("--pattern"),
    });
  });
  test("it needs to be told what goes", async () => {
    expect(await s3.s3("cleanup", s3.uri("runs"))).toMatchObject({ code: 2 });
    expect(await s3.s3("cleanup", s3.uri("runs"), "--keep-last-n", "-1")).toMatchObject({ code: 2 });
    expect(await s3.s3("cleanup", s3.uri("runs"), "--older-than", "soon")).toMatchObject({ code: 2 });
  });
  test("--multipart ends uploads that are older than a day, and no others", async () => {
    const begin = (Key: string) =>
      s3.test.client.send(new CreateMultipartUploadCommand({ Bucket: s3.bucket, Key }));
    s3.test.s3.setClockSkew(-25 * 3_600_000);
    s3.test.client.config.systemClockOffset = -25 * 3_600_000;
    await begin("runs/old.bin");
    s3.test.s3.setClockSkew(0);
    s3.test.client.config.systemClockOffset = 0;
    await begin("runs/new.bin");
    const { code, out } = await s3.s3("cleanup", s3.uri(), "--multipart");
    expect([code, out]).toEqual([0, expect.stringContaining("runs/old.bin")]);
    expect(out).not.toContain("runs/new.bin");
    expect((await s3.s3("cleanup", s3.uri(), "--multipart")).out).toContain("0 unfinished uploads");
  });
});

describe("s3 watch", () => {
  test("tells what is new, changed and removed after the start, and runs a command for each", async () => {
    await s3.putAll("w/there", "w/changes");
    const seen = join(s3.folder, "seen");
    const lines: string[] = [];
    const exec = `echo "$HAWSER_EVENT $HAWSER_KEY $HAWSER_SIZE" >> ${seen}`;
    // Each is put when the one before has been told, so that their order is known.
    const steps = [() => s3.put("w/changes", "more"), () => s3.s3("rm", s3.uri("w/there"))];
    const argv = [
      "s3",
      "watch",
      s3.uri("w/"),
      "--interval",
      "20ms",
      "--max-events",
      "3",
      "--json",
      "--exec",
      exec,
    ];
    const started = s3.whenListed();
    const watching = s3.run(argv, (line) => {
      lines.push(line);
      void steps.shift()?.();
    });
    await started;
    await s3.put("w/new", "12345");
    expect((await watching).code).toBe(0);
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { type: "new", uri: s3.uri("w/new"), sizeBytes: 5 },
      { type: "changed", uri: s3.uri("w/changes") },
      { type: "removed", uri: s3.uri("w/there") },
    ]);
    expect(readFileSync(seen, "utf8")).toBe("new w/new 5\nchanged w/changes 4\nremoved w/there \n");
  });
  test("a bucket that is not there ends it", async () => {
    expect(await s3.s3("watch", "s3://no-such-bucket-here")).toMatchObject({ code: 6 });
  });
});

describe("s3 versions", () => {
  let first: string;
  beforeEach(async () => {
    await s3.keepVersions();
    first = (await s3.put("m.pt", "one"))!;
    await s3.put("m.pt", "second");
  });
  const content = async () => (await s3.s3("cat", s3.uri("m.pt"))).bytes.toString();

  test("list shows them, newest first, removals as well", async () => {
    await s3.s3("rm", s3.uri("m.pt"));
    const { json } = await s3.s3("versions", "list", "--json", s3.uri("m.pt"));
    expect(
      json.map(({ isDeleteMarker, isLatest, sizeBytes }) => [isDeleteMarker, isLatest, sizeBytes]),
    ).toEqual([
      [true, true, 0],
      [false, false, 6],
      [false, false, 3],
    ]);
    expect((await s3.s3("versions", "list", s3.uri())).out).toMatch(/removed {2}\* /);
  });
  test("get writes an old one to a file or to standard output", async () => {
    const path = join(s3.folder, "old.pt");
    const ran = await s3.s3("versions", "get", s3.uri("m.pt"), `--version-id=${first}`, path);
    expect([ran.code, ran.err]).toEqual([0, ""]);
    expect(readFileSync(path, "utf8")).toBe("one");
    await s3.s3("versions", "get", s3.uri("m.pt"), `--version-id=${first}`, `${s3.folder}/`);
    expect(readdirSync(s3.folder).sort()).toEqual(["m.pt", "old.pt"]);
    const piped = await s3.s3("versions", "get", s3.uri("m.pt"), `--version-id=${first}`, "-");
    expect(piped.bytes.toString()).toBe("one");
  });
  test("restore copies an old one, or takes a removal back", async () => {
    expect((await s3.s3("versions", "restore", s3.uri("m.pt"), `--version-id=${first}`)).code).toBe(0);
    expect(await content()).toBe("one");
    await s3.s3("rm", s3.uri("m.pt"));
    expect((await s3.s3("versions", "restore", s3.uri("m.pt"))).out).toContain("removal was taken back");
    expect(await content()).toBe("one");
    expect((await s3.s3("versions", "restore", s3.uri("m.pt"))).out).toContain("already");
    expect(await s3.s3("versions", "restore", s3.uri("no.pt"))).toMatchObject({ code: 1 });
  });
  test("delete removes one for good, and needs to be told which", async () => {
    expect(await s3.s3("versions", "delete", s3.uri("m.pt"))).toMatchObject({ code: 2 });
    expect((await s3.s3("versions", "delete", s3.uri("m.pt"), `--version-id=${first}`)).code).toBe(0);
    expect(await s3.versionCount()).toBe(1);
    expect(await content()).toBe("second");
  });
  test("anything else is refused", async () => {
    expect(await s3.s3("versions", "show", s3.uri("m.pt"))).toMatchObject({ code: 2 });
  });
});

describe("s3 restore", () => {
  const archive = (key: string) => s3.put(key, "cold", { StorageClass: "GLACIER" });

  test("asks for archived objects only, and waits until they can be read", async () => {
    await archive("cold/a");
    await archive("cold/b");
    await s3.put("cold/warm", "x");
    const asked = await s3.s3("restore", "-r", "--json", "--days", "3", s3.uri("cold"));
    expect(asked.json.map(({ uri }) => String(uri)).sort()).toEqual([s3.uri("cold/a"), s3.uri("cold/b")]);
    const waited = await s3.s3("restore", "--wait", "--poll-interval", "10ms", s3.uri("cold/a"));
    expect(waited).toMatchObject({ code: 0, out: `${s3.uri("cold/a")}: it can be read` });
    expect((await s3.s3("cat", s3.uri("cold/a"))).bytes.toString()).toBe("cold");
    expect((await s3.s3("restore", s3.uri("cold/warm"))).out).toContain("not archived");
  });
  test("what is refused is a failure, the others are restored", async () => {
    await archive("cold/a");
    await archive("cold/b");
    s3.test.s3.setPolicy(({ action, key }) => !(action === "s3:RestoreObject" && key === "cold/a"));
    const { code, out, err } = await s3.s3("restore", "-r", s3.uri("cold"));
    expect([code, out]).toEqual([5, expect.stringContaining("cold/b")]);
    expect(err).toContain("cold/a");
  });
  test.each([
    ["--days", "0"],
    ["--tier", "Fast"],
  ])("%s %s is refused", async (option, value) => {
    expect(await s3.s3("restore", option, value, s3.uri("a"))).toMatchObject({ code: 2 });
  });
});

describe("s3 run", () => {
  const file = (...lines: string[]) => {
    const path = join(s3.folder, "commands");
    writeFileSync(path, `${lines.join("\n")}\n`);
    return path;
  };

  test("runs each line, with or without 'hawser s3', and ends with the worst code", async () => {
    writeFileSync(join(s3.folder, "a b.txt"), "hello");
    const path = file(
      "# uploads",
      "",
      `cp "${s3.folder}/a b.txt" ${s3.uri("x")}`,
      `hawser s3 cp '${s3.folder}/a b.txt' ${s3.uri("y")}`,
      `s3 cp ${s3.folder}/none ${s3.uri("z")}`,
      "rm",
    );
    const { code, err } = await s3.s3("run", path);
    expect(code).toBe(2);
    expect(err).toContain("line 6 ended with 2: rm");
    expect(await s3.keys()).toEqual(["x", "y"]);
  });
  test("--json keeps a command's output together", async () => {
    await s3.put("a", "1");
    const { code, json } = await s3.s3("run", "--json", "-j", "1", file(`ls ${s3.uri()}`, "nonsense"));
    expect(code).toBe(2);
    expect(json).toMatchObject([
      { line: 1, code: 0, out: [expect.stringContaining("a")] },
      { line: 2, code: 2, err: [expect.stringContaining("not a command")] },
    ]);
  });
  test("it does not run itself, nor a file that is not there", async () => {
    expect(await s3.s3("run", file("run x"))).toMatchObject({ code: 2 });
    expect(await s3.s3("run", join(s3.folder, "none"))).toMatchObject({ code: 1 });
  });
});
