/**
 * Probing a node: everything that is to be known before anything is sent, in one command.
 *
 * The answer is `key=value` lines. It is POSIX sh and the programs that every distribution has, because nothing of
 * Hawser is on the node yet.
 */
import { HawserError } from "../../common/errors.ts";
import type { Bytes } from "../../common/units.ts";
import type { SshConnection } from "../ssh/connection.ts";
import { shellScript } from "../ssh/shell.ts";
import type { WorkerArch } from "../bundle/node-binary.ts";

/** Where a node keeps the worker: parts of the bundle, and a folder for each pool. */
export const WORKER_ROOT = "/var/lib/hawser";
/** Left free beside what is unpacked. */
const SPARE: Bytes = 64 * 1024 * 1024;

/** What works, and how many the driver holds: one that has fallen off the bus is still among the latter. */
const GPUS = `
if command -v nvidia-smi >/dev/null; then
  nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | sed 's/^/gpu=/'
  echo "drivergpus=$(ls /proc/driver/nvidia/gpus 2>/dev/null | wc -l)"
fi
`;

const SCRIPT = `
parts=$1; shift
echo "arch=$(uname -m)"
echo "system=$(uname -s)"
echo "uid=$(id -u)"
echo "gid=$(id -g)"
echo "user=$(id -un)"
echo "home=$HOME"
echo "address=$(echo "$SSH_CONNECTION" | cut -d' ' -f3)"
if [ "$(id -u)" = 0 ]; then echo sudo=unneeded
elif sudo -n true 2>/dev/null; then echo sudo=yes
else echo "sudo=no $(sudo -n true 2>&1 | head -n 1)"; fi
[ -d /run/systemd/system ] && echo systemd=yes
[ -c /dev/fuse ] && echo fuse=yes
for folder in /run /dev/shm; do
  case "$(stat -f -c %T "$folder" 2>/dev/null)" in tmpfs|ramfs) echo "memory=$folder"; break;; esac
done
at=$parts; while [ ! -d "$at" ]; do at=$(dirname "$at"); done
echo "free=$(df -Pk "$at" | awk 'NR==2 {print $4}')"
for part in "$@"; do [ -e "$parts/$part/complete" ] && echo "part=$part"; done
command -v tar >/dev/null && command -v gzip >/dev/null && echo tar=yes
command -v docker >/dev/null && echo docker=yes
${GPUS}
exit 0
`;

export interface Probe {
  arch: WorkerArch;
  uid: number;
  gid: number;
  user: string;
  home: string;
  /** Of the node, as it was connected to. */
  address: string;
  /** What becomes root in front of a command; empty for root. */
  sudo: string;
  systemd: boolean;
  /** A folder in memory, for what must not reach a disk. */
  memoryFolder: string;
  freeBytes: Bytes;
  /** Parts of the bundle that are there. */
  parts: string[];
  docker: boolean;
  /** Names of those that nvidia-smi lists. */
  gpus: string[];
  /** How many the driver knows; 0 without one. */
  driverGpus: number;
}

export type Gpus = Pick<Probe, "gpus" | "driverGpus">;

const ARCHITECTURES: Record<string, WorkerArch> = { x86_64: "x64", aarch64: "arm64", arm64: "arm64" };

/** @throws HawserError `sudo_missing`, `fuse_missing`, `node_failed` */
export async function probe(
  ssh: SshConnection,
  parts: readonly string[],
  signal: AbortSignal,
): Promise<Probe> {
  const { code, stdout, stderr } = await ssh.run(shellScript(SCRIPT, `${WORKER_ROOT}/parts`, ...parts), {
    signal,
  });
  if (code !== 0)
    throw failed(ssh, `it has no shell of the usual kind (${(stderr || stdout).trim().slice(0, 200)})`);
  return readProbe(stdout, ssh.label);
}

/** The GPUs alone: setup may have brought their driver. */
export async function probeGpus(ssh: SshConnection, signal: AbortSignal): Promise<Gpus> {
  const { stdout } = await ssh.run(shellScript(GPUS), { signal });
  return gpusIn(valuesIn(stdout));
}

function valuesIn(text: string): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) values.set(line.slice(0, at), [...(values.get(line.slice(0, at)) ?? []), line.slice(at + 1)]);
  }
  return values;
}

function gpusIn(values: ReadonlyMap<string, string[]>): Gpus {
  return { gpus: values.get("gpu") ?? [], driverGpus: Number(values.get("drivergpus")?.[0] ?? 0) };
}

/** The node's answer as facts. */
export function readProbe(text: string, label: string): Probe {
  const values = valuesIn(text);
  const first = (key: string): string => values.get(key)?.[0] ?? "";
  const arch = ARCHITECTURES[first("arch")];
  const refuse = (why: string): HawserError => failed({ label }, why);
  if (first("system") !== "Linux")
    throw refuse(`it runs ${first("system") || "an unknown system"}, and mounts need Linux`);
  if (!arch) throw refuse(`its kind of machine (${first("arch")}) is neither x86_64 nor aarch64`);
  if (first("sudo").startsWith("no")) {
    throw new HawserError(
      "sudo_missing",
      `${label}: ${first("user")} may not become root there without a password (${first("sudo").slice(3) || "sudo refuses"}); ` +
        `log in as root, or allow it in /etc/sudoers.d: ${first("user")} ALL=(ALL) NOPASSWD:ALL`,
    );
  }
  if (first("fuse") !== "yes") {
    throw new HawserError(
      "fuse_missing",
      `${label} has no /dev/fuse; load the module there with 'modprobe fuse', and give containers --device /dev/fuse.`,
    );
  }
  if (first("memory") === "")
    throw refuse("neither /run nor /dev/shm is in memory, and credentials must not reach a disk");
  if (first("tar") !== "yes") throw refuse("it lacks tar or gzip");
  return {
    arch,
    uid: Number(first("uid")),
    gid: Number(first("gid")),
    user: first("user"),
    home: first("home"),
    address: first("address"),
    sudo: first("sudo") === "unneeded" ? "" : "sudo -n ",
    systemd: first("systemd") === "yes",
    memoryFolder: first("memory"),
    freeBytes: Number(first("free")) * 1024,
    parts: values.get("part") ?? [],
    docker: first("docker") === "yes",
    ...gpusIn(values),
  };
}

/** @throws HawserError `no_space` when what is to be unpacked does not fit */
export function requireRoom({ freeBytes }: Probe, neededBytes: Bytes, label: string): void {
  if (neededBytes === 0 || freeBytes >= neededBytes + SPARE) return;
  const mib = (bytes: Bytes): string => `${Math.ceil(bytes / 1024 / 1024)} MiB`;
  throw new HawserError(
    "no_space",
    `${label}: ${WORKER_ROOT} has ${mib(freeBytes)} free, and the worker needs ${mib(neededBytes + SPARE)}; make room there.`,
  );
}

function failed({ label }: { label: string }, why: string): HawserError {
  return new HawserError("node_failed", `${label} cannot be used: ${why}.`);
}
