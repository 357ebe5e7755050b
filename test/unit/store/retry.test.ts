import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { StoreFailure } from "../../../src/store/failure.ts";
import { describeFailure, parseRetryAfter } from "../../../src/store/failure.ts";
import { backoffMs, classify, nextDelay } from "../../../src/store/retry.ts";
import type { Verdict } from "../../../src/store/retry.ts";

const NOW = Date.parse("2026-11-22T02:00:00Z");
const answer = (httpStatus: number, code = "", more: Partial<StoreFailure> = {}): StoreFailure => ({
  kind: "answer",
  message: "",
  httpStatus,
  code,
  ...more,
});

describe("what may help after a failure", () => {
  test.each<[string, StoreFailure, Verdict]>([
    ["InternalError", answer(500, "InternalError"), "retry"],
    ["InternalError inside a 200", answer(200, "InternalError"), "retry"],
    ["a bare 500", answer(500), "retry"],
    ["a bare 502", answer(502), "retry"],
    ["AccessDenied inside a 200, which the SDK makes a 503", answer(503, "AccessDenied"), "fatal"],
    ["SlowDown", answer(503, "SlowDown"), "throttle"],
    ["ServiceUnavailable", answer(503, "ServiceUnavailable"), "throttle"],
    ["a bare 503 (as to a HEAD)", answer(503), "retry"],
    ["429", answer(429, "Whatever"), "throttle"],
    ["RequestTimeout, a 400", answer(400, "RequestTimeout"), "retry"],
    ["a digest damaged on the way", answer(400, "BadDigest"), "retry"],
    ["OperationAborted", answer(409, "OperationAborted"), "retry"],
    ["ExpiredToken", answer(400, "ExpiredToken"), "refresh_credentials"],
    ["a bare 400 (HEAD with an expired token)", answer(400), "refresh_credentials"],
    ["a bare 400 that names a region", answer(400, "", { region: "eu-west-1" }), "follow_region"],
    ["RequestTimeTooSkewed", answer(403, "RequestTimeTooSkewed"), "correct_clock"],
    [
      "a bare 403 from another time",
      answer(403, "", { date: "Sun, 22 Nov 2026 03:00:00 GMT" }),
      "correct_clock",
    ],
    ["a bare 403 from our time", answer(403, "", { date: "Sun, 22 Nov 2026 02:01:00 GMT" }), "fatal"],
    ["PermanentRedirect", answer(301, "PermanentRedirect"), "follow_region"],
    ["a bare 301 with a region", answer(301, "", { region: "eu-west-1" }), "follow_region"],
    ["a bare 301 without", answer(301), "fatal"],
    ["AuthorizationHeaderMalformed", answer(400, "AuthorizationHeaderMalformed"), "follow_region"],
    ["AccessDenied", answer(403, "AccessDenied"), "fatal"],
    ["NoSuchKey", answer(404, "NoSuchKey"), "fatal"],
    ["PreconditionFailed", answer(412, "PreconditionFailed"), "fatal"],
    ["InvalidObjectState", answer(403, "InvalidObjectState"), "fatal"],
    ["NotImplemented", answer(501, "NotImplemented"), "fatal"],
    ["a bare 501", answer(501), "fatal"],
    ["a refused connection", { kind: "network", code: "ECONNREFUSED", message: "" }, "retry"],
    ["an unknown host", { kind: "network", code: "ENOTFOUND", message: "" }, "retry"],
    ["a cut body", { kind: "cut", code: "", message: "" }, "retry"],
    ["silence", { kind: "timeout", code: "", message: "" }, "retry"],
    ["an unknown certificate", { kind: "tls", code: "CERT_HAS_EXPIRED", message: "" }, "fatal"],
    ["no credentials", { kind: "credentials", code: "", message: "" }, "fatal"],
  ])("%s", (_name, failure, verdict) => {
    expect(classify(failure, NOW)).toBe(verdict);
  });
});

describe("waiting", () => {
  test("draws from zero to a bound that doubles up to a cap", () => {
    const bounds = [1, 2, 3, 6, 7, 100].map((attempt) => backoffMs(attempt, false, 1));
    expect(bounds).toEqual([100, 200, 400, 3200, 5000, 5000]);
    expect(backoffMs(5, false, 0)).toBe(0);
    expect(backoffMs(1, true, 1)).toBe(500);
    expect(backoffMs(100, true, 1)).toBe(20_000);
  });

  test("never ends behind the deadline and never undercuts Retry-After", () => {
    const query = fc.record({
      attempt: fc.integer({ min: 1, max: 1000 }),
      throttled: fc.boolean(),
      retryAfterMs: fc.option(fc.integer({ min: 0, max: 100_000 }), { nil: undefined }),
      remainingMs: fc.integer({ min: -1000, max: 300_000 }),
      random: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    });
    fc.assert(
      fc.property(query, (asked) => {
        const delay = nextDelay(asked);
        if (delay === undefined) return;
        expect(delay).toBeLessThan(asked.remainingMs);
        expect(delay).toBeGreaterThanOrEqual(asked.retryAfterMs ?? 0);
      }),
    );
  });

  test("Retry-After is seconds or a date", () => {
    expect(parseRetryAfter("7")).toBe(7000);
    expect(parseRetryAfter("Sun, 22 Nov 2026 02:00:05 GMT", NOW)).toBe(5000);
    expect(parseRetryAfter("Sun, 22 Nov 2026 01:00:00 GMT", NOW)).toBe(0);
    expect([parseRetryAfter("soon"), parseRetryAfter(undefined)]).toEqual([undefined, undefined]);
  });
});

describe("what a thrown value stands for", () => {
  test.each<[string, unknown, Partial<StoreFailure>]>([
    [
      "a socket error",
      Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }),
      { kind: "network" },
    ],
    ["a hang-up", new Error("socket hang up"), { kind: "network", code: "ECONNRESET" }],
    [
      "all addresses of a name refused",
      Object.assign(
        new AggregateError([Object.assign(new Error("connect ::1"), { code: "ECONNREFUSED" })], ""),
        {},
      ),
      { kind: "network", code: "ECONNREFUSED", message: "connect ::1" },
    ],
    [
      "a certificate error",
      Object.assign(new Error("self-signed"), { code: "DEPTH_ZERO_SELF_SIGNED_CERT" }),
      { kind: "tls" },
    ],
    [
      "an SDK exception with a document",
      Object.assign(new Error("no"), {
        name: "AccessDenied",
        Code: "AccessDenied",
        $metadata: { httpStatusCode: 403, requestId: "R" },
      }),
      { kind: "answer", code: "AccessDenied", httpStatus: 403, requestId: "R", message: "no" },
    ],
    [
      "an SDK exception without one",
      Object.assign(new Error("UnknownError"), { name: "NotFound", $metadata: { httpStatusCode: 404 } }),
      { kind: "answer", code: "", httpStatus: 404, message: "HTTP 404" },
    ],
    [
      "no credentials",
      Object.assign(new Error("none"), { name: "CredentialsProviderError" }),
      { kind: "credentials" },
    ],
    ["a bug", new TypeError("x is not a function"), { kind: "unexpected" }],
    ["something thrown that is no error", "text", { kind: "unexpected", message: "text" }],
  ])("%s", (_name, thrown, failure) => {
    expect(describeFailure(thrown)).toMatchObject(failure);
  });
});
