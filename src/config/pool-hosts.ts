/** The keys of `pool:` for machines that exist already. */
import { z } from "zod";

/** `[user@]host[:port]`, or a name of the user's SSH configuration. IPv6 addresses with a port are in brackets. */
const host = z
  .string()
  .regex(
    /^(?:[A-Za-z_][A-Za-z0-9_.-]*@)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9A-Fa-f:]+)(?::\d{1,5})?$/,
    "must be a host such as ubuntu@10.0.0.5 or a name of your SSH configuration",
  );

const port = z
  .union([z.string(), z.int()], "must be a port such as 22")
  .transform((value) => Number(value))
  .refine((value) => Number.isInteger(value) && value > 0 && value < 65_536, "must be a port such as 22");

/** A path on this machine as people write it: `~/` is their home folder, relative ones are beside hawser.yaml. */
const keyPath = z.string().min(1, "must be a path");

export const sshKeys = z
  .strictObject({
    user: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_.-]*$/, "must be a user's name")
      .optional()
      .meta({
        description: "Who to log in as, where the host does not say. Default: your SSH configuration's.",
      }),
    identityFile: keyPath
      .optional()
      .meta({ description: "Private key. Default: the agent and your SSH configuration's keys." }),
    knownHostsFile: keyPath
      .optional()
      .meta({ description: "Where the hosts' keys are listed. Default: your SSH configuration's files." }),
    port: port.optional().meta({ description: "Default: your SSH configuration's, else 22." }),
    configFile: keyPath.optional().meta({ description: "An SSH configuration to read instead of yours." }),
    bastion: host
      .optional()
      .meta({ description: "A host to go through. Default: ProxyJump of your SSH configuration." }),
  })
  .meta({ description: "How nodes are reached, where your SSH configuration does not say it." });

export const HOSTS_KEYS = {
  hosts: z.array(host, "must be a list of hosts").min(1, "must name at least one host").optional().meta({
    description: "Machines that exist: [user@]host[:port] or names of your SSH configuration.",
  }),
  ssh: sshKeys.optional(),
} as const;
