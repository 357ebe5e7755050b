/**
 * Connecting: a login to one host, through others where the target says so, with its key verified.
 *
 * No key is accepted unseen. One that is in no file is refused with the line that would accept it, one that differs
 * from the known one is refused without. node-ssh is loaded here, at the first connection.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { Duplex } from "node:stream";
import type { Readable } from "node:stream";
import type { Config, NodeSSH } from "node-ssh";
import { HawserError } from "../../common/errors.ts";
import type { Milliseconds } from "../../common/units.ts";
import { SshConnection } from "./connection.ts";
import { credentialsFor } from "./credentials.ts";
import {
  fingerprint,
  hostKeyAlgorithms,
  judge,
  keyTypeOf,
  knownHostName,
  linesFor,
  parseKnownHosts,
} from "./known-hosts.ts";
import type { KnownHost } from "./known-hosts.ts";
import type { SshTarget } from "./target.ts";

export interface ConnectOptions {
  signal: AbortSignal;
  /** How long one attempt may take. */
  timeoutMs: Milliseconds;
}

/** A connection that carries nothing is asked for an answer this often, and given up after three of them. */
const KEEPALIVE_MS: Milliseconds = 5000;
const KEEPALIVES = 3;

/** In the order of preference, for hosts whose kind of key is not known. */
const HOST_KEY_ALGORITHMS = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "rsa-sha2-512",
  "rsa-sha2-256",
];

/** @throws HawserError `ssh_unreachable`, `ssh_denied`, `host_unknown`, `host_key_changed`, `interrupted` */
export async function connect(target: SshTarget, options: ConnectOptions): Promise<SshConnection> {
  const way: SshConnection[] = [];
  try {
    for (const jump of target.jumps) way.push(await connectThrough(way.at(-1), jump, options));
    const connection = await connectThrough(way.at(-1), target, options);
    connection.closeAfter(way);
    return connection;
  } catch (error) {
    for (const connection of way.reverse()) connection.close();
    throw error;
  }
}

async function connectThrough(
  through: SshConnection | undefined,
  target: SshTarget,
  { signal, timeoutMs }: ConnectOptions,
): Promise<SshConnection> {
  signal.throwIfAborted();
  const { NodeSSH } = await import("node-ssh");
  const ssh: NodeSSH = new NodeSSH();
  const hostKey = new HostKeyCheck(target);
  const { attempts, skipped } = credentialsFor(target);
  if (attempts.length === 0) throw denied(target, skipped);
  const onAbort = (): void => ssh.dispose();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const sock = await socketFor(through, target);
    const config: Config = {
      host: target.host,
      port: target.port,
      username: target.user,
      authHandler: attempts,
      readyTimeout: timeoutMs,
      keepaliveInterval: KEEPALIVE_MS,
      keepaliveCountMax: KEEPALIVES,
      algorithms: { serverHostKey: hostKey.algorithms() as never },
      hostVerifier: (key: Buffer) => hostKey.accepts(key),
      ...(sock ? { sock } : {}),
    };
    await ssh.connect(config);
    signal.throwIfAborted();
    return new SshConnection(ssh, target.label);
  } catch (error) {
    ssh.dispose();
    signal.throwIfAborted();
    throw hostKey.refusal ?? explained(error, target, skipped);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

async function socketFor(
  through: SshConnection | undefined,
  target: SshTarget,
): Promise<Readable | undefined> {
  if (through) return await through.forwardOut(target.host, target.port);
  if (target.proxyCommand === undefined) return undefined;
  const child = spawn("sh", ["-c", `exec ${target.proxyCommand}`], { stdio: ["pipe", "pipe", "inherit"] });
  const stream = Duplex.from({ readable: child.stdout, writable: child.stdin });
  child.on("error", (error) => stream.destroy(error));
  stream.on("close", () => child.kill());
  return stream;
}

/** Whether the key that a host shows is the right one. */
class HostKeyCheck {
  refusal: HawserError | undefined;
  private readonly target: SshTarget;
  private readonly name: string;
  private readonly lines: KnownHost[];

  constructor(target: SshTarget) {
    this.target = target;
    this.name = target.knownAs === target.host ? knownHostName(target.host, target.port) : target.knownAs;
    const text = target.hostKeys
      ? target.hostKeys.map((key) => `${this.name} ${key}`).join("\n")
      : target.knownHostsFiles.map(readIfThere).join("\n");
    const all = parseKnownHosts(text);
    this.lines = linesFor(all, this.name);
    // As OpenSSH does: a name without its port also counts where no line has the port.
    if (this.lines.length === 0 && this.name !== target.host)
      this.lines = linesFor(all, target.host.toLowerCase());
  }

  algorithms(): string[] {
    const types = this.lines.filter(({ revoked }) => !revoked).map(({ keyType }) => keyType);
    return types.length > 0 ? hostKeyAlgorithms(types) : HOST_KEY_ALGORITHMS;
  }

  accepts(key: Buffer): boolean {
    const verdict = judge(this.lines, key.toString("base64"));
    if (verdict === "known") return true;
    this.refusal = verdict === "unknown" ? this.unknown(key) : this.changed(key, verdict);
    return false;
  }

  private unknown(key: Buffer): HawserError {
    const line = `${this.name} ${keyTypeOf(key)} ${key.toString("base64")}`;
    return new HawserError(
      "host_unknown",
      `${this.target.label}: its key is in no known_hosts file. It shows ${fingerprint(key)}; if that is what ` +
        `'ssh-keygen -lf' says of its /etc/ssh/ssh_host_*_key.pub, add this line to ${this.target.knownHostsFiles[0]}:\n${line}`,
    );
  }

  private changed(key: Buffer, verdict: "changed" | "revoked"): HawserError {
    const what =
      verdict === "revoked" ? "shows a key that was revoked" : "shows another key than the known one";
    const where = this.target.hostKeys ? "the pool's record" : this.target.knownHostsFiles.join(", ");
    return new HawserError(
      "host_key_changed",
      `${this.target.label} ${what} (${keyTypeOf(key)} ${fingerprint(key)}). Somebody may be in between, or the machine ` +
        `was set up anew: ask who runs it, and only then correct its line in ${where}.`,
    );
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function denied({ label, user }: SshTarget, skipped: readonly string[], cause?: unknown): HawserError {
  const more = skipped.length > 0 ? ` (${skipped.join("; ")})` : "";
  return new HawserError(
    "ssh_denied",
    `${label} does not let ${user} in with the keys there are${more}; name a key with ssh: { identityFile }, or add yours to the agent.`,
    { cause },
  );
}

function explained(error: unknown, target: SshTarget, skipped: readonly string[]): HawserError {
  if (HawserError.is(error)) return error;
  const { message, level, code } = error as Error & { level?: string; code?: string };
  if (level === "client-authentication") return denied(target, skipped, error);
  if (/Handshake failed: no matching host key/.test(message)) {
    return new HawserError(
      "host_key_changed",
      `${target.label} has no key of the kind that known_hosts has of it. It may have been set up anew: ask who runs it, and only then correct its line.`,
      { cause: error },
    );
  }
  const why =
    code === "ECONNREFUSED"
      ? "refuses the connection"
      : level === "client-timeout" || code === "ETIMEDOUT"
        ? "does not answer"
        : `cannot be reached (${message})`;
  return new HawserError(
    "ssh_unreachable",
    `${target.label} ${why} at ${target.host} port ${target.port}; check that it runs and that its SSH port is open for you.`,
    { cause: error },
  );
}
