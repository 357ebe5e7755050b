/**
 * Hosts for tests: real sshd processes, each in namespaces of its own, on a bridge.
 *
 * A host has its own network, process ids, host name and mounts: a fresh /run (tmpfs), /var/lib, /var/cache, /tmp,
 * /opt, /home and /root on the machine's disk, and copies of /etc and /usr that can be changed. Node.js and this
 * checkout are hidden from it, so that what works there was really brought there. The machine's end of the bridge
 * carries servers for the hosts, dev-s3 above all.
 *
 * Killing a host's first process ends everything in it. What a bed makes is written to a ledger before it is made; the
 * next bed removes what a killed test left.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Ledger } from "./bed-ledger.ts";
import { debTool } from "./deb-tools.ts";
import { run, tryRun } from "./run.ts";
import type { Ran } from "./run.ts";

const PROJECT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

export interface HostOptions {
  /** Bytes of a memory disk at /var/lib; the machine's disk when absent. */
  varLibBytes?: number | undefined;
  /** No /dev/fuse. */
  withoutFuse?: boolean;
  /** The login has no sudo. */
  withoutSudo?: boolean;
}

export interface BedOptions {
  /** Options of each host; three plain ones when absent. */
  hosts?: HostOptions[];
  /** Who logs in: root, or `worker`, who may use sudo without a password. */
  login?: "root" | "worker";
}

export const WORKER = { name: "worker", uid: 4242, gid: 4343 } as const;

