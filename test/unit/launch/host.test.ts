import { expect, test } from "vitest";
import { parseHost } from "../../../src/launch/hosts/host.ts";

test.each([
  ["10.0.0.5", { address: "10.0.0.5" }],
  ["ubuntu@10.0.0.5", { user: "ubuntu", address: "10.0.0.5" }],
  ["ubuntu@box:2222", { user: "ubuntu", address: "box", port: 2222 }],
  ["fe80::1", { address: "fe80::1" }],
  ["root@[fe80::1]:22", { user: "root", address: "fe80::1", port: 22 }],
  ["[fe80::1]", { address: "fe80::1" }],
])("%s", (text, expected) => {
  expect(parseHost(text)).toEqual(expected);
});
