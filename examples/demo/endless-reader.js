/**
 * A reader that goes on until it is told to stop: it reads images by their paths and holds each against its checksum. It
 * ends at the first error, as most programs do, and tells what it had read.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

async function readOn({ folder, images, start }) {
  const stop = new AbortController();
  process.once("message", () => stop.abort());
  const told = { files: 0, wrong: 0, error: undefined };
  for (let i = start; !stop.signal.aborted; i++) {
    const { path, sha256 } = images[(i * 7) % images.length];
    try {
      const content = await readFile(join(folder, path));
      if (createHash("sha256").update(content).digest("hex") !== sha256) told.wrong += 1;
      told.files += 1;
    } catch (error) {
      told.error = error.code;
      break;
    }
    if (told.files === 1) process.send("reading");
  }
  process.send(told, () => process.exit(0));
}

process.once("message", (order) => void readOn(order));
