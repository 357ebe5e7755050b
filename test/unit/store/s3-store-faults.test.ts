import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { createObjectStore } from "../../../src/store/s3-store.ts";
import type { ObjectStoreOptions, S3Store } from "../../../src/store/s3-store.ts";
import { ScriptedServer, cutObject, object, s3Error } from "./scripted-server.ts";
import type { Responder } from "./scripted-server.ts";
import { TestClock } from "./test-clock.ts";

const KEYS = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" };
const content = Buffer.from(
  Array.from({ length: 10_000 }, (_none, index) => (index * 7 + (index >> 8)) & 0xff),
);

let server: ScriptedServer;
let clock: TestClock;
const stores: S3Store[] = [];

async function open(options: Partial<ObjectStoreOptions> = {}): Promise<S3Store> {
  const store = await createObjectStore({
    bucket: "bucket",
    endpoint: server.url,
    region: "us-east-1",
    credentials: KEYS,
    env: {},
    clock,
    sleep: clock.sleep,
    random: () => 0.5,
    ...options,
  });
  stores.push(store);
  return store;
}

/** Reads the object `key` whole. */
async function read(store: S3Store, length = content.length): Promise<Buffer> {
  const target = Buffer.alloc(length);
  const { bytesRead } = await store.get({ key: "key" }, target);
  return target.subarray(0, bytesRead);
}

beforeEach(async () => {
  server = new ScriptedServer();
  clock = new TestClock();
  await server.listen();
});

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  await server.close();
});

describe("network failures and 5xx", () => {
  test("a read waits for an endpoint that is down for 30 s, then succeeds", async () => {
    server.script = [object(content)];
    const store = await open();
    await server.close();
    clock.onSleep = async () => {
      if (clock.monotonic() < 30_000) return;
      clock.onSleep = () => undefined;
      await server.listen();
    };
    expect(await read(store)).toEqual(content);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(30_000);
    expect(clock.monotonic()).toBeLessThan(40_000);
  });

  test("an endpoint that stays down is told after the deadline, with what to check", async () => {
    const store = await open();
    await server.close();
    await expect(store.head("key", { deadlineMs: 10_000 })).rejects.toMatchObject({
      code: "endpoint_unreachable",
      bucket: "bucket",
      key: "key",
      message: expect.stringMatching(
        /cannot be reached .*ECONNREFUSED.*check --endpoint.* Gave up after \d+\.\d s/,
      ),
    });
    expect(clock.monotonic()).toBeLessThanOrEqual(10_000);
  });

  test("500 and 503 are tried again, with growing waits", async () => {
    server.script = [s3Error(500, "InternalError"), s3Error(503, ""), s3Error(502, ""), object(content)];
    expect(await read(await open())).toEqual(content);
    expect(clock.slept).toEqual([50, 100, 200]);
  });

  test("an object's body that is cut at any byte goes on from there, on the same version", async () => {
    const store = await open();
    for (const after of [0, 1, 17, 4095, 4096, 9_998, 9_999]) {
      server.requests.length = 0;
      server.script = [cutObject(content, after), object(content)];
      expect((await read(store)).equals(content)).toBe(true);
      const [first, second] = server.requests;
      expect(first?.headers.range).toBeUndefined();
      const from = /^bytes=(\d+)-9999$/.exec(second?.headers.range ?? "")?.[1];
      // The last bytes before a reset may be lost on the way; none may be asked for beyond what was sent.
      if (after > 0 && from !== undefined) expect(Number(from)).toBeLessThanOrEqual(after);
      if (from !== undefined) expect(second?.headers["if-match"]).toBe('"abc-1"');
    }
  });

  test("an object replaced while it is resumed is read again whole, or rejected when a version was asked for", async () => {
    const other = Buffer.from(content.map((byte) => byte ^ 1));
    const store = await open();
    server.script = [cutObject(content, 5000), object(other, { etag: '"new-1"' })];
    expect((await read(store)).equals(other)).toBe(true);

    server.requests.length = 0;
    const pinned = store.get({ key: "key", ifMatch: "abc-1" }, Buffer.alloc(content.length));
    await expect(pinned).rejects.toMatchObject({
      code: "object_changed",
      s3Code: "PreconditionFailed",
      httpStatus: 412,
    });
  });

  test("a body that stalls is given up and resumed", async () => {
    const stalls: Responder = (_request, response) => {
      response.writeHead(200, {
        "content-length": "10000",
        etag: '"abc-1"',
        "last-modified": "Sun, 22 Nov 2026 02:00:00 GMT",
      });
      response.write(content.subarray(0, 5000), () => setImmediate(() => clock.advance(60_000)));
    };
    server.script = [stalls, object(content)];
    expect((await read(await open())).equals(content)).toBe(true);
  });

  test("a stream resumes as well, and ends with an error where a checksum is wrong", async () => {
    const store = await open();
    server.script = [cutObject(content, 3000), object(content)];
    const { info, body } = await store.getStream({ key: "key" });
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    expect(info.sizeBytes).toBe(content.length);
    expect(Buffer.concat(chunks).equals(content)).toBe(true);

    server.script = [object(content, { "x-amz-checksum-crc32c": "AAAAAA==" })];
    const bad = await store.getStream({ key: "key" });
    const drain = async (): Promise<void> => {
      for await (const chunk of bad.body) void chunk;
    };
    await expect(drain()).rejects.toMatchObject({ code: "checksum_mismatch" });
  });

  test("cancelling ends the wait at once", async () => {
    server.script = [s3Error(503, "SlowDown")];
    const controller = new AbortController();
    clock.onSleep = () => controller.abort();
    const store = await open();
    const reading = store.get({ key: "key" }, Buffer.alloc(10), { signal: controller.signal });
    await expect(reading).rejects.toMatchObject({ code: "interrupted" });
  });

  test("many requests share a signal without a warning about listeners", async () => {
    const warnings: Error[] = [];
    const note = (warning: Error): void => void warnings.push(warning);
    process.on("warning", note);
    server.script = [object(content)];
    const store = await open();
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 40 }, () => store.head("key", { signal })));
    await new Promise(setImmediate);
    process.off("warning", note);
    expect(warnings).toEqual([]);
  });

  test("closing rejects what is under way, and may come twice", async () => {
    const store = await open();
    server.script = [() => void store.close()];
    await expect(store.head("key")).rejects.toMatchObject({ code: "closed" });
    await store.close();
    await expect(store.head("key")).rejects.toMatchObject({ code: "closed" });
  });
});

