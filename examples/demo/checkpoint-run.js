/**
 * The writing half of the demo: a run that saves checkpoints under a temporary name and renames them, readers beside it,
 * and a crash.
 *
 * What was saved is kept in memory, to be held against the mount after the crash and against the bucket at the end.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { Readers } from "./readers.js";

export const READERS = 3;
const FOLDER = "checkpoints/";
const MIB = 1024 * 1024;
/** Bytes by name, in the order of names. */
const FILES = { "model.pt": 96 * MIB, "optimizer.pt": 32 * MIB + 4321, "state.json": 200 };
/** Bytes written at a time, as a serializer does. */
const PIECE = 4 * MIB;

export class CheckpointRun {
  #options;
  #mounted;
  #readers;
  /** By key: what the bucket must hold at the end. */
  #saved = new Map();

  /**
   * @param options `volume` and `mountPoint` for mount(), the `images` that readers read, the `program` hawser, and `ends`:
   * what must be undone at the end
   */
  constructor(options) {
    this.#options = options;
  }

  /** Mounts, holds what was saved before against what is there, and starts the readers. */
  async mount() {
    const { volume, mountPoint, images, ends } = this.#options;
    const { mount } = await import("../../dist/index.js");
    const began = performance.now();
    const mounted = await mount({ ...volume, mount: mountPoint });
    const took = seconds(began);
    this.#mounted = mounted;
    ends.push(() => mounted.unmount({ force: true }));
    for (const [key, bytes] of this.#saved) {
      if (!bytes.equals(await readFile(join(mountPoint, key))))
        throw new Error(`${key} is not what was saved.`);
    }
    const readers = new Readers(READERS, { folder: mountPoint, images });
    this.#readers = readers;
    ends.push(() => readers.kill());
    await readers.reading();
    return `mounted again in ${took} s: the save is there, byte by byte; the readers start again`;
  }

  /** Each file of a checkpoint under a temporary name, then renamed; the files of the save before are replaced. */
  async save(step) {
    const folder = join(this.#options.mountPoint, FOLDER);
    const contents = Object.entries(FILES).map(([name, size]) => [name, randomBytes(size)]);
    const began = performance.now();
    await mkdir(folder, { recursive: true });
    for (const [name, bytes] of contents) {
      const path = join(folder, name);
      const file = await open(`${path}.tmp`, "w");
      for (let at = 0; at < bytes.length; at += PIECE) await file.write(bytes.subarray(at, at + PIECE));
      await file.close();
      await rename(`${path}.tmp`, path);
      this.#saved.set(FOLDER + name, bytes);
    }
    const took = (performance.now() - began) / 1000;
    const rate = Math.round(this.#savedBytes() / 1e6 / took);
    return `save ${step}: ${this.#describeSaved()} in ${took.toFixed(2)} s, ${rate} MB/s`;
  }

  /** Kills the mount's process at once, as a crash would. */
  async kill() {
    process.kill(this.#mounted.pid, "SIGKILL");
    await this.#mounted.ended;
    const stored = (await this.#stored()).filter(({ key }) => this.#saved.has(key));
    const { files, errors } = await this.#readers.stop();
    return (
      `kill -9 of the mount, with ${stored.length} of the save's ${this.#saved.size} files in the bucket: ` +
      `${files} images were read, then ${errors.length} of ${READERS} readers got ${[...new Set(errors)].join(", ") || "no error"}`
    );
  }

  /** Waits until everything is in the bucket, and stops the readers. */
  async flush() {
    const { program, mountPoint } = this.#options;
    const began = performance.now();
    const flush = spawn(process.execPath, [program, "flush", mountPoint], { stdio: "ignore" });
    const [code] = await once(flush, "exit");
    if (code !== 0) throw new Error(`hawser flush ended with ${code}.`);
    const took = seconds(began);
    const { files, errors } = await this.#readers.stop();
    if (errors.length > 0) throw new Error(`A reader got ${errors[0]}.`);
    return `hawser flush: all of it in the bucket ${took} s later; the readers read ${files} images, all of them right`;
  }

  async unmount() {
    await this.#mounted.unmount();
  }

  /** @throws when the bucket holds anything else of the checkpoints than what was saved */
  async compareWithBucket() {
    // A folder that was made just before the kill has a marker, and keeps it.
    const stored = (await this.#stored()).filter(({ key }) => !key.endsWith("/"));
    // A listing is in the order of the keys, and so are FILES.
    const keys = stored.map(({ key }) => key).join(", ");
    if (keys !== [...this.#saved.keys()].join(", ")) throw new Error(`The bucket holds ${keys}.`);
    const store = await this.#openStore();
    for (const { key } of stored) {
      const body = Buffer.alloc(this.#saved.get(key).length + 1);
      const { bytesRead } = await store.get({ key }, body);
      if (!body.subarray(0, bytesRead).equals(this.#saved.get(key)))
        throw new Error(`${key} differs in the bucket.`);
    }
    await store.close();
    return `the bucket holds ${this.#describeSaved()}, byte by byte what save 2 wrote, and nothing of save 1`;
  }

  /** The checkpoints' objects. */
  async #stored() {
    const store = await this.#openStore();
    const { objects } = await store.list({ prefix: FOLDER });
    await store.close();
    return objects;
  }

  async #openStore() {
    const { createObjectStore } = await import("../../dist/store/s3-store.js");
    const { bucket, endpoint, credentials } = this.#options.volume;
    return createObjectStore({ bucket, endpoint, credentials });
  }

  #savedBytes() {
    return [...this.#saved.values()].reduce((sum, { length }) => sum + length, 0);
  }

  #describeSaved() {
    return `${this.#saved.size} files, ${(this.#savedBytes() / 1e6).toFixed(0)} MB`;
  }
}

/** Since then, for people. */
function seconds(began) {
  return ((performance.now() - began) / 1000).toFixed(1);
}
