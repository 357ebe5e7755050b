/** Ending a mount whose process behaves as a busy machine's does. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { endMount } from "../../../src/daemon/end-mount.ts";
import { identify } from "../../../src/daemon/process-table.ts";
import { StateFolder } from "../../../src/daemon/state-folder.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "hawser-end-"));
});
afterEach(() => rmSync(root, { recursive: true }));

/** Breaks off every conversation, and ends a while after the first. */
const ENDING = `
const server = require("node:net").createServer((socket) => {
  socket.on("error", () => {}).once("data", () => {
    socket.destroy();
    setTimeout(() => process.exit(), 4500);
  });
});
server.listen(process.argv[1], () => console.log("listening"));`;

test("a process that breaks the conversation off and takes seconds to end has ended as it was asked", async () => {
  const mountPoint = join(root, "mnt");
  const folder = StateFolder.for(root, mountPoint);
  mkdirSync(folder.path, { recursive: true });
  const owner = spawn(process.execPath, ["-e", ENDING, folder.socketPath], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(owner, "exit");
  try {
    await once(owner.stdout, "data");
    writeFileSync(folder.ownerPath, JSON.stringify(identify(owner.pid!)));
    expect(await endMount({ mountPoint, source: "s3://bucket", name: "mnt", folder })).toEqual([]);
  } finally {
    owner.kill("SIGKILL");
    await ended;
  }
});
