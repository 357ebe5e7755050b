/**
 * Machines that exist.
 *
 * There is nothing to start and nothing to pay; what a node needs is prepared over SSH and taken back over SSH, above
 * this interface. Whether hosts answer is seen when they are connected to.
 */
import type { Milliseconds } from "../../common/units.ts";
import type { PoolNode } from "../node.ts";
import type { Provider, ProviderContext } from "../provider.ts";
import { parseHost } from "./host.ts";

const SSH_TIMEOUT_MS: Milliseconds = 30_000;

function nodesOf({ config }: ProviderContext): PoolNode[] {
  const { hosts = [], ssh } = config;
  return hosts.map((text, index) => {
    const { user = ssh?.user, address, port = ssh?.port } = parseHost(text);
    return { index, id: text, address, user, port };
  });
}

export const hostsProvider: Provider = {
  kind: "hosts",
  makesMachines: false,

  plan(context) {
    const nodes = nodesOf(context);
    return Promise.resolve({
      nodes: nodes.length,
      offers: nodes.map(({ id }) => ({ description: id, spot: false, hourlyCost: undefined })),
      checks: [],
      hourlyCost: undefined,
      sshTimeoutMs: SSH_TIMEOUT_MS,
    });
  },

  provision: (context) => Promise.resolve(nodesOf(context)),

  describe: (context) =>
    Promise.resolve(nodesOf(context).map((node) => ({ node, state: "unknown" as const }))),

  noteWrites: () => Promise.resolve(),

  // Machines that exist are not ours to switch off: a stopped pool has nothing mounted and nothing running there.
  switchesOff: false,
  cannotStop: () => undefined,
  stop: () => Promise.resolve(),
  start: (context) => Promise.resolve(nodesOf(context)),
  extend: () => Promise.resolve(),
  terminate: () => Promise.resolve(),
  verifyRemoved: () => Promise.resolve([]),
  discover: () => Promise.resolve([]),
  remove: () => Promise.resolve([]),
};
