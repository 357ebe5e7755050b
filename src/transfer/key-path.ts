/**
 * From the key of an object to the path of the file it becomes.
 *
 * Keys are whatever somebody wrote into a bucket. One that would leave the target folder, or that cannot be a path, is
 * refused with its reason and counted as failed; none is bent into another name.
 */
import { join } from "node:path";
import { HawserError } from "../common/errors.ts";
import { nameProblem } from "../common/file-name.ts";
import type { NameProblem } from "../common/file-name.ts";

const WHY: Record<NameProblem, string> = {
  empty_component: "it has an empty name between two slashes",
  dot_component: "it contains . or .. and would leave the folder",
  name_too_long: "a name in it is longer than 255 bytes",
  invalid_utf8: "it is not valid UTF-8",
  nul_byte: "it contains a NUL",
};

/**
 * The path of what has `key` below `prefix`, in `folder`.
 *
 * @throws HawserError `invalid_argument`
 */
export function pathInFolder(folder: string, prefix: string, key: string): string {
  const rest = key.slice(prefix.length);
  for (const name of rest.split("/")) {
    const problem = nameProblem(name);
    if (problem !== undefined) {
      throw new HawserError("invalid_argument", `The key '${key}' cannot be a file: ${WHY[problem]}.`, {
        key,
      });
    }
  }
  return join(folder, rest);
}

/** The file that a key would be called, for `cp s3://bucket/a/b folder/`. @throws HawserError `invalid_argument` */
export function fileNameOfKey(key: string): string {
  const name = key.slice(key.lastIndexOf("/") + 1);
  pathInFolder("", "", name);
  return name;
}
