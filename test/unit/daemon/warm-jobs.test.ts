import { expect, test } from "vitest";
import type { BlockCache } from "../../../src/cache/create-content.ts";
import type { ObjectVersion } from "../../../src/cache/content.ts";
import { describeWarm } from "../../../src/cli/warm-text.ts";
import { HawserError } from "../../../src/common/errors.ts";
import { WarmJobs } from "../../../src/daemon/warm-jobs.ts";
import { names, volume } from "../vfs/support.ts";

/** Takes versions as the cache does, one at a time, when it is let. */
class FakeWarming implements Pick<BlockCache, "warm" | "evict"> {
  readonly fetched: string[] = [];
  readonly evicted: unknown[] = [];
  failing = new Set<string>();
  gate: Promise<void> = Promise.resolve();

  async warm(
    versions: Iterable<ObjectVersion> | AsyncIterable<ObjectVersion>,
    { signal, onProgress }: Parameters<BlockCache["warm"]>[1] = {},
  ): ReturnType<BlockCache["warm"]> {
    const progress = { objects: 0, bytes: 0, fetchedBytes: 0, failed: 0 };
    for await (const { key, sizeBytes } of versions) {
      await this.gate;
      if (signal?.aborted) break;
      this.fetched.push(key);
      if (this.failing.has(key)) progress.failed++;
      progress.objects++;
      progress.bytes += sizeBytes;
      progress.fetchedBytes += sizeBytes;
      onProgress?.(progress);
    }
    return progress;
  }

  evict(what: Parameters<BlockCache["evict"]>[0]): Promise<number> {
    this.evicted.push("prefix" in what ? what : what.key);
    return Promise.resolve(10);
  }
}

const OBJECTS = {
  "set/train/a": "1",
  "set/train/b": "22",
  "set/train/deep/c": "333",
  "set/val/d": "4444",
  "set/readme": "x",
};

function jobsOver(objects: Record<string, string> = OBJECTS) {
  const { fs } = volume(objects, { prefix: "set" });
  const content = new FakeWarming();
  return { jobs: new WarmJobs({ content, files: fs.volumeFiles }), content, fs };
}

test.each([
  ["train", ["set/train/a", "set/train/b", "set/train/deep/c"]],
  ["train/a", ["set/train/a"]],
  ["*/[ad]", ["set/train/a", "set/val/d"]],
  ["train/**/c", ["set/train/deep/c"]],
  ["", ["set/readme", "set/train/a", "set/train/b", "set/train/deep/c", "set/val/d"]],
])("'%s' fetches what is there", async (path, expected) => {
  const { jobs, content } = jobsOver();
  const { id } = await jobs.start([path]);
  const status = await jobs.wait(id, () => {});
  expect(content.fetched).toEqual(expected);
  const totalBytes = expected.reduce((sum, key) => sum + OBJECTS[key as keyof typeof OBJECTS].length, 0);
  expect(status).toMatchObject({ state: "done", files: expected.length, bytes: totalBytes, totalBytes });
});

test("several paths are fetched in the order given, and progress is told", async () => {
  const { jobs, content } = jobsOver();
  const steps: number[] = [];
  const { id } = await jobs.start(["val", "readme"]);
  const status = await jobs.wait(id, ({ files }) => steps.push(files));
  expect(content.fetched).toEqual(["set/val/d", "set/readme"]);
  expect(steps).toEqual([1, 2, 2]);
  expect(describeWarm(status, status.endedMs)).toMatch(
    /^fetched val, readme: 2 files, 5 B, 5 B of it fetched now/,
  );
});

test("a path that is not there is refused at once, a glob without matches when it was looked up", async () => {
  const { jobs } = jobsOver();
  await expect(jobs.start(["train", "nothing"])).rejects.toThrow("There is no 'nothing' in this volume.");
  const { id } = await jobs.start(["*.tar"]);
  const status = await jobs.wait(id, () => {});
  expect(status).toMatchObject({ state: "failed", error: "Nothing in this volume matches '*.tar'." });
  expect(describeWarm(status)).toBe("fetching *.tar failed: Nothing in this volume matches '*.tar'.");
});

test("a list is fetched in its order while it still arrives; what is missing is counted", async () => {
  const { jobs, content } = jobsOver();
  const { id } = jobs.startList();
  jobs.add(id, ["val/d", "nope", "train/b"], false);
  const ended = jobs.wait(id, () => {});
  jobs.add(id, ["train/a", "train"], true);
  const status = await ended;
  expect(content.fetched).toEqual(["set/val/d", "set/train/b", "set/train/a"]);
  expect(status).toMatchObject({ state: "done", files: 3, missing: 2, firstMissing: "nope", totalFiles: 5 });
  expect(() => jobs.add(id, ["val/d"], true)).toThrow(HawserError);
  expect(() => jobs.add(99, [], true)).toThrow("There is no warm job 99.");
});

test("a cancelled job ends, also one that waits for the rest of its list", async () => {
  const { jobs, content } = jobsOver();
  let open = (): void => {};
  content.gate = new Promise((resolve) => (open = resolve));
  const folder = await jobs.start([""]);
  const list = jobs.startList();
  jobs.add(list.id, ["val/d"], false);
  const ended = Promise.all([jobs.wait(folder.id, () => {}), jobs.wait(list.id, () => {})]);
  expect(jobs.cancel()).toBe(2);
  open();
  expect((await ended).map(({ state }) => state)).toEqual(["cancelled", "cancelled"]);
  expect(content.fetched).toEqual([]);
  expect(jobs.cancel()).toBe(0);
});

test("folders are evicted by their prefix, other things one by one", async () => {
  const { jobs, content } = jobsOver();
  expect(await jobs.evict(["train", "val/d", "train/?"])).toBe(40);
  expect(content.evicted).toEqual([{ prefix: "set/train/" }, "set/val/d", "set/train/a", "set/train/b"]);
});

test("the last jobs that ended are remembered, and those under way", async () => {
  const { jobs } = jobsOver();
  const list = jobs.startList();
  for (let i = 0; i < 20; i++) {
    const { id } = await jobs.start(["readme"]);
    await jobs.wait(id, () => {});
  }
  expect(jobs.list().map(({ id }) => id)).toEqual([list.id, 14, 15, 16, 17, 18, 19, 20, 21]);
  await jobs.close();
  await jobs.close();
  expect(jobs.list().every(({ endedMs }) => endedMs !== undefined)).toBe(true);
});

test("a name that looks like a glob and is there is itself", async () => {
  const { jobs, content, fs } = jobsOver({ "set/[a]": "1", "set/a": "2" });
  await names(fs);
  const { id } = await jobs.start(["[a]"]);
  await jobs.wait(id, () => {});
  expect(content.fetched).toEqual(["set/[a]"]);
});
