/** Commands on nodes beside the job: in the work folder, with the job's environment, over one channel each. */
import { StringDecoder } from "node:string_decoder";
import { eachNode } from "./each.ts";
import type { Outcome } from "./each.ts";
import type { PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";
import { shellQuote } from "./ssh/shell.ts";
import { taskEnvironment } from "./task-environment.ts";
import { WorkerFolder } from "./worker/spec.ts";
import { workerSpecs } from "./prepare.ts";

export interface ExecResult {
  rank: number;
  code: number;
  stdout: string;
  stderr: string;
}

/** @param onLine told each line as it comes */
export async function execOnNodes(
  context: PoolContext,
  command: string | readonly string[],
  options: {
    nodes: readonly PoolNode[];
    signal: AbortSignal;
    onLine?: ((rank: number, stream: "out" | "err", line: string) => void) | undefined;
  },
): Promise<Outcome<ExecResult>[]> {
  const { nodes, signal, onLine } = options;
  const specs = await workerSpecs(context, context.record.nodes);
  return await eachNode(nodes, async (node) => {
    const spec = specs[node.index]!;
    const env = Object.entries(taskEnvironment(spec, context.record.task));
    const assignments = env.map(([name, value]) => `export ${name}=${shellQuote(value)}`).join("; ");
    const words = typeof command === "string" ? command : command.map(shellQuote).join(" ");
    const script = `cd ${shellQuote(WorkerFolder.workFolder(spec))} && { ${assignments}; }\n${words}`;
    const ssh = await context.session(node).connection(signal);
    const lines = { out: new Lines(), err: new Lines() };
    const result = await ssh.run(`sh -c ${shellQuote(script)}`, {
      signal,
      onOutput: (stream, chunk) => {
        for (const line of lines[stream].push(chunk)) onLine?.(node.index, stream, line);
      },
    });
    for (const stream of ["out", "err"] as const) {
      for (const line of lines[stream].end()) onLine?.(node.index, stream, line);
    }
    return { rank: node.index, ...result };
  });
}

class Lines {
  private readonly decoder = new StringDecoder("utf8");
  private rest = "";

  push(chunk: Buffer): string[] {
    const lines = (this.rest + this.decoder.write(chunk)).split("\n");
    this.rest = lines.pop()!;
    return lines;
  }

  end(): string[] {
    return this.rest === "" ? [] : [this.rest];
  }
}
