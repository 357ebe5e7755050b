/** `hawser ec2 info`. */
import type { Instance } from "@aws-sdk/client-ec2";
import { belonging } from "../../../launch/ec2/tags.ts";
import { onDemandPrice } from "../../../launch/ec2/instance-types.ts";
import { dollars } from "../../../launch/ec2/offers.ts";
import { loadCatalogue } from "../../../launch/ec2/presets.ts";
import type { Command } from "../../command.ts";
import { usageError } from "../../parse.ts";
import type { Terminal } from "../../terminal.ts";
import { REGION, clientsFor, ownInstances } from "./shared.ts";

export const command: Command = {
  usage: ["INSTANCE..."],
  description: "Shows what is known of instances that Hawser started: kind, place, addresses, cost and end.",
  options: { region: REGION, json: { type: "boolean", describe: "One JSON array" } },
  examples: [["ec2 info i-0123", "One instance"]],
  async run(args, terminal) {
    if (args.positionals.length === 0) throw usageError("ec2 info", "Name instances");
    using clients = await clientsFor(args, terminal);
    const found = (await ownInstances(clients, args.positionals)).map((one) => describe(one, terminal));
    if (args.flag("json")) {
      terminal.out(JSON.stringify(found));
      return;
    }
    for (const one of found) {
      terminal.out(terminal.paint("bold", String(one.instance)));
      for (const [name, value] of Object.entries(one)) {
        if (name !== "instance" && value !== null) terminal.out(`  ${name}: ${String(value)}`);
      }
    }
  },
};

function describe(instance: Instance, { environment }: Terminal): Record<string, string | boolean | null> {
  const whose = belonging(instance.Tags);
  const zone = instance.Placement?.AvailabilityZone;
  const type = loadCatalogue(environment).types.get(instance.InstanceType ?? "");
  const spot = instance.InstanceLifecycle === "spot";
  const price = type && !spot ? onDemandPrice(type, zone?.replace(/[a-z]$/, "") ?? "") : undefined;
  return {
    instance: instance.InstanceId ?? null,
    pool: whose?.pool ?? null,
    owner: whose?.owner.label ?? null,
    state: instance.State?.Name ?? null,
    type: instance.InstanceType ?? null,
    zone: zone ?? null,
    spot,
    price: price === undefined ? null : `${dollars(price)} an hour`,
    image: instance.ImageId ?? null,
    publicAddress: instance.PublicIpAddress ?? null,
    privateAddress: instance.PrivateIpAddress ?? null,
    placementGroup: instance.Placement?.GroupName || null,
    started: instance.LaunchTime?.toISOString() ?? null,
    expires: whose?.expiresMs === undefined ? null : new Date(whose.expiresMs).toISOString(),
    why: instance.StateReason?.Message || null,
  };
}
