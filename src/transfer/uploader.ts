/**
 * Uploads: local files as objects.
 *
 * A file up to one part is one PUT, a larger one a multipart upload that a later run can take up. A file is looked at
 * before and after: one that changed or vanished meanwhile is an error, and what was made of it does not stay. A
 * multipart upload is not completed then; a PUT is taken back.
 */
import { closeSync, openSync, statSync } from "node:fs";
import type { Stats } from "node:fs";
import { open } from "node:fs/promises";
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import type { PutOptions, PutResult, UploadedPart } from "../store/object-store.ts";
import type { S3Store } from "../store/s3-store.ts";
import type { Connection } from "./connection.ts";
import type { Progress } from "./downloader.ts";
import { localError } from "../common/local-error.ts";
import { uploadOptions } from "./object-options.ts";
import type { ObjectOptions } from "./object-options.ts";
import { checkObjectSize, partSizeFor } from "./part-size.ts";
import { UploadStates, sameVersion } from "./upload-state.ts";
import type { FileVersion, UploadRoute } from "./upload-state.ts";

export class Uploader {
  readonly #connection: Connection;
  readonly #store: S3Store;
  readonly #options: ObjectOptions;
  readonly #states: UploadStates;

  private constructor(connection: Connection, store: S3Store, options: ObjectOptions, states: UploadStates) {
    this.#connection = connection;
    this.#store = store;
    this.#options = options;
    this.#states = states;
  }

  static async open(
    connection: Connection,
    bucket: string,
    options: ObjectOptions = {},
    states = new UploadStates(),
  ): Promise<Uploader> {
    return new Uploader(connection, await connection.store(bucket), options, states);
  }

  /**
   * Makes an object of a file; with `onlyNew` only when the key is free.
   *
   * @throws HawserError `not_found`, `permission_denied`, `io_error` when the file cannot be read; `object_changed` when
   *   it changed meanwhile; what the store answers with
   */
  async upload(
    path: string,
    key: string,
    how: Progress & { onlyNew?: boolean | undefined },
  ): Promise<PutResult> {
    return await this.uploadVersion(path, key, how);
  }

  /** The same, and says which version of the file it was. */
  async uploadVersion(
    path: string,
    key: string,
    how: Progress & { onlyNew?: boolean | undefined },
  ): Promise<PutResult & { version: FileVersion }> {
    const before = lookAt(path);
    if (!before.isFile()) throw new HawserError("is_a_directory", `${path} is not a regular file.`);
    checkObjectSize(path, before.size, this.#store.storage);
    const version = versionOf(before);
    const options = {
      ...uploadOptions(this.#options, key, before.mtimeMs),
      signal: how.signal,
      ...(how.onlyNew ? { ifNoneMatch: "*" as const } : {}),
    };
    const result =
      before.size <= this.#connection.partBytes
        ? await this.#whole(path, key, version, options)
        : await this.#inParts(path, key, version, options, how);
    return { ...result, version };
  }

  async #whole(path: string, key: string, version: FileVersion, options: PutOptions): Promise<PutResult> {
    const { rate } = this.#connection;
    const { sizeBytes } = version;
    if (rate.limited) await rate.take(sizeBytes, options.signal);
    let result: PutResult;
    try {
      result = await this.#store.put(key, { file: { path }, offset: 0, sizeBytes }, options);
    } catch (error) {
      throw sourceProblem(error, path);
    }
    const problem = changeOf(path, version);
    if (problem === undefined) return result;
    // With versions the one before comes back; without, a condition protects what somebody else wrote since.
    const { versionId, etag } = result;
    await this.#store
      .delete(key, versionId === undefined ? { ifMatch: etag } : { versionId })
      .catch(() => undefined);
    throw problem;
  }

  async #inParts(
    path: string,
    key: string,
    version: FileVersion,
    options: PutOptions,
    how: Progress,
  ): Promise<PutResult> {
    const file = await open(path, "r").catch((error: unknown) => {
      throw localError(error, path);
    });
    try {
      const partBytes = partSizeFor(version.sizeBytes, this.#connection.partBytes);
      const route = { path, store: this.#store.identity, key };
      const { uploadId, parts } = await this.#begin(route, version, partBytes, options);
      for (const { sizeBytes = 0 } of parts.values()) how.progress(sizeBytes);
      try {
        const made = await this.#send({ fd: file.fd, key, uploadId, version, partBytes, parts }, how);
        const problem = changeOf(path, version);
        if (problem) throw problem;
        const result = await this.#store.completeMultipart(key, uploadId, made, {
          signal: how.signal,
          reason: "bulk",
          ...(options.ifNoneMatch === undefined ? {} : { ifNoneMatch: options.ifNoneMatch }),
        });
        await this.#states.forget(route);
        return result;
      } catch (error) {
        if (!isResumable(error)) {
          await this.#store.abortMultipart(key, uploadId).catch(() => undefined);
          await this.#states.forget(route);
        }
        throw sourceProblem(error, path);
      }
    } finally {
      await file.close();
    }
  }

