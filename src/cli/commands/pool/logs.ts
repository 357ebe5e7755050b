/** `hawser pool logs`. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../../common/errors.ts";
import { followJob } from "../../../launch/job-run.ts";
import type { Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { usageError } from "../../parse.ts";
import { FIND_OPTIONS, withPool } from "./with-pool.ts";

export const command: Command = {
  usage: ["[NAME] [-f] [--rank N]"],
  description:
    "Shows the output of the job, each line with its rank in front. With -f, asks the nodes, from the beginning until the job ends, and ends with its exit code.",
  options: {
    ...FIND_OPTIONS,
    follow: { type: "boolean", alias: "f", describe: "Until the job has ended" },
    rank: { type: "string", alias: "r", value: "N", describe: "Of one rank alone" },
  },
  maxPositionals: 1,
  examples: [["pool logs train -f", "Follow a job that was left running"]],
  run: (args, terminal) =>
    withPool("logs", { args, terminal, lock: false }, async (pool, { node, signal }) => {
      const text = args.text("rank") ?? node;
      if (text !== undefined && !/^\d+$/.test(text))
        throw usageError("pool logs", `--rank: '${text}' is not a number`);
      const rank = text === undefined ? undefined : pool.context.node(text).index;
      const { record, folder } = pool.context;
      if (args.flag("follow")) {
        if (!record.job) throw new HawserError("not_found", `No job was started on the pool '${pool.name}'.`);
        const ranks = rank === undefined ? record.nodes.map(({ index }) => index) : [rank];
        const { code } = await followJob(
          pool.context,
          { name: "job", run: record.job.run },
          { signal, ranks, stopOthers: false },
        );
        return code;
      }
      const files = existsSync(folder.logsPath) ? readdirSync(folder.logsPath).sort() : [];
      for (const file of files) {
        const match = /^job-rank(\d+)\.log$/.exec(file);
        if (!match || (rank !== undefined && Number(match[1]) !== rank)) continue;
        const lines = readFileSync(join(folder.logsPath, file), "utf8").trimEnd().split("\n");
        for (const line of lines) terminal.out(`${match[1]}| ${line}`);
      }
      return EXIT.ok;
    }),
};
