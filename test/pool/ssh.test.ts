/** Logging in to real sshd processes. */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../src/launch/ssh/connect.ts";
import type { SshConnection } from "../../src/launch/ssh/connection.ts";
import { resolveTarget } from "../../src/launch/ssh/target.ts";
import type { PoolNode } from "../../src/launch/node.ts";
import type { SshConfig } from "../../src/config/pool.ts";
import { run } from "../support/run.ts";
import { HostsBed } from "../support/hosts-bed.ts";

let bed: HostsBed;
beforeAll(async () => {
  bed = await HostsBed.open({ hosts: [{}, {}], login: "worker", bare: true });
});
afterAll(() => bed?.close());

const signal = new AbortController().signal;

async function login(ssh: SshConfig, node: Partial<PoolNode> = {}): Promise<SshConnection> {
  const { address } = bed.hosts[0]!;
  const whole: PoolNode = { index: 0, id: `worker@${address}`, address, user: "worker", ...node };
  const target = await resolveTarget(whole, { ssh, baseFolder: bed.folder, environment: process.env });
  return await connect(target, { signal, timeoutMs: 60_000 });
}

describe("connect", () => {
  test("logs in with the key given and runs a command with its input", async () => {
    using ssh = await login(bed.ssh);
    const result = await ssh.run("id -un; cat; exit 3", { signal, stdin: "from here" });
    expect(result).toMatchObject({ code: 3, stdout: "worker\nfrom here" });
  });

  test("refuses a host whose key is not known, with the line to add, which then lets it in", async () => {
    const knownHostsFile = join(bed.folder, "empty");
    writeFileSync(knownHostsFile, "");
    const refused = await login({ ...bed.ssh, knownHostsFile }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "host_unknown", message: /SHA256:.*add this line to/s });
    const line = (refused as Error).message.split("\n").at(-1)!;
    expect(line).toBe(bed.hosts[0]!.knownHostsLine);
    writeFileSync(knownHostsFile, `${line}\n`);
    (await login({ ...bed.ssh, knownHostsFile })).close();
  });

  test("refuses a host whose key has changed", async () => {
    const knownHostsFile = join(bed.folder, "changed");
    writeFileSync(knownHostsFile, `${bed.hosts[0]!.address} ${bed.hosts[1]!.publicHostKey}\n`);
    await expect(login({ ...bed.ssh, knownHostsFile })).rejects.toMatchObject({ code: "host_key_changed" });
  });

  test("a key that the provider made known is the only one that counts", async () => {
    (await login(bed.ssh, { hostKeys: [bed.hosts[0]!.publicHostKey] })).close();
    await expect(login(bed.ssh, { hostKeys: [bed.hosts[1]!.publicHostKey] })).rejects.toMatchObject({
      code: "host_key_changed",
      message: /the pool's record/,
    });
  });

  test("follows the user's SSH configuration: name, user, key, known hosts and jump host", async () => {
    const configFile = join(bed.folder, "config");
    const [gate, inner] = bed.hosts;
    writeFileSync(
      configFile,
      `Host *\n  IdentityFile ${bed.identityFile}\n  UserKnownHostsFile ${bed.knownHostsFile}\n  User worker\n` +
        `Host gate\n  HostName ${gate!.address}\nHost inner\n  HostName ${inner!.address}\n  ProxyJump gate\n`,
    );
    using ssh = await login({ configFile }, { address: "inner", user: undefined });
    expect((await ssh.run("hostname; echo $SSH_CONNECTION", { signal })).stdout).toMatch(
      new RegExp(`^host1\n${gate!.address.replaceAll(".", "\\.")} `),
    );
  });

  test("goes through the bastion that hawser.yaml names", async () => {
    const [gate, inner] = bed.hosts;
    using ssh = await login({ ...bed.ssh, bastion: `worker@${gate!.address}` }, { address: inner!.address });
    expect((await ssh.run("hostname", { signal })).stdout).toBe("host1\n");
  });

  test("says when a login is not accepted, and which keys could not be used", async () => {
    const other = join(bed.folder, "other");
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", other]);
    await expect(login({ ...bed.ssh, identityFile: other })).rejects.toMatchObject({ code: "ssh_denied" });
    const encrypted = join(bed.folder, "encrypted");
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "secret", "-f", encrypted]);
    await expect(login({ ...bed.ssh, identityFile: encrypted })).rejects.toMatchObject({
      code: "ssh_denied",
      message: /is encrypted: add it to your agent/,
    });
    const identityFile = join(bed.folder, "missing");
    await expect(login({ ...bed.ssh, identityFile })).rejects.toMatchObject({ code: "ssh_denied" });
  });

  test("says when nothing listens, and when what listens says nothing", async () => {
    await expect(login(bed.ssh, { port: 2 })).rejects.toMatchObject({
      code: "ssh_unreachable",
      message: /refuses the connection/,
    });
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    await new Promise((resolve) => silent.once("listening", resolve));
    const { port } = silent.address() as { port: number };
    const target = await resolveTarget(
      { index: 0, id: "silent", address: "127.0.0.1", port },
      { ssh: bed.ssh, baseFolder: "/", environment: process.env },
    );
    await expect(connect(target, { signal, timeoutMs: 300 })).rejects.toMatchObject({
      code: "ssh_unreachable",
      message: /does not answer/,
    });
    silent.close();
  });

  test("a host that goes away ends what is under way", async () => {
    using ssh = await login(bed.ssh, { address: bed.hosts[1]!.address });
    const waiting = ssh.run("echo begun > /tmp/begun; sleep 600", { signal });
    waiting.catch(() => {});
    await bed.hosts[1]!.kill();
    await expect(waiting).rejects.toMatchObject({ code: "ssh_unreachable" });
    await bed.hosts[1]!.start();
  });

  test("nothing of this checkout or this machine's Node.js is on the hosts", async () => {
    const { code } = await bed.hosts[0]!.exec("command -v node");
    expect(code).not.toBe(0);
    expect(readFileSync(bed.knownHostsFile, "utf8").trim().split("\n")).toHaveLength(2);
  });
});
