/**
 * DevS3: an S3 server over a folder or memory, for the demo and the tests.
 *
 * `startDevS3` puts the parts together; the handle it gives is how a program steers a server in its own process:
 * credentials, faults, the clock, the endpoint going down.
 */
import { systemClock, type Clock } from "../common/clock.ts";
import { MiB, type Bytes, type Milliseconds } from "../common/units.ts";
import {
  CredentialStore,
  DEFAULT_CREDENTIALS,
  type DevCredentials,
  type Policy,
} from "./auth/credentials.ts";
import { Verifier } from "./auth/verify.ts";
import type { Backing } from "./backing/backing.ts";
import { FolderBacking } from "./backing/folder.ts";
import { MemoryBacking } from "./backing/memory.ts";
import { SYNTHETIC_PART_BYTES, SyntheticContent } from "./backing/synthetic.ts";
import { handleControl, isControl } from "./control.ts";
import { Faults } from "./faults.ts";
import { Handler } from "./handler.ts";
import { Listener } from "./listener.ts";
import { Buckets } from "./state/buckets.ts";
import { RequestLog, type DevS3Stats } from "./stats.ts";

export interface DevS3Options {
  /** Keeps objects below this folder, a subfolder a bucket; in memory when absent. */
  folder?: string | undefined;
  /** 127.0.0.1 when absent. */
  host?: string | undefined;
  /** 0, the default, picks a free one. */
  port?: number | undefined;
  /** `us-east-1` when absent. */
  region?: string | undefined;
  /** DEFAULT_CREDENTIALS when absent. */
  credentials?: readonly DevCredentials[] | undefined;
  /** Made at the start where they are not there yet. */
  buckets?: readonly (string | { name: string; region?: string })[] | undefined;
  /** Buckets that answer unsigned requests; true for all. None when absent. */
  anonymous?: boolean | readonly string[] | undefined;
  /** Asked before each operation; everything is allowed when absent. */
  policy?: Policy | undefined;
  /** Domains below which bucket names are host names; `localhost` when absent. */
  domains?: readonly string[] | undefined;
  clock?: Clock | undefined;
  tls?: { key: string | Buffer; cert: string | Buffer } | undefined;
  /** Smallest part but the last; S3's 5 MiB when absent. */
  minPartBytes?: Bytes | undefined;
  /** How long restoring an archived object takes; 0 when absent. */
  restoreDelayMs?: Milliseconds | undefined;
  /** Answers the control path, by which another process steers this server. */
  control?: boolean | undefined;
  /** Request records kept; 20,000 when absent. */
  requestLogLimit?: number | undefined;
  /** Told of bugs in the server; they are also answered as InternalError. */
  onBug?: ((error: unknown) => void) | undefined;
}

export interface DevS3 extends AsyncDisposable {
  /** `http://127.0.0.1:9000`. */
  readonly url: string;
  readonly port: number;
  readonly region: string;
  readonly credentials: CredentialStore;
  readonly faults: Faults;
  readonly requests: RequestLog;
  stats(): DevS3Stats;
  /** Replaces the policy; undefined allows everything. */
  setPolicy(policy: Policy | undefined): void;
  /** The server's clock runs ahead by this much (behind, when negative). */
  setClockSkew(ms: Milliseconds): void;
  /** Puts an object whose bytes are computed: see `syntheticBytes`. Returns its ETag. */
  putSynthetic(bucket: string, key: string, sizeBytes: Bytes, seed: number): Promise<string>;
  /** Closes port and connections: the endpoint is down. */
  pause(): Promise<void>;
  /** `pause`, and `resume` after a time. Resolves once it is paused. */
  pauseFor(ms: Milliseconds): Promise<void>;
  /** Listens on the same port again. */
  resume(): Promise<void>;
  /** May be called twice. */
  close(): Promise<void>;
}

