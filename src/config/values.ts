/**
 * Values: the kinds of value that options and hawser.yaml hold, each parsed from what a person writes.
 *
 * All of them take text, because a flag, an environment variable and a quoted YAML value are text; most take the native
 * type as well, for programs that use the library. A number in hawser.yaml arrives as it was written (see file.ts), so
 * that `0644` stays octal and a bucket named `2024` stays a name.
 */
import { posix } from "node:path";
import { z } from "zod";
import { HawserError } from "../common/errors.ts";
import { parseDuration, parseSize } from "../common/units.ts";

/** Turns a parser that throws HawserError into a zod transform that reports the message at the value's place. */
function parsed<In, Out>(parse: (value: In) => Out) {
  return (value: In, context: z.RefinementCtx<In>): Out => {
    try {
      return parse(value);
    } catch (error) {
      if (!HawserError.is(error)) throw error;
      context.issues.push({ code: "custom", message: error.message, input: value });
      return z.NEVER;
    }
  };
}

function invalid(message: string): HawserError {
  return new HawserError("invalid_argument", message);
}

export const size = z
  .union([z.string(), z.number()], "must be a size such as 512MiB or 50GiB")
  .transform(parsed(parseSize));

export const duration = z
  .union([z.string(), z.number()], "must be a duration such as 30s, 15m or 8h")
  .transform(parsed(parseDuration));

const TRUE_WORDS = new Set(["true", "yes", "on", "1"]);
const FALSE_WORDS = new Set(["false", "no", "off", "0"]);

export const flag = z.union([z.boolean(), z.string()], "must be true or false").transform(
  parsed((value: boolean | string) => {
    if (typeof value === "boolean") return value;
    const word = value.trim().toLowerCase();
    if (TRUE_WORDS.has(word)) return true;
    if (FALSE_WORDS.has(word)) return false;
    throw invalid(`'${value}' is neither true nor false.`);
  }),
);

export const count = z.union([z.string(), z.int()], "must be a whole number of at least 1").transform(
  parsed((value: string | number) => {
    const number = typeof value === "number" ? value : /^\d{1,15}$/.test(value.trim()) ? Number(value) : 0;
    if (number < 1) throw invalid(`'${value}' is not a whole number of at least 1.`);
    return number;
  }),
);

/** A uid or gid; -1 as an unsigned number means "none" to the kernel and is refused. */
export const userId = z.union([z.string(), z.int()], "must be a numeric id such as 1000").transform(
  parsed((value: string | number) => {
    const id = typeof value === "number" ? value : /^\d+$/.test(value.trim()) ? Number(value) : Number.NaN;
    if (!(id >= 0 && id < 0xffff_ffff))
      throw invalid(`'${value}' is not a numeric id; write for example 1000.`);
    return id;
  }),
);

/** Permission bits. Text is octal, with or without a leading 0 or 0o; a number is the bits themselves. */
export const permissions = z.union([z.string(), z.int()], "must be octal permissions such as 0644").transform(
  parsed((value: string | number) => {
    if (typeof value === "number" && value >= 0 && value <= 0o7777) return value;
    const match = /^(?:0o?)?([0-7]{1,4})$/.exec(String(value).trim());
    if (!match || typeof value === "number") {
      throw invalid(`'${value}' is not a permission mode; write for example 0644 or 0755.`);
    }
    return Number.parseInt(match[1]!, 8);
  }),
);

/** Loose on purpose: stores other than S3 allow capitals and underscores, and old buckets have them too. */
export const bucket = z
  .string("must be the name of a bucket")
  .refine((name) => /^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/.test(name), {
    error: (issue) =>
      `'${String(issue.input)}' is not a bucket name; write the name alone, without s3:// or a prefix.`,
  });

/**
 * A prefix is a folder: it always ends in `/`, so that `imagenet` never matches `imagenet-old/`. Empty is the whole
 * bucket.
 */
export const prefix = z.string("must be text").transform(
  parsed((text: string) => {
    if (text === "" || text === "/") return "";
    if (text.startsWith("/"))
      throw invalid(`The prefix '${text}' must not start with '/'; write '${text.replace(/^\/+/, "")}'.`);
    if (Buffer.byteLength(text) > 1023)
      throw invalid("The prefix is longer than the 1024 bytes that a key may have.");
    if (text.includes("\0")) throw invalid("The prefix contains a NUL byte.");
    return text.endsWith("/") ? text : `${text}/`;
  }),
);

/** An absolute path in its shortest form. */
export const absolutePath = z.string("must be an absolute path").transform(
  parsed((text: string) => {
    if (text.includes("\0")) throw invalid("The path contains a NUL byte.");
    if (!text.startsWith("/"))
      throw invalid(
        `'${text}' is a relative path; write an absolute one such as ${posix.join("/data", text)}.`,
      );
    const path = posix.normalize(text);
    return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
  }),
);

/** An http(s) URL with no path, and with no credentials in it: they would end up in logs and process lists. */
export const endpoint = z.string("must be a URL").transform(
  parsed((text: string) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) {
      throw invalid(
        `'${text}' is not an endpoint; write a URL such as https://s3.example.com or http://127.0.0.1:9000.`,
      );
    }
    if (url.username || url.password)
      throw invalid("The endpoint must not contain credentials; give them by profile or environment.");
    if (url.search || url.hash) throw invalid("The endpoint must not contain a query or fragment.");
    return url.href.replace(/\/+$/, "");
  }),
);

/** A folder's listing is believed for this long; `static` says that the bucket does not change. */
export const metadataTtl = z
  .union([z.literal("static"), z.string(), z.number()], "must be a duration such as 60s, or static")
  .transform(
    parsed((value: string | number) => (value === "static" ? ("static" as const) : parseDuration(value))),
  );

/** Tags as a mapping, or as text: `team=vision,run=7`. */
export const tags = z
  .union([z.string(), z.record(z.string(), z.string())], "must be tags such as team=vision,run=7")
  .transform(
    parsed((value: string | Record<string, string>) => {
      const entries =
        typeof value === "string"
          ? value.split(",").map((tag): [string, string] => {
              const at = tag.indexOf("=");
              if (at <= 0) throw invalid(`'${tag}' is not a tag; write KEY=VALUE,KEY=VALUE.`);
              return [tag.slice(0, at).trim(), tag.slice(at + 1).trim()];
            })
          : Object.entries(value);
      if (entries.length > 10) throw invalid("An object has at most ten tags.");
      for (const [key, text] of entries) {
        if (key.length === 0 || key.length > 128 || text.length > 256)
          throw invalid(`The tag '${key}' is too long: at most 128 characters, and 256 for its value.`);
      }
      return Object.fromEntries(entries);
    }),
  );
