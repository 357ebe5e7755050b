import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createObjectStore } from "../../../src/store/s3-store.ts";

const folder = mkdtempSync(join(tmpdir(), "hawser-tls-"));
const certificate = join(folder, "cert.pem");
const seen: IncomingHttpHeaders[] = [];
let server: ReturnType<typeof createServer>;
let url: string;

beforeAll(async () => {
  const key = join(folder, "key.pem");
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
  const form = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  execFileSync("openssl", ["req", "-x509", ...form, ...subject, "-keyout", key, "-out", certificate], {
    stdio: "ignore",
  });
  server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, response) => {
    seen.push(request.headers);
    request.resume();
    request.on("end", () => response.writeHead(200, { etag: '"e"' }).end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => server?.close());

test("a certificate that is not trusted is told at once, for SDK requests and listings", async () => {
  const retries: unknown[] = [];
  const store = await createObjectStore({
    bucket: "data",
    endpoint: url,
    env: {},
    credentials: { accessKeyId: "A", secretAccessKey: "S" },
    onRetry: (event) => retries.push(event),
  });
  const untrusted = { code: "endpoint_unreachable", message: expect.stringContaining("NODE_EXTRA_CA_CERTS") };
  await expect(store.head("key")).rejects.toMatchObject(untrusted);
  await expect(store.list({ prefix: "" })).rejects.toMatchObject(untrusted);
  await store.close();
  expect(retries).toEqual([]);
});

test("over TLS payloads go unsigned, with a CRC32C, from memory and from streams", async () => {
  const script = `
    const { createObjectStore } = await import("./dist/store/s3-store.js");
    const store = await createObjectStore({ bucket: "data", endpoint: ${JSON.stringify(url)}, env: {},
      credentials: { accessKeyId: "A", secretAccessKey: "S" } });
    const check = Buffer.from("123456789");
    await store.put("a", check);
    await store.put("b", { sizeBytes: 9, open: async function* () { yield check; } });
    await store.uploadPart("c", "u", 1, check);
    await store.close();`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    env: { ...process.env, NODE_EXTRA_CA_CERTS: certificate },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const status = await new Promise((resolve) => child.on("exit", resolve));
  expect(status).toBe(0);
  expect(seen.length).toBe(3);
  for (const headers of seen) {
    expect(headers).toMatchObject({
      "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
      "x-amz-checksum-crc32c": "4waSgw==",
      "content-length": "9",
    });
    expect(headers["transfer-encoding"]).toBeUndefined();
    expect(headers["content-encoding"]).toBeUndefined();
  }
});
