/** One request at a time on the wire, on the calling thread: what is sent, what is believed, when it is given up. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { createCredentialSource } from "../../../src/store/credentials.ts";
import { AttemptFailure } from "../../../src/store/failure.ts";
import type { StoreFailure } from "../../../src/store/failure.ts";
import { createUploadSender } from "../../../src/store/sender/sender.ts";
import type { Upload, UploadSender, UploadSenderOptions } from "../../../src/store/sender/sender.ts";
import { Site } from "../../../src/store/site.ts";
import { WatchedAttempt } from "../../../src/store/watched-attempt.ts";
import type { Attempt } from "../../../src/store/watched-attempt.ts";
import { systemClock } from "../../../src/common/clock.ts";
import { CERTIFICATE, KEY } from "../reader/certificate.ts";
import { FakeClock } from "../reader/harness.ts";
import { UploadOrigin } from "./upload-origin.ts";
import type { UploadHandler } from "./upload-origin.ts";

const MiB = 1024 * 1024;
const content = randomBytes(5 * MiB);
const folder = mkdtempSync(join(tmpdir(), "hawser-sender-"));
const path = join(folder, "content");
writeFileSync(path, content);

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]();
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Bench {
  origin: UploadOrigin;
  sender: UploadSender;
  send(upload?: Partial<Upload>, attempt?: Attempt): ReturnType<UploadSender["send"]>;
  attempt(): Attempt;
}

interface BenchOptions extends Partial<UploadSenderOptions> {
  anonymous?: boolean;
  secure?: boolean;
}

async function bench(handler: UploadHandler, options: BenchOptions = {}): Promise<Bench> {
  const { anonymous, secure, ...rest } = options;
  const origin = await UploadOrigin.start(handler, secure ? { key: KEY, cert: CERTIFICATE } : undefined);
  open.push(origin);
  const keys = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" };
  const site = new Site({
    bucket: "b",
    endpoint: origin.endpoint,
    region: "us-east-1",
    addressing: "path",
    credentials: createCredentialSource({ credentials: anonymous ? "anonymous" : keys }),
    clock: systemClock,
  });
  const sender = createUploadSender({ site, workers: 0, maxConnections: 64, ...rest });
  open.push({ [Symbol.asyncDispose]: () => sender.close() });
  const attempt = (): Attempt =>
    new WatchedAttempt({ site, signals: [], number: 1, limitMs: 60_000, endsInMs: 60_000 });
  const upload: Upload = {
    key: "k",
    query: [],
    headers: {},
    body: { file: { path }, offset: 0, sizeBytes: content.length },
    checksum: true,
    hashPayload: false,
    doubtful: false,
    reason: "flush",
  };
  return {
    origin,
    sender,
    attempt,
    send: (more = {}, watched = attempt()) => sender.send({ ...upload, ...more }, watched),
  };
}

const small = content.subarray(0, 1000);

/** The failure of an attempt that must fail. */
async function failure(sent: Promise<unknown>): Promise<StoreFailure> {
  const error = await sent.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof AttemptFailure) return error.failure;
  throw error;
}

describe("what is sent", () => {
  test("head and body, signed, unsigned payload and CRC32C, on one connection", async () => {
    const { origin, send } = await bench(async (incoming) => {
      await incoming.body;
      incoming.ok({ "x-amz-version-id": "v" });
    });
    const query = [["partNumber", "7"]] as const;
    const answer = await send({ key: "a b/ü", query, body: small, headers: { "x-amz-acl": "private" } });
    expect(answer).toMatchObject({ status: 200, headers: { etag: '"e1"', "x-amz-version-id": "v" } });
    await send({ body: { file: { path }, offset: 10, sizeBytes: 1000 } });
    const [first, second] = origin.requests;
    expect(first!.line).toBe("PUT /b/a%20b/%C3%BC?partNumber=7 HTTP/1.1");
    expect(first!.headers).toMatchObject({
      "content-length": "1000",
      "x-amz-acl": "private",
      "x-amz-checksum-crc32c": answer.crc32c,
      "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
      authorization: expect.stringContaining("SignedHeaders=host;x-amz-acl;x-amz-checksum-crc32c;"),
    });
    expect((await first!.body).equals(small)).toBe(true);
    expect((await second!.body).equals(content.subarray(10, 1010))).toBe(true);
    expect(origin.connections).toBe(1);
  });

  test("a head that is longer than the room in front of a body", async () => {
    const { origin, send } = await bench(async (incoming) => {
      await incoming.body;
      incoming.ok();
    });
    const long = "x".repeat(20_000);
    await send({ body: small, headers: { "x-amz-meta-long": long } });
    expect(origin.requests[0]!.headers["x-amz-meta-long"]).toBe(long);
    expect((await origin.requests[0]!.body).equals(small)).toBe(true);
  });

  test("anonymous requests carry no signature", async () => {
    const { origin, send } = await bench((incoming) => incoming.ok(), { anonymous: true });
    await send({ body: new Uint8Array() });
    expect(origin.requests[0]!.headers["authorization"]).toBeUndefined();
  });

  test("no more at once than there are connections, the most urgent first", async () => {
    const { origin, send } = await bench(() => undefined, { maxConnections: 1 });
    const sent = [
      send({ key: "1", body: small }),
      send({ key: "2", body: small, reason: "bulk" }),
      send({ key: "3", body: small, reason: "demand" }),
    ];
    for (let at = 1; at <= 3; at++) {
      const incoming = await origin.request(at);
      await incoming.body;
      incoming.ok();
    }
    await Promise.all(sent);
    expect(origin.requests.map(({ line }) => line.split(" ")[1])).toEqual(["/b/1", "/b/3", "/b/2"]);
  });

  test("over TLS", async () => {
    const { origin, send } = await bench(
      async (incoming) => {
        incoming.raw("HTTP/1.1 100 Continue\r\n\r\n");
        await incoming.body;
        incoming.ok();
      },
      { secure: true, ca: CERTIFICATE },
    );
    await send();
    expect((await origin.requests[0]!.body).equals(content)).toBe(true);
  });
});

