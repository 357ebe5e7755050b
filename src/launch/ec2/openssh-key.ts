/** Ed25519 keys in OpenSSH's own form, which sshd and cloud-init want. The format is openssh's PROTOCOL.key. */
import { generateKeyPairSync, randomBytes } from "node:crypto";

export interface KeyPair {
  /** PEM. */
  privateKey: string;
  /** `ssh-ed25519 AAAA…` */
  publicKey: string;
}

const KIND = "ssh-ed25519";
const BLOCK = 8;

function field(content: Buffer | string): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

export function newKeyPair(): KeyPair {
  const { privateKey } = generateKeyPairSync("ed25519");
  const { d, x } = privateKey.export({ format: "jwk" }) as { d: string; x: string };
  const seed = Buffer.from(d, "base64url");
  const point = Buffer.from(x, "base64url");
  const publicBlob = Buffer.concat([field(KIND), field(point)]);
  const check = randomBytes(4);
  let secret = Buffer.concat([
    check,
    check,
    publicBlob,
    field(Buffer.concat([seed, point])),
    field("hawser"),
  ]);
  const padding = (BLOCK - (secret.length % BLOCK)) % BLOCK;
  secret = Buffer.concat([secret, Buffer.from(Array.from({ length: padding }, (_, i) => i + 1))]);
  const one = Buffer.from([0, 0, 0, 1]);
  const whole = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    field("none"),
    field("none"),
    field(""),
    one,
    field(publicBlob),
    field(secret),
  ]);
  const lines = whole.toString("base64").replace(/(.{70})(?=.)/g, "$1\n");
  return {
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`,
    publicKey: `${KIND} ${publicBlob.toString("base64")}`,
  };
}
