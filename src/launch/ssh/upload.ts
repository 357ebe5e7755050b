/** Sending a file by SFTP, into a folder that only the login can open. */
import { HawserError } from "../../common/errors.ts";
import { saysNoRoom } from "../no-room.ts";
import type { SshConnection } from "./connection.ts";
import { shellScript } from "./shell.ts";

/** Pieces under way: a high latency must not be waited for at every one. */
const CONCURRENCY = 64;
const PIECE_BYTES = 32 * 1024;

/** A new private folder on the node. Whoever made it removes it. */
export async function makeUploadFolder(ssh: SshConnection, signal: AbortSignal): Promise<string> {
  const { code, stdout, stderr } = await ssh.run(
    shellScript('umask 077; mktemp -d "${TMPDIR:-/tmp}/hawser-upload-XXXXXXXX"'),
    { signal },
  );
  const path = stdout.trim();
  if (code !== 0 || !path.startsWith("/")) {
    throw new HawserError(
      saysNoRoom(stderr) ? "no_space" : "node_failed",
      `${ssh.label}: no folder for uploads can be made there (${stderr.trim()}).`,
    );
  }
  return path;
}

/** @param onBytes told how much of the file has arrived */
export async function uploadFile(
  ssh: SshConnection,
  local: string,
  remote: string,
  { signal, onBytes }: { signal: AbortSignal; onBytes?: (bytes: number) => void },
): Promise<void> {
  const sftp = await ssh.sftp(signal);
  await new Promise<void>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    void ssh.ended.then(() => reject(lost(ssh, "the connection was lost")));
    sftp.fastPut(
      local,
      remote,
      { concurrency: CONCURRENCY, chunkSize: PIECE_BYTES, mode: 0o600, step: (bytes) => onBytes?.(bytes) },
      (error) => {
        signal.removeEventListener("abort", onAbort);
        if (error) reject(explained(ssh, remote, error));
        else resolve();
      },
    );
  });
}

function explained(ssh: SshConnection, remote: string, error: Error): HawserError {
  // SFTP has no code for a full disk: the server says just "Failure".
  const full = error.message === "Failure";
  return new HawserError(
    full ? "no_space" : "node_failed",
    `${ssh.label}: ${remote} could not be written (${full ? "the disk may be full" : error.message}).`,
    { cause: error },
  );
}

function lost(ssh: SshConnection, why: string): HawserError {
  return new HawserError("ssh_unreachable", `${ssh.label}: sending stopped, ${why}.`);
}
