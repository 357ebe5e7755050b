/** AWS's published examples: the S3 API reference ("Signature calculations") and the SigV4 test suite. */
import { describe, expect, test } from "vitest";
import {
  EMPTY_SHA256,
  Signer,
  canonicalQuery,
  canonicalRequest,
  chunkStringToSign,
  credentialScope,
  encodePath,
  formatAmzDate,
  parseAmzDate,
  parseAuthorization,
  sha256Hex,
  signature,
  signaturesEqual,
  signingKey,
  stringToSign,
  uriEncode,
} from "../../../src/common/sigv4.ts";

const credentials = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const now = Date.UTC(2013, 4, 24);
const host = "examplebucket.s3.amazonaws.com";

/** The examples sign headers that we leave out (range, date): so this signs exactly what is listed. */
function exampleSignature(
  method: string,
  path: string,
  query: [string, string][],
  headers: Record<string, string>,
  payloadHash: string,
): string {
  const all: Record<string, string> = {
    host,
    "x-amz-content-sha256": payloadHash,
    "x-amz-date": "20130524T000000Z",
    ...headers,
  };
  const request = canonicalRequest({
    method,
    path,
    query: canonicalQuery(query),
    headers: all,
    signedHeaders: Object.keys(all).sort(),
    payloadHash,
  });
  const scope = credentialScope("20130524", "us-east-1");
  const key = signingKey(credentials.secretAccessKey, "20130524", "us-east-1");
  return signature(key, stringToSign("20130524T000000Z", scope, request));
}

