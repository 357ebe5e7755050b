/**
 * Orphans: pools that a provider finds by itself and that this machine has no record of.
 *
 * A provider that cannot be asked hides nothing of the others: whoever has hosts alone needs no account anywhere.
 */
import { toHawserError } from "../common/errors.ts";
import type { HawserError } from "../common/errors.ts";
import type { Environment } from "../config/interpolate.ts";
import type { ProviderKind } from "../config/pool.ts";
import { PoolFolder, poolOwner, poolRoot } from "./pool-folder.ts";
import type { DiscoveredPool, Provider } from "./provider.ts";
import { everyProvider } from "./providers.ts";

export interface Orphans {
  orphans: { provider: Provider; pool: DiscoveredPool }[];
  /** Where nobody knows what is left. */
  unasked: { kind: ProviderKind; error: HawserError }[];
}

/** @param everyone those of other users of the account too */
export async function findOrphans(
  environment: Environment,
  { everyone, signal }: { everyone: boolean; signal: AbortSignal },
): Promise<Orphans> {
  const root = poolRoot(environment);
  const owner = poolOwner(root);
  const known = new Set(
    PoolFolder.list(root).flatMap((folder) => {
      // What a damaged record was about is found as if there were none.
      const record = folder.isDamaged() ? undefined : folder.read();
      return record ? [`${record.provider} ${record.owner.id} ${record.name}`] : [];
    }),
  );
  const found: Orphans = { orphans: [], unasked: [] };
  for (const provider of await everyProvider()) {
    try {
      const pools = await provider.discover({ owner, everyone, environment, signal });
      for (const pool of pools) {
        if (!known.has(`${provider.kind} ${pool.owner.id} ${pool.name}`))
          found.orphans.push({ provider, pool });
      }
    } catch (error) {
      signal.throwIfAborted();
      found.unasked.push({ kind: provider.kind, error: toHawserError(error) });
    }
  }
  return found;
}
