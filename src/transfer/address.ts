/**
 * Addresses: where the commands and functions of this folder copy from and to.
 *
 * `s3://bucket/key` is an object, or what lies below a prefix; `-` is a stream; everything else is a local path. A
 * trailing slash says "a folder", here as in the shell.
 */
import { HawserError } from "../common/errors.ts";
import { didYouMeanS3, lacksSlashes, splitS3Url } from "../common/s3-url.ts";

export interface S3Address {
  kind: "s3";
  bucket: string;
  /** Empty for the bucket itself. */
  key: string;
}

export interface LocalAddress {
  kind: "local";
  /** As it was written. */
  path: string;
}

/** Standard input or output. */
export interface StreamAddress {
  kind: "stream";
}

export type Address = S3Address | LocalAddress | StreamAddress;

/** @throws HawserError `invalid_argument` */
export function parseAddress(text: string): Address {
  if (text === "-") return { kind: "stream" };
  if (/^s3:\/\//i.test(text)) return parseS3Address(text);
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(text)?.[1];
  if (scheme !== undefined) {
    throw new HawserError(
      "invalid_argument",
      `'${text}' is neither a local path nor s3://bucket/key; a store other than AWS is given by --endpoint.`,
    );
  }
  if (text === "")
    throw new HawserError("invalid_argument", "An empty text is no path; write . for this folder.");
  if (lacksSlashes(text)) {
    throw new HawserError(
      "invalid_argument",
      `'${text}' is not s3://bucket/key${didYouMeanS3(text)} A local path of that name is ./${text}.`,
    );
  }
  return { kind: "local", path: text };
}

/** @throws HawserError `invalid_argument` when the text is no such address */
export function parseS3Address(text: string): S3Address {
  const url = splitS3Url(text);
  if (!url) {
    throw new HawserError(
      "invalid_argument",
      `'${text}' is not s3://bucket or s3://bucket/key${didYouMeanS3(text) || "."}`,
    );
  }
  return { kind: "s3", ...url };
}

/** The address as a person writes it. */
export function formatAddress(address: Address): string {
  switch (address.kind) {
    case "s3":
      return formatS3(address.bucket, address.key);
    case "local":
      return address.path;
    case "stream":
      return "-";
  }
}

export function formatS3(bucket: string, key: string): string {
  return key === "" ? `s3://${bucket}` : `s3://${bucket}/${key}`;
}
