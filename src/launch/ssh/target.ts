/**
 * Targets: where and how to log in, from the user's SSH configuration.
 *
 * OpenSSH itself reads the configuration (`ssh -G`), so that Host blocks, Match, Include and tokens mean what they mean
 * to `ssh`. Where it is not installed there is no configuration to follow, and the usual files are tried.
 */
import { execFile } from "node:child_process";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { HawserError } from "../../common/errors.ts";
import type { Environment } from "../../config/interpolate.ts";
import type { SshConfig } from "../../config/pool.ts";
import { parseHost } from "../hosts/host.ts";
import type { PoolNode } from "../node.ts";

const run = promisify(execFile);

export interface SshTarget {
  /** What the user calls it. */
  label: string;
  host: string;
  port: number;
  user: string;
  /** Absolute paths; those that do not exist are passed over. */
  identityFiles: string[];
  /** Socket of an agent. */
  agent: string | undefined;
  knownHostsFiles: string[];
  /** The only keys that are accepted, as in .pub files, where they are known beforehand. */
  hostKeys: string[] | undefined;
  /** The name that known_hosts has the host under. */
  knownAs: string;
  /** Gone through, in this order. */
  jumps: SshTarget[];
  /** A command whose standard streams are the connection. */
  proxyCommand: string | undefined;
}

export interface TargetContext {
  ssh: SshConfig | undefined;
  /** The folder that relative paths of the configuration are below. */
  baseFolder: string;
  environment: Environment;
}

type Settings = Map<string, string[]>;

const DEFAULT_KEYS = ["id_ed25519", "id_ecdsa", "id_rsa"];

/** How to log in to a node. @throws HawserError `invalid_argument` */
export async function resolveTarget(node: PoolNode, context: TargetContext): Promise<SshTarget> {
  const { ssh = {} } = context;
  const { address, user, port, identityFile, hostKeys } = node;
  const target = await resolveHost({ address, user: user ?? ssh.user, port: port ?? ssh.port }, context, 0);
  const identity = identityFile ?? ssh.identityFile;
  if (identity !== undefined) {
    target.identityFiles = [absolute(identity, context)];
    target.agent = undefined;
  }
  if (ssh.knownHostsFile !== undefined) target.knownHostsFiles = [absolute(ssh.knownHostsFile, context)];
  target.label = node.id;
  target.hostKeys = hostKeys;
  return target;
}

interface Wanted {
  address: string;
  user: string | undefined;
  port: number | undefined;
}

/** More than this is a loop. */
const MAX_JUMPS = 8;

async function resolveHost(wanted: Wanted, context: TargetContext, depth: number): Promise<SshTarget> {
  if (depth > MAX_JUMPS) {
    throw new HawserError(
      "invalid_argument",
      `The way to ${wanted.address} goes through itself; see ProxyJump.`,
    );
  }
  const { ssh = {} } = context;
  const settings = await configured(wanted, context);
  const first = (key: string): string | undefined => settings.get(key)?.[0];
  const host = first("hostname") ?? wanted.address;
  const port = wanted.port ?? Number(first("port") ?? 22);
  const knownHosts = [...words(settings, "userknownhostsfile"), ...words(settings, "globalknownhostsfile")];
  const jump = depth === 0 && ssh.bastion !== undefined ? ssh.bastion : first("proxyjump");
  const proxy = first("proxycommand");
  return {
    label: wanted.address,
    host,
    port,
    user: wanted.user ?? first("user") ?? context.environment["USER"] ?? "root",
    identityFiles: (settings.get("identityfile") ?? DEFAULT_KEYS.map((name) => `~/.ssh/${name}`)).map(
      (path) => absolute(path, context),
    ),
    agent: first("identitiesonly") === "yes" ? undefined : agentOf(first("identityagent"), context),
    knownHostsFiles: (knownHosts.length > 0
      ? knownHosts
      : ["~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"]
    ).map((path) => absolute(path, context)),
    hostKeys: undefined,
    knownAs: first("hostkeyalias") ?? host,
    jumps: await jumpsOf(jump, context, depth),
    proxyCommand:
      jump === undefined && proxy !== undefined && proxy !== "none" ? expand(proxy, host, port) : undefined,
  };
}

async function jumpsOf(
  text: string | undefined,
  context: TargetContext,
  depth: number,
): Promise<SshTarget[]> {
  if (text === undefined || text === "none") return [];
  const jumps: SshTarget[] = [];
  for (const part of text.split(",")) {
    const { user, address, port } = parseHost(part.replace(/^ssh:\/\//, ""));
    const jump = await resolveHost({ address, user, port }, context, depth + 1);
    if (context.ssh?.identityFile !== undefined)
      jump.identityFiles.unshift(absolute(context.ssh.identityFile, context));
    if (context.ssh?.knownHostsFile !== undefined)
      jump.knownHostsFiles = [absolute(context.ssh.knownHostsFile, context)];
    jumps.push(...jump.jumps, { ...jump, jumps: [] });
  }
  return jumps;
}

/** What `ssh -G` says; nothing where there is no ssh. */
async function configured({ address, user, port }: Wanted, context: TargetContext): Promise<Settings> {
  const { ssh = {}, environment } = context;
  const args = ["-G"];
  if (ssh.configFile !== undefined) args.push("-F", absolute(ssh.configFile, context));
  if (user !== undefined) args.push("-l", user);
  if (port !== undefined) args.push("-p", String(port));
  let text: string;
  try {
    text = (await run("ssh", [...args, "--", address], { env: { ...environment }, timeout: 10_000 })).stdout;
  } catch (error) {
    const failed = error as NodeJS.ErrnoException & { stderr?: string };
    if (failed.code === "ENOENT") return new Map();
    throw new HawserError(
      "invalid_argument",
      `Your SSH configuration cannot be read for ${address}: ${(failed.stderr ?? failed.message).trim()}`,
      { cause: error },
    );
  }
  return parseSettings(text);
}

/** `key value` lines; a key may come several times. */
export function parseSettings(text: string): Settings {
  const settings: Settings = new Map();
  for (const line of text.split("\n")) {
    const at = line.indexOf(" ");
    if (at <= 0) continue;
    const key = line.slice(0, at).toLowerCase();
    settings.set(key, [...(settings.get(key) ?? []), line.slice(at + 1).trim()]);
  }
  return settings;
}

function words(settings: Settings, key: string): string[] {
  return (settings.get(key) ?? []).flatMap((value) => value.split(/\s+/)).filter((word) => word !== "none");
}

function absolute(path: string, { baseFolder, environment }: TargetContext): string {
  if (path === "~" || path.startsWith("~/")) return join(environment["HOME"] ?? homedir(), path.slice(1));
  return resolve(baseFolder, path);
}

function agentOf(setting: string | undefined, context: TargetContext): string | undefined {
  if (setting === "none") return undefined;
  const fromEnvironment = context.environment["SSH_AUTH_SOCK"] || undefined;
  if (setting === undefined || setting === "SSH_AUTH_SOCK") return fromEnvironment;
  return setting.startsWith("$") ? context.environment[setting.slice(1)] : absolute(setting, context);
}

function expand(command: string, host: string, port: number): string {
  return command.replace(/%([%hnp])/g, (_all, token: string) =>
    token === "%" ? "%" : token === "p" ? String(port) : host,
  );
}
