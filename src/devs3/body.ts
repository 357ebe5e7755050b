/**
 * A request's body: decoded, hashed and checked while it streams.
 *
 * Whatever the client promised about the bytes is compared before anything is committed: length, SHA-256 of the
 * payload, chunk signatures, Content-MD5, an additional checksum ahead or behind. So a handler that got a
 * `ReceivedBody` may commit it.
 */
import { createHash, type Hash } from "node:crypto";
import type { ServerResponse } from "node:http";

import type { Bytes } from "../common/units.ts";
import { decodeChunked, type Trailers } from "./auth/chunked.ts";
import type { Identity } from "./auth/verify.ts";
import type { ContentWriter } from "./backing/content.ts";
import { checksumOf, parseAlgorithm, startChecksum, type RunningChecksum } from "./checksums.ts";
import { s3Error } from "./errors.ts";
import type { S3Request } from "./request.ts";
import type { ChecksumAlgorithm } from "./state/model.ts";

/** S3 takes a body of this size at most in one PUT or part. */
const MAX_BODY_BYTES = 5 * 1024 ** 3;

export interface ReceivedBody {
  sizeBytes: Bytes;
  md5: Buffer;
  checksum: { algorithm: ChecksumAlgorithm; value: string } | undefined;
}

/** The client went away in mid-body: there is nobody to answer. */
export class ClientGone extends Error {
  override readonly name = "ClientGone";
}

export class RequestBody {
  readonly #request: S3Request;
  readonly #identity: Identity;
  readonly #response: ServerResponse;
  readonly #onBytes: (bytes: number) => void;
  #awaitsContinue: boolean;

  constructor(
    request: S3Request,
    identity: Identity,
    response: ServerResponse,
    awaitsContinue: boolean,
    onBytes: (bytes: number) => void,
  ) {
    this.#request = request;
    this.#identity = identity;
    this.#response = response;
    this.#awaitsContinue = awaitsContinue;
    this.#onBytes = onBytes;
  }

  /** The size of the object in the body, which every client must say ahead. */
  get declaredBytes(): Bytes {
    const decoded = this.#request.header("x-amz-decoded-content-length");
    const length = decoded ?? this.#request.header("content-length");
    if (length === undefined) {
      throw this.#request.header("transfer-encoding") === undefined
        ? s3Error("MissingContentLength")
        : s3Error("NotImplemented");
    }
    const bytes = Number(length);
    if (!Number.isSafeInteger(bytes) || bytes < 0)
      throw s3Error("InvalidArgument", "The content length is no size.");
    if (bytes > MAX_BODY_BYTES) {
      throw s3Error("EntityTooLarge", undefined, {
        elements: { ProposedSize: bytes, MaxSizeAllowed: MAX_BODY_BYTES },
      });
    }
    return bytes;
  }

