/**
 * Open policy of a writable volume: how one open of one node id is served.
 *
 * The kernel's rule is the one of open-policy.ts: through one backing file or through its page cache and us, decided by
 * the first open, until the last release; opens that bypass the page cache may stand beside passthrough ones. A node id
 * of a writable volume is not one version: what a reader sees must follow what a writer does. So the only backing file
 * there is is the staging file, which readers and writers share, also beyond its publication for as long as it is open;
 * files of the cache, which must not be written, are never given to the kernel here.
 */

/** How a node id is open now, opens that bypass the page cache aside. */
export type ServingState = "closed" | "passthrough" | "cached";

export interface WritableOpenInputs {
  /** Where the file's bytes are: all in its staging file, some of them, or there is no staging file. */
  staged: "whole" | "partly" | "none";
  /** The kernel offers passthrough. */
  passthrough: boolean;
  state: ServingState;
  /** O_DIRECT was asked for. */
  direct: boolean;
  /** Each write must be seen by us before it is answered: O_SYNC or O_DSYNC where fsync means the bucket. */
  sync: boolean;
}

/** `keepCache` of `cached`: see OpenReply. */
export type WritableOpenDecision = "passthrough" | "cached" | "direct";

export function decideWritableOpen(inputs: WritableOpenInputs): WritableOpenDecision {
  const { staged, passthrough, state, direct, sync } = inputs;
  // What the kernel writes itself we never see, and what it serves from its page cache beside it would be refused.
  if (state === "passthrough") return direct || sync ? "direct" : "passthrough";
  if (direct) return "direct";
  if (state === "cached" || sync) return "cached";
  return staged === "whole" && passthrough ? "passthrough" : "cached";
}
