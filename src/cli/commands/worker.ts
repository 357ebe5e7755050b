/** What runs on the nodes of a pool: started over SSH by the launcher, by systemd, and by the worker itself. */
import { text } from "node:stream/consumers";
import { HawserError } from "../../common/errors.ts";
import { becomeDaemon, prepare } from "../../daemon/launch.ts";
import { copyAll } from "../../launch/worker/copy.ts";
import { connectWorker } from "../../launch/worker/connect.ts";
import { requestFor } from "../../launch/worker/mounts.ts";
import { proveAll } from "../../launch/worker/prove.ts";
import type { ProofWanted } from "../../launch/worker/prove.ts";
import { serveWorker } from "../../launch/worker/serve.ts";
import { WorkerFolder } from "../../launch/worker/spec.ts";
import { EXIT } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [action, pool = "", ...rest] = argv;
  if (action === "prove") {
    terminal.out(JSON.stringify(await proveAll(JSON.parse(await text(process.stdin)) as ProofWanted[])));
    return EXIT.ok;
  }
  if (action === "copy") {
    await copyAll(process.stdin, (line) => terminal.out(line));
    return EXIT.ok;
  }
  const folder = new WorkerFolder(pool);
  if (action === "serve") await serveWorker(folder);
  else if (action === "connect") {
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
  const request = requestFor(folder, spec, volume);
  return await becomeDaemon(await prepare(request), request);
}
