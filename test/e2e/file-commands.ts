/**
 * Changes of a file tree as plain data, carried out the same way on a mount and on a local folder.
 *
 * Each answers in text: what it read, or the error it failed with. A file is open only within one command.
 */
import { createHash } from "node:crypto";
import {
  chmod,
  lstat,
  mkdir,
  open,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  rmdir,
  symlink,
  truncate,
  unlink,
  utimes,
} from "node:fs/promises";
import path from "node:path";
import { noise } from "./program-tree.ts";

export type FileCommand =
  /** Made new or emptied, then written. */
  | { op: "write"; path: string; bytes: number; seed: number }
  | { op: "append"; path: string; bytes: number; seed: number }
  /** Into what is there, at an offset that may lie beyond its end. */
  | { op: "overwrite"; path: string; offset: number; bytes: number; seed: number }
  | { op: "truncate"; path: string; bytes: number }
  /** A temporary name, fsync if asked for, rename. */
  | { op: "save"; path: string; bytes: number; seed: number; fsync: boolean }
  /** The name changes or goes while the file is open and being written. */
  | { op: "writeAcross"; path: string; to: string | undefined; bytes: number; seed: number }
  | { op: "rename"; path: string; to: string }
  | { op: "unlink"; path: string }
  | { op: "removeAll"; path: string }
  | { op: "mkdir"; path: string }
  | { op: "rmdir"; path: string }
  | { op: "symlink"; path: string; target: string }
  | { op: "chmod"; path: string; mode: number }
  | { op: "utimes"; path: string; seconds: number }
  | { op: "read"; path: string }
  | { op: "list"; path: string };

/** Carries out a command below `root`. @returns what it read, "done", or an error's name */
export async function carryOut(root: string, command: FileCommand): Promise<string> {
  try {
    return (await perform(root, command)) ?? "done";
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return code;
  }
}

async function perform(root: string, command: FileCommand): Promise<string | void> {
  const file = path.join(root, command.path);
  switch (command.op) {
    case "write":
      return write(file, "w", 0, command);
    case "append":
      return write(file, "a", 0, command);
    case "overwrite":
      return write(file, "r+", command.offset, command);
    case "truncate":
      return truncate(file, command.bytes);
    case "save":
      await write(`${file}.tmp`, "w", 0, command, command.fsync);
      // The temporary file must not stay where the rename fails: the tree is compared as a whole.
      return rename(`${file}.tmp`, file).catch(async (error: unknown) => {
        await unlink(`${file}.tmp`);
        throw error;
      });
    case "writeAcross":
      return writeAcross(root, command);
    case "rename":
      return rename(file, path.join(root, command.to));
    case "unlink":
      return unlink(file);
    case "removeAll":
      return rm(file, { recursive: true });
    case "mkdir":
      await mkdir(file);
      return;
    case "rmdir":
      return rmdir(file);
    case "symlink":
      return symlink(command.target, file);
    case "chmod":
      return chmod(file, command.mode);
    case "utimes":
      return utimes(file, command.seconds, command.seconds);
    case "read":
      return read(file);
    case "list":
      return (await readdir(file)).sort().join(" ");
  }
}

async function write(
  file: string,
  flags: string,
  offset: number,
  { bytes, seed }: { bytes: number; seed: number },
  fsync = false,
): Promise<void> {
  await using handle = await open(file, flags, 0o644);
  const content = noise(bytes, `${seed}`);
  // In two pieces, so that there is a moment in the middle.
  const half = bytes >> 1;
  await handle.write(content, 0, half, flags === "a" ? null : offset);
  await handle.write(content, half, bytes - half, flags === "a" ? null : offset + half);
  if (fsync) await handle.sync();
}

async function writeAcross(root: string, command: FileCommand & { op: "writeAcross" }): Promise<void> {
  const file = path.join(root, command.path);
  await using handle = await open(file, "r+");
  const content = noise(command.bytes, `${command.seed}`);
  await handle.write(content, 0, command.bytes, 0);
  if (command.to === undefined) await unlink(file);
  else await rename(file, path.join(root, command.to));
  await handle.write(content, 0, command.bytes, command.bytes);
}

async function read(file: string): Promise<string> {
  const found = await lstat(file);
  if (found.isSymbolicLink()) return `-> ${await readlink(file)}`;
  if (found.isDirectory()) return "folder";
  const content = await readFile(file);
  const sum = createHash("sha256").update(content).digest("hex").slice(0, 16);
  return `${(found.mode & 0o7777).toString(8)} ${found.size} ${content.length} ${sum}`;
}
