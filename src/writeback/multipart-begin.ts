/**
 * Beginning a multipart upload, so that none is ever left open in the bucket unknown.
 *
 * The journal says that one is about to be begun before the request is sent, and that it is known what came of it after
 * the answer is. What is between, when the process ends or the request fails, the janitor looks for. Both are on the disk
 * itself before the next request is sent, so that a power loss leaves none either.
 */
import type { CopyOptions, CopySource, CreatedMultipart, PutResult } from "../store/object-store.ts";
import type { Context } from "./context.ts";
import { beginName } from "./journal-state.ts";

/** The keys for which this process is beginning uploads now: what is listed there may be one of them. */
export class Beginnings {
  readonly #keys = new Map<string, number>();
  /** Told each time one has ended. */
  onEnd: () => void = () => undefined;

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  async during<T>(key: string, work: () => Promise<T>): Promise<T> {
    this.#keys.set(key, (this.#keys.get(key) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const left = this.#keys.get(key)! - 1;
      if (left === 0) this.#keys.delete(key);
      else this.#keys.set(key, left);
      this.onEnd();
    }
  }
}

export interface MultipartBeginning {
  /** The staged file's. */
  readonly id: number;
  readonly n: number;
  readonly key: string;
  /** Sends the request. */
  create(): Promise<CreatedMultipart>;
  /** Adds to the journal what has been begun. */
  note(uploadId: string): void;
}

/** @returns the upload's id, which the journal knows */
export async function beginMultipart(context: Context, beginning: MultipartBeginning): Promise<string> {
  const { journal, clock, fault, beginnings } = context;
  const { id, n, key } = beginning;
  return await beginnings.during(key, async () => {
    let at = clock.now();
    while (journal.state.begins.has(beginName({ key, at }))) at++;
    journal.add({ t: "begin", id, n, key, at });
    await journal.sync();
    fault("multipart.begin");
    const { uploadId, repeated } = await beginning.create();
    fault("multipart.created");
    beginning.note(uploadId);
    // A try before it may have begun another one, of which nobody has the id.
    if (!repeated) journal.add({ t: "begun", id, key, at });
    // Before its first part: one with parts is taken for another worker's when nobody knows its id.
    await journal.sync();
    fault("multipart.begun");
    return uploadId;
  });
}

/** No staged file has this number. */
const NO_FILE = 0;

/** A copy on the server. One of more than 5 GiB is a multipart as well. */
export async function copyObject(
  context: Context,
  source: CopySource,
  key: string,
  options: CopyOptions,
): Promise<PutResult> {
  const { store, journal, beginnings } = context;
  let mp: string | undefined;
  const note = (uploadId: string): void => {
    mp = uploadId;
    journal.add({ t: "copying", mp, key });
  };
  const inParts = (create: () => Promise<CreatedMultipart>): Promise<string> =>
    beginMultipart(context, { id: NO_FILE, n: 0, key, create, note });
  try {
    const made = await store.copy(source, key, { ...options, inParts });
    if (mp !== undefined) journal.add({ t: "aborted", mp });
    return made;
  } catch (error) {
    if (mp !== undefined) {
      journal.add({ t: "orphan", mp, key });
      beginnings.onEnd();
    }
    throw error;
  }
}
