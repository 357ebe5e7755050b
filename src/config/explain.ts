/**
 * Explaining what is wrong with a volume or a file: zod's issues as sentences that name the key and what to write.
 *
 * Works on the path of each issue alone, so that the same text serves hawser.yaml (where the path has a line) and
 * flags (where it has a name such as `--cache-size`).
 */
import type { z } from "zod";
import { didYouMean } from "./suggest.ts";

export type KeyPath = readonly (string | number)[];

export interface Problem {
  /** Where: the key itself, or the unknown one. */
  path: KeyPath;
  message: string;
  /** The key is wrong, not its value. */
  unknownKey: boolean;
}

/** `["volumes", 0, "cache", "size"]` -> `volumes[0].cache.size`. */
export function formatPath(path: KeyPath): string {
  return path
    .map((part, i) => (typeof part === "number" ? `[${part}]` : i === 0 ? part : `.${part}`))
    .join("");
}

/** One problem for each mistake; an unknown key is one each. */
export function explain(error: z.ZodError, schema: z.ZodType, raw: unknown): Problem[] {
  return error.issues.flatMap((issue) => explainIssue(issue, schema, raw));
}

function explainIssue(issue: z.core.$ZodIssue, schema: z.ZodType, raw: unknown): Problem[] {
  const path = issue.path.filter((part): part is string | number => typeof part !== "symbol");
  if (issue.code === "unrecognized_keys") {
    const known = keysAt(schema, path);
    return issue.keys.map((key) => ({
      path: [...path, key],
      message: `unknown key${didYouMean(key, known) || `; known here: ${known.join(", ")}.`}`,
      unknownKey: true,
    }));
  }
  if (path.length > 0 && valueAt(raw, path) === undefined) {
    return [{ path, message: "is required.", unknownKey: false }];
  }
  return [{ path, message: sentence(issue.message), unknownKey: false }];
}

function valueAt(raw: unknown, path: KeyPath): unknown {
  return path.reduce<unknown>(
    (at, part) =>
      typeof at === "object" && at !== null ? (at as Record<string | number, unknown>)[part] : undefined,
    raw,
  );
}

function sentence(text: string): string {
  return /[.?!]$/.test(text) ? text : `${text}.`;
}

/** The keys that the schema knows at a path; none where it is not an object. */
function keysAt(schema: z.ZodType, path: KeyPath): string[] {
  let at: z.core.$ZodType = unwrap(schema);
  for (const part of path) {
    const def = at._zod.def as { element?: z.core.$ZodType; shape?: Record<string, z.core.$ZodType> };
    const next = typeof part === "number" ? def.element : def.shape?.[part];
    if (!next) return [];
    at = unwrap(next);
  }
  const shape = (at._zod.def as { shape?: Record<string, unknown> }).shape;
  return shape ? Object.keys(shape) : [];
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  let at = schema;
  for (;;) {
    const inner = (at._zod.def as { innerType?: z.core.$ZodType }).innerType;
    if (!inner) return at;
    at = inner;
  }
}
