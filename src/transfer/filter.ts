/**
 * Which of the files below a folder or prefix are meant: `--include` and `--exclude`.
 *
 * Rules are tried in the order in which they were given, and the last one that matches decides. What no rule matches is
 * taken, unless the first rule is an include: then only what is included is. So `--include '*.pt'` takes those alone,
 * and `--exclude '*' --include '*.pt'`, as people write it for the AWS CLI, means the same.
 *
 * A pattern without a slash is compared with every name of the path (`*.tmp`, `__pycache__`); one with a slash with the
 * path from the top. A pattern that matches a folder matches everything in it.
 */
import { globMatcher } from "../common/glob.ts";

export interface FilterRule {
  kind: "include" | "exclude";
  /** A glob: see src/common/glob.ts. */
  pattern: string;
}

/** Says whether a path, relative and with `/` between its names, is meant. */
export type Filter = (path: string) => boolean;

/** @throws HawserError `invalid_argument` for a pattern that is no glob */
export function createFilter(rules: readonly FilterRule[]): Filter {
  if (rules.length === 0) return () => true;
  const matchers = rules.map(({ kind, pattern }) => ({
    take: kind === "include",
    matches: matcherOf(pattern),
  }));
  const otherwise = rules[0]!.kind === "exclude";
  return (path) => {
    for (let at = matchers.length - 1; at >= 0; at--) {
      if (matchers[at]!.matches(path)) return matchers[at]!.take;
    }
    return otherwise;
  };
}

function matcherOf(pattern: string): Filter {
  const trimmed = pattern.replace(/^\.?\/+/, "").replace(/\/+$/, "");
  const matches = globMatcher(trimmed);
  if (!trimmed.includes("/") && !pattern.startsWith("/")) {
    return (path) => path.split("/").some(matches);
  }
  return (path) => {
    if (matches(path)) return true;
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
      if (matches(path.slice(0, at))) return true;
    }
    return false;
  };
}
