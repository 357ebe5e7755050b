/** A volume from flags or from a program: the same schema as hawser.yaml, with mistakes named by the caller's words. */
import { HawserError } from "../common/errors.ts";
import { didYouMeanS3, splitS3Url } from "../common/s3-url.ts";
import { explain, formatPath } from "./explain.ts";
import type { KeyPath } from "./explain.ts";
import { isInside } from "./file.ts";
import { refusePath } from "./mount-path.ts";
import { volumeSchema } from "./schema.ts";
import type { VolumeConfig } from "./schema.ts";
import { misplacedWritingOptions } from "./writing-options.ts";

/**
 * Checks one volume.
 *
 * @param nameOf what the caller calls a key, e.g. `--cache-size` for `cache.size`
 * @throws HawserError `invalid_argument`, or `mount_point_forbidden` when only the mount path is at fault
 */
export function parseVolume(raw: unknown, nameOf: (path: KeyPath) => string = formatPath): VolumeConfig {
  const result = volumeSchema.safeParse(raw);
  if (!result.success) {
    const problems = explain(result.error, volumeSchema, raw);
    const onlyMount = problems.every(({ path, unknownKey }) => path[0] === "mount" && !unknownKey);
    const given = typeof raw === "object" && raw !== null && "mount" in raw && typeof raw.mount === "string";
    throw new HawserError(
      onlyMount && given ? "mount_point_forbidden" : "invalid_argument",
      problems.map(({ path, message }) => `${nameOf(path)}: ${message}`).join("\n"),
    );
  }
  const volume = result.data;
  const refused = refusePath(volume.mount);
  if (refused) throw new HawserError("mount_point_forbidden", refused);
  const misplaced = misplacedWritingOptions(volume);
  if (misplaced.length > 0) {
    throw new HawserError(
      "invalid_argument",
      misplaced.map(({ path, message }) => `${nameOf(path)}: ${message}`).join("\n"),
    );
  }
  if (volume.cache.dir && isInside(volume.cache.dir, volume.mount)) {
    throw new HawserError(
      "invalid_argument",
      `${nameOf(["cache", "dir"])}: ${volume.cache.dir} is inside the mount point ${volume.mount}; a cache needs a local disk.`,
    );
  }
  return volume;
}

/** The two halves of `s3://bucket/prefix`. */
export interface S3Location {
  bucket: string;
  prefix: string;
}

/** @throws HawserError `invalid_argument` when the text is no such URL */
export function parseS3Url(text: string): S3Location {
  const url = splitS3Url(text);
  if (!url) {
    throw new HawserError(
      "invalid_argument",
      `'${text}' is not a source${didYouMeanS3(text) || "; write s3://bucket or s3://bucket/prefix."}`,
    );
  }
  return { bucket: url.bucket, prefix: url.key };
}

/** How a volume appears in messages and in /proc/mounts. */
export function volumeUrl(volume: S3Location): string {
  return `s3://${volume.bucket}/${volume.prefix}`.replace(/\/$/, "");
}