describe("throttling", () => {
  test("Retry-After is honoured and later requests are slowed", async () => {
    server.script = [s3Error(503, "SlowDown", { "retry-after": "7" }), object(content)];
    const store = await open();
    await read(store);
    expect(clock.slept[0]).toBe(7000);
    await read(store);
    await read(store);
    expect(clock.slept.length).toBeGreaterThan(1);
  });

  test("a store that never stops asking for less is told as slow_down", async () => {
    server.script = [s3Error(503, "SlowDown")];
    const store = await open();
    await expect(store.head("key", { deadlineMs: 5000 })).rejects.toMatchObject({ httpStatus: 503 });
    await expect(store.list({ prefix: "" }, { deadlineMs: 5000 })).rejects.toMatchObject({
      code: "slow_down",
      s3Code: "SlowDown",
      requestId: "REQ1",
    });
  });
});

describe("checksums of a whole object", () => {
  const md5 = createHash("md5").update(content).digest("hex");
  const wrong = Buffer.from(content);
  wrong[1234]! ^= 1;

  test.each([
    ["its MD5 ETag", { etag: `"${md5}"` }],
    ["SHA256", { "x-amz-checksum-sha256": createHash("sha256").update(content).digest("base64") }],
  ])("wrong bytes are noticed by %s and read again", async (_name, headers) => {
    server.script = [object(wrong, headers), object(content, headers)];
    expect((await read(await open())).equals(content)).toBe(true);
    expect(server.requests.length).toBe(2);
  });

  test("bytes that stay wrong are an error and never data", async () => {
    server.script = [object(wrong, { etag: `"${md5}"` })];
    await expect(read(await open())).rejects.toMatchObject({ code: "checksum_mismatch", key: "key" });
    expect(server.requests.length).toBe(3);
  });

  test("[R18] a part that carries a checksum is held against it: wrong bytes are an error", async () => {
    const sum = createHash("sha256").update(content).digest("base64");
    const headers = {
      "x-amz-checksum-sha256": sum,
      "x-amz-checksum-type": "COMPOSITE",
      "x-amz-mp-parts-count": "2",
    };
    const part = { key: "key", partNumber: 1 };
    const target = Buffer.alloc(content.length);
    const store = await open();
    server.script = [object(wrong, headers), object(content, headers)];
    await store.get(part, target);
    expect(target.equals(content)).toBe(true);
    server.script = [object(wrong, headers)];
    await expect(store.get(part, target)).rejects.toMatchObject({ code: "checksum_mismatch" });
  });

  test("an ETag under KMS and a composite checksum are no checksums of the bytes", async () => {
    const store = await open();
    server.script = [object(wrong, { etag: `"${md5}"`, "x-amz-server-side-encryption": "aws:kms" })];
    expect((await read(store)).equals(wrong)).toBe(true);
    server.requests.length = 0;
    server.script = [
      object(wrong, { "x-amz-checksum-crc32c": "AAAAAA==-2", "x-amz-checksum-type": "COMPOSITE" }),
    ];
    expect((await read(store)).equals(wrong)).toBe(true);
  });

  test("a resumed body is verified over all of its bytes", async () => {
    const headers = { etag: `"${md5}"` };
    server.script = [cutObject(wrong, 5000, headers), object(content, headers), object(content, headers)];
    expect((await read(await open())).equals(content)).toBe(true);
  });
});

