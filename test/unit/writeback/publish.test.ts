import { beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import type { ErrorCode } from "../../../src/common/errors.ts";
import { MiB } from "../../../src/common/units.ts";
import { MemoryStore } from "../../../src/store/memory-store.ts";
import type { UploadedPart } from "../../../src/store/object-store.ts";
import { PublishConflict, publish } from "../../../src/writeback/publish.ts";
import type { Publication, PublishProgress } from "../../../src/writeback/publish.ts";
import { UploadSlots } from "../../../src/writeback/upload-slots.ts";

/** A store whose next call of a method fails before or after it has taken effect. */
class Troubled extends MemoryStore {
  readonly plan: { method: string; code: ErrorCode; after: boolean; times: number }[] = [];

  trouble(method: string, code: ErrorCode, when: "before" | "after" = "before", times = 1): void {
    this.plan.push({ method, code, after: when === "after", times });
  }

  async #with<T>(method: string, call: () => Promise<T>): Promise<T> {
    const entry = this.plan.find((item) => item.method === method && item.times > 0);
    if (!entry) return call();
    entry.times--;
    if (entry.after) await call();
    throw new HawserError(entry.code, `${method} failed on purpose`);
  }

  override put(...args: Parameters<MemoryStore["put"]>) {
    return this.#with("put", () => super.put(...args));
  }
  override uploadPart(...args: Parameters<MemoryStore["uploadPart"]>) {
    return this.#with("uploadPart", () => super.uploadPart(...args));
  }
  override completeMultipart(...args: Parameters<MemoryStore["completeMultipart"]>) {
    return this.#with("completeMultipart", () => super.completeMultipart(...args));
  }
  override listParts(...args: Parameters<MemoryStore["listParts"]>) {
    return this.#with("listParts", () => super.listParts(...args));
  }
}

class Recorder implements PublishProgress {
  multipart: { id: string; partBytes: number } | undefined;
  parts: UploadedPart[] = [];
  denials: string[] = [];
  abandoned: string[] = [];
  commits: string[] = [];
  sent = 0;
  async beginMultipart(partBytes: number, create: () => Promise<{ uploadId: string }>) {
    const { uploadId: id } = await create();
    this.multipart = { id, partBytes };
    this.parts = [];
    return id;
  }
  async partDone(part: UploadedPart) {
    this.parts.push(part);
  }
  bytesSent(count: number) {
    this.sent += count;
  }
  mayArriveLate() {}
  async mayAppear() {}
  committing() {
    this.commits.push("begin");
  }
  committed() {
    this.commits.push("end");
  }
  abandon(multipartId: string) {
    this.abandoned.push(multipartId);
  }
  denied(what: string) {
    this.denials.push(what);
  }
}

