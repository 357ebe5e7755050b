/** What a reader reads from: an endpoint's options, in the form that crosses threads. */
import type { EndpointOptions } from "../endpoint.ts";

export interface ReaderTarget extends EndpointOptions {
  /** The reader pays for requests to buckets that want it so. */
  requestPayer?: boolean | undefined;
}

/**
 * The same target in another region. AWS's endpoints name their region, so an endpoint given by URL names the new one
 * instead; another store's stays as it is and is signed for the new region.
 */
export function inRegion(target: ReaderTarget, from: string, to: string): ReaderTarget {
  if (target.endpoint === undefined) return { ...target, region: to };
  const url = new URL(target.endpoint);
  const labels = url.hostname.split(".").map((label) => (label === from ? to : label));
  url.hostname = labels.join(".");
  return { ...target, region: to, endpoint: url.href };
}
