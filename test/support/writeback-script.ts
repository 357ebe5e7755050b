/**
 * The workload of the write-back crash tests: what is done in one round, and what the bucket must hold after it.
 *
 * Operations are data, so that the process that carries them out and the test that judges it agree on them.
 */
import { createHash } from "node:crypto";

export type Operation =
  /** Written to a name that is new or rewritten, and closed. */
  | { readonly do: "write"; readonly key: string; readonly sizeBytes: number }
  /** The same, with an fsync before the close. */
  | { readonly do: "fsync"; readonly key: string; readonly sizeBytes: number }
  /** Some bytes in the middle of an object are changed. */
  | { readonly do: "patch"; readonly key: string; readonly offset: number; readonly sizeBytes: number }
  | { readonly do: "append"; readonly key: string; readonly sizeBytes: number }
  | { readonly do: "rename"; readonly from: string; readonly to: string }
  | { readonly do: "unlink"; readonly key: string }
  | { readonly do: "chmod"; readonly key: string }
  | { readonly do: "mark"; readonly key: string }
  /** Waits until everything is in the bucket. */
  | { readonly do: "flush" };

const MiB = 1024 * 1024;
/** Of the child's uploads: the least that S3 takes. */
export const PART_BYTES = 5 * MiB;

/** What one round does. Names stay the same over rounds, so that each finds what the last has left. */
export const ROUND: readonly Operation[] = [
  { do: "write", key: "run/a.tmp", sizeBytes: 1000 },
  { do: "rename", from: "run/a.tmp", to: "run/a" },
  { do: "write", key: "run/big", sizeBytes: PART_BYTES + 9017 },
  { do: "write", key: "run/latest", sizeBytes: 20 },
  { do: "fsync", key: "run/synced.tmp", sizeBytes: 30_000 },
  { do: "rename", from: "run/synced.tmp", to: "run/synced" },
  { do: "write", key: "run/gone", sizeBytes: 500 },
  { do: "unlink", key: "run/gone" },
  { do: "mark", key: "run/empty/" },
  { do: "chmod", key: "run/a" },
  { do: "write", key: "run/again", sizeBytes: 900 },
  // What was closed just now, and is nowhere else, is rewritten.
  { do: "write", key: "run/again", sizeBytes: 700 },
  { do: "write", key: "run/big", sizeBytes: PART_BYTES + 8011 },
  { do: "flush" },
  { do: "patch", key: "run/big", offset: PART_BYTES + 1000, sizeBytes: 4000 },
  { do: "append", key: "run/a", sizeBytes: 300 },
  { do: "rename", from: "run/latest", to: "run/previous" },
  { do: "write", key: "run/latest", sizeBytes: 21 },
  { do: "write", key: "run/a", sizeBytes: 4100 },
  { do: "unlink", key: "run/synced" },
  { do: "chmod", key: "run/previous" },
  { do: "flush" },
  { do: "rename", from: "run/big", to: "run/big2" },
  { do: "write", key: "run/big", sizeBytes: PART_BYTES + 1 },
  { do: "rename", from: "run/big", to: "run/big2" },
  { do: "unlink", key: "run/previous" },
  { do: "flush" },
];

/** Bytes that nobody else writes: a function of round and operation. No two stretches of 4 KiB are the same. */
export function contentOf(round: number, operation: number, sizeBytes: number): Buffer {
  const seed = createHash("sha256").update(`${round}/${operation}`).digest();
  const bytes = Buffer.alloc(sizeBytes, seed);
  for (let at = 0; at + 4 <= sizeBytes; at += 4096) bytes.writeUInt32LE(at, at);
  return bytes;
}

/** Key to bytes. */
export type Names = ReadonlyMap<string, Buffer>;

/** What the bucket holds when everything has arrived. */
export function after(names: Names, round: number, at: number): Names {
  const next = new Map(names);
  const operation = ROUND[at]!;
  switch (operation.do) {
    case "write":
    case "fsync":
      next.set(operation.key, contentOf(round, at, operation.sizeBytes));
      break;
    case "patch": {
      const bytes = Buffer.from(next.get(operation.key)!);
      contentOf(round, at, operation.sizeBytes).copy(bytes, operation.offset);
      next.set(operation.key, bytes);
      break;
    }
    case "append":
      next.set(
        operation.key,
        Buffer.concat([next.get(operation.key)!, contentOf(round, at, operation.sizeBytes)]),
      );
      break;
    case "rename":
      next.set(operation.to, next.get(operation.from)!);
      next.delete(operation.from);
      break;
    case "unlink":
      next.delete(operation.key);
      break;
    case "mark":
      next.set(operation.key, Buffer.alloc(0));
      break;
    case "chmod":
    case "flush":
  }
  return next;
}
