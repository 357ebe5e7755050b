import { expect, test } from "vitest";
import {
  hostKeyAlgorithms,
  judge,
  knownHostName,
  linesFor,
  parseKnownHosts,
} from "../../../src/launch/ssh/known-hosts.ts";
import { isEncrypted } from "../../../src/launch/ssh/credentials.ts";
import { parseSettings } from "../../../src/launch/ssh/target.ts";

const FILE = `
# a comment
box,10.0.0.5 ssh-ed25519 AAAAbox
[gate]:2222 ssh-rsa AAAAgate comment
*.lab,!bad.lab ecdsa-sha2-nistp256 AAAAlab
@revoked * ssh-ed25519 AAAAstolen
@cert-authority *.lab ssh-ed25519 AAAAauthority
|1|c2FsdHNhbHRzYWx0c2FsdHNhbHQ=|uvJVKWqABTLYgN8rsqBNKlf3d3o= ssh-ed25519 AAAAhashed
broken
`;

const verdict = (host: string, port: number, key: string) =>
  judge(linesFor(parseKnownHosts(FILE), knownHostName(host, port)), key);

test.each([
  ["box", 22, "AAAAbox", "known"],
  ["BOX", 22, "AAAAbox", "known"],
  ["10.0.0.5", 22, "AAAAother", "changed"],
  ["box", 2222, "AAAAbox", "unknown"],
  ["gate", 2222, "AAAAgate", "known"],
  ["a.lab", 22, "AAAAlab", "known"],
  ["bad.lab", 22, "AAAAlab", "unknown"],
  ["a.lab", 22, "AAAAauthority", "changed"],
  ["box", 22, "AAAAstolen", "revoked"],
  ["elsewhere", 22, "AAAAstolen", "revoked"],
  ["elsewhere", 22, "AAAAbox", "unknown"],
])("%s port %i showing %s is %s", (host, port, key, expected) => {
  expect(verdict(host, port, key)).toBe(expected);
});

test("hashed names are found", () => {
  expect(linesFor(parseKnownHosts(FILE), "hidden.example").map(({ key }) => key)).toContain("AAAAhashed");
});

test("a host is asked for the kinds of key that are known of it, RSA with today's signatures", () => {
  expect(hostKeyAlgorithms(["ssh-rsa", "ssh-ed25519", "ssh-rsa"])).toEqual([
    "rsa-sha2-512",
    "rsa-sha2-256",
    "ssh-ed25519",
  ]);
});

test("keys with a passphrase are told apart in every format", () => {
  const openssh = (cipher: string) => {
    const name = Buffer.from(cipher);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(name.length);
    const body = Buffer.concat([Buffer.from("openssh-key-v1\0"), length, name]).toString("base64");
    return `-----BEGIN OPENSSH PRIVATE KEY-----\n${body}\n-----END OPENSSH PRIVATE KEY-----`;
  };
  expect(isEncrypted(openssh("none"))).toBe(false);
  expect(isEncrypted(openssh("aes256-ctr"))).toBe(true);
  expect(isEncrypted("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n")).toBe(true);
  expect(isEncrypted("-----BEGIN ENCRYPTED PRIVATE KEY-----")).toBe(true);
  expect(isEncrypted("-----BEGIN RSA PRIVATE KEY-----\nMII")).toBe(false);
});

test("what ssh -G prints is read with keys that come several times", () => {
  const settings = parseSettings("hostname 10.0.0.5\nidentityfile ~/.ssh/a\nidentityfile ~/.ssh/b\nempty\n");
  expect(settings.get("identityfile")).toEqual(["~/.ssh/a", "~/.ssh/b"]);
  expect(settings.get("hostname")).toEqual(["10.0.0.5"]);
});
