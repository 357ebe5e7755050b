/** Every function of the library that asks a store something ends when its signal does, in the middle of the request. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { HawserError, S3, runCommands } from "../../../../src/index.ts";
import { S3Program } from "../../../support/s3-program.ts";

let program: S3Program;
beforeEach(async () => void (program = await S3Program.start()));
afterEach(async () => {
  program.test.s3.faults.clear();
  await program.close();
});

function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** Waits for the request, fires the signal, and expects the call to have ended by it. */
async function endsBy(ending: AbortController, begun: Promise<void>, call: Promise<unknown>): Promise<void> {
  const outcome = call.then(
    () => "done",
    (error: unknown) => (HawserError.is(error) ? error.code : error),
  );
  await begun;
  ending.abort();
  expect(await outcome).toBe("interrupted");
}

type Call = (s3: S3, object: string, signal: AbortSignal) => Promise<unknown>;

/** What hangs, and the function that asks it. */
const CALLS: readonly (readonly [string, string, Call])[] = [
  ["buckets", "ListBuckets", (s3, _object, signal) => s3.buckets(signal)],
  ["makeBucket", "CreateBucket", (s3, _object, signal) => s3.makeBucket("new-bucket", { signal })],
  ["makeBucket", "PutPublicAccessBlock", (s3, _object, signal) => s3.makeBucket("newer-bucket", { signal })],
  ["removeBucket", "DeleteBucket", (s3, _object, signal) => s3.removeBucket(program.bucket, { signal })],
  ["stat", "HeadObject", (s3, object, signal) => s3.stat(object, { signal })],
  ["restore", "RestoreObject", (s3, object, signal) => s3.restore(object, { signal })],
  [
    "restoreVersion",
    "ListObjectVersions",
    (s3, object, signal) => s3.restoreVersion(object, "1", { signal }),
  ],
  ["removeVersion", "DeleteObjects", (s3, object, signal) => s3.removeVersion(object, "1", { signal })],
  [
    "lifecycle",
    "GetBucketLifecycleConfiguration",
    (s3, _object, signal) => s3.lifecycle(program.bucket, signal),
  ],
  [
    "setLifecycle",
    "PutBucketLifecycleConfiguration",
    (s3, _object, signal) =>
      s3.setLifecycle(program.bucket, { rules: [{ name: "old", expire: "7d" }] }, signal),
  ],
  [
    "setLifecycle of none",
    "DeleteBucketLifecycle",
    (s3, _object, signal) => s3.setLifecycle(program.bucket, { rules: [] }, signal),
  ],
  ["settings", "GetBucketEncryption", (s3, _object, signal) => s3.settings(program.bucket, signal)],
  [
    "setSettings",
    "PutBucketVersioning",
    (s3, _object, signal) => s3.setSettings(program.bucket, { versioning: true }, signal),
  ],
  [
    "setSettings",
    "PutBucketEncryption",
    (s3, _object, signal) => s3.setSettings(program.bucket, { encryption: "AES256" }, signal),
  ],
  [
    "setSettings",
    "DeleteBucketReplication",
    (s3, _object, signal) => s3.setSettings(program.bucket, { replication: null }, signal),
  ],
  [
    "setSettings",
    "PutBucketReplication",
    (s3, _object, signal) =>
      s3.setSettings(
        program.bucket,
        { replication: { bucket: "there", role: "arn:aws:iam::1:role/r" } },
        signal,
      ),
  ],
];

test.each(CALLS)("%s ends while %s is under way", async (_name, operation, call) => {
  await program.put("object");
  await using s3 = new S3();
  const ending = new AbortController();
  const fault = program.test.s3.faults.add({ operation, hold: true });
  const asked = call(s3, program.uri("object"), ending.signal);
  await endsBy(ending, fault.hit(), asked);
});

test("an old version is not copied any more when the signal ends it", async () => {
  await program.keepVersions();
  const first = await program.put("object", "one");
  await program.put("object", "two");
  await using s3 = new S3();
  const ending = new AbortController();
  const fault = program.test.s3.faults.add({ operation: "CopyObject", hold: true });
  const asked = s3.restoreVersion(program.uri("object"), first, { signal: ending.signal });
  await endsBy(ending, fault.hit(), asked);
});

test("presign ends while credentials are looked for", async () => {
  const asked = gate();
  const s3 = new S3({
    credentials: () => {
      asked.open();
      return new Promise(() => undefined);
    },
  });
  const ending = new AbortController();
  const url = s3.presign(program.uri("object"), { signal: ending.signal });
  await endsBy(ending, asked.opened, url);
});

test("many commands run as one function, with the words and the code of each", async () => {
  await program.putAll("a", "b/1");
  const seen: number[] = [];
  const lines = ["# a comment", `ls ${program.uri()}/`, "", "ls s3://nowhere", "hawser s3 nonsense"];
  const told: { line: number; code: number; out: string[]; err: string[] }[] = [];
  const result = await runCommands(lines, {
    parallel: 2,
    onCommand: (done) => {
      seen.push(done.line);
      told.push(done);
    },
  });
  expect(result).toMatchObject({ commands: 3, failed: 2 });
  expect(result.code).toBe(Math.max(...told.map(({ code }) => code)));
  expect(seen.sort((a, b) => a - b)).toEqual([2, 4, 5]);
  const byLine = new Map(told.map((done) => [done.line, done]));
  expect(byLine.get(2)).toMatchObject({ code: 0, err: [] });
  expect(byLine.get(2)!.out.join("\n")).toContain("b/");
  expect(byLine.get(4)!.err.join("\n")).toContain("nowhere");
  expect(byLine.get(5)).toMatchObject({ code: 2, out: [] });
});

test("commands that run are ended by the signal, none begins after it, and the process's own signals are left alone", async () => {
  await program.put("object", "content");
  const ending = new AbortController();
  const listeners = process.listenerCount("SIGINT");
  const fault = program.test.s3.faults.add({ operation: "GetObject", hold: true });
  const command = `cp ${program.uri("object")} /dev/null/nowhere`;
  const codes: number[] = [];
  const running = runCommands([`head ${program.uri("object")}`, command], {
    parallel: 1,
    signal: ending.signal,
    onCommand: ({ code }) => void codes.push(code),
  });
  await fault.hit();
  expect(process.listenerCount("SIGINT")).toBe(listeners);
  ending.abort();
  expect(await running).toMatchObject({ code: 130, commands: 1 });
  expect(codes).toEqual([130]);
});

test("a source of commands that waits for its next line does not hold up the end", async () => {
  const ending = new AbortController();
  const asked = gate();
  const lines = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        asked.open();
        return new Promise<IteratorResult<string>>(() => undefined);
      },
    }),
  };
  const running = runCommands(lines, { signal: ending.signal });
  await asked.opened;
  ending.abort();
  expect(await running).toEqual({ code: 130, commands: 0, failed: 0 });
});