/** Finds programs that Debian has and this machine may lack. */
async function programs(): Promise<{ sudo: string; sshd: string }> {
  const sshd = await debTool("sshd", ["openssh-server"], "usr/sbin");
  const sudo = await debTool("sudo", ["sudo"]);
  if ("missing" in sshd) throw new Error(sshd.missing);
  if ("missing" in sudo) throw new Error(sudo.missing);
  return { sudo: sudo.program, sshd: sshd.program };
}

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

  static async open({ hosts = [{}, {}, {}], login = "root" }: BedOptions = {}): Promise<HostsBed> {
    await Ledger.clearStale();
    const folder = mkdtempSync(join(tmpdir(), "hawser-bed-"));
    const octet = freeOctet();
    const bed = new HostsBed(folder, new Ledger(folder), octet, login);
    try {
      const { sudo, sshd } = await programs();
      await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", bed.identityFile]);
      bed.ledger.add({ link: bed.bridge });
      await run("ip", ["link", "add", bed.bridge, "type", "bridge"]);
      await run("ip", ["addr", "add", `${bed.address}/24`, "dev", bed.bridge]);
      await run("ip", ["link", "set", bed.bridge, "up"]);
      for (const [index, options] of hosts.entries()) {
        const address = `10.213.${octet}.${10 + index}`;
        bed.hosts.push(new BedHost(bed, index, address, options, { sudo, sshd }));
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

/** A third octet of 10.213 that no interface has. */
function freeOctet(): number {
  const used = new Set(
    Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address)),
  );
  for (let i = 0; i < 250; i++) {
    const octet = 1 + Math.floor(Math.random() * 250);
    if (!used.has(`10.213.${octet}.1`)) return octet;
  }
  throw new Error("There are too many beds.");
}

export class BedHost {
  readonly index: number;
  readonly address: string;
  /** What the host's disks are made of, as the machine sees it. */
  readonly folder: string;
  private readonly bed: HostsBed;
  private readonly options: HostOptions;
  private readonly programs: { sudo: string; sshd: string };
  private readonly namespace: string;
  private readonly device: string;
  private child: ChildProcess | undefined;
  private output = "";

  constructor(
    bed: HostsBed,
    index: number,
    address: string,
    options: HostOptions,
    programs: { sudo: string; sshd: string },
  ) {
    this.bed = bed;
    this.index = index;
    this.address = address;
    this.options = options;
    this.programs = programs;
    this.folder = join(bed.folder, `host${index}`);
    this.namespace = `hw-${address.replaceAll(".", "-")}`;
    this.device = `hwv${address.split(".").slice(2).join("-")}`;
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
  async start(): Promise<void> {
    const script = join(this.folder, "boot.sh");
    writeFileSync(script, bootScript(this.folder, this.options, this.programs, this.bed));
    this.output = "";
    const child = spawn(
      "ip",
      [
        "netns",
        "exec",
        this.namespace,
        "unshare",
        "--mount",
        "--pid",
        "--uts",
        "--ipc",
        "--fork",
        "--kill-child",
        "--propagation=private",
        "bash",
        script,
        `host${this.index}`,
      ],
      { stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"] } },
    );
    this.child = child;
    this.bed.note({ pid: child.pid! });
    await new Promise<void>((resolve, reject) => {
      const hear = (text: Buffer): void => {
        this.output += text.toString();
        if (this.output.includes("Server listening on")) resolve();
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.once("close", () => reject(new Error(`The host ended: ${this.output}`)));
    });
  }

  /** The host's first process, as the machine sees it. */
  get pid(): number {
    const unshare = this.child!.pid!;
    const children = readFileSync(`/proc/${unshare}/task/${unshare}/children`, "utf8").trim();
    return Number(children.split(" ")[0]);
  }

  /** Runs a command on the host, as root. */
  exec(command: string): Promise<Ran> {
    return tryRun("nsenter", ["-t", String(this.pid), "-m", "-p", "-n", "-u", "-i", "sh", "-c", command]);
  }

  /** The power goes: nothing on the host gets to say goodbye. */
  async kill(): Promise<void> {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** Takes the host off the network, or puts it back. */
  async setLink(state: "up" | "down"): Promise<void> {
    await run("ip", ["link", "set", this.device, state]);
  }
}

/** What a host does to begin: its own disks, its own users, its own sshd. */
function bootScript(
  folder: string,
  { varLibBytes, withoutFuse, withoutSudo }: HostOptions,
  { sudo, sshd }: { sudo: string; sshd: string },
  bed: HostsBed,
): string {
  const disk = (path: string): string =>
    `mkdir -p ${folder}/disk${path}; mount --bind ${folder}/disk${path} ${path}`;
  const overlay = (path: string, ...lower: string[]): string => {
    const own = `${folder}/overlay${path}`;
    const below = [...lower, path].join(":");
    return `mkdir -p ${own} ${own}.work; mount -t overlay overlay -o lowerdir=${below},upperdir=${own},workdir=${own}.work ${path}`;
  };
  const sudoRoot = sudo === "/usr/bin/sudo" ? [] : [sudo.replace(/\/bin\/sudo$/, "")];
  return `set -eu
hostname "$1"
mount -t proc proc /proc
# A copy of somebody's mount would keep it from ending.
awk '$3 ~ /^fuse/ {print $2}' /proc/mounts | while read -r path; do umount -l "$path"; done
${overlay("/etc")}
${overlay("/usr", ...(withoutSudo ? [] : sudoRoot))}
${["/var/lib", "/var/cache", "/opt", "/home", "/root", "/mnt", "/srv"].map(disk).join("\n")}
${varLibBytes === undefined ? "" : `mount -t tmpfs -o size=${varLibBytes} tmpfs /var/lib`}
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/lock
mount -t tmpfs tmpfs /dev/shm
${withoutFuse ? "mkdir -p /run/nodev; mount --bind /run/nodev /dev/net 2>/dev/null || true; mount -t tmpfs tmpfs /run/nodev; for d in null zero full random urandom tty; do cp -a /dev/$d /run/nodev/; done; mkdir /run/nodev/pts /run/nodev/shm; mount -t devpts devpts /run/nodev/pts -o ptmxmode=666; ln -s pts/ptmx /run/nodev/ptmx; ln -s /proc/self/fd /run/nodev/fd; mount --move /run/nodev /dev" : ""}
grep -q '^${WORKER.name}:' /etc/passwd || echo '${WORKER.name}:x:${WORKER.uid}:${WORKER.gid}::/home/${WORKER.name}:/bin/bash' >> /etc/passwd
grep -q '^${WORKER.name}:' /etc/group || echo '${WORKER.name}:x:${WORKER.gid}:' >> /etc/group
grep -q '^${WORKER.name}:' /etc/shadow || echo '${WORKER.name}:*:19000:0:99999:7:::' >> /etc/shadow
mkdir -p /home/${WORKER.name} && chown ${WORKER.uid}:${WORKER.gid} /home/${WORKER.name}
printf 'root ALL=(ALL:ALL) ALL\\n${withoutSudo ? "" : `${WORKER.name} ALL=(ALL) NOPASSWD:ALL\\n`}' > /etc/sudoers
chmod 440 /etc/sudoers
echo "127.0.0.1 localhost $1" > /etc/hosts
for node in /usr/bin/node /usr/local/bin/node; do [ ! -e $node ] || rm -f $node; done
mkdir -p /run/keys && cp ${folder}/host_key ${bed.identityFile}.pub /run/keys/
mv /run/keys/id_ed25519.pub /run/keys/authorized_keys
chmod 600 /run/keys/host_key; chmod 644 /run/keys/authorized_keys
cat > /run/sshd_config <<END
ListenAddress 0.0.0.0
HostKey /run/keys/host_key
AuthorizedKeysFile /run/keys/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
Subsystem sftp ${sshd.replace(/\/sbin\/sshd$/, "")}/lib/openssh/sftp-server
END
mount -t tmpfs tmpfs ${PROJECT}
mkdir -p ${folder}/disk/tmp; chmod 1777 ${folder}/disk/tmp; mount --bind ${folder}/disk/tmp /tmp
exec ${sshd} -D -e -f /run/sshd_config
`;
}
