/**
 * The byte paths alone, against s3bench: the range reader, and uploads through the store. MB/s, CPU seconds a GB,
 * requests a second, microseconds of CPU a request.
 *
 *   node bench/store.js [read|write] [--tls] [--workers N] [--seconds 3] [--concurrency 8] [--small 32]
 *                       [--engine lean|sdk] [--anonymous] [--ttfb 20ms] [--rate 90]
 *
 * --concurrency is for pieces of 8 MiB (parts of 16 MiB when writing), --small for objects of 100 KiB; --workers is the
 * reader's, --engine the uploads'; --ttfb and --rate (MB/s a connection) shape the server. CPU is this process's with
 * all its threads; the server is another. Needs s3bench (S3BENCH, or in PATH) and, for --tls, openssl for a certificate
 * of its own.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { HEAD_ROOM } from "../dist/store/range-reader.js";
import { createCredentialSource } from "../dist/store/credentials.js";
import { createRangeReader } from "../dist/store/reader/reader.js";
import { createObjectStore } from "../dist/store/s3-store.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    engine: { type: "string", default: "lean" },
    tls: { type: "boolean", default: false },
    seconds: { type: "string", default: "3" },
    workers: { type: "string" },
    concurrency: { type: "string", default: "8" },
    small: { type: "string", default: "32" },
    anonymous: { type: "boolean", default: false },
    ttfb: { type: "string", default: "0ms" },
    rate: { type: "string", default: "0" },
    port: { type: "string", default: "9377" },
  },
});

const LARGE = 1 << 30;
const PIECE = 8 << 20;
const PART = 16 << 20;
const SMALL = 100 * 1024;
const SMALL_COUNT = 10_000;

// Node reads NODE_EXTRA_CA_CERTS when it starts: with --tls, a first process makes the certificate and starts a second.
const inherited = process.env.HAWSER_BENCH_FOLDER;
const folder = inherited ?? mkdtempSync(join(tmpdir(), "hawser-bench-"));
const pem = join(folder, "server.pem");
const endpoint = `${values.tls ? "https" : "http"}://127.0.0.1:${values.port}`;

function certificate() {
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=s3bench", "-addext", "subjectAltName=IP:127.0.0.1"];
  execFileSync(
    process.env.OPENSSL ?? "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"].concat(
      ["-keyout", key, "-out", cert],
      subject,
    ),
    { stdio: "ignore" },
  );
  writeFileSync(pem, readFileSync(cert, "utf8") + readFileSync(key, "utf8"));
  return cert;
}

async function startServer() {
  const program = process.env.S3BENCH ?? ["/opt/peers/s3bench"].find((path) => existsSync(path)) ?? "s3bench";
  const synthetic = [
    "-synth",
    `bench:big/:4:${LARGE}:0`,
    "-synth",
    `bench:small/:${SMALL_COUNT}:${SMALL}:100`,
  ];
  const tls = values.tls ? ["-tls", pem] : [];
  const shape = ["-ttfb", values.ttfb, "-rate", values.rate];
  const server = spawn(program, ["-listen", `127.0.0.1:${values.port}`, ...shape, ...synthetic, ...tls], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  await new Promise((resolve, reject) => {
    server.stderr.once("data", resolve);
    server.once("error", reject);
    server.once("exit", (code) => reject(new Error(`s3bench ended with ${code}`)));
  });
  return server;
}

/** The ETags that s3bench makes up for its synthetic objects. */
function etagOf(index) {
  const seed = ((index + 1) * 7919) % ((16 << 20) + 4099);
  return `${seed.toString(16).padStart(32, "0")}-1`;
}

function large(at) {
  const pieces = LARGE / PIECE;
  const index = Math.floor(at / pieces) % 4;
  const key = `big/${String(index).padStart(7, "0")}.bin`;
  return { key, etag: etagOf(index), offset: (at % pieces) * PIECE, length: PIECE, objectBytes: LARGE };
}

function small(at) {
  const index = (at * 7919) % SMALL_COUNT;
  const name = String(index).padStart(7, "0");
  const key = `small/${String(Math.floor(index / 100)).padStart(5, "0")}/${name}.bin`;
  return { key, etag: etagOf(index), offset: 0, length: SMALL, objectBytes: SMALL };
}

