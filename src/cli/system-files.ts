/** The files that `hawser install` writes for mount(8) and systemd. */
import { packagePath } from "../common/package-root.ts";

/** Says that a file is ours to replace and to remove. */
export const MARK = "Installed by 'hawser install'.";

export interface SystemFile {
  path: string;
  mode: number;
  content(): string;
}

export const PROGRAM = packagePath("bin/hawser.js");

/** In single quotes nothing is special to the shell but the quote itself. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** For ExecStart: quoted, with systemd's specifiers and variables switched off. */
export function systemdQuote(text: string): string {
  const escaped = text
    .replaceAll("\\", "\\\\")
    .replaceAll('"', '\\"')
    .replaceAll("%", "%%")
    .replaceAll("$", "$$$$");
  return `"${escaped}"`;
}

function mountHelper(): string {
  return `#!/bin/sh
# ${MARK}
# mount(8) runs this for: mount -t hawser s3://bucket/prefix /data -o ro,allow_other
exec ${shellQuote(process.execPath)} ${shellQuote(PROGRAM)} mount-helper "$@"
`;
}

/**
 * A stop waits for uploads, so it has no time limit; the whole group is killed only after the mount's process ended by
 * itself (KillMode=mixed). NotifyAccess=all because readiness is told by systemd-notify, a process of its own.
 */
function unitTemplate(): string {
  return `# ${MARK}
[Unit]
Description=Hawser volume %i
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=all
ExecStart=${systemdQuote(process.execPath)} ${systemdQuote(PROGRAM)} mount --foreground --config /etc/hawser/hawser.yaml %i
Restart=on-failure
RestartSec=5
KillMode=mixed
TimeoutStartSec=90
TimeoutStopSec=infinity
OOMScoreAdjust=-900
LimitNOFILE=1048576

[Install]
WantedBy=multi-user.target
`;
}

export const INSTALLED_FILES: readonly SystemFile[] = [
  { path: "/sbin/mount.hawser", mode: 0o755, content: mountHelper },
  { path: "/etc/systemd/system/hawser@.service", mode: 0o644, content: unitTemplate },
];
