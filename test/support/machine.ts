/**
 * A machine for tests: a real sshd in namespaces of its own, as its first process or below a real systemd.
 *
 * It has its own process ids, host name and mounts: a fresh /run (tmpfs), /var/lib, /var/cache, /tmp, /opt, /home and
 * /root on the machine's disk, and copies of /etc and /usr that can be changed. Node.js and this checkout are hidden
 * from it, so that what works there was really brought there. Its network namespace is given.
 *
 * Killing its first process ends everything in it; `shutdown` on it does the same.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { debTool } from "./deb-tools.ts";
import { plainBoot, systemdBoot } from "./machine-boot.ts";
import { MachineCgroup } from "./machine-cgroup.ts";
import { tryRun } from "./run.ts";
import type { Ran } from "./run.ts";

export interface HostOptions {
  /** Folders with a small disk of their own, and its bytes; the others are on the machine's disk. */
  smallDisks?: Readonly<Record<string, number>> | undefined;
  /** No /dev/fuse. */
  withoutFuse?: boolean;
  /** The login has no sudo. */
  withoutSudo?: boolean;
  /** A real systemd is its first process, and starts sshd. */
  systemd?: boolean;
  /** What it has of the worker bundle from the start. */
  image?: string | undefined;
}

/**
 * Programs that Debian has and this machine may lack: where one is not installed here, the folder to lay over /usr that
 * brings it.
 */
export interface MachinePrograms {
  sudo: string | undefined;
  sshd: string | undefined;
}

export async function machinePrograms(): Promise<MachinePrograms> {
  return {
    sudo: await layerOf("bin/sudo", ["sudo"]),
    sshd: await layerOf("sbin/sshd", ["openssh-server", "openssh-sftp-server", "libwrap0"]),
  };
}

/** @param path of the program, below /usr */
async function layerOf(path: string, packages: readonly string[]): Promise<string | undefined> {
  const tool = await debTool(basename(path), packages, join("usr", dirname(path)));
  if ("missing" in tool) throw new Error(tool.missing);
  const installed = tool.program === join("/usr", path);
  return installed ? undefined : join(dirname(tool.program), "..");
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
  /** Settles when nothing of the machine that last ran is left. */
  private gone: Promise<void> = Promise.resolve();
  private output = "";

  constructor(identity: MachineIdentity) {
    this.identity = identity;
  }

  /** Starts (again) what runs on the machine; its disks stay as they are. */
  async start(): Promise<void> {
    const { folder, namespace, hostName } = this.identity;
    mkdirSync(folder, { recursive: true });
    const script = join(folder, "boot.sh");
    const { systemd = false } = this.identity.options;
    if (systemd && !existsSync("/usr/lib/systemd/systemd"))
      throw new Error("Tests of pools want the package systemd installed.");
    writeFileSync(script, systemd ? systemdBoot(this.identity) : plainBoot(this.identity));
    this.output = "";
    await this.gone;
    const cgroup = systemd ? MachineCgroup.make(hostName) : undefined;
    const isolated = [
      "--mount",
      "--pid",
      "--uts",
      "--ipc",
      "--fork",
      "--kill-child",
      "--propagation=private",
      ...(systemd ? ["--cgroup"] : []),
    ];
    const command = ["ip", "netns", "exec", namespace, "unshare", ...isolated, "bash", script, hostName];
    const [file, ...args] = cgroup?.entering(command) ?? command;
    const child = spawn(file!, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env["PATH"] },
    });
    this.child = child;
    this.identity.onProcess(child.pid!);
    const ended = new Promise((resolve) => child.once("close", resolve));
    this.gone = ended.then(() => cgroup?.remove());
    // Whoever waits for it hears of it.
    this.gone.catch(() => {});
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
    this.child?.kill("SIGKILL");
    await this.gone;
  }
}
