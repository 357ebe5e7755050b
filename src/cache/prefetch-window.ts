/**
 * Prefetch within a file: what one open's reads so far say about the next ones. Pure but for the pattern it updates.
 *
 * A pattern follows a few streams at once, so that interleaved readers of one descriptor are each seen. A stream begins
 * with any read; the next read that continues it confirms it, and from then on small holes and reordering (the kernel
 * sends its readahead in parallel) are forgiven. The window starts small and follows what was read in sequence: four
 * times that, so that it grows by a factor with each round trip. Reads a constant distance apart are a stride.
 * Everything else is random and gets nothing but what it asked for.
 */
import { MiB } from "../common/units.ts";
import type { Bytes } from "../common/units.ts";
import { BLOCK, RANGE } from "./blocks.ts";

/** The farthest ahead of a reader, when the memory is large enough. */
export const MOST_AHEAD: Bytes = 128 * MiB;
/** Streams of one open that are told apart. */
const MOST_STREAMS = 6;
/** How far from where it should go on a confirmed stream may go on. */
const TOLERANCE: Bytes = MiB;
const WINDOW_FACTOR = 4;
/** Reads the same distance apart that make a stride. */
const STRIDE_EVIDENCE = 3;
const MOST_STRIDES_AHEAD = 16;

interface Stream {
  /** Where it should go on. */
  next: Bytes;
  /** Reads that continued it. */
  reads: number;
  sequentialBytes: Bytes;
  /** Up to where it was fetched ahead. */
  aheadTo: Bytes;
  lastUse: number;
}

export interface ReadPattern {
  readonly streams: Stream[];
  tick: number;
  lastOffset: Bytes;
  lastDistance: Bytes;
  sameDistances: number;
}

/** What to fetch ahead; `fetched` must be called with how far that got. */
export interface AheadPlan {
  from: Bytes;
  to: Bytes;
  /** Requests of this size. */
  chunkBytes: Bytes;
  /** 0 for all of the range; else `lengthBytes` at `from` and each multiple of this distance after it. */
  strideBytes: Bytes;
  lengthBytes: Bytes;
  fetched(to: Bytes): void;
}

/** A file that is just opened is expected to be read from its start. */
export function newPattern(): ReadPattern {
  return {
    streams: [{ next: 0, reads: 0, sequentialBytes: 0, aheadTo: 0, lastUse: 0 }],
    tick: 0,
    lastOffset: -1,
    lastDistance: 0,
    sameDistances: 0,
  };
}

/** Takes note of a read and says what to fetch ahead, if anything, up to `mostAhead` bytes past it. */
export function observeRead(
  pattern: ReadPattern,
  offset: Bytes,
  length: Bytes,
  objectBytes: Bytes,
  mostAhead: Bytes,
): AheadPlan | undefined {
  const tick = ++pattern.tick;
  const distance = offset - pattern.lastOffset;
  pattern.sameDistances = distance === pattern.lastDistance ? pattern.sameDistances + 1 : 1;
  pattern.lastDistance = distance;
  pattern.lastOffset = offset;
  const stream = pattern.streams.find((each) => continues(each, offset));
  if (stream === undefined) {
    begin(pattern, offset + length, tick);
    return stridePlan(pattern, offset, length, objectBytes, mostAhead);
  }
  stream.lastUse = tick;
  stream.reads++;
  stream.sequentialBytes += length;
  stream.next = Math.max(stream.next, offset + length);
  stream.aheadTo = Math.max(stream.aheadTo, stream.next);
  return streamPlan(stream, length, objectBytes, mostAhead);
}

/** The window of a stream: what may be fetched ahead of where it stands. */
export function windowBytes(
  reads: number,
  lastLength: Bytes,
  sequentialBytes: Bytes,
  mostAhead: Bytes,
): Bytes {
  const grown = reads < 2 ? Math.max(BLOCK, lastLength) : WINDOW_FACTOR * sequentialBytes;
  return Math.min(mostAhead, grown);
}

/** Requests of what size fill a window: two for a small one, about eight at a time for a large one. */
export function chunkOf(window: Bytes): Bytes {
  const part = window < 16 * MiB ? Math.min(MiB, window / 2) : Math.min(RANGE, window / 8);
  return Math.max(BLOCK, 2 ** Math.floor(Math.log2(part)));
}

function continues(stream: Stream, offset: Bytes): boolean {
  if (stream.reads < 2) return offset >= stream.next && offset <= stream.next + BLOCK / 2;
  return offset >= stream.next - TOLERANCE && offset <= stream.next + TOLERANCE;
}

function streamPlan(
  stream: Stream,
  length: Bytes,
  objectBytes: Bytes,
  mostAhead: Bytes,
): AheadPlan | undefined {
  const window = windowBytes(stream.reads, length, stream.sequentialBytes, mostAhead);
  const chunkBytes = chunkOf(window);
  // Whole chunks only, so that the next plan begins where a request ends.
  const most = Math.floor((stream.next + window) / chunkBytes) * chunkBytes;
  const to = stream.next + window >= objectBytes ? objectBytes : most;
  if (to <= stream.aheadTo) return undefined;
  const fetched = (reached: Bytes): void => void (stream.aheadTo = Math.max(stream.aheadTo, reached));
  return { from: stream.aheadTo, to, chunkBytes, strideBytes: 0, lengthBytes: 0, fetched };
}

function stridePlan(
  pattern: ReadPattern,
  offset: Bytes,
  length: Bytes,
  objectBytes: Bytes,
  mostAhead: Bytes,
): AheadPlan | undefined {
  const stride = pattern.lastDistance;
  if (stride <= length || pattern.sameDistances < STRIDE_EVIDENCE) return undefined;
  const fitting = Math.floor(mostAhead / length);
  const strides = Math.min(MOST_STRIDES_AHEAD, fitting, 2 ** (pattern.sameDistances - STRIDE_EVIDENCE));
  const to = Math.min(objectBytes, offset + strides * stride + length);
  const from = offset + stride;
  if (from >= to) return undefined;
  return { from, to, chunkBytes: RANGE, strideBytes: stride, lengthBytes: length, fetched: () => {} };
}

function begin(pattern: ReadPattern, next: Bytes, tick: number): void {
  const { streams } = pattern;
  const stream = { next, reads: 0, sequentialBytes: 0, aheadTo: next, lastUse: tick };
  if (streams.length < MOST_STREAMS) {
    streams.push(stream);
    return;
  }
  let oldest = 0;
  for (let i = 1; i < streams.length; i++) if (streams[i]!.lastUse < streams[oldest]!.lastUse) oldest = i;
  streams[oldest] = stream;
}
