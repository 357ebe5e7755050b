/** Which rank may use a connection: what leaves room for those that somebody waits for. */
import type { Rank } from "../lean/rank.ts";

/**
 * May one more of this rank be sent, when `running` are under way?
 *
 * What nobody waits for yet leaves an eighth of the connections free, so that a demand read never waits for a
 * connection behind prefetch; hydration takes at most half. After a SlowDown the limit may be 1: demand still gets a
 * second connection beside a long prefetch.
 *
 * @param reserves false where no demand read ever comes: nothing is left free for it
 */
export function mayStart(
  rank: Rank,
  running: readonly [number, number, number],
  limit: number,
  reserves = true,
): boolean {
  const total = running[0] + running[1] + running[2];
  if (rank === 0) return total < Math.max(limit, 2);
  const reserve = reserves ? Math.ceil(limit / 8) : 0;
  if (total >= Math.max(1, limit - reserve)) return false;
  return rank === 1 || running[2] < Math.max(1, limit >> 1);
}
