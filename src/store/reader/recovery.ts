/**
 * What to do after a failed attempt, as a decision: the store's shared retry policy, and what only a byte path knows
 * (resuming, stale connections, garbled answers, checksums).
 */
import type { Milliseconds } from "../../common/units.ts";
import type { StoreFailure } from "../failure.ts";
import { CHECKSUM_RETRIES, CURE_LIMITS, classify, nextDelay } from "../retry.ts";

/** What happened to a fetch so far. */
export interface History {
  /** Failures since the last progress, this one included. */
  failures: number;
  garbled: number;
  checksumFailures: number;
  cures: Readonly<Record<keyof typeof CURE_LIMITS, number>>;
}

export interface Circumstances {
  failure: StoreFailure;
  history: History;
  /** This machine's clock as corrected so far. */
  nowMs: Milliseconds;
  /** Left of the deadline. */
  remainingMs: Milliseconds;
  random: number;
  anonymous: boolean;
  /** The connection had served before and gave no byte: the server closed it while it was idle. */
  stale: boolean;
}

export type Recovery =
  | { kind: "again"; afterMs: Milliseconds; throttled: boolean }
  /** From the first byte. */
  | { kind: "restart"; afterMs: Milliseconds }
  | { kind: "cure"; cure: keyof typeof CURE_LIMITS }
  | { kind: "give-up"; deadline: boolean };

/** A proxy that answers nonsense may do so once; one that goes on is broken. */
export const GARBLED_RETRIES = 4;

const AGAIN: Recovery = { kind: "again", afterMs: 0, throttled: false };
const GIVE_UP: Recovery = { kind: "give-up", deadline: false };

export function decideRecovery(at: Circumstances): Recovery {
  const { failure, history } = at;
  if (at.stale) return AGAIN;
  if (failure.kind === "unexpected" && history.garbled > GARBLED_RETRIES) return GIVE_UP;
  if (failure.kind === "checksum" && history.checksumFailures > CHECKSUM_RETRIES) return GIVE_UP;
  const verdict = failure.kind === "unexpected" ? "retry" : classify(failure, at.nowMs);
  switch (verdict) {
    case "retry":
    case "throttle":
      return later(at, verdict === "throttle");
    case "refresh_credentials":
    case "correct_clock":
    case "follow_region":
      return cured(at, verdict);
    default:
      return isRefusalOfCredentials(failure) ? cured(at, "refresh_credentials", 1) : GIVE_UP;
  }
}

function later(at: Circumstances, throttled: boolean): Recovery {
  const { failure, history, random, remainingMs } = at;
  // Cut in mid-body after it had got on: the rest can be asked for at once. Wrong bytes are no progress.
  if (history.failures === 0 && failure.kind !== "checksum") return AGAIN;
  const retryAfterMs = failure.retryAfterMs;
  const attempt = Math.max(1, history.failures);
  const afterMs = nextDelay({ attempt, throttled, retryAfterMs, remainingMs, random });
  if (afterMs === undefined) return { kind: "give-up", deadline: true };
  return failure.kind === "checksum" ? { kind: "restart", afterMs } : { kind: "again", afterMs, throttled };
}

function cured(at: Circumstances, cure: keyof typeof CURE_LIMITS, limit = CURE_LIMITS[cure]): Recovery {
  if (at.anonymous && cure === "refresh_credentials") return GIVE_UP;
  if (at.history.cures[cure] >= limit) return GIVE_UP;
  return { kind: "cure", cure };
}

/** Rotated keys look like this until the new ones are fetched; a real denial stays one after that. */
function isRefusalOfCredentials({ httpStatus, code }: StoreFailure): boolean {
  return (httpStatus === 403 && code !== "InvalidObjectState") || code === "InvalidToken";
}
