/**
 * Preconditions, as pure decisions.
 *
 * ETags compare without quotes; times in whole seconds. If-Match wins over If-Unmodified-Since and If-None-Match over
 * If-Modified-Since when both are there, as S3 documents it.
 */
import { s3Error } from "../errors.ts";
import type { ObjectVersion } from "../state/model.ts";

type HeaderOf = (name: string) => string | undefined;

export function etagMatches(header: string, etag: string): boolean {
  return header.split(",").some((one) => {
    const wanted = one.trim().replace(/^W\//, "").replace(/^"|"$/g, "");
    return wanted === "*" || wanted === etag;
  });
}

function seconds(header: string | undefined): number | undefined {
  const time = header === undefined ? Number.NaN : Date.parse(header);
  return Number.isNaN(time) ? undefined : Math.floor(time / 1000);
}

function failed(condition: string): Error {
  return s3Error("PreconditionFailed", undefined, { elements: { Condition: condition } });
}

/**
 * For GET and HEAD.
 *
 * @returns true when the answer is 304
 * @throws S3Error `PreconditionFailed`
 */
export function checkRead(header: HeaderOf, version: Pick<ObjectVersion, "etag" | "mtimeMs">): boolean {
  const modified = Math.floor(version.mtimeMs / 1000);
  const ifMatch = header("if-match");
  if (ifMatch !== undefined) {
    if (!etagMatches(ifMatch, version.etag)) throw failed("If-Match");
  } else {
    const since = seconds(header("if-unmodified-since"));
    if (since !== undefined && modified > since) throw failed("If-Unmodified-Since");
  }
  const ifNoneMatch = header("if-none-match");
  if (ifNoneMatch !== undefined) return etagMatches(ifNoneMatch, version.etag);
  const since = seconds(header("if-modified-since"));
  return since !== undefined && modified <= since;
}

/** For the source of a copy: a condition that a GET answers with 304 fails here. */
export function checkCopySource(header: HeaderOf, version: Pick<ObjectVersion, "etag" | "mtimeMs">): void {
  const source: HeaderOf = (name) => header(`x-amz-copy-source-${name}`);
  if (checkRead(source, version)) throw failed("If-None-Match");
}

/** For PUT and Complete: what must hold for the object that is there now. */
export function checkWrite(header: HeaderOf, live: ObjectVersion | undefined): void {
  const ifNoneMatch = header("if-none-match");
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch.trim() !== "*") {
      throw s3Error("NotImplemented", undefined, { elements: { Header: "If-None-Match" } });
    }
    if (live) throw failed("If-None-Match");
  }
  const ifMatch = header("if-match");
  if (ifMatch === undefined) return;
  if (!live) throw s3Error("NoSuchKey");
  if (!etagMatches(ifMatch, live.etag)) throw failed("If-Match");
}

/** For DELETE: a missing object passes only without a condition. */
export function checkDelete(ifMatch: string | undefined, live: ObjectVersion | undefined): void {
  if (ifMatch === undefined) return;
  if (!live || !etagMatches(ifMatch, live.etag)) throw failed("If-Match");
}
