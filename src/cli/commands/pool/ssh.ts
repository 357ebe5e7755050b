/** `hawser pool ssh`: OpenSSH itself, with everything it needs to know. */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Pool } from "../../../launch/pool.ts";
import type { PoolNode } from "../../../launch/node.ts";
import { shellQuote } from "../../../launch/ssh/shell.ts";
import { resolveTarget } from "../../../launch/ssh/target.ts";
import type { SshTarget } from "../../../launch/ssh/target.ts";
import { knownHostName } from "../../../launch/ssh/known-hosts.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { FIND_OPTIONS, withPool } from "./with-pool.ts";

export const command: Command = {
  usage: ["NAME[/NODE] [-- COMMAND]"],
  description:
    "Logs in to a node, the first one unless another is named, by OpenSSH with the pool's user, key, known hosts and bastion.",
  options: {
    ...FIND_OPTIONS,
    print: { type: "boolean", describe: "Show the command line instead of running it" },
    "gen-config": { type: "boolean", describe: "Show Host blocks for your SSH configuration" },
  },
  maxPositionals: 1,
  examples: [
    ["pool ssh train/1", "Log in to the second node"],
    ["pool ssh train --gen-config >> ~/.ssh/config", "Then: ssh train-0, and VS Code and rsync know it too"],
  ],
  run: (args, terminal) =>
    withPool("ssh", { args, terminal, lock: false }, async (pool, { node }) => {
      if (args.flag("gen-config")) {
        for (const each of pool.nodes) for (const line of await hostBlock(pool, each)) terminal.out(line);
        return EXIT.ok;
      }
      const line = await commandLine(pool, pool.context.node(node ?? 0), args.rest);
      if (args.flag("print")) {
        terminal.out(line.map(shellQuote).join(" "));
        return EXIT.ok;
      }
      const child = spawn(line[0]!, line.slice(1), { stdio: "inherit" });
      return await new Promise<number>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", (code) => resolve(code ?? 255));
      });
    }),
};

async function targetOf(pool: Pool, node: PoolNode): Promise<SshTarget> {
  const { config, baseFolder } = pool.context.record;
  return await resolveTarget(node, { ssh: config.ssh, baseFolder, environment: pool.context.environment });
}

/** Keys that the provider made known, as a file: OpenSSH takes them in no other way. */
function knownHostsFiles(pool: Pool, { hostKeys, host, port, knownHostsFiles: own }: SshTarget): string[] {
  if (!hostKeys) return own;
  mkdirSync(pool.context.folder.path, { recursive: true, mode: 0o700 });
  const path = join(pool.context.folder.path, `known_hosts-${host}`);
  writeFileSync(path, hostKeys.map((key) => `${knownHostName(host, port)} ${key}\n`).join(""), {
    mode: 0o600,
  });
  return [path];
}

async function settings(pool: Pool, node: PoolNode): Promise<[string, string][]> {
  const target = await targetOf(pool, node);
  const { ssh } = pool.context.record.config;
  const own: [string, string][] = [
    ["HostName", target.host],
    ["Port", String(target.port)],
    ["User", target.user],
    ["UserKnownHostsFile", knownHostsFiles(pool, target).join(" ")],
    ["StrictHostKeyChecking", "yes"],
  ];
  const identity = node.identityFile ?? ssh?.identityFile;
  if (identity !== undefined) own.push(["IdentityFile", target.identityFiles[0]!], ["IdentitiesOnly", "yes"]);
  const jumps = target.jumps.map(
    ({ user, host, port }) => `${user}@${host.includes(":") ? `[${host}]` : host}:${port}`,
  );
  if (jumps.length > 0) own.push(["ProxyJump", jumps.join(",")]);
  else if (target.proxyCommand !== undefined) own.push(["ProxyCommand", target.proxyCommand]);
  return own;
}

async function commandLine(pool: Pool, node: PoolNode, rest: readonly string[]): Promise<string[]> {
  const options = (await settings(pool, node)).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  return ["ssh", ...options, node.address, ...(rest.length > 0 ? ["--", ...rest] : [])];
}

async function hostBlock(pool: Pool, node: PoolNode): Promise<string[]> {
  return [
    `Host ${pool.name}-${node.index}`,
    ...(await settings(pool, node)).map(([key, value]) => `  ${key} ${value}`),
  ];
}
