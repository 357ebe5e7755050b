/**
 * Percent-encoding as S3 reads it in requests and writes it in listings.
 *
 * In a query `+` is a space, in a path it is itself. encoding-type=url of listings is that of Java's URLEncoder with
 * `/` kept: a space becomes `+`.
 */
import { s3Error } from "./errors.ts";

function hex(c: string): string {
  return `%${c.charCodeAt(0).toString(16).toUpperCase()}`;
}

/** encoding-type=url of a listing. */
export function encodeListing(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()~]/g, hex)
    .replaceAll("%2F", "/")
    .replaceAll("%20", "+");
}

/**
 * Decodes a percent-encoded path.
 *
 * @throws S3Error `InvalidURI` when it is not UTF-8
 */
export function decodePath(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw s3Error("InvalidURI");
  }
}

/** Decodes a form-encoded text, in which a plus is a space. */
export function decodeQuery(text: string): string {
  return decodePath(text.includes("+") ? text.replaceAll("+", " ") : text);
}

/** A query string: decoded pairs in order of arrival, and look-up by name. */
export class Query {
  readonly pairs: readonly (readonly [string, string])[];
  readonly #byName = new Map<string, string>();

  constructor(raw: string) {
    const pairs: [string, string][] = [];
    if (raw !== "") {
      for (const piece of raw.split("&")) {
        if (piece === "") continue;
        const equals = piece.indexOf("=");
        const name = decodeQuery(equals < 0 ? piece : piece.slice(0, equals));
        const value = equals < 0 ? "" : decodeQuery(piece.slice(equals + 1));
        pairs.push([name, value]);
        if (!this.#byName.has(name)) this.#byName.set(name, value);
      }
    }
    this.pairs = pairs;
  }

  get(name: string): string | undefined {
    return this.#byName.get(name);
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }
}
