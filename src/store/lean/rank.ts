/** Who goes first, by the reason of a request. */
import type { Reason } from "../object-store.ts";

/** Who goes first: 0 is what somebody waits for, 1 what will soon be wanted, 2 what may be. */
export type Rank = 0 | 1 | 2;

export const RANKS: Record<Reason, Rank> = {
  demand: 0,
  metadata: 0,
  flush: 0,
  prefetch: 1,
  bulk: 1,
  hydrate: 2,
};
