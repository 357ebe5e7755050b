/**
 * known_hosts: whether a host's key is the one that is expected.
 *
 * Pure functions over the text of the files, in the format of sshd(8): names with wildcards and negations, `[host]:port`,
 * hashed names, `@revoked`. Certificates (`@cert-authority`) are passed over: a host that is known by one alone counts
 * as unknown.
 */
import { createHash, createHmac } from "node:crypto";

export interface KnownHost {
  patterns: string[];
  revoked: boolean;
  keyType: string;
  /** Base64. */
  key: string;
}

export function parseKnownHosts(text: string): KnownHost[] {
  return text.split("\n").flatMap((line): KnownHost[] => {
    const words = line.trim().split(/\s+/);
    if (words[0] === "" || words[0]!.startsWith("#")) return [];
    const marker = words[0]!.startsWith("@") ? words.shift() : undefined;
    const [names, keyType, key] = words;
    if (names === undefined || keyType === undefined || key === undefined) return [];
    if (marker !== undefined && marker !== "@revoked") return [];
    return [{ patterns: names.split(","), revoked: marker !== undefined, keyType, key }];
  });
}

/** A host as known_hosts writes it: the port only where it is not 22. */
export function knownHostName(host: string, port: number): string {
  return port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`;
}

function matches(patterns: readonly string[], name: string): boolean {
  let found = false;
  for (const pattern of patterns) {
    if (pattern.startsWith("|1|")) found ||= matchesHash(pattern, name);
    else if (pattern.startsWith("!")) {
      if (globMatches(pattern.slice(1), name)) return false;
    } else found ||= globMatches(pattern, name);
  }
  return found;
}

function matchesHash(pattern: string, name: string): boolean {
  const [, , salt = "", hash] = pattern.split("|");
  return createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest("base64") === hash;
}

function globMatches(pattern: string, name: string): boolean {
  const source = pattern
    .toLowerCase()
    .replace(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`).test(name);
}

/** The lines about a host; revoked keys are about every name they match. */
export function linesFor(hosts: readonly KnownHost[], name: string): KnownHost[] {
  return hosts.filter(({ patterns }) => matches(patterns, name));
}

export type Verdict = "known" | "unknown" | "changed" | "revoked";

/** @param keyType @param key what the host shows, base64 */
export function judge(lines: readonly KnownHost[], key: string): Verdict {
  if (lines.some((line) => line.revoked && line.key === key)) return "revoked";
  const trusted = lines.filter(({ revoked }) => !revoked);
  if (trusted.some((line) => line.key === key)) return "known";
  return trusted.length > 0 ? "changed" : "unknown";
}

/** What a host is to be asked for, so that it shows a key of a kind that is known. */
export function hostKeyAlgorithms(keyTypes: readonly string[]): string[] {
  return [...new Set(keyTypes)].flatMap((type) =>
    type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type],
  );
}

/** The kind of a public key: the first string of its wire form. */
export function keyTypeOf(key: Buffer): string {
  return key.toString("latin1", 4, 4 + key.readUInt32BE(0));
}

/** As `ssh-keygen -l` shows it. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}
