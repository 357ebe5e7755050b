/** `hawser pool tunnel`. */
import { createServer } from "node:net";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { FIND_OPTIONS, withPool } from "./with-pool.ts";

export const command: Command = {
  usage: ["NAME[/NODE] PORT[:LOCAL]"],
  description: "Makes a port of a node reachable at this machine's loopback address, until Ctrl-C.",
  options: FIND_OPTIONS,
  maxPositionals: 2,
  examples: [["pool tunnel dev 8888", "Then open http://127.0.0.1:8888"]],
  run: (args, terminal) => {
    const match = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(args.positionals[1] ?? "");
    if (!match) throw usageError("pool tunnel", "Say which port: NAME PORT, or NAME PORT:LOCAL");
    const remote = Number(match[1]);
    return withPool("tunnel", { args, terminal, lock: false }, async (pool, { node, signal }) => {
      const session = pool.context.session(pool.context.node(node ?? 0));
      await session.connection(signal);
      const server = createServer((socket) => {
        socket.on("error", () => socket.destroy());
        session
          .connection(signal)
          .then((ssh) => ssh.forwardOut("127.0.0.1", remote))
          .then(
            (channel) => {
              channel.on("error", () => socket.destroy());
              socket.pipe(channel).pipe(socket);
            },
            (error: unknown) => {
              terminal.err(`hawser: ${error instanceof Error ? error.message : String(error)}`);
              socket.destroy();
            },
          );
      });
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(Number(match[2] ?? remote), "127.0.0.1", () => {
          const { port } = server.address() as { port: number };
          terminal.err(`hawser: 127.0.0.1:${port} is port ${remote} of ${session.node.id}`);
        });
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      server.close();
    });
  },
};
