/** The errors that settle a fetch, where the store's shared table does not say it all. */
import type { ErrorCode } from "../../common/errors.ts";
import { toStoreError } from "../errors.ts";
import type { CallContext } from "../errors.ts";
import type { StoreFailure } from "../failure.ts";
import type { Fetch } from "./fetch.ts";
import { toWire } from "../lean/wire-error.ts";
import type { WireError } from "../lean/wire-error.ts";

/** The last failure as what the caller gets. `gaveUp` tells how long it was tried. */
export function finalError(failure: StoreFailure, call: CallContext, gaveUp: string): WireError {
  const error = toWire(toStoreError(failure, call, gaveUp));
  return { ...error, code: finalCode(failure, error.code) };
}

export const NO_CREDENTIALS: StoreFailure = {
  kind: "credentials",
  code: "",
  message: "fresh ones did not come",
};

/** What is true of a GET in particular, where the shared table speaks of any request. */
function finalCode(failure: StoreFailure, code: ErrorCode): ErrorCode {
  // The object has become shorter than what was asked of it.
  if (failure.httpStatus === 416 || failure.code === "InvalidRange") return "object_changed";
  if (failure.code === "garbled") return "store_failed";
  // Cut or stalled again and again until the deadline.
  if (failure.kind === "cut") return "timed_out";
  return code;
}

export function closedError(): WireError {
  return { code: "closed", message: "The range reader was closed." };
}

export function interruptedError(fetch: Fetch): WireError {
  return { code: "interrupted", message: `Reading ${fetch.spec.key} was interrupted.`, key: fetch.spec.key };
}
