/**
 * Hosts for tests: real sshd processes, each in namespaces of its own, on a bridge.
 *
 * A host is a machine of machine.ts with a network of its own. The machine's end of the bridge carries servers for the
 * hosts, dev-s3 above all.
 *
 * What a bed makes is written to a ledger before it is made; the next bed removes what a killed test left.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ledger } from "./bed-ledger.ts";
import { bundleImage } from "./bundle-image.ts";
import { Machine, machinePrograms } from "./machine.ts";
import { makeBridge } from "./bridge.ts";
import type { HostOptions, MachinePrograms } from "./machine.ts";
import { run } from "./run.ts";
import type { Ran } from "./run.ts";

export interface BedOptions {
  /** Options of each host; three plain ones when absent. */
  hosts?: HostOptions[];
  /** Nothing of the worker bundle is on the hosts, which takes seconds to get there. */
  bare?: boolean;
  /** Who logs in: root, or `worker`, who may use sudo without a password. */
  login?: "root" | "worker";
}

export const WORKER = { name: "worker", uid: 4242, gid: 4343 } as const;

export class HostsBed implements AsyncDisposable {
  readonly folder: string;
  /** The machine's address on the bridge, for servers that hosts are to reach. */
  readonly address: string;
  readonly hosts: BedHost[] = [];
  readonly login: string;
  /** The private key that every host lets in. */
  readonly identityFile: string;
  readonly knownHostsFile: string;
  private readonly ledger: Ledger;
  private readonly bridge: string;
  private closed = false;

  private constructor(folder: string, ledger: Ledger, octet: number, login: string) {
    this.folder = folder;
    this.ledger = ledger;
    this.login = login;
    this.bridge = `hwbr${octet}`;
    this.address = `10.213.${octet}.1`;
    this.identityFile = join(folder, "id_ed25519");
    this.knownHostsFile = join(folder, "known_hosts");
  }

  static async open({
    hosts = [{}, {}, {}],
    login = "root",
    bare = false,
  }: BedOptions = {}): Promise<HostsBed> {
    await Ledger.clearStale();
    const folder = mkdtempSync(join(tmpdir(), "hawser-bed-"));
    const ledger = new Ledger(folder);
    const octet = await makeBridge("hwbr", "02:00:0a:d5:00:01", ledger);
    const bed = new HostsBed(folder, ledger, octet, login);
    try {
      const programs = await machinePrograms();
      const image = bare ? undefined : await bundleImage();
      await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", bed.identityFile]);
      await run("ip", ["addr", "add", `${bed.address}/24`, "dev", bed.bridge]);
      await run("ip", ["link", "set", bed.bridge, "up"]);
      for (const [index, options] of hosts.entries()) {
        const address = `10.213.${octet}.${10 + index}`;
        bed.hosts.push(new BedHost(bed, index, address, { image, ...options }, programs));
      }
      await Promise.all(bed.hosts.map((host) => host.boot()));
      bed.writeKnownHosts();
      return bed;
    } catch (error) {
      await bed.close();
      throw error;
    }
  }

  /** The hosts as hawser.yaml names them. */
  get names(): string[] {
    return this.hosts.map(({ address }) => `${this.login}@${address}`);
  }

  /** `ssh:` of hawser.yaml. */
  get ssh(): { identityFile: string; knownHostsFile: string } {
    return { identityFile: this.identityFile, knownHostsFile: this.knownHostsFile };
  }

  writeKnownHosts(): void {
    writeFileSync(
      this.knownHostsFile,
      this.hosts.map(({ knownHostsLine }) => `${knownHostsLine}\n`).join(""),
    );
  }

  attach(namespace: string, device: string, address: string): Promise<void> {
    return attach(this.bridge, namespace, device, address);
  }

  note(entry: Parameters<Ledger["add"]>[0]): void {
    this.ledger.add(entry);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await Promise.all(this.hosts.map((host) => host.kill()));
    await this.ledger.clear();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function attach(bridge: string, namespace: string, device: string, address: string): Promise<void> {
  await run("ip", ["link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
  await run("ip", ["link", "set", device, "master", bridge, "up"]);
  const inside = (...args: string[]): Promise<Ran> => run("ip", ["-n", namespace, ...args]);
  await inside("addr", "add", `${address}/24`, "dev", "eth0");
  await inside("link", "set", "eth0", "up");
  await inside("link", "set", "lo", "up");
}

export class BedHost {
  readonly index: number;
  readonly address: string;
  /** What the host's disks are made of, as the machine sees it. */
  readonly folder: string;
  private readonly bed: HostsBed;
  private readonly machine: Machine;
  private readonly namespace: string;
  private readonly device: string;

  constructor(
    bed: HostsBed,
    index: number,
    address: string,
    options: HostOptions,
    programs: MachinePrograms,
  ) {
    this.bed = bed;
    this.index = index;
    this.address = address;
    this.folder = join(bed.folder, `host${index}`);
    this.namespace = `hw-${address.replaceAll(".", "-")}`;
    this.device = `hwv${address.split(".").slice(2).join("-")}`;
    this.machine = new Machine({
      hostName: `host${index}`,
      folder: this.folder,
      namespace: this.namespace,
      hostKeyFile: join(this.folder, "host_key"),
      authorizedKeysFile: `${bed.identityFile}.pub`,
      user: WORKER,
      options,
      programs,
      onProcess: (pid) => bed.note({ pid }),
    });
  }

  get knownHostsLine(): string {
    return `${this.address} ${this.publicHostKey}`;
  }

  get publicHostKey(): string {
    return readFileSync(join(this.folder, "host_key.pub"), "utf8").trim().split(" ").slice(0, 2).join(" ");
  }

  async boot(): Promise<void> {
    mkdirSync(this.folder, { recursive: true });
    await this.newHostKey();
    this.bed.note({ namespace: this.namespace });
    await run("ip", ["netns", "add", this.namespace]);
    await this.bed.attach(this.namespace, this.device, this.address);
    await this.start();
  }

  /** Another key than before, as after the machine was set up anew. Takes effect at the next start. */
  async newHostKey(): Promise<void> {
    rmSync(join(this.folder, "host_key"), { force: true });
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(this.folder, "host_key")]);
  }

  /** Starts (again) what runs on the host; its disks stay as they are. */
  start(): Promise<void> {
    return this.machine.start();
  }

  /** The host's first process, as the machine sees it. */
  get pid(): number {
    return this.machine.pid;
  }

  /** Runs a command on the host, as root. */
  exec(command: string): Promise<Ran> {
    return this.machine.exec(command);
  }

  /** Calls `end` when the host has ended, whoever ended it. */
  onEnd(end: () => void): void {
    this.machine.onEnd = end;
  }

  /** The power goes: nothing on the host gets to say goodbye. */
  kill(): Promise<void> {
    return this.machine.kill();
  }

  /** Takes the host off the network, or puts it back. */
  async setLink(state: "up" | "down"): Promise<void> {
    await run("ip", ["link", "set", this.device, state]);
  }
}
