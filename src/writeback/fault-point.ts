/**
 * Fault points: places where a crash must not matter.
 *
 * Each stands between two effects that a reader of the journal, the staging folder or the bucket could see apart. The
 * crash tests end the process at the Nth of them; otherwise the hook does nothing.
 */
export type FaultPoint =
  | "journal.append"
  | "journal.flushed"
  | "journal.synced"
  | "staging.created"
  | "staging.written"
  | "staging.truncated"
  | "kept"
  | "seal"
  | "put.before"
  | "put.after"
  | "multipart.begin"
  | "multipart.created"
  | "multipart.begun"
  | "part.sent"
  | "complete.before"
  | "complete.after"
  | "copy.before"
  | "copy.after"
  | "delete.before"
  | "delete.after"
  | "abort.after"
  | "published"
  | "adopt.before"
  | "adopt.after"
  | "recover.moved";

export type OnFaultPoint = (point: FaultPoint) => void;