describe("credentials and clock", () => {
  test("an expired token is replaced and the request repeated", async () => {
    let call = 0;
    const credentials = async (): Promise<typeof KEYS & { sessionToken: string }> => ({
      ...KEYS,
      sessionToken: `token-${++call}`,
    });
    server.script = [s3Error(400, "ExpiredToken"), object(content)];
    expect((await read(await open({ credentials }))).equals(content)).toBe(true);
    expect(server.requests.map(({ headers }) => headers["x-amz-security-token"])).toEqual([
      "token-1",
      "token-2",
    ]);
  });

  test.each(["list", "head"] as const)(
    "a credential source that is out of reach for a while is waited for: %s",
    async (what) => {
      let call = 0;
      const credentials = async (): Promise<typeof KEYS & { expiresMs: number }> => {
        call++;
        if (call === 2 || call === 3) {
          throw new HawserError("credentials_missing", "none", {
            cause: new Error("metadata service timed out"),
          });
        }
        return { ...KEYS, expiresMs: clock.now() + 3_600_000 };
      };
      server.script = [what === "list" ? listing : object(content)];
      const store = await open({ credentials });
      const ask = (): Promise<unknown> => (what === "list" ? store.list({ prefix: "" }) : store.head("key"));
      await ask();
      clock.advance(4_000_000);
      await ask();
      expect(call).toBe(4);

      call = 1;
      clock.advance(4_000_000);
      const sleepless = store.head("key", { deadlineMs: 1 });
      await expect(sleepless).rejects.toMatchObject({ code: "credentials_missing" });
    },
  );

  test("a token that stays expired is told", async () => {
    server.script = [s3Error(400, "ExpiredToken")];
    const store = await open();
    await expect(store.list({ prefix: "" })).rejects.toMatchObject({
      code: "credentials_expired",
      s3Code: "ExpiredToken",
      message: expect.stringContaining("aws sso login"),
    });
    expect(clock.slept).toEqual([]);
  });

  test.each(["list", "read"] as const)(
    "a skewed clock is corrected by the server's date: %s",
    async (what) => {
      const serverTime = new Date(clock.now() + 3_600_000);
      const skewed = s3Error(403, "RequestTimeTooSkewed", { date: serverTime.toUTCString() });
      server.script = [skewed, what === "read" ? object(content) : listing];
      const store = await open();
      await (what === "read" ? read(store) : store.list({ prefix: "" }));
      const [first, second] = server.requests.map(({ headers }) => parseDate(headers["x-amz-date"]));
      expect(second! - first!).toBeGreaterThan(3_500_000);
    },
  );

  test("a clock that cannot be corrected is told with both times", async () => {
    server.script = [s3Error(403, "RequestTimeTooSkewed", { date: "Sun, 22 Nov 2037 02:00:00 GMT" })];
    await expect((await open()).list({ prefix: "" })).rejects.toMatchObject({
      code: "clock_skewed",
      message: expect.stringContaining("2037"),
    });
    expect(server.requests.length).toBe(2);
  });

  test("no secret appears in an error", async () => {
    server.script = [s3Error(403, "SignatureDoesNotMatch")];
    const error: unknown = await (await open()).head("key").catch((reason: unknown) => reason);
    const listed: unknown = await (await open()).list({ prefix: "" }).catch((reason: unknown) => reason);
    expect(listed).toMatchObject({ code: "credentials_invalid" });
    expect(JSON.stringify([String(error), error, String(listed), listed])).not.toContain('secret"');
  });

  test("anonymous requests carry no signature", async () => {
    server.script = [listing, object(content)];
    const store = await open({ credentials: "anonymous" });
    await store.list({ prefix: "" });
    await read(store);
    for (const { headers } of server.requests) expect(headers.authorization).toBeUndefined();
  });
});

test("nothing is written to the console, whatever happens", async () => {
  const written: unknown[] = [];
  const spies = (["warn", "error", "log"] as const).map((method) =>
    vi.spyOn(console, method).mockImplementation((...args) => void written.push(args)),
  );
  server.script = [s3Error(403, "AccessDenied")];
  const store = await open();
  const body = {
    sizeBytes: 3,
    open: async function* () {
      yield Buffer.from("abc");
    },
  };
  await expect(store.put("key", body)).rejects.toMatchObject({ code: "access_denied" });
  for (const spy of spies) spy.mockRestore();
  expect(written).toEqual([]);
});

