/** What doctor finds out: one fact each, and what to do about it. */
export type Outcome = "ok" | "warn" | "fail";

export interface Finding {
  /** Stable, for programs: `fuse_device`. */
  id: string;
  title: string;
  outcome: Outcome;
  detail: string;
  /** What to do; absent when nothing needs doing. */
  fix?: string;
}

export function ok(id: string, title: string, detail: string): Finding {
  return { id, title, outcome: "ok", detail };
}

export function warn(id: string, title: string, detail: string, fix: string): Finding {
  return { id, title, outcome: "warn", detail, fix };
}

export function fail(id: string, title: string, detail: string, fix: string): Finding {
  return { id, title, outcome: "fail", detail, fix };
}