/** Runs `request` in so many loops and prints what it cost. `request` gets its number and its loop's, and returns bytes. */
async function measure(name, concurrency, request, note = () => "") {
  let at = 0;
  let bytes = 0;
  let count = 0;
  let until = 0;
  const loop = async (slot) => {
    while (performance.now() < until) {
      const got = await request(at++, slot);
      bytes += got;
      count++;
    }
  };
  const run = async (ms) => {
    bytes = count = 0;
    const started = performance.now();
    const cpu = process.cpuUsage();
    until = started + ms;
    await Promise.all(Array.from({ length: concurrency }, (_, slot) => loop(slot)));
    const { user, system } = process.cpuUsage(cpu);
    return { seconds: (performance.now() - started) / 1000, cpu: (user + system) / 1e6 };
  };
  await run(1000);
  const { seconds, cpu } = await run(Number(values.seconds) * 1000);
  console.log(
    `${name.padEnd(20)} ${(bytes / seconds / 1e6).toFixed(0).padStart(6)} MB/s  ${(cpu / (bytes / 1e9)).toFixed(2).padStart(6)} CPU s/GB  ` +
      `${(count / seconds).toFixed(0).padStart(6)}/s  ${((cpu * 1e6) / count).toFixed(1).padStart(7)} us CPU each  ${note()}`,
  );
}

async function benchReads() {
  const largeWindow = PIECE + HEAD_ROOM;
  const smallWindow = SMALL + HEAD_ROOM;
  const slab = new SharedArrayBuffer(Math.max(concurrency * largeWindow, smallConcurrency * smallWindow));
  const workers = values.workers === undefined ? {} : { workers: Number(values.workers) };
  const reader = createRangeReader({
    slab,
    target: { bucket: "bench", endpoint, region: "us-east-1", addressing: "path" },
    credentials,
    ...workers,
  });
  const note = () => {
    const { connections, limit, hedges, retries } = reader.stats();
    return `${connections} connections, limit ${limit}, ${hedges} hedges, ${retries} retries`;
  };
  const read = (windowBytes, requestAt) => async (at, slot) => {
    const request = { ...requestAt(at), windowOffset: slot * windowBytes, reason: "demand" };
    return (await reader.read(request)).bodyLength;
  };
  try {
    await measure("GET 8 MiB", concurrency, read(largeWindow, large), note);
    await measure("GET 100 KiB", smallConcurrency, read(smallWindow, small), note);
  } finally {
    await reader.close();
  }
}

/** A file of 1 GiB that lies in the page cache, as one that was just written does. */
function writeCheckpoint(path) {
  const fd = openSync(path, "w");
  const block = Buffer.alloc(PIECE, "checkpoint");
  for (let at = 0; at < LARGE; at += PIECE) writeSync(fd, block);
  closeSync(fd);
}

async function benchWrites() {
  const checkpoint = join(folder, "checkpoint");
  const file = join(folder, "small");
  writeCheckpoint(checkpoint);
  const bytes = readFileSync(checkpoint).subarray(0, SMALL);
  writeFileSync(file, bytes);
  const { engine } = values;
  const store = await createObjectStore({ bucket: "bench", endpoint, credentials, engine, env: {} });
  const parts = LARGE / PART;
  try {
    const { uploadId } = await store.createMultipart("checkpoint");
    await measure("UploadPart 16 MiB", concurrency, async (at) => {
      const body = { file: { path: checkpoint }, offset: (at % parts) * PART, sizeBytes: PART };
      await store.uploadPart("checkpoint", uploadId, (at % parts) + 1, body);
      return PART;
    });
    await store.abortMultipart("checkpoint", uploadId);
    const put = (body) => async (at) => {
      await store.put(`written/${at % 1000}`, body);
      return SMALL;
    };
    await measure(
      "PUT 100 KiB, file",
      smallConcurrency,
      put({ file: { path: file }, offset: 0, sizeBytes: SMALL }),
    );
    await measure("PUT 100 KiB, memory", smallConcurrency, put(bytes));
  } finally {
    await store.close();
  }
}

if (values.tls && inherited === undefined) {
  const env = { ...process.env, HAWSER_BENCH_FOLDER: folder, NODE_EXTRA_CA_CERTS: certificate() };
  const { status } = spawnSync(process.execPath, process.argv.slice(1), { env, stdio: "inherit" });
  rmSync(folder, { recursive: true, force: true });
  process.exit(status ?? 1);
}
const server = await startServer();
const concurrency = Number(values.concurrency);
const smallConcurrency = Number(values.small);
const credentials = createCredentialSource({
  credentials: values.anonymous
    ? "anonymous"
    : { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret", sessionToken: "t".repeat(400) },
});
try {
  console.log(endpoint);
  if (positionals[0] !== "write") await benchReads();
  if (positionals[0] !== "read") await benchWrites();
} finally {
  server.removeAllListeners("exit");
  server.kill();
  rmSync(folder, { recursive: true });
}
