import { HawserError } from "./errors.ts";

/** An error of the local file system, in our words. */
export function localError(error: unknown, path: string): HawserError {
  if (error instanceof HawserError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const options = { cause: error };
  switch (code) {
    case "ENOENT":
      return new HawserError("not_found", `${path} does not exist.`, options);
    case "EACCES":
    case "EPERM":
      return new HawserError("permission_denied", `${path}: this user may not do that (${code}).`, options);
    case "ENOTDIR":
      return new HawserError("not_a_directory", `A part of ${path} is a file and not a folder.`, options);
    case "EISDIR":
    case "EEXIST":
    case "ENOTEMPTY":
      return new HawserError(
        "is_a_directory",
        `${path} is a folder, and a file was to take its name.`,
        options,
      );
    case "ENOSPC":
    case "EDQUOT":
      return new HawserError(
        "no_space",
        `There is no room for ${path}: the disk or the quota is full.`,
        options,
      );
    case "ENAMETOOLONG":
      return new HawserError(
        "name_too_long",
        `${path} has a name that this file system does not take.`,
        options,
      );
    case "EFBIG":
      return new HawserError("too_large", `${path} would be larger than this file system allows.`, options);
    case "EMFILE":
    case "ENFILE":
      return new HawserError(
        "too_many_open_files",
        `${path} cannot be opened: too many files are open.`,
        options,
      );
    default:
      return new HawserError("io_error", `${path}: ${message ?? String(error)}`, options);
  }
}
