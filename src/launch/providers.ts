/** The providers there are. Each is loaded when it is first needed: the AWS SDK costs a command 100 ms. */
import type { ProviderKind } from "../config/pool.ts";
import { HawserError } from "../common/errors.ts";
import type { Provider } from "./provider.ts";

const PROVIDERS: Partial<Record<ProviderKind, () => Promise<Provider>>> = {
  ec2: async () => (await import("./ec2/provider.ts")).ec2Provider,
  hosts: async () => (await import("./hosts/provider.ts")).hostsProvider,
};

/** @throws HawserError `not_supported` */
export async function loadProvider(kind: ProviderKind): Promise<Provider> {
  const load = PROVIDERS[kind];
  if (!load)
    throw new HawserError("not_supported", `Pools of the kind '${kind}' are not there yet; use hosts.`);
  return await load();
}

/** Every provider, for commands that look for what is left anywhere. */
export async function everyProvider(): Promise<Provider[]> {
  return await Promise.all(Object.values(PROVIDERS).map((load) => load()));
}
