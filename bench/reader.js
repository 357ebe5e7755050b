/**
 * The range reader alone, against s3bench: MB/s, CPU seconds a GB, GETs a second, microseconds a GET.
 *
 *   node bench/reader.js [--tls] [--workers N] [--seconds 3] [--concurrency 8] [--small 32]
 *                        [--anonymous] [--ttfb 20ms] [--rate 90]
 *
 * --concurrency is for reads of 8 MiB, --small for objects of 100 KiB; --ttfb and --rate (MB/s a connection) shape the
 * server. CPU is this process's with all its threads; the server is another. Needs s3bench (S3BENCH, or in PATH) and,
 * for --tls, openssl for a certificate of its own.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { HEAD_ROOM } from "../dist/store/range-reader.js";
import { createCredentialSource } from "../dist/store/credentials.js";
import { createRangeReader } from "../dist/store/reader/reader.js";

const { values } = parseArgs({
  options: {
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
const SMALL = 100 * 1024;
const SMALL_COUNT = 10_000;

const folder = mkdtempSync(join(tmpdir(), "hawser-bench-"));
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
  return readFileSync(cert, "utf8");
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

async function measure(name, reader, concurrency, windowBytes, requestAt) {
  let at = 0;
  let bytes = 0;
  let count = 0;
  let until = Number.POSITIVE_INFINITY;
  const loop = async (slot) => {
    const windowOffset = slot * windowBytes;
    while (performance.now() < until) {
      const { bodyLength } = await reader.read({ ...requestAt(at++), windowOffset, reason: "demand" });
      bytes += bodyLength;
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
  await run(500);
  const { seconds, cpu } = await run(Number(values.seconds) * 1000);
  const { connections, limit, hedges, retries } = reader.stats();
  console.log(
    `${name.padEnd(8)} ${(bytes / seconds / 1e6).toFixed(0).padStart(6)} MB/s  ${(cpu / (bytes / 1e9)).toFixed(2).padStart(6)} CPU s/GB  ` +
      `${(count / seconds).toFixed(0).padStart(6)} GET/s  ${((cpu * 1e6) / count).toFixed(1).padStart(7)} us CPU/GET  ${connections} connections, limit ${limit}, ${hedges} hedges, ${retries} retries`,
  );
}

const ca = values.tls ? certificate() : undefined;
const server = await startServer();
const concurrency = Number(values.concurrency);
const smallConcurrency = Number(values.small);
const largeWindow = PIECE + HEAD_ROOM;
const smallWindow = SMALL + HEAD_ROOM;
const slab = new SharedArrayBuffer(Math.max(concurrency * largeWindow, smallConcurrency * smallWindow));
const credentials = createCredentialSource({
  credentials: values.anonymous
    ? "anonymous"
    : { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret", sessionToken: "t".repeat(400) },
});
const reader = createRangeReader({
  slab,
  target: { bucket: "bench", endpoint, region: "us-east-1", addressing: "path" },
  credentials,
  ca,
  ...(values.workers === undefined ? {} : { workers: Number(values.workers) }),
});
try {
  console.log(`${endpoint}, ${values.workers ?? (values.tls ? 2 : 1)} worker(s)`);
  await measure("8 MiB", reader, concurrency, largeWindow, large);
  await measure("100 KiB", reader, smallConcurrency, smallWindow, small);
} finally {
  await reader.close();
  server.removeAllListeners("exit");
  server.kill();
  rmSync(folder, { recursive: true });
}
