/** Byte ranges of requests. */
import type { Bytes } from "../../common/units.ts";
import { s3Error } from "../errors.ts";
import type { ObjectVersion } from "../state/model.ts";

export interface ByteRange {
  offset: Bytes;
  length: Bytes;
}

/**
 * One range of a Range header. What is not one range of bytes is ignored, as S3 and RFC 9110 do.
 *
 * @returns undefined for the whole object
 * @throws S3Error `InvalidRange` when it starts behind the end
 */
export function parseRange(header: string | undefined, sizeBytes: Bytes): ByteRange | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const unsatisfiable = () =>
    s3Error("InvalidRange", undefined, {
      elements: { RangeRequested: header, ActualObjectSize: sizeBytes },
      headers: { "content-range": `bytes */${sizeBytes}` },
    });
  if (match[1] === "") {
    const suffix = Number(match[2]);
    if (suffix === 0 || sizeBytes === 0) throw unsatisfiable();
    const length = Math.min(suffix, sizeBytes);
    return { offset: sizeBytes - length, length };
  }
  const first = Number(match[1]);
  const last = match[2] === "" ? sizeBytes - 1 : Number(match[2]);
  if (match[2] !== "" && last < first) return undefined;
  if (first >= sizeBytes) throw unsatisfiable();
  return { offset: first, length: Math.min(last, sizeBytes - 1) - first + 1 };
}

/** x-amz-copy-source-range: must be whole and inside the source. */
export function parseCopyRange(header: string, sizeBytes: Bytes): ByteRange {
  const match = /^bytes=(\d+)-(\d+)$/.exec(header.trim());
  const first = Number(match?.[1]);
  const last = Number(match?.[2]);
  if (!match || last < first) {
    throw s3Error(
      "InvalidArgument",
      "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
      { elements: { ArgumentName: "x-amz-copy-source-range", ArgumentValue: header } },
    );
  }
  if (last >= sizeBytes) {
    throw s3Error("InvalidArgument", `Range specified is not valid for source object of size: ${sizeBytes}`);
  }
  return { offset: first, length: last - first + 1 };
}

/**
 * The bytes of one part. An object that was put whole is its own part 1.
 *
 * @throws S3Error `InvalidPartNumber`
 */
export function partRange(version: ObjectVersion, partNumber: number): ByteRange {
  if (!version.parts) {
    if (partNumber === 1) return { offset: 0, length: version.sizeBytes };
    throw s3Error("InvalidPartNumber");
  }
  const part = version.parts[partNumber - 1];
  if (!part) throw s3Error("InvalidPartNumber");
  let offset = 0;
  for (let i = 0; i < partNumber - 1; i++) offset += version.parts[i]!.sizeBytes;
  return { offset, length: part.sizeBytes };
}

/** @throws S3Error `InvalidArgument` */
export function parsePartNumber(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 10_000) {
    throw s3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive", {
      elements: { ArgumentName: "partNumber", ArgumentValue: text },
    });
  }
  return number;
}
