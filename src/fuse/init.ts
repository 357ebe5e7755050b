/**
 * INIT: what is settled with the kernel for a mount's life.
 *
 * What the kernel can do comes from its INIT request, never from its version. All else is what we want in every mount;
 * see the numbers' reasons below. Not asked for, on purpose: the writeback cache (it disables passthrough), remote
 * POSIX and BSD locks (the kernel keeps them itself, per node id), splicing (replies are written from their memory),
 * automatic invalidation by mtime (a node id is one version of an object).
 */
import { KiB, MiB, type Bytes } from "../common/units.ts";
import type { ChannelSettings } from "./channel.ts";
import { putU64 } from "./encode.ts";
import { InitFlag, InitFlag2, PROTOCOL_MAJOR, PROTOCOL_MINOR } from "./protocol.ts";

/** fuse_init_in, with 0 for what older kernels do not send. */
export interface InitRequest {
  major: number;
  minor: number;
  maxReadaheadBytes: Bytes;
  flags: number;
  flags2: number;
}

export interface InitWishes {
  passthrough: boolean;
  /**
   * How deep the backing files' file system may itself be stacked, plus one: 1 serves ext4 and xfs; 2 serves a cache
   * folder on overlayfs, and then nothing can be stacked on the mount.
   */
  maxStackDepth: 1 | 2;
}

export const INIT_OUT_BYTES = 64;
const MAX_WRITE_BYTES = MiB;
const PAGE_BYTES = 4 * KiB;
/** Requests of one mount that may be under way without somebody waiting: readahead and direct I/O. */
const MAX_BACKGROUND = 256;
/** From here on the kernel calls the mount congested and reads ahead less. */
const CONGESTION_THRESHOLD = 192;

const WANTED_FLAGS =
  InitFlag.ASYNC_READ |
  InitFlag.ATOMIC_O_TRUNC |
  InitFlag.BIG_WRITES |
  InitFlag.DO_READDIRPLUS |
  InitFlag.ASYNC_DIO |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.ABORT_ERROR |
  InitFlag.MAX_PAGES |
  InitFlag.CACHE_SYMLINKS |
  InitFlag.HANDLE_KILLPRIV_V2 |
  InitFlag.INIT_EXT;

export interface Negotiated {
  flags: number;
  flags2: number;
  maxStackDepth: number;
  settings: ChannelSettings;
}

export function negotiate(kernel: InitRequest, wishes: InitWishes): Negotiated {
  const flags = kernel.flags & WANTED_FLAGS;
  const hasFlags2 = (flags & InitFlag.INIT_EXT) !== 0;
  const wanted2 =
    InitFlag2.DIRECT_IO_ALLOW_MMAP | InitFlag2.HAS_RESEND | (wishes.passthrough ? InitFlag2.PASSTHROUGH : 0);
  const flags2 = hasFlags2 ? kernel.flags2 & wanted2 : 0;
  const passthrough = (flags2 & InitFlag2.PASSTHROUGH) !== 0;
  return {
    flags,
    flags2,
    maxStackDepth: passthrough ? wishes.maxStackDepth : 0,
    settings: {
      kind: "native",
      protocolMajor: PROTOCOL_MAJOR,
      protocolMinor: Math.min(kernel.minor, PROTOCOL_MINOR),
      // Without MAX_PAGES the kernel sends 32 pages at most.
      maxWriteBytes: flags & InitFlag.MAX_PAGES ? MAX_WRITE_BYTES : 32 * PAGE_BYTES,
      maxReadaheadBytes: Math.min(kernel.maxReadaheadBytes, MAX_WRITE_BYTES),
      readdirPlus: (flags & InitFlag.DO_READDIRPLUS) !== 0,
      passthrough,
      notify: true,
      resend: (flags2 & InitFlag2.HAS_RESEND) !== 0,
    },
  };
}

/** fuse_init_out: 16 words. */
export function putInitReply(words: Uint32Array, w: number, negotiated: Negotiated): void {
  const { settings, flags, flags2, maxStackDepth } = negotiated;
  words[w] = settings.protocolMajor;
  words[w + 1] = settings.protocolMinor;
  words[w + 2] = settings.maxReadaheadBytes;
  words[w + 3] = flags;
  words[w + 4] = MAX_BACKGROUND | (CONGESTION_THRESHOLD << 16);
  words[w + 5] = settings.maxWriteBytes;
  words[w + 6] = 1; // time granularity in nanoseconds
  words[w + 7] = MAX_WRITE_BYTES / PAGE_BYTES; // max_pages; map_alignment 0
  words[w + 8] = flags2;
  words[w + 9] = maxStackDepth;
  putU64(words, w + 10, 0);
  putU64(words, w + 12, 0);
  putU64(words, w + 14, 0);
}
