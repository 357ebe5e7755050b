/**
 * What runs on the nodes of a pool: started over SSH by the launcher, by systemd, and by the worker itself.
 *
 * Each action loads what it needs alone: a launch starts several on each node and waits for most of them.
 */
import { text } from "node:stream/consumers";
import { HawserError } from "../../common/errors.ts";
import { WorkerFolder } from "../../launch/worker/spec.ts";
import { EXIT } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [action, pool = "", ...rest] = argv;
  if (action === "prove") {
    const { proveAll } = await import("../../launch/worker/prove.ts");
    const wanted = JSON.parse(await text(process.stdin)) as Parameters<typeof proveAll>[0];
    terminal.out(JSON.stringify(await proveAll(wanted)));
    return EXIT.ok;
  }
  if (action === "copy") {
    const { copyAll } = await import("../../launch/worker/copy.ts");
    await copyAll(process.stdin, (line) => terminal.out(line));
    return EXIT.ok;
  }
  const folder = new WorkerFolder(pool);
  if (action === "serve") {
    const { serveWorker } = await import("../../launch/worker/serve.ts");
    await serveWorker(folder);
  } else if (action === "connect") {
    const { connectWorker } = await import("../../launch/worker/connect.ts");
    await connectWorker(pool, { start: rest.includes("--start"), systemd: rest.includes("--systemd") });
  } else if (action === "mount") return await mount(folder, rest[0]);
  else throw new HawserError("invalid_argument", "'hawser worker' is run by 'hawser pool'.");
  return EXIT.ok;
}

async function mount(folder: WorkerFolder, name: string | undefined): Promise<number> {
  const spec = folder.spec();
  const volume = spec?.volumes.find(({ config }) => config.name === name);
  if (!spec || !volume) {
    throw new HawserError(
      "pool_not_found",
      `The pool '${folder.pool}' has no volume '${name}' on this node.`,
    );
  }
  const { requestFor } = await import("../../launch/worker/mounts.ts");
  const { becomeDaemon, prepare } = await import("../../daemon/launch.ts");
  const request = requestFor(folder, spec, volume);
  return await becomeDaemon(await prepare(request), request);
}
