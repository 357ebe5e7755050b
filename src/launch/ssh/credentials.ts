/** What to log in with: keys and agents that can be used without asking anybody. */
import { readFileSync } from "node:fs";
import type { AuthenticationType } from "ssh2";
import type { SshTarget } from "./target.ts";

interface Attempt {
  type: AuthenticationType;
  username: string;
  key?: Buffer;
  agent?: string;
}

export interface Credentials {
  attempts: Attempt[];
  /** Files that were passed over, and why. */
  skipped: string[];
}

/** The agent first, as it may hold what is encrypted on disk; then every key file that can be read. */
export function credentialsFor(target: SshTarget): Credentials {
  const { user: username, agent, identityFiles } = target;
  const skipped: string[] = [];
  const attempts: Attempt[] = agent === undefined ? [] : [{ type: "agent", username, agent }];
  for (const path of identityFiles) {
    let key: Buffer;
    try {
      key = readFileSync(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT") skipped.push(`${path} cannot be read (${code})`);
      continue;
    }
    if (isEncrypted(key.toString("latin1"))) {
      skipped.push(`${path} is encrypted: add it to your agent with ssh-add`);
    } else attempts.push({ type: "publickey", username, key });
  }
  return { attempts, skipped };
}

/** Whether a private key needs a passphrase. */
export function isEncrypted(pem: string): boolean {
  if (/^Proc-Type: 4,ENCRYPTED/m.test(pem) || pem.includes("BEGIN ENCRYPTED PRIVATE KEY")) return true;
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]*?)-----END/.exec(pem)?.[1];
  if (body === undefined) return false;
  const bytes = Buffer.from(body, "base64");
  const magic = "openssh-key-v1\0".length;
  if (bytes.length < magic + 4) return false;
  return bytes.toString("latin1", magic + 4, magic + 4 + bytes.readUInt32BE(magic)) !== "none";
}
