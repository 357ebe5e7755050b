/** Telling systemd that a service is ready, where it wants to know. */
import { spawn } from "node:child_process";

/**
 * Sends READY=1 for this process. Node has no datagram sockets of the Unix kind, so systemd's own tool does it; a unit
 * needs NotifyAccess=all for that.
 */
export function notifySystemd(environment: NodeJS.ProcessEnv): void {
  if (!environment["NOTIFY_SOCKET"]) return;
  const child = spawn("/usr/bin/systemd-notify", ["--ready", `--pid=${process.pid}`], {
    stdio: "ignore",
    env: environment,
  });
  child.on("error", () => {});
  child.unref();
}
