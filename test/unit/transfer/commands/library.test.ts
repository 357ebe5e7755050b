import { afterEach, beforeEach, expect, test } from "vitest";
import { group } from "../../../../src/cli/commands/s3/index.ts";
import { S3 } from "../../../../src/index.ts";
import { S3Program } from "../../../support/s3-program.ts";

let program: S3Program;
beforeEach(async () => void (program = await S3Program.start()));
afterEach(() => program.close());

test("a program lists and removes as the commands do, with events", async () => {
  await program.putAll("a", "d/1", "d/2");
  await using s3 = new S3();
  const keys: string[] = [];
  const folders: string[] = [];
  for await (const page of s3.list(program.uri())) {
    keys.push(...page.objects.map(({ key }) => key));
    folders.push(...page.folders);
  }
  expect([keys, folders]).toEqual([["a"], ["d/"]]);
  const done: string[] = [];
  const summary = await s3.remove(program.uri("d"), {
    recursive: true,
    onEvent: (event) => void (event.type === "done" && done.push(event.source)),
  });
  expect(summary).toMatchObject({ deleted: 2, failed: 0 });
  expect(done).toEqual([program.uri("d/1"), program.uri("d/2")]);
  const aborted = await s3.remove(program.uri(), { recursive: true, signal: AbortSignal.abort() });
  expect(aborted).toMatchObject({ deleted: 0, interrupted: true });
  expect(await program.keys()).toEqual(["a"]);
});

test("what commands do beyond copying: buckets, versions, streams, settings, reviews, each as a function", async () => {
  await using s3 = new S3();
  expect(await s3.makeBucket("library-bucket")).toEqual([]);
  expect((await s3.buckets()).map(({ name }) => name)).toContain("library-bucket");
  await s3.setSettings("library-bucket", { versioning: true });
  expect(await s3.settings("library-bucket")).toMatchObject({ versioning: "on", publicAccess: "blocked" });
  await s3.setLifecycle("library-bucket", { rules: [{ name: "tmp", prefix: "tmp/", expire: "7d" }] });
  expect((await s3.lifecycle("library-bucket")).rules).toMatchObject([{ prefix: "tmp/", expire: "7d" }]);
  const object = "s3://library-bucket/d/x";
  const body = async function* (text: string): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(Buffer.from(text));
  };
  for (const text of ["one", "two"])
    expect(await s3.write(body(text), object)).toMatchObject({ uploaded: 1 });
  expect((await s3.stat(object)).sizeBytes).toBe(3);
  const read = async (options = {}): Promise<string> => {
    let text = "";
    for await (const bytes of s3.read(object, options)) text += Buffer.from(bytes).toString();
    return text;
  };
  expect(await read({ offset: 1, length: 1 })).toBe("w");
  const versions = [];
  for await (const page of s3.versions(object)) versions.push(...page);
  expect(versions).toHaveLength(2);
  const [, first] = versions;
  expect(await read({ versionId: first!.versionId })).toBe("one");
  expect(await s3.restoreVersion(object, first!.versionId)).toMatchObject({ how: "copy" });
  expect(await read()).toBe("one");
  await s3.removeVersion(object, first!.versionId);
  expect(await (await fetch(await s3.presign(object))).text()).toBe("one");
  const totals = [];
  for await (const total of s3.totals("s3://library-bucket")) totals.push([total.folder, total.objects]);
  expect(totals).toEqual([
    ["d/", 1],
    ["", 1],
  ]);
  expect((await s3.review("s3://library-bucket")).tally.objects).toBe(1);
  for (const step of [1, 2]) await s3.write(body("weights"), `s3://library-bucket/step_${step}.pt`);
  const cleaned = await s3.cleanup("s3://library-bucket", { keepLastN: 1 });
  expect(cleaned.summary.deleted).toBe(1);
  const ending = new AbortController();
  const events = [];
  const onReady = (): void => void s3.write(body("new"), "s3://library-bucket/new");
  for await (const event of s3.watch("s3://library-bucket", {
    intervalMs: 10,
    signal: ending.signal,
    onReady,
  })) {
    events.push([event.type, event.key]);
    ending.abort();
  }
  expect(events).toEqual([["new", "new"]]);
  await expect(s3.removeBucket("library-bucket")).rejects.toMatchObject({ code: "not_empty" });
  await s3.removeBucket("library-bucket", { force: true });
  await expect(s3.stat("s3://library-bucket/")).rejects.toMatchObject({ code: "invalid_argument" });
});

test.each(group.commands.map(({ name }) => [name]))(
  "s3 %s has help with usage and examples",
  async (name) => {
    const { code, out } = await program.s3(name, "--help");
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`^Usage: hawser s3 ${name}`));
    expect(out).toContain(`hawser s3 ${name} `);
    expect(out).toContain("Examples:");
  },
);

test("completion knows every command of s3 and its options", async () => {
  const { out } = await program.run(["completion", "bash"]);
  for (const { name } of group.commands) expect(out).toContain(`"s3 ${name}"`);
  expect(out).toContain("--keep-last-n");
});