  /** Takes up the upload that an earlier run left of the same content, or begins one. */
  async #begin(
    route: UploadRoute,
    version: FileVersion,
    partBytes: Bytes,
    options: PutOptions,
  ): Promise<{ uploadId: string; parts: Map<number, UploadedPart> }> {
    const { key } = route;
    const { signal, ...kept } = options;
    const wanted = JSON.stringify(kept);
    const known = await this.#states.load(route);
    if (known) {
      const same = sameVersion(known, version) && known.partBytes === partBytes && known.options === wanted;
      const parts = same
        ? await this.#partsOf(key, known.uploadId, version.sizeBytes, partBytes, signal)
        : undefined;
      if (parts) return { uploadId: known.uploadId, parts };
      await this.#store.abortMultipart(key, known.uploadId, { signal }).catch(() => undefined);
    }
    const { uploadId } = await this.#store.createMultipart(key, options);
    await this.#states.save(route, { ...version, uploadId, partBytes, options: wanted });
    return { uploadId, parts: new Map() };
  }

  /** Parts that are there and of the right size; undefined when the upload is gone. */
  async #partsOf(
    key: string,
    uploadId: string,
    sizeBytes: Bytes,
    partBytes: Bytes,
    signal: AbortSignal | undefined,
  ): Promise<Map<number, UploadedPart> | undefined> {
    try {
      const parts = await this.#store.listParts(key, uploadId, { signal, reason: "bulk" });
      const fits = parts.filter(
        (part) => part.sizeBytes === Math.min(partBytes, sizeBytes - (part.partNumber - 1) * partBytes),
      );
      return new Map(fits.map((part) => [part.partNumber, part]));
    } catch (error) {
      if (HawserError.is(error, "not_found")) return undefined;
      throw error;
    }
  }

  /** Sends what is missing. @returns all parts in order */
  async #send(
    upload: {
      fd: number;
      key: string;
      uploadId: string;
      version: FileVersion;
      partBytes: Bytes;
      parts: Map<number, UploadedPart>;
    },
    how: Progress,
  ): Promise<UploadedPart[]> {
    const { fd, key, uploadId, version, partBytes, parts } = upload;
    const count = Math.ceil(version.sizeBytes / partBytes);
    const made: UploadedPart[] = [];
    let next = 1;
    let failed = false;
    const lane = async (): Promise<void> => {
      while (next <= count && !failed && !how.signal.aborted) {
        const partNumber = next++;
        const present = parts.get(partNumber);
        if (present) {
          made[partNumber - 1] = present;
          continue;
        }
        const offset = (partNumber - 1) * partBytes;
        const sizeBytes = Math.min(partBytes, version.sizeBytes - offset);
        try {
          await this.#connection.rate.take(sizeBytes, how.signal);
          made[partNumber - 1] = await this.#connection.places.hold(() =>
            this.#store.uploadPart(
              key,
              uploadId,
              partNumber,
              { file: { fd }, offset, sizeBytes },
              {
                signal: how.signal,
                reason: "bulk",
              },
            ),
          );
        } catch (error) {
          failed = true;
          throw error;
        }
        how.progress(sizeBytes);
      }
    };
    // All lanes end before the file is closed, or the upload aborted: a part that lands later would be paid for.
    const lanes = Math.min(this.#connection.concurrency, count);
    const outcomes = await Promise.allSettled(Array.from({ length: lanes }, lane));
    const broken = outcomes.find((outcome) => outcome.status === "rejected");
    if (broken) throw broken.reason;
    if (how.signal.aborted) throw new HawserError("interrupted", `Uploading ${key} was interrupted.`);
    return made;
  }
}

function lookAt(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw localError(error, path);
  }
}

function versionOf({ size, mtimeMs, ino }: Stats): FileVersion {
  return { sizeBytes: size, mtimeMs, inode: ino };
}

/** What happened to a file since it was looked at. */
function changeOf(path: string, before: FileVersion): HawserError | undefined {
  try {
    return sameVersion(before, versionOf(statSync(path))) ? undefined : changed(path);
  } catch (error) {
    return vanished(path, error);
  }
}

/** What reading the file met, in words about the file. */
function sourceProblem(error: unknown, path: string): unknown {
  if (!HawserError.is(error, "io_error", "invalid_argument") || error.s3Code !== undefined) return error;
  try {
    // access(2) would ask for another user than open(2) does.
    closeSync(openSync(path, "r"));
  } catch (denied) {
    return (denied as NodeJS.ErrnoException).code === "ENOENT"
      ? vanished(path, denied)
      : localError(denied, path);
  }
  // Fewer bytes than there were when it was looked at.
  return error.code === "invalid_argument" ? changed(path) : error;
}

function vanished(path: string, cause: unknown): HawserError {
  return new HawserError(
    "object_changed",
    `${path} vanished while it was being uploaded; nothing was kept of it.`,
    {
      cause,
    },
  );
}

function changed(path: string): HawserError {
  return new HawserError(
    "object_changed",
    `${path} changed while it was being uploaded; nothing was kept of it.`,
  );
}

/** What another run may get past with the same content. */
function isResumable(error: unknown): boolean {
  return HawserError.is(
    error,
    "interrupted",
    "closed",
    "timed_out",
    "endpoint_unreachable",
    "slow_down",
    "store_failed",
    "credentials_expired",
    "credentials_missing",
  );
}
