/**
 * Proving mounts: a real read, and where writable a real write, as the job's user.
 *
 * It runs in a process of its own that has become that user, so that what it is allowed is what the job will be. The
 * write is fsynced, which ends when the bytes are in the bucket: a policy that forbids writing shows here, and not
 * after the first checkpoint.
 */
import { randomUUID } from "node:crypto";
import { open, opendir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { toHawserError } from "../../common/errors.ts";
import type { Proof } from "./protocol.ts";

export interface ProofWanted {
  volume: string;
  mount: string;
  writable: boolean;
}

/** Folders that are looked into for a file to read. */
const MAX_FOLDERS = 20;

export async function proveAll(wanted: readonly ProofWanted[]): Promise<Proof[]> {
  return await Promise.all(
    wanted.map(async ({ volume, mount, writable }) => {
      const started = performance.now();
      const ms = (): number => Math.round(performance.now() - started);
      try {
        await readSomething(mount);
        if (writable) await writeSomething(mount);
        return { volume, mount, ms: ms(), wrote: writable };
      } catch (error) {
        return { volume, mount, ms: ms(), wrote: false, error: toHawserError(error).message };
      }
    }),
  );
}

const PROOF = ".hawser-proof-";

/**
 * Lists, and reads the first byte of the first file that is found. An empty volume is read by its listing.
 *
 * Other nodes prove the same prefix at the same time: their files, and whatever else goes between the listing and the
 * reading, say nothing about this mount.
 *
 * @returns the path that was read
 */
export async function readSomething(
  mount: string,
  openFile: typeof open = open,
): Promise<string | undefined> {
  const folders = [mount];
  for (let i = 0; i < folders.length && i < MAX_FOLDERS; i++) {
    for await (const entry of await opendir(folders[i]!)) {
      const path = join(folders[i]!, entry.name);
      if (entry.isDirectory()) folders.push(path);
      if (!entry.isFile() || entry.name.startsWith(PROOF)) continue;
      try {
        await using file = await openFile(path, "r");
        await file.read(Buffer.alloc(1), 0, 1, 0);
        return path;
      } catch (error) {
        if (!isGone(error)) throw error;
      }
    }
  }
  return undefined;
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ESTALE";
}

async function writeSomething(mount: string): Promise<void> {
  const path = join(mount, `${PROOF}${randomUUID()}`);
  try {
    await using file = await open(path, "wx");
    await file.write("written by 'hawser pool' to see that it can\n");
    await file.sync();
  } finally {
    await unlink(path).catch(() => undefined);
  }
}
