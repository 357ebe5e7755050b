/**
 * Open policy: how one open of one node id is served.
 *
 * The kernel lets an inode be open either through a backing file ("passthrough") or through its page cache and us, not
 * both at once: mixing fails with EIO, in either order, and so does a second backing file. Opens that bypass the page
 * cache ("direct") may stand beside passthrough ones. So the first open decides, and later ones follow until the last
 * release.
 */

/** How a node id is open now, O_DIRECT opens aside. */
export type OpenState = "closed" | "passthrough" | "cached";

export interface OpenInputs {
  /** The version's bytes are complete in a local file that may be handed to the kernel. */
  completeLocally: boolean;
  /** The kernel offers passthrough. */
  passthrough: boolean;
  state: OpenState;
  /** O_DIRECT was asked for. */
  direct: boolean;
}

/**
 * `passthrough`: the kernel reads the backing file. `cached`: the kernel reads through us into the page cache, and what
 * it has kept of this node id is still true, because a node id is one version. `direct`: no page cache.
 */
export type OpenDecision =
  | { kind: "passthrough" }
  | { kind: "cached"; keepCache: boolean }
  | { kind: "direct" };

export function decideOpen(inputs: OpenInputs): OpenDecision {
  const { completeLocally, passthrough, state, direct } = inputs;
  // The open that holds the backing file holds its registration too: it can be joined whatever became of the cache.
  if (state === "passthrough") return { kind: "passthrough" };
  // O_DIRECT on a backing file is the disk's own O_DIRECT, with its alignment rules: serve those ourselves.
  if (direct) return { kind: "direct" };
  if (state === "cached") return { kind: "cached", keepCache: true };
  if (completeLocally && passthrough) return { kind: "passthrough" };
  return { kind: "cached", keepCache: true };
}
