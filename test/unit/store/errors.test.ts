import { describe, expect, test } from "vitest";
import type { ErrorCode } from "../../../src/common/errors.ts";
import { toStoreError } from "../../../src/store/errors.ts";
import type { CallContext } from "../../../src/store/errors.ts";

const call: CallContext = {
  operation: "GetObject",
  bucket: "data",
  key: "a/b.bin",
  endpoint: "https://s3.us-east-1.amazonaws.com",
  region: "us-east-1",
};

describe("store errors", () => {
  test.each<[number, string, ErrorCode, RegExp]>([
    [404, "NoSuchKey", "not_found", /no object s3:\/\/data\/a\/b\.bin/],
    [404, "", "not_found", /no object/],
    [404, "NoSuchUpload", "not_found", /multipart upload .* is gone/],
    [404, "NoSuchBucket", "bucket_not_found", /no bucket data at https.*--endpoint/],
    [403, "AccessDenied", "access_denied", /GetObject on s3:\/\/data\/a\/b\.bin.*policy/],
    [403, "", "access_denied", /denies/],
    [403, "InvalidAccessKeyId", "credentials_invalid", /AWS_ACCESS_KEY_ID/],
    [403, "SignatureDoesNotMatch", "credentials_invalid", /SignatureDoesNotMatch/],
    [400, "ExpiredToken", "credentials_expired", /aws sso login/],
    [403, "RequestTimeTooSkewed", "clock_skewed", /clock/],
    [301, "PermanentRedirect", "wrong_region", /--region/],
    [
      403,
      "InvalidObjectState",
      "object_archived",
      /hawser s3 restore s3:\/\/data\/a\/b\.bin .*restore-object/,
    ],
    [412, "PreconditionFailed", "object_changed", /no longer the version/],
    [412, "", "object_changed", /no longer/],
    [409, "ConditionalRequestConflict", "object_changed", /no longer/],
    [503, "SlowDown", "slow_down", /fewer requests/],
    [501, "NotImplemented", "not_supported_by_store", /does not offer GetObject/],
    [400, "EntityTooLarge", "too_large", /larger/],
    [400, "KeyTooLongError", "name_too_long", /1,024/],
    [500, "InternalError", "store_failed", /HTTP 500/],
    [418, "Teapot", "invalid_argument", /Teapot/],
    [599, "", "store_failed", /HTTP 599/],
  ])("HTTP %d %s is %s", (httpStatus, s3Code, code, message) => {
    const failure = {
      kind: "answer",
      httpStatus,
      code: s3Code,
      message: "told so",
      requestId: "R1",
    } as const;
    const error = toStoreError(failure, call);
    expect(error).toMatchObject({ code, httpStatus, requestId: "R1", bucket: "data", key: "a/b.bin" });
    expect(error.s3Code).toBe(s3Code === "" ? undefined : s3Code);
    expect(error.message).toMatch(message);
  });

  test("a taken key is `exists`, a bare 404 without a key is about the bucket", () => {
    const taken = { kind: "answer", httpStatus: 412, code: "PreconditionFailed", message: "" } as const;
    expect(toStoreError(taken, { ...call, ifNoneMatch: true }).code).toBe("exists");
    const missing = { kind: "answer", httpStatus: 404, code: "", message: "" } as const;
    expect(toStoreError(missing, { ...call, key: undefined }).code).toBe("bucket_not_found");
  });

  test.each([
    ["network", "ECONNREFUSED", "endpoint_unreachable", /DNS, proxies and firewalls/],
    ["tls", "SELF_SIGNED_CERT_IN_CHAIN", "endpoint_unreachable", /NODE_EXTRA_CA_CERTS/],
    ["tls", "CERT_HAS_EXPIRED", "endpoint_unreachable", /renewed there, unless this machine's clock/],
    ["tls", "ERR_TLS_CERT_ALTNAME_INVALID", "endpoint_unreachable", /another server's .*check --endpoint/],
    ["timeout", "TimeoutError", "timed_out", /did not answer GetObject/],
    ["cut", "IncompleteBody", "io_error", /GetObject/],
    ["checksum", "ChecksumMismatch", "checksum_mismatch", /do not match/],
    ["credentials", "CredentialsProviderError", "credentials_missing", /--no-sign-request/],
    ["unexpected", "", "internal", /GetObject/],
  ] as const)("%s failures (%s)", (kind, s3Code, code, message) => {
    const error = toStoreError(
      { kind, code: s3Code, message: "why" },
      call,
      " Gave up after 9.0 s and 4 tries.",
    );
    expect(error.code).toBe(code);
    expect(error.s3Code).toBeUndefined();
    expect(error.message).toMatch(message);
    expect(error.message).toMatch(/Gave up after 9\.0 s and 4 tries\.$/);
  });
});