describe("S3's published examples", () => {
  test("GET object with a range", () => {
    expect(exampleSignature("GET", "/test.txt", [], { range: "bytes=0-9" }, EMPTY_SHA256)).toBe(
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
  });

  test("PUT object", () => {
    const headers = { date: "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY" };
    const path = `/${encodePath("test$file.text")}`;
    expect(exampleSignature("PUT", path, [], headers, sha256Hex("Welcome to Amazon S3."))).toBe(
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
  });

  test("GET bucket lifecycle: a query name without a value", () => {
    expect(exampleSignature("GET", "/", [["lifecycle", ""]], {}, EMPTY_SHA256)).toBe(
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    );
  });

  test("list objects: sorted query, through Signer", () => {
    const signed = new Signer(credentials, "us-east-1").sign(
      {
        method: "GET",
        path: "/",
        query: [
          ["prefix", "J"],
          ["max-keys", "2"],
        ],
        headers: { host },
        payloadHash: EMPTY_SHA256,
      },
      now,
    );
    expect(parseAuthorization(signed.authorization)).toEqual({
      accessKeyId: "AKIAIOSFODNN7EXAMPLE",
      day: "20130524",
      region: "us-east-1",
      service: "s3",
      signedHeaders: ["host", "x-amz-content-sha256", "x-amz-date"],
      signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    });
  });

  test("presigned URL", () => {
    const query = new Signer(credentials, "us-east-1").presign(
      { method: "GET", path: "/test.txt", headers: { host } },
      now,
      86400,
    );
    expect(query).toBe(
      "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
    );
  });

  test("the chunks of a streamed PUT", () => {
    const scope = credentialScope("20130524", "us-east-1");
    const key = signingKey(credentials.secretAccessKey, "20130524", "us-east-1");
    let previous = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    const chunks: [number, string][] = [
      [65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"],
      [1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"],
      [0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"],
    ];
    for (const [length, expected] of chunks) {
      previous = signature(
        key,
        chunkStringToSign("20130524T000000Z", scope, previous, Buffer.alloc(length, "a")),
      );
      expect(previous).toBe(expected);
    }
  });
});

describe("the SigV4 test suite", () => {
  const suite = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };

  test("get-vanilla", () => {
    const headers = { host: "example.amazonaws.com", "x-amz-date": "20150830T123600Z" };
    const request = canonicalRequest({
      method: "GET",
      path: "/",
      query: "",
      headers,
      signedHeaders: ["host", "x-amz-date"],
      payloadHash: EMPTY_SHA256,
    });
    const scope = credentialScope("20150830", "us-east-1", "service");
    const key = signingKey(suite.secretAccessKey, "20150830", "us-east-1", "service");
    expect(signature(key, stringToSign("20150830T123600Z", scope, request))).toBe(
      "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    );
  });

  test("key derivation", () => {
    expect(signingKey(suite.secretAccessKey, "20120215", "us-east-1", "iam").toString("hex")).toBe(
      "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d",
    );
  });
});

describe("Signer", () => {
  test("a session token is sent and signed", () => {
    const signer = new Signer({ ...credentials, sessionToken: "token==" }, "us-east-1");
    const signed = signer.sign({ method: "GET", path: "/k", headers: { host } }, now);
    expect(signed["x-amz-security-token"]).toBe("token==");
    expect(parseAuthorization(signed.authorization)?.signedHeaders).toContain("x-amz-security-token");
    expect(signer.presign({ method: "GET", path: "/k", headers: { host } }, now, 60)).toContain(
      "&X-Amz-Security-Token=token%3D%3D&",
    );
  });

  test("signs every x-amz- header, and not those that proxies may change", () => {
    const signer = new Signer(credentials, "us-east-1");
    const headers = { host, "x-amz-request-payer": "requester", range: "bytes=0-1", "user-agent": "x" };
    const signed = signer.sign({ method: "GET", path: "/k", headers }, now);
    expect(parseAuthorization(signed.authorization)?.signedHeaders).toEqual([
      "host",
      "x-amz-content-sha256",
      "x-amz-date",
      "x-amz-request-payer",
    ]);
    expect(signed["x-amz-content-sha256"]).toBe("UNSIGNED-PAYLOAD");
  });

  test("follows the day over midnight", () => {
    const signer = new Signer(credentials, "us-east-1");
    const request = { method: "GET", path: "/k", headers: { host } };
    const before = signer.sign(request, Date.UTC(2013, 4, 23, 23, 59, 59, 999));
    const after = signer.sign(request, now);
    expect(before["x-amz-date"]).toBe("20130523T235959Z");
    expect(after).toEqual(new Signer(credentials, "us-east-1").sign(request, now));
  });
});

describe("canonical forms", () => {
  test.each([
    ["a/b c", "a/b%20c"],
    ["a//b/../c", "a//b/../c"],
    ["ü+*'()!", "%C3%BC%2B%2A%27%28%29%21"],
    ["safe-._~", "safe-._~"],
    ["%41", "%2541"],
    ["line\nbreak", "line%0Abreak"],
    ["\ud800", "%EF%BF%BD"],
  ])("path %j -> %s", (key, path) => {
    expect(encodePath(key)).toBe(path);
  });

  test("uriEncode takes the slash too", () => {
    expect(uriEncode("a/b=&")).toBe("a%2Fb%3D%26");
  });

  test("query names are compared before values", () => {
    expect(
      canonicalQuery([
        ["a-b", "1"],
        ["a", "2"],
        ["a", "1"],
        ["B", ""],
      ]),
    ).toBe("B=&a=1&a=2&a-b=1");
  });

  test("header values lose outer and repeated spaces", () => {
    const request = canonicalRequest({
      method: "GET",
      path: "/",
      query: "",
      headers: { a: "  x   y  " },
      signedHeaders: ["a"],
      payloadHash: EMPTY_SHA256,
    });
    expect(request).toContain("\na:x y\n");
  });

  test("dates", () => {
    expect(formatAmzDate(now)).toBe("20130524T000000Z");
    expect(parseAmzDate("20130524T000000Z")).toBe(now);
    expect(parseAmzDate("20130524")).toBeUndefined();
    expect(parseAmzDate("20131324T000000Z")).toBeUndefined();
  });

  test("an Authorization of another scheme is none of ours", () => {
    expect(parseAuthorization("AWS AKID:sig")).toBeUndefined();
    expect(parseAuthorization("AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request")).toBeUndefined();
  });

  test("signatures compare by content", () => {
    expect(signaturesEqual("abc", "abc")).toBe(true);
    expect(signaturesEqual("abc", "abd")).toBe(false);
    expect(signaturesEqual("abc", "ab")).toBe(false);
  });
});
