/**
 * User data: what cloud-init does at a node's first boot.
 *
 * The host key comes from the launcher, so that the very first connection can be verified; the user's key is let in;
 * and a timer ends a node on which the launcher never installed anything. Once the worker is there, the worker alone
 * ends the node, because it brings the data home first.
 */
import { stringify } from "yaml";
import type { EpochMs } from "../../common/units.ts";
import { WORKER_ROOT } from "../bootstrap/probe.ts";
import type { KeyPair } from "./openssh-key.ts";

export interface FirstBoot {
  pool: string;
  hostKey: KeyPair;
  /** `ssh-ed25519 AAAA…` */
  userKey: string;
  expiresMs: EpochMs | undefined;
}

/** @returns cloud-config text */
export function userData({ pool, hostKey, userKey, expiresMs }: FirstBoot): string {
  return `#cloud-config\n${stringify(
    {
      ssh_deletekeys: true,
      ssh_genkeytypes: [],
      ssh_keys: { ed25519_private: hostKey.privateKey, ed25519_public: hostKey.publicKey },
      ssh_authorized_keys: [userKey],
      ...(expiresMs === undefined ? {} : timer(pool, expiresMs)),
    },
    { lineWidth: 0 },
  )}`;
}

function timer(pool: string, expiresMs: EpochMs): Record<string, unknown> {
  const at = new Date(expiresMs).toISOString().replace("T", " ").slice(0, 19);
  return {
    write_files: [
      {
        path: "/etc/systemd/system/hawser-ttl.service",
        content: `[Unit]\nDescription=End of the pool ${pool}\nConditionPathExists=!${WORKER_ROOT}/pools/${pool}/pool.json\n[Service]\nType=oneshot\nExecStart=/usr/bin/systemctl poweroff\n`,
      },
      {
        path: "/etc/systemd/system/hawser-ttl.timer",
        content: `[Unit]\nDescription=End of the pool ${pool}\n[Timer]\nOnCalendar=${at} UTC\nAccuracySec=1s\nPersistent=true\n[Install]\nWantedBy=timers.target\n`,
      },
    ],
    // A timer that is new lets what was due before it began pass by; one that fired long ago makes up for it.
    runcmd: [
      ["mkdir", "-p", "/var/lib/systemd/timers"],
      ["touch", "-d", "2000-01-01", "/var/lib/systemd/timers/stamp-hawser-ttl.timer"],
      ["systemctl", "enable", "--now", "hawser-ttl.timer"],
    ],
  };
}
