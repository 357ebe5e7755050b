/**
 * aws-chunked: the body coding in which clients sign chunk by chunk, or send a checksum behind the bytes.
 *
 * `size[;chunk-signature=…]\r\n bytes \r\n` repeats until a chunk of size 0; trailing headers may follow it, and with
 * signatures a last line that signs them. Each signature covers the one before it, from the request's own on. Bytes are
 * passed on before their chunk's signature is known: the object is committed only after the end.
 */
import { createHash, type Hash } from "node:crypto";

import {
  ALGORITHM,
  EMPTY_SHA256,
  signature,
  signaturesEqual,
  trailerStringToSign,
} from "../../common/sigv4.ts";
import { s3Error } from "../errors.ts";
import type { Signing } from "./verify.ts";

/** Longer than any line a client sends; more is not aws-chunked. */
const MAX_LINE_BYTES = 16 * 1024;

export interface ChunkedOptions {
  /** Present when chunks are signed. */
  signing: Signing | undefined;
  hasTrailer: boolean;
}

/** Where trailing headers go; names in lower case. */
export type Trailers = Record<string, string>;

export async function* decodeChunked(
  source: AsyncIterable<Buffer>,
  options: ChunkedOptions,
  trailers: Trailers,
): AsyncGenerator<Buffer> {
  const chain = options.signing && new SignatureChain(options.signing);
  let state: "head" | "bytes" | "end-of-bytes" | "trailer" | "done" = "head";
  let line = "";
  let remaining = 0;
  let claimed: string | undefined;

  for await (const buffer of source) {
    let at = 0;
    while (at < buffer.length) {
      if (state === "bytes") {
        const take = Math.min(remaining, buffer.length - at);
        const bytes = buffer.subarray(at, at + take);
        chain?.update(bytes);
        yield bytes;
        at += take;
        remaining -= take;
        if (remaining === 0) state = "end-of-bytes";
        continue;
      }
      const newline = buffer.indexOf(10, at);
      line += buffer.toString("latin1", at, newline < 0 ? buffer.length : newline);
      if (line.length > MAX_LINE_BYTES) throw malformed();
      if (newline < 0) break;
      at = newline + 1;
      const text = line.endsWith("\r") ? line.slice(0, -1) : line;
      line = "";
      if (state === "head") {
        const match = /^([0-9a-fA-F]{1,13})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(text);
        if (!match || (chain && match[2] === undefined)) throw malformed();
        remaining = Number.parseInt(match[1]!, 16);
        claimed = match[2];
        if (remaining > 0) state = "bytes";
        else {
          chain?.endChunk(claimed!);
          state = "trailer";
        }
      } else if (state === "end-of-bytes") {
        if (text !== "") throw malformed();
        chain?.endChunk(claimed!);
        state = "head";
      } else if (state === "trailer") {
        if (text === "") state = "done";
        else readTrailer(text, trailers);
      }
    }
  }
  // Without a trailer some clients leave out the empty line behind the last chunk.
  if (state !== "done" && state !== "trailer") throw s3Error("IncompleteBody");
  if (options.hasTrailer) chain?.checkTrailers(trailers);
}

function readTrailer(text: string, trailers: Trailers): void {
  const colon = text.indexOf(":");
  if (colon < 1) throw malformed();
  trailers[text.slice(0, colon).trim().toLowerCase()] = text.slice(colon + 1).trim();
}

function malformed(): Error {
  return s3Error("InvalidRequest", "The body is not aws-chunked as the headers say.");
}

/** The signatures of one body, each over the one before. */
class SignatureChain {
  readonly #signing: Signing;
  #previous: string;
  #hash: Hash = createHash("sha256");

  constructor(signing: Signing) {
    this.#signing = signing;
    this.#previous = signing.signature;
  }

  update(bytes: Buffer): void {
    this.#hash.update(bytes);
  }

  endChunk(claimed: string): void {
    const { amzDate, scope } = this.#signing;
    const digest = this.#hash.digest("hex");
    this.#hash = createHash("sha256");
    this.#expect(
      `${ALGORITHM}-PAYLOAD\n${amzDate}\n${scope}\n${this.#previous}\n${EMPTY_SHA256}\n${digest}`,
      claimed,
    );
  }

  checkTrailers(trailers: Trailers): void {
    const claimed = trailers["x-amz-trailer-signature"];
    if (claimed === undefined) throw malformed();
    const text = Object.keys(trailers)
      .filter((name) => name !== "x-amz-trailer-signature")
      .sort()
      .map((name) => `${name}:${trailers[name]}\n`)
      .join("");
    const { amzDate, scope } = this.#signing;
    this.#expect(trailerStringToSign(amzDate, scope, this.#previous, text), claimed);
  }

  #expect(toSign: string, claimed: string): void {
    const expected = signature(this.#signing.key, toSign);
    if (!signaturesEqual(expected, claimed)) throw s3Error("SignatureDoesNotMatch");
    this.#previous = expected;
  }
}
