/**
 * Backing: where content and the record of changes live.
 *
 * The state above (`Buckets`) decides what happens; a backing keeps bytes and writes events down. Memory forgets
 * events; a folder appends them to a journal whose replay is the state again.
 */
import type { Bytes } from "../../common/units.ts";
import type { ObjectVersion, Upload, UploadPart } from "../state/model.ts";
import type { Content, ContentWriter } from "./content.ts";

/** A change that has happened. Replayed in order, events give the state. */
export type StateEvent =
  | { t: "bucket"; name: string; region: string; createdMs: number }
  | { t: "bucket-gone"; name: string }
  | { t: "setting"; bucket: string; name: string; value: string | null }
  | { t: "put"; bucket: string; version: ObjectVersion }
  | { t: "update"; bucket: string; version: ObjectVersion }
  | { t: "gone"; bucket: string; key: string; versionId: string }
  | { t: "upload"; bucket: string; upload: Upload }
  | { t: "part"; bucket: string; uploadId: string; part: UploadPart }
  | { t: "upload-gone"; bucket: string; uploadId: string };

export interface Backing {
  /** What was there before, oldest first. */
  load(): AsyncIterable<StateEvent>;
  /** Begins the record anew with this state, which is what `load` led to. Call once, after `load`. */
  compact(state: Iterable<StateEvent>): Promise<void>;
  /** Where new bytes go; they belong to nothing until placed. */
  writer(sizeBytes: Bytes): ContentWriter;
  /** Makes unplaced bytes the current content of a key. The bytes that were there before are no longer. */
  place(bucket: string, key: string, content: Content): Promise<Content>;
  /** Moves the current content of a key aside: it becomes an older version's. */
  setAside(bucket: string, key: string, content: Content): Promise<Content>;
  /** Bytes of another content, unplaced. */
  copy(source: Content, offset: Bytes, length: Bytes): Promise<Content>;
  /** The parts' bytes one after the other, unplaced. Uses the parts up. */
  join(parts: readonly Content[]): Promise<Content>;
  /** Forgets bytes that nothing refers to any more. `kept` now lies where they may have been. */
  discard(bucket: string, key: string, content: Content, kept?: Content): Promise<void>;
  /** Bytes of a key that came into being behind the server's back, or were changed there. */
  adopt(bucket: string, key: string): Promise<ObjectVersion | undefined>;
  record(event: StateEvent): Promise<void>;
  close(): Promise<void>;
}