describe("answers", () => {
  test("an answer before the body is sent ends it, and the connection is not used again", async () => {
    const huge = join(folder, "huge");
    writeFileSync(huge, Buffer.alloc(64 * MiB));
    const { origin, send } = await bench(async (incoming) => {
      if (incoming.headers["expect"]) return incoming.raw("HTTP/1.1 100 Continue\r\n\r\n");
      await incoming.body;
      incoming.ok();
    });
    const sent = send({ body: { file: { path: huge }, offset: 0, sizeBytes: 64 * MiB } });
    const first = await origin.request(1);
    await first.arrived(100);
    first.socket.pause();
    first.error(403, "AccessDenied");
    expect(await sent).toMatchObject({ status: 403, text: expect.stringContaining("AccessDenied") });
    await send({ body: small });
    expect(origin.connections).toBe(2);
    expect(first.received).toBeLessThan(64 * MiB);
  });

  test("a large body waits for 100 Continue the first time, and where a condition may refuse it", async () => {
    const { origin, send } = await bench(async (incoming) => {
      if (incoming.headers["expect"]) incoming.raw("HTTP/1.1 100 Continue\r\n\r\n");
      await incoming.body;
      incoming.ok();
    });
    await send();
    await send();
    await send({ doubtful: true });
    await send({ doubtful: true, body: small });
    expect(origin.requests.map(({ headers }) => headers["expect"])).toEqual([
      "100-continue",
      undefined,
      "100-continue",
      undefined,
    ]);
    expect((await origin.requests[2]!.body).equals(content)).toBe(true);
    expect(origin.connections).toBe(1);
  });

  test("a refusal instead of 100 Continue saves the body", async () => {
    const { origin, send } = await bench((incoming) => incoming.error(412, "PreconditionFailed"));
    expect(await send({ doubtful: true })).toMatchObject({ status: 412 });
    expect(origin.requests[0]!.received).toBe(0);
  });

  test("a store that keeps silent about it gets the body after a second, and is not asked again", async () => {
    const clock = new FakeClock();
    const { origin, send } = await bench(
      async (incoming) => {
        await incoming.body;
        incoming.ok();
      },
      { clock },
    );
    expect(await clock.passUntil(send())).toMatchObject({ status: 200 });
    expect(clock.monotonic()).toBeGreaterThan(1000);
    await send({ doubtful: true });
    expect(origin.requests.map(({ headers }) => headers["expect"])).toEqual(["100-continue", undefined]);
  });

  test("a store that cannot do it is asked without", async () => {
    const { origin, send } = await bench(async (incoming) => {
      if (incoming.headers["expect"]) return incoming.answer(417);
      await incoming.body;
      incoming.ok();
    });
    expect(await send()).toMatchObject({ status: 200 });
    expect(origin.requests.length).toBe(2);
  });

  test.each([
    ["no HTTP", "SSH-2.0-x\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n"],
    ["a body behind its end", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc"],
  ])("nonsense is no answer: %s", async (_what, text) => {
    const { send } = await bench(async (incoming) => {
      await incoming.body;
      incoming.raw(text);
    });
    const failed = await failure(send({ body: small }));
    expect(failed).toMatchObject({ kind: "answer", code: "InternalError" });
  });

  test("a document of any length is read as far as it matters", async () => {
    const { send } = await bench(async (incoming) => {
      await incoming.body;
      incoming.error(400, "Odd", "x".repeat(100_000));
    });
    const { text, status } = await send({ body: small });
    expect([status, text.slice(0, 24)]).toEqual([400, "<Error><Code>Odd</Code><"]);
    expect(text.length).toBeLessThan(20_000);
  });
});

describe("failures", () => {
  test("a kept connection that the store has closed is replaced, and the request sent again", async () => {
    const { origin, send } = await bench(async (incoming) => {
      await incoming.body;
      if (origin.requests.length === 2) return void incoming.socket.destroy();
      incoming.ok();
    });
    await send({ body: small });
    expect(await send({ body: small })).toMatchObject({ status: 200 });
    expect([origin.requests.length, origin.connections]).toEqual([3, 2]);
  });

  test("a new connection that breaks is a failure of the attempt", async () => {
    const { origin, send } = await bench((incoming) => void incoming.socket.destroy());
    expect(await failure(send({ body: small }))).toMatchObject({ kind: "network", code: "ECONNRESET" });
    expect(origin.requests.length).toBe(1);
  });

  test("nobody listens", async () => {
    const { origin, send } = await bench(() => undefined);
    await origin[Symbol.asyncDispose]();
    open.shift();
    expect(await failure(send({ body: small }))).toMatchObject({ kind: "network", code: "ECONNREFUSED" });
  });

  test("a certificate that is not trusted", async () => {
    const { send } = await bench(() => undefined, { secure: true });
    expect(await failure(send({ body: small }))).toMatchObject({ kind: "tls" });
  });

  test("no answer is given up, after the time that the kernel's buffer may take", async () => {
    const clock = new FakeClock();
    const { send } = await bench(() => undefined, { clock });
    const failed = await clock.passUntil(failure(send({ body: small })), 1000);
    expect(failed).toMatchObject({ kind: "timeout", message: expect.stringContaining("no answer") });
    expect(clock.monotonic()).toBeGreaterThan(60_000);
  });

  test("a store that takes nothing any more is given up", async () => {
    const clock = new FakeClock();
    const huge = join(folder, "huge-stalled");
    writeFileSync(huge, Buffer.alloc(64 * MiB));
    const { origin, send } = await bench((incoming) => incoming.raw("HTTP/1.1 100 Continue\r\n\r\n"), {
      clock,
    });
    const sent = failure(send({ body: { file: { path: huge }, offset: 0, sizeBytes: 64 * MiB } }));
    const incoming = await origin.request(1);
    await incoming.arrived(100);
    incoming.socket.pause();
    const failed = await clock.passUntil(sent, 1000);
    expect(failed).toMatchObject({ kind: "timeout", message: expect.stringContaining("nothing was taken") });
  });

  test("an attempt that is given up while it waits its turn", async () => {
    const { origin, send, attempt } = await bench(() => undefined, { maxConnections: 1 });
    const watched = [attempt(), attempt()];
    const sent = watched.map((each) => failure(send({ body: small }, each)));
    await origin.request(1);
    watched[1]!.abort();
    expect(await sent[1]).toMatchObject({ kind: "network", code: "ECONNABORTED" });
    watched[0]!.abort();
    expect(await sent[0]).toMatchObject({ kind: "network", code: "ECONNABORTED" });
    expect(origin.requests.length).toBe(1);
  });

  test("idle connections are closed before the store closes them", async () => {
    const clock = new FakeClock();
    const { origin, send } = await bench(
      async (incoming) => {
        await incoming.body;
        incoming.ok();
      },
      { clock },
    );
    await send({ body: small });
    const closed = new Promise((resolve) => origin.requests[0]!.socket.once("close", resolve));
    await clock.passUntil(closed, 1000);
    await send({ body: small });
    expect(origin.connections).toBe(2);
  });
});

test("in threads: many at once, memory and files, and the process ends without a close", async () => {
  const { origin, send } = await bench(
    async (incoming) => {
      await incoming.body;
      incoming.ok();
    },
    { workers: 2 },
  );
  const bodies = Array.from({ length: 60 }, (_, at) => content.subarray(at * 10, at * 10 + at * 3000));
  const answers = await Promise.all(
    bodies.map((body, at) =>
      send({
        key: String(at),
        body: at % 2 ? body : { file: { path }, offset: at * 10, sizeBytes: body.length },
      }),
    ),
  );
  expect(answers.every(({ status }) => status === 200)).toBe(true);
  for (const { line, body } of origin.requests) {
    const at = Number(line.slice("PUT /b/".length).split(" ")[0]);
    expect((await body).equals(bodies[at]!)).toBe(true);
  }
  await expect(send({ body: { file: { path: "/nowhere" }, offset: 0, sizeBytes: 1 } })).rejects.toMatchObject(
    {
      code: "io_error",
    },
  );
});

test("one that is prepared, even twice, sends; one that was closed stays closed", async () => {
  const { origin, send, sender } = await bench(
    async (incoming) => {
      await incoming.body;
      incoming.ok();
    },
    { workers: 1 },
  );
  sender.prepare();
  sender.prepare();
  const { status } = await send({ body: small });
  expect(status).toBe(200);
  expect(origin.requests).toHaveLength(1);
  await sender.close();
  // It starts nothing that nobody would end.
  sender.prepare();
  await expect(send({ body: small })).rejects.toMatchObject({ code: "closed" });
});
