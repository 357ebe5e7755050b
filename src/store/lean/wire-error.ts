/** HawserErrors across threads, where classes are lost. */
import type { ErrorCode, HawserErrorOptions } from "../../common/errors.ts";
import { HawserError } from "../../common/errors.ts";

/** A HawserError as plain data. */
export interface WireError extends Omit<HawserErrorOptions, "cause"> {
  code: ErrorCode;
  message: string;
}

export function fromWire(error: WireError): HawserError {
  const { code, message, ...detail } = error;
  return new HawserError(code, message, detail);
}

export function toWire(error: HawserError): WireError {
  return {
    code: error.code,
    message: error.message,
    s3Code: error.s3Code,
    requestId: error.requestId,
    httpStatus: error.httpStatus,
    bucket: error.bucket,
    key: error.key,
  };
}
