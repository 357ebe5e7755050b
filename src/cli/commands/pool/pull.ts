/** `hawser pool pull`. */
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { HawserError } from "../../../common/errors.ts";
import { shellQuote } from "../../../launch/ssh/shell.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { FIND_OPTIONS, withPool } from "./with-pool.ts";

export const command: Command = {
  usage: ["NAME[/NODE] PATH [FOLDER]"],
  description:
    "Fetches a file or folder of a node, the first one unless another is named, into a folder here. Relative paths are below the work folder.",
  options: FIND_OPTIONS,
  maxPositionals: 3,
  examples: [["pool pull train/1 results ./out", "Fetch a folder of the second node"]],
  run: (args, terminal) => {
    const [, path, folder = "."] = args.positionals;
    if (path === undefined) throw usageError("pool pull", "Say which PATH of the node");
    const to = resolve(folder);
    return withPool("pull", { args, terminal, lock: false }, async (pool, { node, signal }) => {
      mkdirSync(to, { recursive: true });
      const session = pool.context.session(pool.context.node(node ?? 0));
      const { home } = await session.facts(signal);
      const ssh = await session.connection(signal);
      const work = `${home}/hawser/${pool.name}`;
      const script = `cd ${shellQuote(work)} && p=${shellQuote(path)} && cd "$(dirname -- "$p")" && exec tar -czf - -- "$(basename -- "$p")"`;
      const unpack = spawn("tar", ["-xzf", "-", "-C", to, "--no-same-owner"], { stdio: ["pipe", 2, 2] });
      const unpacked = new Promise<number>((done) => unpack.once("close", (code) => done(code ?? 1)));
      let ended!: Promise<number>;
      let said = "";
      await ssh.exec(`sh -c ${shellQuote(script)}`, signal, (channel) => {
        channel.pipe(unpack.stdin!);
        channel.stderr.on("data", (chunk: Buffer) => {
          said += chunk.toString();
        });
        ended = new Promise((done) => channel.once("exit", (code: number | null) => done(code ?? 1)));
      });
      const [code, local] = await Promise.all([ended, unpacked]);
      if (code !== 0) throw new HawserError("not_found", `${session.node.id}: ${said.trim()}`);
      if (local !== 0) throw new HawserError("io_error", `${to} could not be written.`);
    });
  },
};
