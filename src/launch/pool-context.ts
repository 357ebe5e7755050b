/**
 * What every command on a pool works with: its record, its provider, a session for each node, and its steps.
 *
 * The record is this object's: whoever changes it does so by `update`, which writes it before it returns.
 */
import { appendFileSync } from "node:fs";
import { systemClock } from "../common/clock.ts";
import type { Clock } from "../common/clock.ts";
import { HawserError } from "../common/errors.ts";
import type { EpochMs } from "../common/units.ts";
import type { NamedVolume } from "../config/file.ts";
import type { Environment } from "../config/interpolate.ts";
import type { CredentialProvider } from "../store/credentials.ts";
import { Bundle } from "./bootstrap/install.ts";
import { bundleCache } from "./bundle/bundle.ts";
import type { PoolEvent, PoolEvents } from "./events.ts";
import type { PoolNode } from "./node.ts";
import { PoolFolder } from "./pool-folder.ts";
import type { PoolRecord } from "./pool-record.ts";
import type { Provider, ProviderContext } from "./provider.ts";
import { loadProvider } from "./providers.ts";
import { NodeSession } from "./session.ts";
import { Steps } from "./steps.ts";
import { transferAccess } from "./transfers.ts";
import { VolumeCredentials } from "./volume-credentials.ts";

export interface PoolOptions {
  environment?: Environment;
  /** Told what goes on. */
  onEvent?: PoolEvents | undefined;
  /** Ends what is under way, as Ctrl-C does. */
  signal?: AbortSignal | undefined;
  clock?: Clock;
}

export type GivenCredentials = ReadonlyMap<string, CredentialProvider | NamedVolume["credentials"]>;

export class PoolContext {
  readonly folder: PoolFolder;
  readonly provider: Provider;
  readonly environment: Environment;
  readonly clock: Clock;
  readonly events: PoolEvents;
  readonly signal: AbortSignal;
  readonly steps: Steps;
  readonly credentials: VolumeCredentials;
  private readonly bundle: Bundle;
  private current: PoolRecord;
  private sessions = new Map<string, NodeSession>();
  private endings: (() => void)[] = [];

  private constructor(
    folder: PoolFolder,
    record: PoolRecord,
    provider: Provider,
    options: PoolOptions,
    given: GivenCredentials,
  ) {
    this.folder = folder;
    this.current = record;
    this.provider = provider;
    this.environment = options.environment ?? process.env;
    this.clock = options.clock ?? systemClock;
    this.signal = options.signal ?? new AbortController().signal;
    this.events = (event) => {
      this.takeDown(event);
      options.onEvent?.(event);
    };
    this.steps = new Steps(this.events, this.clock, this.signal);
    this.bundle = new Bundle(bundleCache(this.environment));
    this.credentials = new VolumeCredentials(record, this.environment, given);
  }

  /** For a record that is new, or read from its folder. */
  static async open(
    folder: PoolFolder,
    record: PoolRecord,
    options: PoolOptions,
    given: GivenCredentials = new Map(),
  ): Promise<PoolContext> {
    return new PoolContext(folder, record, await loadProvider(record.provider), options, given);
  }

  get record(): Readonly<PoolRecord> {
    return this.current;
  }

  /** Changes the record, on disk first. The pool's end is what `moveEnd` of any command wrote last. */
  update(changes: Partial<PoolRecord>): void {
    const next = { ...this.current, expiresMs: this.expiresMs, ...changes };
    this.folder.write(next);
    this.current = next;
  }

  /** When the pool ends, which another command may have moved. */
  get expiresMs(): EpochMs | undefined {
    const present = this.folder.isDamaged() ? undefined : this.folder.read();
    return (present ?? this.current).expiresMs;
  }

  /** Changes the pool's end and nothing else, also while another command has the pool. */
  moveEnd(expiresMs: EpochMs | undefined): void {
    const present = this.folder.read();
    if (present) this.folder.write({ ...present, expiresMs });
    this.current = { ...this.current, expiresMs };
  }

  providerContext(signal: AbortSignal = this.signal): ProviderContext {
    const { name, config, volumes, task, owner, expiresMs, providerState } = this.record;
    const access = [...(config.access ?? []), ...transferAccess(task)];
    return {
      name,
      // What inputs and outputs use, the nodes' role must allow.
      config: access.length > 0 ? { ...config, access } : config,
      volumes,
      owner,
      expiresMs,
      folder: this.folder.path,
      state: providerState,
      save: (state) => {
        this.update({ providerState: state });
        return Promise.resolve();
      },
      environment: this.environment,
      events: this.events,
      clock: this.clock,
      signal,
    };
  }

  session(node: PoolNode): NodeSession {
    const key = `${node.id} ${node.address}`;
    let session = this.sessions.get(key);
    if (!session) {
      const { name, config, baseFolder } = this.record;
      session = new NodeSession(node, name, this.bundle, {
        ssh: config.ssh,
        baseFolder,
        environment: this.environment,
      });
      this.sessions.set(key, session);
    }
    return session;
  }

  /** The node with this index or id. @throws HawserError `invalid_argument` */
  node(wanted: string | number): PoolNode {
    const { nodes, name } = this.record;
    const found = nodes.find(({ index, id }) => id === wanted || String(index) === String(wanted));
    if (found) return found;
    throw new HawserError(
      "invalid_argument",
      `The pool '${name}' has no node '${wanted}'; it has ${nodes.map(({ index, id }) => `${index} (${id})`).join(", ") || "none"}.`,
    );
  }

  /** Calls `end` when this object is closed. */
  onClose(end: () => void): void {
    this.endings.push(end);
  }

  close(): void {
    for (const end of this.endings.splice(0).reverse()) end();
    for (const session of this.sessions.values()) session.close();
    this.sessions.clear();
  }

  private takeDown(event: PoolEvent): void {
    if (event.type === "log" || event.type === "waiting" || !this.folder.exists()) return;
    try {
      appendFileSync(this.folder.eventsPath, `${JSON.stringify({ at: this.clock.now(), ...event })}\n`, {
        mode: 0o600,
      });
    } catch {
      // What is told is told anyway.
    }
  }
}
