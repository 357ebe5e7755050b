/** The bytes of requests, and that their signatures hold. */
import { describe, expect, test } from "vitest";
import {
  EMPTY_SHA256,
  canonicalRequest,
  credentialScope,
  parseAuthorization,
  signature,
  signingKey,
  stringToSign,
} from "../../../src/common/sigv4.ts";
import { Access } from "../../../src/store/reader/access.ts";
import type { GetLine } from "../../../src/store/reader/access.ts";
import type { ReaderTarget } from "../../../src/store/reader/target.ts";
import { FakeClock } from "./harness.ts";

const target: ReaderTarget = { bucket: "data", region: "eu-west-1", addressing: "virtual" };
const line: GetLine = { key: "a b/ü.bin", versionId: undefined, etag: "e1", first: undefined, last: 9 };
const credentials = { accessKeyId: "AKID", secretAccessKey: "secret", sessionToken: "token==" };

function access(changes: Partial<ReaderTarget> = {}, signed = true): Access {
  const made = new Access({ ...target, ...changes }, !signed, new FakeClock());
  if (signed) made.useCredentials(credentials);
  return made;
}

/** The signature as a server computes it from what it received. */
function verify(text: string): void {
  const [first, ...fields] = text.trimEnd().split("\r\n");
  const headers = Object.fromEntries(
    fields.map((field) => [field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 2)]),
  );
  const authorization = parseAuthorization(headers["authorization"]!)!;
  const [path, query = ""] = first!.split(" ")[1]!.split("?");
  const request = canonicalRequest({
    method: "GET",
    path: path!,
    query,
    headers,
    signedHeaders: authorization.signedHeaders,
    payloadHash: EMPTY_SHA256,
  });
  expect(
    Object.keys(headers)
      .filter((name) => name.startsWith("x-amz-"))
      .sort(),
  ).toEqual(authorization.signedHeaders.filter((name) => name !== "host"));
  const key = signingKey(credentials.secretAccessKey, authorization.day, authorization.region);
  const scope = credentialScope(authorization.day, authorization.region);
  expect(authorization.signature).toBe(signature(key, stringToSign(headers["x-amz-date"]!, scope, request)));
}

describe("a request", () => {
  test("without credentials", () => {
    expect(access({}, false).write({ ...line, first: 5 })).toBe(
      "GET /a%20b/%C3%BC.bin HTTP/1.1\r\nhost: data.s3.eu-west-1.amazonaws.com\r\naccept-encoding: identity\r\n" +
        'if-match: "e1"\r\nrange: bytes=5-9\r\n\r\n',
    );
  });

  test.each<[string, Partial<GetLine>, Partial<ReaderTarget>]>([
    ["of a whole object", {}, {}],
    ["of a range", { first: 0 }, {}],
    ["of an old version", { versionId: "a/b+c=" }, {}],
    ["that the reader pays for", { first: 3 }, { requestPayer: true }],
    ["with the bucket in the path", {}, { endpoint: "http://127.0.0.1:9000/base", addressing: "path" }],
    ["of any version", { etag: "" }, {}],
  ])("%s is signed as a server expects", (_name, changes, where) => {
    verify(access(where).write({ ...line, ...changes }));
  });

  test("of a moved bucket goes to its region's host", () => {
    const moved = access();
    expect(moved.useRegion("us-west-2")).toBe(true);
    expect(moved.useRegion("us-west-2")).toBe(false);
    expect(moved.useRegion("../evil")).toBe(false);
    const text = moved.write(line);
    expect(text).toContain("host: data.s3.us-west-2.amazonaws.com\r\n");
    verify(text);
  });

  test("cannot be split by a key or an ETag", () => {
    const text = access().write({ ...line, key: "x\r\nevil: 1", versionId: "v\r\nevil: 2" });
    expect(text).not.toContain("\r\nevil");
  });
});

test("the server's date counts only when it is far from ours", () => {
  const clock = new FakeClock();
  const made = new Access(target, true, clock);
  expect(made.useServerDate(new Date(clock.now() + 5000).toUTCString())).toBe(false);
  expect(made.useServerDate("yesterday")).toBe(false);
  expect(made.useServerDate(undefined)).toBe(false);
  expect(made.useServerDate(new Date(clock.now() + 3_600_000).toUTCString())).toBe(true);
  expect(made.now() - clock.now()).toBe(3_600_000 - (clock.now() % 1000));
});
