/** FileProgress: journals what happens on an upload's way, and keeps the checksums of what was sent. */
import type { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import type { Context } from "./context.ts";
import type { InBucket } from "./file-entry.ts";
import type { FileWork } from "./file-work.ts";
import { beginMultipart } from "./multipart-begin.ts";
import type { CreatedMultipart } from "../store/object-store.ts";
import type { PublishProgress, Published } from "./publish.ts";
import type { JournaledPart } from "./records.ts";

export class FileProgress implements PublishProgress {
  readonly #context: Context;
  readonly #work: FileWork;
  readonly #onBytes: (count: Bytes) => void;
  readonly #sums = new Map<number, string | undefined>();
  #partBytes: Bytes = 0;

  constructor(context: Context, work: FileWork, onBytes: (count: Bytes) => void) {
    this.#context = context;
    this.#work = work;
    this.#onBytes = onBytes;
    work.begun();
    const { multipart } = work.file.entry;
    if (!multipart) return;
    this.#partBytes = multipart.partBytes;
    for (const part of multipart.parts.values()) this.#sums.set(part.partNumber, part.sum);
  }

  async beginMultipart(partBytes: Bytes, create: () => Promise<CreatedMultipart>): Promise<string> {
    const { file, n, key } = this.#work;
    const note = (multipartId: string): void => this.#noteMultipart(multipartId, partBytes);
    return await beginMultipart(this.#context, { id: file.id, n, key, create, note });
  }

  #noteMultipart(multipartId: string, partBytes: Bytes): void {
    const { journal } = this.#context;
    const { file, n, key, sentWith } = this.#work;
    const { meta, mtime } = sentWith;
    this.#partBytes = partBytes;
    this.#sums.clear();
    if (file.isGone || this.#work.isGivenUp) {
      journal.add({ t: "orphan", mp: multipartId, key });
      this.#work.abandon(multipartId);
    } else {
      const { base } = file.entry;
      const record = { id: file.id, n, key, mp: multipartId, partBytes, base, mtime, meta };
      journal.add({ t: "multipart", ...record });
    }
  }

  async partDone(part: JournaledPart): Promise<void> {
    const { journal, fault } = this.#context;
    const { file } = this.#work;
    this.#sums.set(part.partNumber, part.sum);
    const mp = file.entry.multipart?.mp;
    // On its way is enough: a part that the journal does not know of is sent again.
    if (mp !== undefined) journal.add({ t: "part", id: file.id, mp, ...part });
    fault("part.sent");
  }

  bytesSent(count: Bytes): void {
    this.#onBytes(count);
  }

  async mayAppear(): Promise<void> {
    const { queue } = this.#context;
    if (queue.blocker(this.#work)) await queue.turn(this.#work, this.#work.ends);
  }

  committing(): void {
    this.#work.commits();
    this.#context.fault("complete.before");
  }

  committed(appeared: boolean): void {
    if (appeared) this.#work.appeared = true;
    this.#work.committing = false;
    this.#context.fault("complete.after");
  }

  mayArriveLate(): void {
    this.#work.mayArriveLate();
  }

  abandon(multipartId: string): void {
    this.#work.abandon(multipartId);
  }

  denied(_what: "list_parts", error: HawserError): void {
    this.#context.sayOnce(
      "list_parts",
      "Listing an upload's parts is denied: an upload that was interrupted starts over.",
      error,
    );
  }

  /** Of all that was sent; undefined when it is not known of every part. */
  sums(size: Bytes, result: Published): NonNullable<InBucket["sums"]> | undefined {
    if (result.sum !== undefined) return { size, partBytes: size, sums: size === 0 ? [] : [result.sum] };
    if (this.#partBytes === 0 || this.#sums.size !== Math.ceil(size / this.#partBytes)) return undefined;
    const sums: string[] = [];
    for (let number = 1; number <= this.#sums.size; number++) {
      const sum = this.#sums.get(number);
      if (sum === undefined) return undefined;
      sums.push(sum);
    }
    return { size, partBytes: this.#partBytes, sums };
  }
}
