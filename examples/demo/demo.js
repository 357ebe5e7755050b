/**
 * The demo: a training job's files in an S3 bucket, by plain paths from several processes.
 *
 * It starts `hawser dev-s3` in memory and uploads generated images. Reading: it mounts them read-only and reads every file
 * twice as a DataLoader with several workers does (shuffled, each worker its share). Writing: it mounts the bucket writable
 * and saves a checkpoint twice while other processes read, with a kill -9 of the mount's process in between; what then is in
 * the bucket is compared byte by byte with what was written. It prints what was measured, and takes everything down again,
 * also when something fails.
 */
import { fork, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CheckpointRun, READERS } from "./checkpoint-run.js";

const CLASSES = 8;
const IMAGES_PER_CLASS = 100;
const WORKERS = 4;
const UPLOADS_AT_ONCE = 16;

const BUCKET = "demo";
const PREFIX = "images/";
const PROGRAM = fileURLToPath(new URL("../../bin/hawser.js", import.meta.url));
const READER = fileURLToPath(new URL("./reader.js", import.meta.url));
// What dev-s3 accepts when nothing else is said; they guard nothing.
const CREDENTIALS = { accessKeyId: "hawser", secretAccessKey: "hawser-dev-secret" };

/** @returns what keeps the demo from running, and what to do about it */
function missing() {
  if (process.platform !== "linux") return "Mounting needs Linux; this is " + process.platform + ".";
  if (!existsSync(new URL("../../dist/index.js", import.meta.url))) return "Hawser is not built; run: npm ci";
  try {
    accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
  } catch (error) {
    if (error.code === "ENOENT")
      return "There is no /dev/fuse; run 'modprobe fuse', or give it to the container with --device /dev/fuse --cap-add SYS_ADMIN.";
    return (
      "/dev/fuse cannot be opened (" + error.code + "); run as root, or as a user who may read and write it."
    );
  }
  return undefined;
}

/** Deterministic bytes behind a PPM header: an image that no compression makes small. */
function makeImage(index) {
  const width = 128 + (index % 5) * 32;
  const header = Buffer.from(`P6\n${width} ${width}\n255\n`);
  const pixels = Buffer.allocUnsafe(width * width * 3);
  let state = index * 2654435761 + 1;
  for (let i = 0; i + 4 <= pixels.length; i += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    pixels.writeUInt32LE(state, i);
  }
  return Buffer.concat([header, pixels]);
}

function makeDataSet() {
  const images = [];
  for (let c = 0; c < CLASSES; c++) {
    for (let i = 0; i < IMAGES_PER_CLASS; i++) {
      images.push({
        path: `class-${c}/image ${String(i).padStart(4, "0")}.ppm`,
        index: c * IMAGES_PER_CLASS + i,
      });
    }
  }
  return images;
}

/** A server of its own, as `hawser dev-s3` in another terminal would be. */
async function startServer(ends) {
  const server = spawn(process.execPath, [PROGRAM, "dev-s3", "--port", "0", "--bucket", BUCKET], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  ends.push(() => end(server));
  for await (const line of createInterface({ input: server.stdout })) return line;
  throw new Error("dev-s3 did not start.");
}

/** Ends a child and waits for it. */
function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return undefined;
  return new Promise((resolve) => {
    child.once("exit", resolve);
    child.kill("SIGTERM");
  });
}

async function upload(endpoint, images) {
  const { createObjectStore } = await import("../../dist/store/s3-store.js");
  const store = await createObjectStore({ bucket: BUCKET, endpoint, credentials: CREDENTIALS });
  const queue = images.values();
  let bytes = 0;
  const lane = async () => {
    for (const image of queue) {
      const body = makeImage(image.index);
      image.sha256 = createHash("sha256").update(body).digest("hex");
      bytes += body.length;
      await store.put(PREFIX + image.path, body, { contentType: "image/x-portable-pixmap" });
    }
  };
  await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, lane));
  await store.close();
  return bytes;
}

function shuffled(items) {
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [copy[i], copy[j]] = [copy[j], copy[i]];
  }
  return copy;
}

