/**
 * A machine for tests: a real sshd in namespaces of its own.
 *
 * It has its own process ids, host name and mounts: a fresh /run (tmpfs), /var/lib, /var/cache, /tmp, /opt, /home and
 * /root on the machine's disk, and copies of /etc and /usr that can be changed. Node.js and this checkout are hidden
 * from it, so that what works there was really brought there. Its network namespace is given.
 *
 * Killing its first process ends everything in it; `shutdown` on it does the same.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { debTool } from "./deb-tools.ts";
import { tryRun } from "./run.ts";
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

/** Programs that Debian has and this machine may lack. */
export interface MachinePrograms {
  sudo: string;
  sshd: string;
}

export async function machinePrograms(): Promise<MachinePrograms> {
  const sshd = await debTool("sshd", ["openssh-server"], "usr/sbin");
  const sudo = await debTool("sudo", ["sudo"]);
  if ("missing" in sshd) throw new Error(sshd.missing);
  if ("missing" in sudo) throw new Error(sudo.missing);
  return { sudo: sudo.program, sshd: sshd.program };
}

export interface MachineUser {
  name: string;
  uid: number;
  gid: number;
}

export interface MachineIdentity {
  hostName: string;
  /** What its disks are made of, as the machine that runs the tests sees it. */
  folder: string;
  /** A network namespace that is there. */
  namespace: string;
  hostKeyFile: string;
  authorizedKeysFile: string;
  /** May log in beside root, and use sudo without a password. */
  user: MachineUser;
  options: HostOptions;
  programs: MachinePrograms;
  /** Told before anything depends on it, so that a killed test leaves no process. */
  onProcess(pid: number): void;
}

export class Machine {
  /** Called when the machine has ended, whoever ended it. */
  onEnd: () => void = () => {};
  private readonly identity: MachineIdentity;
  private child: ChildProcess | undefined;
  private output = "";

  constructor(identity: MachineIdentity) {
    this.identity = identity;
  }

  /** Starts (again) what runs on the machine; its disks stay as they are. */
  async start(): Promise<void> {
    const { folder, namespace, hostName } = this.identity;
    mkdirSync(folder, { recursive: true });
    const script = join(folder, "boot.sh");
    writeFileSync(script, bootScript(this.identity));
    this.output = "";
    const isolated = [
      "--mount",
      "--pid",
      "--uts",
      "--ipc",
      "--fork",
      "--kill-child",
      "--propagation=private",
    ];
    const child = spawn(
      "ip",
      ["netns", "exec", namespace, "unshare", ...isolated, "bash", script, hostName],
      { stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"] } },
    );
    this.child = child;
    this.identity.onProcess(child.pid!);
    child.once("close", () => this.onEnd());
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

  /** The machine's first process, as the machine that runs the tests sees it. */
  get pid(): number {
    const unshare = this.child!.pid!;
    const children = readFileSync(`/proc/${unshare}/task/${unshare}/children`, "utf8").trim();
    return Number(children.split(" ")[0]);
  }

  /** Runs a command on the machine, as root. */
  exec(command: string): Promise<Ran> {
    return tryRun("nsenter", ["-t", String(this.pid), "-m", "-p", "-n", "-u", "-i", "sh", "-c", command]);
  }

  /** The power goes: nothing on the machine gets to say goodbye. */
  async kill(): Promise<void> {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await ended;
  }
}

/** What a machine does to begin: its own disks, its own users, its own sshd. */
function bootScript({
  folder,
  hostKeyFile,
  authorizedKeysFile,
  user,
  options: { varLibBytes, withoutFuse, withoutSudo },
  programs: { sudo, sshd },
}: MachineIdentity): string {
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
grep -q '^${user.name}:' /etc/passwd || echo '${user.name}:x:${user.uid}:${user.gid}::/home/${user.name}:/bin/bash' >> /etc/passwd
grep -q '^${user.name}:' /etc/group || echo '${user.name}:x:${user.gid}:' >> /etc/group
grep -q '^${user.name}:' /etc/shadow || echo '${user.name}:*:19000:0:99999:7:::' >> /etc/shadow
mkdir -p /home/${user.name} && chown ${user.uid}:${user.gid} /home/${user.name}
printf 'root ALL=(ALL:ALL) ALL\\n${withoutSudo ? "" : `${user.name} ALL=(ALL) NOPASSWD:ALL\\n`}' > /etc/sudoers
chmod 440 /etc/sudoers
echo "127.0.0.1 localhost $1" > /etc/hosts
rm -f /usr/sbin/shutdown && printf '#!/bin/sh\\nkill -TERM 1\\n' > /usr/sbin/shutdown && chmod 755 /usr/sbin/shutdown
for node in /usr/bin/node /usr/local/bin/node; do [ ! -e $node ] || rm -f $node; done
mkdir -p /run/keys && cp ${hostKeyFile} /run/keys/host_key && cp ${authorizedKeysFile} /run/keys/authorized_keys
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