/** @throws the system's error when the port is taken or the folder cannot be used */
export async function startDevS3(options: DevS3Options = {}): Promise<DevS3> {
  const clock = options.clock ?? systemClock;
  const region = options.region ?? "us-east-1";
  const backing: Backing =
    options.folder === undefined ? new MemoryBacking() : await FolderBacking.open(options.folder);
  const buckets = new Buckets(backing, region);
  await buckets.load();
  for (const wanted of options.buckets ?? []) {
    const { name, region: own } = typeof wanted === "string" ? { name: wanted, region: undefined } : wanted;
    if (!buckets.find(name)) await buckets.create(name, own ?? region, clock.now());
  }

  let skewMs = 0;
  const now = () => clock.now() + skewMs;
  const credentials = new CredentialStore(options.credentials ?? [DEFAULT_CREDENTIALS]);
  const faults = new Faults();
  const log = new RequestLog(options.requestLogLimit ?? 20_000);
  const settings = {
    region,
    minPartBytes: options.minPartBytes ?? 5 * MiB,
    restoreDelayMs: options.restoreDelayMs ?? 0,
    policy: options.policy,
  };
  const { anonymous } = options;
  const handler = new Handler({
    buckets,
    verifier: new Verifier(credentials),
    faults,
    log,
    clock,
    now,
    settings,
    domains: [...(options.domains ?? ["localhost"])].sort((a, b) => b.length - a.length),
    allowsAnonymous: (bucket) =>
      Array.isArray(anonymous) ? bucket !== undefined && anonymous.includes(bucket) : anonymous === true,
    onBug: options.onBug ?? (() => {}),
  });
  const host = options.host ?? "127.0.0.1";
  const listener = new Listener({
    host,
    port: options.port ?? 0,
    tls: options.tls,
    onRequest(request, response, awaitsContinue) {
      if (options.control && isControl(request)) void handleControl(handle, request, response);
      else void handler.handle(request, response, awaitsContinue);
    },
    onConnect: () => log.connected(),
    onDisconnect: () => log.disconnected(),
  });
  await listener.open();
  let cancelResume = (): void => {};
  const shownHost = host.includes(":") ? `[${host}]` : host;

  const close = async (): Promise<void> => {
    cancelResume();
    faults.clear();
    await listener.close();
    await handler.idle();
    await backing.close();
  };
  const handle: DevS3 = {
    url: `${options.tls ? "https" : "http"}://${shownHost}:${listener.port}`,
    port: listener.port,
    region,
    credentials,
    faults,
    requests: log,
    stats: () => log.stats(),
    setPolicy: (policy) => void (settings.policy = policy),
    setClockSkew: (ms) => void (skewMs = ms),
    putSynthetic: (bucket, key, sizeBytes, seed) =>
      putSynthetic(buckets, now(), bucket, key, sizeBytes, seed),
    pause: () => listener.close(),
    async pauseFor(ms) {
      cancelResume = clock.after(ms, () => void listener.open());
      // The answer to whoever asked over HTTP goes out first.
      setImmediate(() => void listener.close());
    },
    resume: () => listener.open(),
    close,
    [Symbol.asyncDispose]: close,
  };
  return handle;
}

async function putSynthetic(
  buckets: Buckets,
  nowMs: number,
  bucketName: string,
  key: string,
  sizeBytes: Bytes,
  seed: number,
): Promise<string> {
  const content = new SyntheticContent(sizeBytes, seed);
  const parts: { sizeBytes: Bytes }[] = [];
  for (let at = 0; at < sizeBytes; at += SYNTHETIC_PART_BYTES) {
    parts.push({ sizeBytes: Math.min(SYNTHETIC_PART_BYTES, sizeBytes - at) });
  }
  await buckets.put(
    buckets.get(bucketName),
    {
      key,
      headers: { "content-type": "binary/octet-stream" },
      metadata: {},
      tags: {},
      storageClass: "STANDARD",
      sse: {},
      mtimeMs: nowMs,
      sizeBytes,
      etag: content.etag,
      parts: parts.length > 1 ? parts : undefined,
    },
    content,
  );
  return content.etag;
}