function deferred(): { promise: Promise<void>; resolve(): void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

const PART = 5 * MiB;
const bytes = (size: number, seed = 1) =>
  Buffer.from(Uint8Array.from({ length: size }, (_, at) => at * 31 + seed));

function publication(content: Buffer, more: Partial<Publication> = {}): Publication {
  return {
    file: 1,
    key: "run/ckpt.pt",
    base: { kind: "absent" },
    uploadId: "upload-1",
    content: {
      sizeBytes: content.length,
      prepare: async () => {},
      use: ({ start, end }, send) => send(content.subarray(start, end), () => undefined),
    },
    options: {},
    ...more,
  };
}

let store: Troubled;
let progress: Recorder;
const run = (what: Publication) =>
  publish(what, progress, {
    store,
    slots: new UploadSlots({ total: 4, whileReading: 1 }),
    singlePutMaxBytes: PART,
    partBytes: PART,
  });

beforeEach(() => {
  store = new Troubled();
  progress = new Recorder();
});

describe("publish", () => {
  test("a small file is one PUT that carries its upload id", async () => {
    const content = bytes(1000);
    await run(publication(content));
    expect(Buffer.from(store.peek("run/ckpt.pt")!)).toEqual(content);
    expect((await store.head("run/ckpt.pt")).metadata["hawser-upload"]).toBe("upload-1");
    expect(store.counts.get("put")).toBe(1);
  });

  test("a large file goes up in parts and appears whole", async () => {
    const content = bytes(2 * PART + 17);
    await run(publication(content));
    expect(Buffer.compare(store.peek("run/ckpt.pt")!, content)).toBe(0);
    expect(progress.parts).toHaveLength(3);
  });

  test.each<[string, ErrorCode, number]>([
    ["put", "timed_out", 1000],
    ["put", "store_failed", 1000],
    ["completeMultipart", "store_failed", 2 * PART],
    ["completeMultipart", "not_found", 2 * PART],
  ])("%s that succeeded but answered %s is not sent again", async (method, code, size) => {
    store.trouble(method, code, "after");
    const content = bytes(size);
    await run(publication(content));
    expect(Buffer.compare(store.peek("run/ckpt.pt")!, content)).toBe(0);
    expect(store.counts.get("put") ?? 0).toBeLessThanOrEqual(1);
    expect(store.counts.get("createMultipart") ?? 0).toBeLessThanOrEqual(1);
  });

  test.each<[string, ErrorCode, number]>([
    ["put", "timed_out", 1000],
    ["completeMultipart", "store_failed", 2 * PART],
    ["uploadPart", "not_found", 2 * PART],
  ])("%s that did not happen (%s) is done again in the same upload", async (method, code, size) => {
    store.trouble(method, code, "before");
    const content = bytes(size);
    await run(publication(content));
    expect(Buffer.compare(store.peek("run/ckpt.pt")!, content)).toBe(0);
    expect(await store.listMultiparts("")).toEqual([]);
    expect(progress.commits.at(-1)).toBe("end");
  });

  test("an upload that finds its content there by an earlier one is abandoned", async () => {
    const content = bytes(2 * PART);
    const first = await run(publication(content));
    expect(await run(publication(content))).toMatchObject({ etag: first.etag });
    const open = await store.listMultiparts("");
    expect(open).toHaveLength(1);
    expect(progress.abandoned).toEqual([open[0]!.uploadId]);
  });

  test.each([1000, 2 * PART])(
    "an object of %d bytes that somebody else has created is a conflict",
    async (size) => {
      store.seed("run/ckpt.pt", "theirs");
      await expect(run(publication(bytes(size)))).rejects.toThrow(PublishConflict);
      expect(Buffer.from(store.peek("run/ckpt.pt")!).toString()).toBe("theirs");
      const open = await store.listMultiparts("");
      expect(progress.abandoned).toEqual(open.map(({ uploadId }) => uploadId));
    },
  );

  test("a change since the base version is a conflict; the base itself is replaced", async () => {
    const etag = store.seed("run/ckpt.pt", "base");
    await run(publication(bytes(10), { base: { kind: "version", etag } }));
    await expect(
      run(publication(bytes(11), { base: { kind: "version", etag }, uploadId: "upload-2" })),
    ).rejects.toThrow(PublishConflict);
    expect(store.peek("run/ckpt.pt")).toHaveLength(10);
  });

  test("a store without conditional PUT is looked at first", async () => {
    store = new Troubled({ capabilities: { conditionalPut: false } });
    store.seed("run/ckpt.pt", "theirs");
    await expect(run(publication(bytes(10)))).rejects.toThrow(PublishConflict);
    expect(store.counts.get("put") ?? 0).toBe(0);
  });

  test("a failure that stays is reported as it is", async () => {
    store.trouble("put", "access_denied");
    await expect(run(publication(bytes(10)))).rejects.toMatchObject({ code: "access_denied" });
  });

  test("an upload that was under way goes on from the parts that are there", async () => {
    const content = bytes(3 * PART);
    store.trouble("completeMultipart", "access_denied");
    await expect(run(publication(content))).rejects.toMatchObject({ code: "access_denied" });
    const resume = {
      multipartId: progress.multipart!.id,
      partBytes: PART,
      parts: progress.parts.slice(0, 2),
    };
    const before = store.counts.get("uploadPart")!;
    await run(publication(content, { resume }));
    expect(store.counts.get("uploadPart")! - before).toBe(1);
    expect(Buffer.compare(store.peek("run/ckpt.pt")!, content)).toBe(0);
  });

  test("without ListParts a resume starts over, and it is said", async () => {
    const content = bytes(2 * PART);
    store.trouble("completeMultipart", "access_denied");
    await expect(run(publication(content))).rejects.toMatchObject({ code: "access_denied" });
    const resume = { multipartId: progress.multipart!.id, partBytes: PART, parts: progress.parts };
    store.trouble("listParts", "access_denied");
    await run(publication(content, { resume }));
    expect(progress.denials).toEqual(["list_parts"]);
    expect(progress.abandoned).toEqual([resume.multipartId]);
    expect(Buffer.compare(store.peek("run/ckpt.pt")!, content)).toBe(0);
  });

  test("unchanged parts of the base version are copied on the server", async () => {
    const content = bytes(3 * PART);
    const etag = store.seed("run/ckpt.pt", content);
    const changed = Buffer.from(content);
    changed[PART + 5] = 0;
    const unchanged = [
      { start: 0, end: PART },
      { start: 2 * PART, end: 3 * PART },
    ];
    await run(
      publication(changed, {
        base: { kind: "version", etag },
        source: { key: "run/ckpt.pt", etag },
        unchanged,
      }),
    );
    expect(Buffer.compare(store.peek("run/ckpt.pt")!, changed)).toBe(0);
    expect(store.counts.get("uploadPart")).toBe(1);
    expect(progress.sent).toBe(PART);
  });
});

describe("upload slots", () => {
  test("files take turns", async () => {
    const slots = new UploadSlots({ total: 1, whileReading: 1 });
    const order: number[] = [];
    const gate = deferred();
    const running = [slots.run(0, () => gate.promise)];
    for (const file of [1, 1, 1, 2]) running.push(slots.run(file, async () => void order.push(file)));
    gate.resolve();
    await Promise.all(running);
    expect(order).toEqual([1, 2, 1, 1]);
  });

  test("demand reads leave only a share", async () => {
    let reading = true;
    const slots = new UploadSlots({ total: 3, whileReading: 1, reading: () => reading });
    const gate = deferred();
    const running = [1, 2, 3].map((file) => slots.run(file, () => gate.promise));
    expect(slots.used).toBe(1);
    reading = false;
    slots.reconsider();
    expect(slots.used).toBe(3);
    gate.resolve();
    await Promise.all(running);
  });

  test("close refuses whoever waits, and can be called twice", async () => {
    const slots = new UploadSlots({ total: 0, whileReading: 1 });
    const waiting = slots.run(1, async () => {});
    slots.close();
    slots.close();
    await expect(waiting).rejects.toMatchObject({ code: "closed" });
    await expect(slots.run(1, async () => {})).rejects.toMatchObject({ code: "closed" });
  });
});
