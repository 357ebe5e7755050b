/**
 * Extended attributes in object metadata: s3fs's form, one entry `xattr` that holds JSON (names to base64 values),
 * percent-encoded.
 */

export type Xattrs = ReadonlyMap<string, Uint8Array>;

/** @returns undefined for what is no such text, or holds none */
export function parseXattrs(text: string | undefined): Xattrs | undefined {
  if (text === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(decodeURIComponent(text));
    if (typeof parsed !== "object" || parsed === null) return undefined;
    const xattrs = new Map<string, Uint8Array>();
    for (const [name, value] of Object.entries(parsed)) {
      if (typeof value === "string") xattrs.set(name, Buffer.from(value, "base64"));
    }
    return xattrs.size > 0 ? xattrs : undefined;
  } catch {
    return undefined;
  }
}

/** @returns undefined when there are none */
export function formatXattrs(xattrs: Xattrs | undefined): string | undefined {
  if (xattrs === undefined || xattrs.size === 0) return undefined;
  const values = [...xattrs].map(([name, value]) => [name, Buffer.from(value).toString("base64")]);
  return encodeURIComponent(JSON.stringify(Object.fromEntries(values)));
}
