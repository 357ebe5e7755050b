/**
 * A cloud for tests: moto says which instances there are, and each of them is a real machine.
 *
 * Whenever moto has answered something that changes instances, the cloud looks at what there is: an instance that runs
 * gets a machine with a real sshd at its private address, set up as its user data says; one that was terminated loses its
 * machine without warning, one that was stopped keeps its disk and gets a machine with it again when it is started; a
 * machine that switches itself off is terminated, as the launch asks for.
 * On the machines, IMDSv2 answers with what an instance finds there: its role's credentials, its tags, notices. The
 * store (dev-s3) lets those credentials do what the role's policy says.
 *
 * Everything is in a network namespace of its own with the bridge that is 172.31.0.0/16: programs that are to reach the
 * instances run there, by `spawn`. A second network, 10.214.N.0/24, joins all of them with the servers of this process.
 */
import { spawn } from "node:child_process";
import type { ChildProcess, SpawnOptions } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import {
  DescribeInstanceAttributeCommand,
  DescribeInstancesCommand,
  EC2Client,
  StartInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import type { Instance } from "@aws-sdk/client-ec2";
import { parse } from "yaml";
import type { PolicyDocument } from "../../src/launch/ec2/policy.ts";
import { Ledger } from "./bed-ledger.ts";
import { makeBridge } from "./bridge.ts";
import { TEST_CACHE, bundleImage } from "./bundle-image.ts";
import { startTestS3 } from "./dev-s3.ts";
import type { TestS3 } from "./dev-s3.ts";
import { Machine, machinePrograms } from "./machine.ts";
import type { HostOptions, MachinePrograms } from "./machine.ts";
import { Moto } from "./moto.ts";
import { allows } from "./role-policy.ts";
import { run } from "./run.ts";

/** Actions after which there may be other instances than before. */
const CHANGES = /^(?:CreateFleet|RunInstances|TerminateInstances|StopInstances|StartInstances|CreateTags)$/;

const REGION = "us-east-1";
const GATE = "172.31.255.254";
const USER = { name: "ec2-user", uid: 4251, gid: 4351 } as const;

interface CloudConfig {
  ssh_keys: { ed25519_private: string };
  ssh_authorized_keys: string[];
}

export interface CloudInstance {
  id: string;
  /** In 172.31.0.0/16. */
  address: string;
  machine: Machine;
  /** Its disks, as the tests see them. */
  folder: string;
  /** Settles when its sshd listens. */
  booted: Promise<void>;
  namespace: string;
  values: Record<string, string>;
}

export class Cloud implements AsyncDisposable {
  readonly folder: string;
  readonly moto: Moto;
  readonly store: TestS3;
  /** Machines that are there, in the order in which they were made. */
  readonly instances: CloudInstance[] = [];
  /** Public keys by the name of EC2's key pair. */
  readonly keyPairs = new Map<string, string>();
  /** Of the machines that are made from now on. */
  hostOptions: HostOptions = {};
  /** Told of every action that moto has answered, before whoever asked hears the answer. */
  onAnswered: ((action: string) => void) | undefined;
  /** What instances that are made from now on do instead of booting. */
  onBoot: ((instance: CloudInstance) => void) | undefined;
  private readonly ledger: Ledger;
  private readonly octet: number;
  private readonly programs: MachinePrograms;
  private readonly ec2: EC2Client;
  private metadata!: ChildProcess;
  private looking: Promise<void> = Promise.resolve();
  private made = 0;
  private closed = false;
  private image: string | undefined;
  private readonly waiting = new Map<string, () => void>();
  /** Ids of instances that were ever switched on and are not terminated. */
  private readonly disks = new Set<string>();

  private constructor(
    folder: string,
    ledger: Ledger,
    octet: number,
    parts: { moto: Moto; store: TestS3; programs: MachinePrograms },
  ) {
    this.folder = folder;
    this.ledger = ledger;
    this.octet = octet;
    this.moto = parts.moto;
    this.store = parts.store;
    this.programs = parts.programs;
    this.ec2 = new EC2Client({
      endpoint: parts.moto.directUrl,
      region: REGION,
      credentials: { accessKeyId: "cloud", secretAccessKey: "cloud" },
    });
    parts.moto.onAnswered = (action) => {
      this.onAnswered?.(action);
      if (CHANGES.test(action)) void this.look();
    };
    parts.store.s3.setPolicy((question) => {
      if (!question.accessKeyId?.startsWith("ASIA")) return true;
      const document = parts.moto.requests("PutRolePolicy").at(-1)?.get("PolicyDocument");
      return document !== null && document !== undefined
        ? allows(JSON.parse(document) as PolicyDocument, question)
        : false;
    });
  }

  static async open(): Promise<Cloud> {
    await Ledger.clearStale();
    const programs = await machinePrograms();
    const folder = mkdtempSync(join(tmpdir(), "hawser-cloud-"));
    const ledger = new Ledger(folder);
    const octet = await makeBridge("hwcl", "02:00:0a:d6:00:01", ledger);
    const link = `hwcl${octet}`;
    const host = `10.214.${octet}.1`;
    const namespace = `hwcloud-${octet}`;
    await run("ip", ["addr", "add", `${host}/24`, "dev", link]);
    await run("ip", ["link", "set", link, "up"]);
    ledger.add({ namespace });
    await run("ip", ["netns", "add", namespace]);
    const inside = (...args: string[]) => run("ip", ["-n", namespace, ...args]);
    await inside("link", "set", "lo", "up");
    await inside("link", "add", "aws", "address", "02:00:ac:1f:00:01", "type", "bridge");
    await inside("addr", "add", `${GATE}/16`, "dev", "aws");
    await inside("addr", "add", "169.254.169.254/32", "dev", "aws");
    await inside("link", "set", "aws", "up");
    const onProcess = (pid: number): void => ledger.add({ pid });
    const [moto, store] = await Promise.all([Moto.start({ host, onProcess }), startTestS3({ host })]);
    const cloud = new Cloud(folder, ledger, octet, { moto, store, programs });
    try {
      await cloud.join(namespace, `hwcu${octet}`, 2);
      await cloud.startMetadata();
      return cloud;
    } catch (error) {
      await cloud.close();
      throw error;
    }
  }

  /** Of a launcher that runs in the cloud's network: its account is moto's, its keys are the store's too. */
  get environment(): Record<string, string> {
    const home = join(this.folder, "home");
    mkdirSync(home, { recursive: true });
    return {
      AWS_ENDPOINT_URL: this.moto.url,
      AWS_ACCESS_KEY_ID: "hawser",
      AWS_SECRET_ACCESS_KEY: "hawser-dev-secret",
      AWS_REGION: REGION,
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_CONFIG_FILE: "/dev/null",
      AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
      HAWSER_POOL_DIR: join(this.folder, "pools"),
      XDG_CACHE_HOME: TEST_CACHE,
      XDG_CONFIG_HOME: join(this.folder, "config"),
      HOME: home,
      PATH: process.env["PATH"] ?? "",
      NO_COLOR: "1",
    };
  }

  /** Starts a program in the cloud's network; it keeps the process id that it is given. */
  spawn(file: string, args: readonly string[], options: SpawnOptions): ChildProcess {
    return spawn("ip", ["netns", "exec", `hwcloud-${this.octet}`, file, ...args], options);
  }

  /** The machine of an instance. */
  instance(id: string): CloudInstance | undefined {
    return this.instances.find((one) => one.id === id);
  }

  /** Settles when everything that moto has said until now is done. */
  async settled(): Promise<void> {
    await this.look();
  }

  /** From now on new instances have what is installed on this one: an image made of it. */
  keepImage({ folder }: CloudInstance): void {
    const kept = join(this.folder, "image");
    cpSync(join(folder, "disk/var/lib/hawser/parts"), kept, { recursive: true });
    this.image = kept;
  }

  /** From now on new instances have what this build would install on them. */
  async useBundleImage(): Promise<void> {
    this.image = await bundleImage();
  }

  /** Says something by the metadata service; `undefined` takes it back. */
  async tell(instance: CloudInstance, path: string, value: string | undefined): Promise<void> {
    if (value === undefined) delete instance.values[path];
    else instance.values[path] = value;
    await this.publish(instance.address, instance.values);
  }

  /** EC2 takes an instance away, or it ended by itself. */
  async lose(id: string): Promise<void> {
    if (this.closed) return;
    await this.ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
    await this.look();
  }

  /** Somebody stops an instance, without asking Hawser. */
  async halt(id: string): Promise<void> {
    await this.ec2.send(new StopInstancesCommand({ InstanceIds: [id] }));
    await this.look();
  }

  /** Somebody starts it again. */
  async resume(id: string): Promise<void> {
    await this.ec2.send(new StartInstancesCommand({ InstanceIds: [id] }));
    await this.look();
    await this.instance(id)!.booted;
  }

  /**
   * Power off and on: nothing on the machine gets to say goodbye, and only its disk stays.
   *
   * @param whileOff changes it
   */
  async reboot({ id, machine }: CloudInstance, whileOff: () => void = () => {}): Promise<void> {
    machine.onEnd = () => {};
    await machine.kill();
    whileOff();
    machine.onEnd = () => void this.lose(id);
    await machine.start();
  }

  /** Every instance that moto has not as terminated, by state. */
  async inventory(): Promise<Instance[]> {
    const { Reservations = [] } = await this.ec2.send(new DescribeInstancesCommand({}));
    return Reservations.flatMap(({ Instances = [] }) => Instances).filter(
      ({ State }) => State?.Name !== "terminated",
    );
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.looking.catch(() => {});
    await Promise.all(this.instances.map(({ machine }) => machine.kill()));
    this.metadata?.kill("SIGKILL");
    this.ec2.destroy();
    await this.moto.close();
    await this.ledger.clear();
    rmSync(this.folder, { recursive: true, force: true });
    await this.store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Joins a namespace with the servers of this process. */
  private async join(namespace: string, device: string, last: number): Promise<void> {
    await run("ip", ["link", "add", device, "type", "veth", "peer", "name", "eth1", "netns", namespace]);
    await run("ip", ["link", "set", device, "master", `hwcl${this.octet}`, "up"]);
    await run("ip", ["-n", namespace, "addr", "add", `10.214.${this.octet}.${last}/24`, "dev", "eth1"]);
    await run("ip", ["-n", namespace, "link", "set", "eth1", "up"]);
  }

  private async startMetadata(): Promise<void> {
    const program = fileURLToPath(new URL("imds.mjs", import.meta.url));
    const child = this.spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"] });
    this.metadata = child;
    this.ledger.add({ pid: child.pid! });
    const lines = createInterface({ input: child.stdout! });
    await new Promise<void>((resolve, reject) => {
      child.once("close", () => reject(new Error("The metadata service ended.")));
      lines.on("line", (line) => {
        if (line === "ready") resolve();
        this.waiting.get(line)?.();
      });
    });
  }

  private async publish(address: string, values: Record<string, string> | null): Promise<void> {
    if (this.closed || this.metadata.exitCode !== null) return;
    const heard = new Promise<void>((resolve) => this.waiting.set(address, resolve));
    this.metadata.stdin!.write(`${JSON.stringify({ address, values })}\n`);
    await heard;
  }

  /** Makes machines be what moto says, one look at a time. */
  private look(): Promise<void> {
    const next = this.looking.then(() => (this.closed ? undefined : this.align()));
    this.looking = next.catch((error: unknown) => {
      if (!this.closed) process.stderr.write(`cloud: ${String(error)}\n`);
    });
    return this.looking;
  }

  private async align(): Promise<void> {
    const there = new Map((await this.inventory()).map((instance) => [instance.InstanceId!, instance]));
    const runs = (id: string): boolean => there.get(id)?.State?.Name === "running";
    const off = this.instances.filter(({ id }) => !runs(id));
    await Promise.all(off.map((instance) => this.switchOff(instance)));
    for (const id of this.disks) if (!there.has(id)) this.removeDisk(id);
    for (const [id, instance] of there) {
      const present = this.instance(id);
      if (present) await this.tagValues(present, instance);
      else if (runs(id)) await this.boot(id, instance);
    }
  }

  private removeDisk(id: string): void {
    this.disks.delete(id);
    rmSync(join(this.folder, id), { recursive: true, force: true });
  }

  private async switchOff(instance: CloudInstance): Promise<void> {
    this.instances.splice(this.instances.indexOf(instance), 1);
    instance.machine.onEnd = () => {};
    await instance.booted.catch(() => {});
    await instance.machine.kill();
    await this.publish(instance.address, null);
    await run("ip", ["netns", "del", instance.namespace]);
  }

  private async tagValues(instance: CloudInstance, { Tags = [] }: Instance): Promise<void> {
    for (const { Key, Value = "" } of Tags) instance.values[`meta-data/tags/instance/${Key}`] = Value;
    await this.publish(instance.address, instance.values);
  }

  private async boot(id: string, described: Instance): Promise<void> {
    const number = ++this.made;
    const address = described.PrivateIpAddress!;
    const folder = join(this.folder, id);
    const namespace = `hwcloud-${this.octet}-${number}`;
    const device = `hwci${this.octet}-${number}`;
    this.disks.add(id);
    mkdirSync(folder, { recursive: true });
    const { UserData } = await this.ec2.send(
      new DescribeInstanceAttributeCommand({ InstanceId: id, Attribute: "userData" }),
    );
    const text = Buffer.from(UserData!.Value!, "base64").toString();
    const { ssh_keys: keys, ssh_authorized_keys: authorized } = parse(text) as CloudConfig;
    const hostKeyFile = join(folder, "host_key");
    const authorizedKeysFile = join(folder, "authorized_keys");
    writeFileSync(hostKeyFile, keys.ed25519_private, { mode: 0o600 });
    const own = this.keyPairs.get(described.KeyName ?? "") ?? [];
    writeFileSync(authorizedKeysFile, [...authorized, own, ""].flat().join("\n"));

    this.ledger.add({ namespace });
    await run("ip", ["netns", "add", namespace]);
    const gate = `hwcloud-${this.octet}`;
    const inside = (...args: string[]) => run("ip", ["-n", namespace, ...args]);
    await run("ip", [
      "-n",
      gate,
      "link",
      "add",
      device,
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      namespace,
    ]);
    await run("ip", ["-n", gate, "link", "set", device, "master", "aws", "up"]);
    await inside("addr", "add", `${address}/16`, "dev", "eth0");
    await inside("link", "set", "eth0", "up");
    await inside("link", "set", "lo", "up");
    await inside("route", "add", "169.254.169.254", "dev", "eth0");
    await this.join(namespace, `hwcv${this.octet}-${number}`, 10 + number);

    const machine = new Machine({
      hostName: `ip-${address.replaceAll(".", "-")}`,
      folder,
      namespace,
      hostKeyFile,
      authorizedKeysFile,
      user: USER,
      options: { ...(this.image === undefined ? {} : { image: this.image }), ...this.hostOptions },
      programs: this.programs,
      onProcess: (pid) => this.ledger.add({ pid }),
    });
    const instance: CloudInstance = {
      id,
      address,
      machine,
      folder,
      namespace,
      booted: Promise.resolve(),
      values: this.valuesOf(id, address),
    };
    this.instances.push(instance);
    await this.tagValues(instance, described);
    machine.onEnd = () => void this.lose(id);
    // What is asked of EC2 meanwhile is not held up by the boot.
    if (this.onBoot) this.onBoot(instance);
    else instance.booted = machine.start();
    instance.booted.catch((error: unknown) => {
      if (!this.closed) process.stderr.write(`cloud: ${id}: ${String(error)}\n`);
    });
  }

  /** What the metadata service has for an instance from its first moment on. */
  private valuesOf(id: string, address: string): Record<string, string> {
    const role = "hawser-node";
    const accessKeyId = `ASIA${id.slice(2).toUpperCase()}`;
    const secretAccessKey = `secret-of-${id}`;
    const sessionToken = `session-of-${id}`;
    this.store.s3.credentials.set({ accessKeyId, secretAccessKey, sessionToken });
    const document = {
      Code: "Success",
      Type: "AWS-HMAC",
      LastUpdated: new Date().toISOString(),
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey,
      Token: sessionToken,
      Expiration: new Date(Date.now() + 6 * 3600_000).toISOString(),
    };
    return {
      "meta-data/instance-id": id,
      "meta-data/local-ipv4": address,
      "meta-data/placement/region": REGION,
      "meta-data/iam/security-credentials/": role,
      [`meta-data/iam/security-credentials/${role}`]: JSON.stringify(document),
    };
  }
}
