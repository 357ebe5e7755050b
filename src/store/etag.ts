/**
 * ETags as S3 computes them: the MD5 of a single-part object, and for a multipart object the MD5 of its parts' MD5s
 * with `-` and the number of parts. An ETag of another form (SSE-KMS, SSE-C, other stores) says nothing about content.
 */
import { createHash } from "node:crypto";

/** The ETag of an object that was sent in one piece. */
export function md5Etag(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("hex");
}

/** The ETag of an object assembled from parts with these ETags, in order. */
export function multipartEtag(partEtags: readonly string[]): string {
  const all = createHash("md5");
  for (const etag of partEtags) all.update(Buffer.from(etag, "hex"));
  return `${all.digest("hex")}-${partEtags.length}`;
}

/** Removes the quotes (and a weak mark) that HTTP puts around an ETag. */
export function unquoteEtag(etag: string): string {
  const strong = etag.startsWith("W/") ? etag.slice(2) : etag;
  return strong.startsWith('"') && strong.endsWith('"') && strong.length > 1 ? strong.slice(1, -1) : strong;
}

/** Puts an ETag into the quotes that conditions want; `*` stays bare. */
export function quoteEtag(etag: string): string {
  return etag === "*" ? etag : `"${unquoteEtag(etag)}"`;
}

/** True when the ETag has the form of a plain MD5, so that it can be compared with one. */
export function isMd5Etag(etag: string): boolean {
  return /^[0-9a-f]{32}$/i.test(etag);
}