/** One epoch: every image once, in random order, by several processes. */
async function readEpoch(folder, images, ends) {
  const order = shuffled(images).map(({ path }) => path);
  const workers = Array.from({ length: WORKERS }, () => fork(READER));
  for (const worker of workers) ends.push(() => end(worker));
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("message", resolve))));
  const started = performance.now();
  const results = await Promise.all(
    workers.map((worker, rank) => {
      const answer = new Promise((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("exit", (code) => reject(new Error(`A reader ended with code ${code}.`)));
      });
      worker.send({ folder, paths: order.filter((_path, i) => i % WORKERS === rank) });
      return answer;
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  const sums = new Map(results.flatMap((result) => result.sums));
  for (const { path, sha256 } of images) {
    if (sums.get(path) !== sha256) throw new Error(`${path} has other bytes than were uploaded.`);
  }
  return { seconds, bytes: results.reduce((sum, result) => sum + result.bytes, 0) };
}

function report(name, files, { seconds, bytes }) {
  const rate = `${Math.round(files / seconds)} files/s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s`;
  console.log(`${name}: ${files} files, ${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(2)} s: ${rate}`);
}

async function reading(ends, volume, mountPoint, images) {
  const { mount } = await import("../../dist/index.js");
  const mounted = await mount({ ...volume, prefix: PREFIX, mount: mountPoint });
  ends.push(() => mounted.unmount({ force: true }));
  console.log(`mounted at ${mountPoint}`);
  report("epoch 1, from the bucket", images.length, await readEpoch(mountPoint, images, ends));
  report("epoch 2, once seen", images.length, await readEpoch(mountPoint, images, ends));
  console.log("every checksum is right");
  await mounted.unmount();
}

/** Two saves while others read, a kill -9 between them, and what the bucket holds at the end. */
async function writing(ends, volume, mountPoint, images) {
  const run = new CheckpointRun({
    program: PROGRAM,
    mountPoint,
    ends,
    images: images.map(({ path, sha256 }) => ({ path: PREFIX + path, sha256 })),
    volume: { ...volume, mode: "writable" },
  });
  await run.mount();
  console.log(`mounted again, writable; ${READERS} processes read images all the time`);
  console.log(await run.save(1));
  console.log(await run.kill());
  console.log(await run.mount());
  console.log(await run.save(2));
  console.log(await run.flush());
  await run.unmount();
  console.log(await run.compareWithBucket());
}

async function demo(ends) {
  const folder = await mkdtemp(join(tmpdir(), "hawser-demo-"));
  ends.push(() => rm(folder, { recursive: true, force: true }));
  process.env.HAWSER_STATE_DIR = join(folder, "state");
  const mountPoint = join(folder, "data");
  await mkdir(mountPoint);

  const endpoint = await startServer(ends);
  console.log(`dev-s3 answers at ${endpoint}`);
  const images = makeDataSet();
  const bytes = await upload(endpoint, images);
  console.log(
    `uploaded ${images.length} images, ${(bytes / 1e6).toFixed(0)} MB, to s3://${BUCKET}/${PREFIX}`,
  );
  const volume = { bucket: BUCKET, endpoint, credentials: CREDENTIALS };
  await reading(ends, volume, mountPoint, images);
  await writing(ends, volume, mountPoint, images);
  console.log("unmounted");
}

const obstacle = missing();
if (obstacle !== undefined) {
  console.error(obstacle);
  process.exit(1);
}
/** What must be undone, newest first. */
const ends = [];
let code = 0;
const interrupted = new Promise((_resolve, reject) => {
  for (const signal of ["SIGINT", "SIGTERM"])
    process.once(signal, () => reject(new Error(`Stopped by ${signal}.`)));
});
try {
  await Promise.race([demo(ends), interrupted]);
} catch (error) {
  console.error(error.code ? `${error.message} [${error.code}]` : error.message);
  code = 1;
}
for (const undo of ends.toReversed()) {
  try {
    await undo();
  } catch (error) {
    console.error(error.message);
    code = 1;
  }
}
process.exit(code);
