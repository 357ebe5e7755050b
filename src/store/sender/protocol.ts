/**
 * What the calling thread and a sender's thread say to each other.
 *
 * A body in memory moves along with its message (the buffer is made for it, with room for the request's head in front),
 * or lies where both see it (shared-body.ts); of a file only path or descriptor travels: descriptors are the process's, not a thread's.
 */
import type { Bytes, Milliseconds } from "../../common/units.ts";
import type { Credentials } from "../credentials.ts";
import type { Endpoint } from "../endpoint.ts";
import type { StoreFailure } from "../failure.ts";
import type { Rank } from "../lean/rank.ts";
import type { WireError } from "../lean/wire-error.ts";

export type Source =
  /** The body begins at HEAD_ROOM. An ArrayBuffer moves along and comes back by `empty`. */
  | { kind: "memory"; buffer: ArrayBuffer | SharedArrayBuffer; sizeBytes: Bytes }
  | { kind: "none"; sizeBytes: 0 }
  | { kind: "file"; file: string | number; offset: Bytes; sizeBytes: Bytes };

/** One request, with a body or without, to be sent once. */
export interface SendSpec {
  id: number;
  rank: Rank;
  method: "PUT" | "DELETE";
  key: string;
  query: readonly (readonly [name: string, value: string])[];
  /** In lower case; host, length, checksum and signature are added. */
  headers: Readonly<Record<string, string>>;
  source: Source;
  /** Compute the body's CRC32C and send it along. */
  checksum: boolean;
  /** Sign the body's SHA-256 instead of UNSIGNED-PAYLOAD. */
  hashPayload: boolean;
  /** Ask before a large body is sent: likely to be refused. */
  doubtful: boolean;
  /** Silence allowed until the answer, where the store works on it. */
  answerMs?: Milliseconds | undefined;
}

/** Where requests go and what they are signed with, from this message on. */
export interface SenderAccess {
  endpoint: Endpoint;
  /** Undefined: unsigned. */
  credentials: Credentials | undefined;
  /** What to add to this machine's clock to get the store's. */
  clockOffsetMs: Milliseconds;
  requestPayer: boolean;
}

export interface Answer {
  status: number;
  /** Those that somebody reads, in lower case. */
  headers: Record<string, string>;
  /** The document; empty for most. */
  text: string;
  /** base64, as it was sent. */
  crc32c: string | undefined;
}

export type ToSender =
  | { op: "access"; access: SenderAccess }
  | { op: "send"; spec: SendSpec }
  | { op: "cancel"; id: number }
  | { op: "close" };

export type FromSender =
  | { op: "answered"; id: number; answer: Answer }
  /** Nothing, or half an answer, came. */
  | { op: "failed"; id: number; failure: StoreFailure }
  /** What was to be sent cannot be read, or is not as long as it was said to be. */
  | { op: "refused"; id: number; error: WireError }
  /** A body's buffer comes back. */
  | { op: "empty"; buffer: ArrayBuffer };

/** What an engine tells; the other side of `FromSender`. */
export interface SenderHost {
  answered(id: number, answer: Answer): void;
  failed(id: number, failure: StoreFailure): void;
  refused(id: number, error: WireError): void;
  empty(buffer: ArrayBuffer): void;
}

/** What a message asks of. */
export interface Commanded {
  useAccess(access: SenderAccess): void;
  submit(spec: SendSpec): void;
  cancel(id: number): void;
  close(): void;
}

export function apply(engine: Commanded, message: ToSender): void {
  switch (message.op) {
    case "access":
      return engine.useAccess(message.access);
    case "send":
      return engine.submit(message.spec);
    case "cancel":
      return engine.cancel(message.id);
    case "close":
      return engine.close();
  }
}

/** A host that turns what it is told into messages. */
export function hostOf(tell: (message: FromSender, moved?: ArrayBuffer) => void): SenderHost {
  return {
    answered: (id, answer) => tell({ op: "answered", id, answer }),
    failed: (id, failure) => tell({ op: "failed", id, failure }),
    refused: (id, error) => tell({ op: "refused", id, error }),
    empty: (buffer) => tell({ op: "empty", buffer }, buffer),
  };
}
