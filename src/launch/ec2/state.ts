/** What the provider keeps of a pool in its record, and where it talks to for it. No secrets: keys are files beside it. */
import { join } from "node:path";
import type { ProviderContext } from "../provider.ts";
import { Clients, poolRegion } from "./clients.ts";

export interface Ec2State {
  region: string;
  /** Of every launch, as in .pub files. */
  hostKeys: string[];
  /** Who the image lets in. */
  user?: string | undefined;
  /** US dollars an hour on the spot market when it was asked, by type and zone. */
  spotPrices?: Record<string, number> | undefined;
}

export const stateOf = ({ state }: ProviderContext): Ec2State | undefined => state as Ec2State | undefined;

export async function clientsOf(context: ProviderContext): Promise<Clients> {
  const { config, volumes, environment, signal } = context;
  const region = stateOf(context)?.region ?? (await poolRegion(config.region, volumes, environment));
  return new Clients(region, environment, signal);
}

/** The private key that logs in to the pool's nodes. */
export const keyPath = ({ folder }: ProviderContext): string => join(folder, "id_ed25519");
