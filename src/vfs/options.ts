/** What a volume may be told about how its files look. Every default is here. */
import type { Milliseconds } from "../common/units.ts";

export interface VolumeOptions {
  /** Key prefix; `imagenet` means `imagenet/`. The whole bucket when empty. */
  prefix?: string | undefined;
  /** How long a listing may be believed; Infinity: the bucket never changes. 60 s when absent. */
  metadataTtlMs?: Milliseconds | undefined;
  /** How long beyond that, while the store cannot be reached. Ten lifetimes when absent; 0: not at all. */
  staleForMs?: Milliseconds | undefined;
  /**
   * `listing`: mode and owner by option, times from listings, no HEAD ever. `full`: mode, owner, times, symlinks and
   * attributes from object metadata, one HEAD an unknown name. `listing` when absent.
   */
  metadata?: "listing" | "full" | undefined;
  /** Owner of what carries none; the process's when absent. */
  uid?: number | undefined;
  gid?: number | undefined;
  /** Permission bits of files and folders that carry none. */
  fileMode?: number | undefined;
  dirMode?: number | undefined;
  /** Bits taken from 0666 and 0777 where `fileMode` and `dirMode` are absent; 0022 when absent. */
  umask?: number | undefined;
  /** Paths kept in memory beyond which outdated ones go first. Two million when absent. */
  maxEntries?: number | undefined;
}

export interface ResolvedVolumeOptions {
  metadataTtlMs: Milliseconds;
  staleForMs: Milliseconds;
  metadata: "listing" | "full";
  uid: number;
  gid: number;
  fileMode: number;
  dirMode: number;
  maxEntries: number;
}

const DEFAULT_TTL_MS: Milliseconds = 60_000;
/** A bound that outlives an outage worth waiting for: ten minutes by default. */
const STALE_LIFETIMES = 10;

export function resolveVolumeOptions(options: VolumeOptions): ResolvedVolumeOptions {
  const metadataTtlMs = options.metadataTtlMs ?? DEFAULT_TTL_MS;
  const umask = options.umask ?? 0o022;
  return {
    metadataTtlMs,
    staleForMs: options.staleForMs ?? STALE_LIFETIMES * metadataTtlMs,
    metadata: options.metadata ?? "listing",
    uid: options.uid ?? process.getuid?.() ?? 0,
    gid: options.gid ?? process.getgid?.() ?? 0,
    fileMode: options.fileMode ?? 0o666 & ~umask,
    dirMode: options.dirMode ?? 0o777 & ~umask,
    maxEntries: options.maxEntries ?? 2_000_000,
  };
}
