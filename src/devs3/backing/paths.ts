/**
 * Keys as paths below a bucket's folder: which keys can be plain files, pure.
 *
 * A key is a path when each of its components is a name that a file system takes and that means only itself. All other
 * keys (`a//b`, `../x`, `dir/`, names over 255 bytes) live in blobs, named by nothing the client chose.
 */

const MAX_NAME_BYTES = 255;
const MAX_DEPTH = 200;
const NO_UTF8 = /\p{Surrogate}|\ufffd/u;

/** The components of a key that is a plain path; undefined for others. */
export function pathComponents(key: string): string[] | undefined {
  if (key.includes("\0")) return undefined;
  const components = key.split("/");
  if (components.length > MAX_DEPTH) return undefined;
  for (const name of components) {
    if (name === "" || name === "." || name === "..") return undefined;
    // Half a surrogate pair has no UTF-8: the file would come back under another name.
    if (NO_UTF8.test(name)) return undefined;
    if (name.length > MAX_NAME_BYTES / 3 && Buffer.byteLength(name) > MAX_NAME_BYTES) return undefined;
  }
  return components;
}
