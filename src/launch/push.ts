/** Pushing files to a node: only those that differ, in one archive by SFTP. */
import { createWriteStream, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { Bytes } from "../common/units.ts";
import { archive } from "./bundle/tar.ts";
import type { NodeSession } from "./session.ts";
import { shellQuote } from "./ssh/shell.ts";
import { makeUploadFolder, uploadFile } from "./ssh/upload.ts";
import type { ManifestFile } from "./worker/protocol.ts";
import type { WorkFile } from "./work-files.ts";

export interface Pushed {
  sent: number;
  sentBytes: Bytes;
  removed: number;
}

/** @param root absolute folder on the node */
export async function pushFiles(
  session: NodeSession,
  root: string,
  files: readonly WorkFile[],
  signal: AbortSignal,
): Promise<Pushed> {
  const worker = await session.worker(signal);
  const manifest: ManifestFile[] = files.map(({ path, mode, sizeBytes, checksum }) => ({
    path,
    mode,
    sizeBytes,
    checksum,
  }));
  const { missing, removed } = await worker.call("compare", { root, files: manifest }, { signal });
  if (missing.length === 0 && removed === 0) return { sent: 0, sentBytes: 0, removed };
  const wanted = new Set(missing);
  const chosen = files.filter(({ path }) => wanted.has(path));
  const local = await mkdtemp(join(tmpdir(), "hawser-push-"));
  const ssh = await session.connection(signal);
  const remote = await makeUploadFolder(ssh, signal);
  try {
    const packed = join(local, "files.tar.gz");
    await pipeline(
      Readable.from(
        archive(
          chosen.map(({ path, file, link, mode, sizeBytes }) => ({
            path,
            mode,
            mtimeMs: Date.now(),
            content: link === undefined ? { file, sizeBytes } : { link },
          })),
        ),
      ),
      createGzip({ level: 1 }),
      createWriteStream(packed, { mode: 0o600 }),
      { signal },
    );
    await uploadFile(ssh, packed, `${remote}/files.tar.gz`, { signal });
    await worker.call("unpack", { root, archive: `${remote}/files.tar.gz`, files: manifest }, { signal });
  } finally {
    rmSync(local, { recursive: true, force: true });
    if (ssh.isOpen) {
      await ssh
        .run(`rm -rf ${shellQuote(remote)}`, { signal: new AbortController().signal })
        .catch(() => undefined);
    }
  }
  return {
    sent: chosen.length,
    sentBytes: chosen.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    removed,
  };
}
