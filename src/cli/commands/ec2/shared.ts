/** What the commands of `hawser ec2` have in common. */
import type { Instance } from "@aws-sdk/client-ec2";
import { HawserError } from "../../../common/errors.ts";
import { instancesOf } from "../../../launch/ec2/inventory.ts";
import { Clients, poolRegion } from "../../../launch/ec2/clients.ts";
import { loadCatalogue, presetNamed } from "../../../launch/ec2/presets.ts";
import type { Arguments, Option } from "../../command.ts";
import { usageError } from "../../parse.ts";
import { table } from "../../table.ts";
import type { Terminal } from "../../terminal.ts";

export const REGION: Option = {
  type: "string",
  value: "REGION",
  describe: "Default: AWS_REGION, or your profile's",
};

/** @throws HawserError `invalid_argument` when no region is known */
export async function clientsFor(args: Arguments, terminal: Terminal): Promise<Clients> {
  const { environment } = terminal;
  const region = await poolRegion(args.text("region"), [], environment);
  return new Clients(region, environment, new AbortController().signal);
}

/** Instance types by their names and by presets. */
export function typesNamed(command: string, args: Arguments, terminal: Terminal): string[] {
  if (args.positionals.length === 0) throw usageError(command, "Name instance types or presets");
  const catalogue = loadCatalogue(terminal.environment);
  return args.positionals.flatMap((name) =>
    name.includes(".") ? [name] : presetNamed(catalogue, name).instanceTypes,
  );
}

export function printTable(
  terminal: Terminal,
  header: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const [first, ...lines] = table(header, rows);
  terminal.out(terminal.paint("bold", first!));
  for (const line of lines) terminal.out(line);
}

/** The instances of these ids, all of which must be Hawser's. @throws HawserError `invalid_argument` */
export async function ownInstances(clients: Clients, ids: readonly string[]): Promise<Instance[]> {
  const ours = new Map((await instancesOf(clients, undefined)).map((found) => [found.InstanceId!, found]));
  const foreign = ids.filter((id) => !ours.has(id));
  if (foreign.length > 0) {
    throw new HawserError(
      "invalid_argument",
      `Not instances of Hawser's in ${clients.region}: ${foreign.join(", ")}.`,
    );
  }
  return ids.map((id) => ours.get(id)!);
}