  /**
   * Reads all of it into `writer`, which the caller aborts when this rejects.
   *
   * @param wanted the checksum to compute when the client sent none
   */
  async receive(
    writer: Pick<ContentWriter, "write">,
    options: { wanted?: ChecksumAlgorithm | undefined; md5?: boolean } = {},
  ): Promise<ReceivedBody> {
    const declared = this.declaredBytes;
    const { payloadHash, signing } = this.#identity;
    const ahead = checksumOf((name) => this.#request.header(name));
    const trailerNames = (this.#request.header("x-amz-trailer") ?? "").toLowerCase().split(/\s*,\s*/);
    const behind = trailerNames.find((name) => name.startsWith("x-amz-checksum-"));
    const algorithm =
      ahead?.algorithm ??
      parseAlgorithm(behind?.slice("x-amz-checksum-".length)) ??
      parseAlgorithm(this.#request.header("x-amz-sdk-checksum-algorithm")) ??
      options.wanted;

    const trailers: Trailers = {};
    const streaming = payloadHash.startsWith("STREAMING-");
    if (
      streaming &&
      !/^STREAMING-(AWS4-HMAC-SHA256-PAYLOAD(-TRAILER)?|UNSIGNED-PAYLOAD-TRAILER)$/.test(payloadHash)
    ) {
      throw s3Error("NotImplemented", `${payloadHash} is not supported.`);
    }
    const source = streaming
      ? decodeChunked(
          this.#raw(),
          {
            signing: payloadHash.startsWith("STREAMING-AWS4") ? signing : undefined,
            hasTrailer: payloadHash.endsWith("-TRAILER"),
          },
          trailers,
        )
      : this.#raw();

    const md5 = options.md5 === false ? undefined : createHash("md5");
    const sha256 = /^[0-9a-f]{64}$/.test(payloadHash) ? createHash("sha256") : undefined;
    if (!sha256 && !streaming && payloadHash !== "UNSIGNED-PAYLOAD") {
      throw s3Error(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-… or a SHA-256.",
      );
    }
    const running = algorithm && startChecksum(algorithm);
    const sizeBytes = await pump(source, writer, declared, md5, sha256, running);
    if (sizeBytes !== declared) throw s3Error("IncompleteBody");

    this.#checkPayloadHash(sha256, payloadHash);
    const digest = md5?.digest() ?? Buffer.alloc(0);
    this.#checkContentMd5(digest, md5 !== undefined);
    const promised = ahead ?? checksumOf((name) => trailers[name]);
    if (behind !== undefined && !promised)
      throw s3Error("InvalidRequest", `The trailer ${behind} is missing.`);
    const value = running?.digest();
    if (promised && promised.value !== value) {
      throw s3Error(
        "BadDigest",
        `The ${promised.algorithm} you specified did not match the calculated checksum.`,
      );
    }
    return {
      sizeBytes,
      md5: digest,
      checksum: algorithm && value !== undefined ? { algorithm, value } : undefined,
    };
  }

  /** A small document, for configuration and batch requests. */
  async text(maxBytes: Bytes = 4 * 1024 * 1024): Promise<string> {
    const chunks: Uint8Array[] = [];
    if (this.#request.header("content-length") === undefined && !this.#request.header("transfer-encoding"))
      return "";
    if (this.declaredBytes > maxBytes) throw s3Error("MalformedXML");
    await this.receive({ write: (chunk) => void chunks.push(chunk) });
    return Buffer.concat(chunks).toString("utf8");
  }

  async *#raw(): AsyncGenerator<Buffer> {
    if (this.#awaitsContinue) {
      this.#awaitsContinue = false;
      this.#response.writeContinue();
    }
    try {
      // The request must survive a handler that stops reading: the answer goes out on the same connection.
      for await (const chunk of this.#request.http.iterator({ destroyOnReturn: false })) {
        const buffer = chunk as Buffer;
        this.#onBytes(buffer.length);
        yield buffer;
      }
    } catch (error) {
      throw this.#request.http.destroyed ? new ClientGone("The client closed the connection.") : error;
    }
  }

  #checkPayloadHash(sha256: Hash | undefined, claimed: string): void {
    const computed = sha256?.digest("hex");
    if (computed === undefined || computed === claimed) return;
    throw s3Error("XAmzContentSHA256Mismatch", undefined, {
      elements: { ClientComputedContentSHA256: claimed, S3ComputedContentSHA256: computed },
    });
  }

  #checkContentMd5(digest: Buffer, computed: boolean): void {
    const claimed = this.#request.header("content-md5");
    if (claimed === undefined || !computed) return;
    if (Buffer.from(claimed, "base64").length !== 16) throw s3Error("InvalidDigest");
    if (digest.toString("base64") !== claimed) {
      throw s3Error("BadDigest", "The Content-MD5 you specified did not match what we received.", {
        elements: { ExpectedDigest: claimed, CalculatedDigest: digest.toString("base64") },
      });
    }
  }
}

async function pump(
  source: AsyncIterable<Buffer>,
  writer: Pick<ContentWriter, "write">,
  limit: Bytes,
  md5: Hash | undefined,
  sha256: Hash | undefined,
  running: RunningChecksum | undefined,
): Promise<Bytes> {
  let sizeBytes = 0;
  for await (const chunk of source) {
    sizeBytes += chunk.length;
    if (sizeBytes > limit) throw s3Error("IncompleteBody", "The body is longer than the headers say.");
    md5?.update(chunk);
    sha256?.update(chunk);
    running?.update(chunk);
    const pending = writer.write(chunk);
    if (pending) await pending;
  }
  return sizeBytes;
}