describe("regions", () => {
  test.each([
    ["301 with a header", s3Error(301, "PermanentRedirect", { "x-amz-bucket-region": "eu-west-1" })],
    [
      "400 with a region in the document",
      s3Error(400, "AuthorizationHeaderMalformed", {}, "<Region>eu-west-1</Region>"),
    ],
    ["307", s3Error(307, "TemporaryRedirect", { "x-amz-bucket-region": "eu-west-1" })],
  ])("%s is followed once and remembered", async (_name, redirect) => {
    server.script = [redirect, object(content)];
    const store = await open();
    await read(store);
    await read(store);
    expect(
      server.requests.map(({ headers }) => /us-east-1|eu-west-1/.exec(headers.authorization ?? "")?.[0]),
    ).toEqual(["us-east-1", "eu-west-1", "eu-west-1"]);
    expect(store.endpoint.region).toBe("eu-west-1");
  });

  test("a bare 400 or 301 to a HEAD is followed by its header", async () => {
    server.script = [s3Error(400, "", { "x-amz-bucket-region": "eu-west-1" }), object(content)];
    expect(await (await open()).head("key")).toMatchObject({ sizeBytes: content.length });
  });

  test("a redirect that leads nowhere new is wrong_region, and a hostile name goes nowhere", async () => {
    server.script = [s3Error(301, "PermanentRedirect", { "x-amz-bucket-region": "evil.example/x" })];
    await expect((await open()).list({ prefix: "" })).rejects.toMatchObject({
      code: "wrong_region",
      message: expect.stringContaining("--region"),
    });
    expect(server.requests.length).toBe(1);
  });
});

describe("answers that are final", () => {
  test("an archived object is told at once with the command that restores it", async () => {
    server.script = [s3Error(403, "InvalidObjectState")];
    await expect(read(await open())).rejects.toMatchObject({
      code: "object_archived",
      s3Code: "InvalidObjectState",
      message: expect.stringContaining("hawser s3 restore s3://bucket/key"),
    });
    expect(server.requests.length).toBe(1);
  });

  test("a denied, missing or malformed request is sent once", async () => {
    const store = await open();
    for (const [status, s3Code, code] of [
      [403, "AccessDenied", "access_denied"],
      [404, "NoSuchKey", "not_found"],
      [404, "NoSuchBucket", "bucket_not_found"],
      [501, "NotImplemented", "not_supported_by_store"],
    ] as const) {
      server.requests.length = 0;
      server.script = [s3Error(status, s3Code)];
      await expect(read(store)).rejects.toMatchObject({
        code,
        s3Code,
        httpStatus: status,
        requestId: "REQ1",
      });
      expect(server.requests.length).toBe(1);
    }
  });

  test.each(["list", "get", "put"] as const)(
    "a proxy's page of HTML is told by its status: %s",
    async (what) => {
      server.script = [
        (_request, response) =>
          void response.writeHead(503, { "content-type": "text/html" }).end("<html><br>proxy</html>"),
      ];
      const store = await open();
      const calls = {
        list: () => store.list({ prefix: "" }, { deadlineMs: 3000 }),
        get: () => store.get({ key: "key" }, Buffer.alloc(1), { deadlineMs: 3000 }),
        put: () => store.put("key", Buffer.from("x"), { deadlineMs: 3000 }),
      };
      await expect(calls[what]()).rejects.toMatchObject({ code: "store_failed", httpStatus: 503 });
    },
  );

  test("a listing that is cut in half is an error", async () => {
    server.script = [
      (_request, response) => void response.writeHead(200).end("<ListBucketResult><Contents><Key>a"),
    ];
    await expect((await open()).list({ prefix: "" })).rejects.toMatchObject({ code: "store_failed" });
  });
});

test("requester pays is said with every request", async () => {
  server.script = [listing, object(content)];
  const store = await open({ requestPayer: true });
  await store.list({ prefix: "" });
  await read(store);
  await store.head("key");
  for (const { headers } of server.requests) expect(headers["x-amz-request-payer"]).toBe("requester");
});

function listing(_request: unknown, response: Parameters<Responder>[1]): void {
  response.writeHead(200, { "content-type": "application/xml" });
  response.end("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>");
}

function parseDate(value: string | string[] | undefined): number {
  const text = String(value);
  return Date.parse(
    `${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6, 11)}:${text.slice(11, 13)}:${text.slice(13, 15)}Z`,
  );
}
