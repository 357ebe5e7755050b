/**
 * The systemd units of a node: one for each volume of a pool, in /run, and one for the worker itself, in /etc: a machine
 * that was restarted starts the worker, and the worker mounts what it must.
 */

/** `hawser-POOL-VOLUME.service`; what a unit's name may not hold is an underscore. */
export function unitName(pool: string, volume: string): string {
  return `hawser-${pool}-${volume.replace(/[^A-Za-z0-9._-]/g, "_")}.service`;
}

export function workerUnitName(pool: string): string {
  return `hawser-worker-${pool}.service`;
}

/** As `hawser install` has it for volumes of /etc/hawser: a stop waits for uploads, however long they take. */
export function unitText(node: string, program: string, pool: string, volume: string): string {
  return `[Unit]
Description=Hawser volume ${volume} of the pool ${pool}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=all
ExecStart=${node} ${program} worker mount ${pool} ${volume}
Restart=on-failure
RestartSec=5
KillMode=mixed
TimeoutStartSec=90
TimeoutStopSec=infinity
OOMScoreAdjust=-900
LimitNOFILE=1048576
`;
}

/**
 * Started at boot as well: nobody else is there to end a node in time that was restarted.
 *
 * KillMode=process: jobs are the worker's children, and must not end with it. However often it fails, it is started
 * again: it is what ends the pool in time.
 */
export function workerUnitText(node: string, program: string, pool: string): string {
  return `[Unit]
Description=Hawser worker of the pool ${pool}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=${node} ${program} worker serve ${pool}
Restart=on-failure
RestartSec=1
KillMode=process
OOMScoreAdjust=-900
LimitNOFILE=1048576

[Install]
WantedBy=multi-user.target
`;
}
