/**
 * Metrics: names as constants, values read from their owners when somebody asks.
 *
 * Each part of a mount counts for itself; a metric here is only a name, a meaning and a way to read it. So nothing is
 * counted twice, and the hot path pays nothing.
 */
import { Counter, Gauge, Registry } from "prom-client";

/** Every metric, by the name it has in `hawser status --json`; Prometheus sees it as `hawser_<name>`. */
export const METRICS = {
  resident_bytes: { kind: "gauge", help: "Memory of the volume's process." },
  cpu_seconds_total: { kind: "counter", help: "CPU time of the volume's process." },
  uptime_seconds: { kind: "gauge", help: "Time since the volume was mounted." },
  store_requests_total: { kind: "counter", help: "Requests for content sent to the store." },
  store_bytes_total: { kind: "counter", help: "Bytes of content received from the store." },
  store_retries_total: { kind: "counter", help: "Requests that were sent again." },
  store_hedges_total: { kind: "counter", help: "Requests sent twice because the first was slow." },
  store_connections: { kind: "gauge", help: "Open connections to the store." },
  store_queued: { kind: "gauge", help: "Requests that wait for a connection." },
  read_hits_total: { kind: "counter", help: "Reads answered from memory without waiting." },
  read_misses_total: { kind: "counter", help: "Reads that had to wait." },
  read_hit_bytes_total: { kind: "counter", help: "Bytes of reads answered without waiting." },
  read_miss_bytes_total: { kind: "counter", help: "Bytes of reads that had to wait." },
  read_wait_store_seconds_total: { kind: "counter", help: "Time that reads waited for the store." },
  read_wait_disk_seconds_total: { kind: "counter", help: "Time that reads waited for the disk cache." },
  passthrough_opens_total: { kind: "counter", help: "Opens whose reads the kernel does itself." },
  prefetched_bytes_total: { kind: "counter", help: "Bytes fetched before anybody asked for them." },
  prefetch_useful_bytes_total: { kind: "counter", help: "Prefetched bytes that were read." },
  prefetch_wasted_bytes_total: { kind: "counter", help: "Prefetched bytes that were dropped unread." },
  cache_memory_bytes: { kind: "gauge", help: "Content in memory." },
  cache_disk_bytes: { kind: "gauge", help: "Content in the disk cache." },
  cache_disk_entries: { kind: "gauge", help: "Object versions in the disk cache." },
  cache_disk_read_bytes_total: { kind: "counter", help: "Bytes read from the disk cache." },
  cache_disk_written_bytes_total: { kind: "counter", help: "Bytes written to the disk cache." },
  cache_disk_corrupt_blocks_total: { kind: "counter", help: "Cached blocks whose checksum was wrong." },
  cache_disk_evicted_bytes_total: { kind: "counter", help: "Bytes evicted from the disk cache." },
  tree_entries: { kind: "gauge", help: "Paths known in memory." },
  tree_bytes: { kind: "gauge", help: "Memory of the paths known." },
  open_files: { kind: "gauge", help: "Open files." },
  open_folders: { kind: "gauge", help: "Open folders." },
  replaced_versions: { kind: "gauge", help: "Replaced object versions that are still in use." },
  write_pending_files: { kind: "gauge", help: "Files that are not in the bucket yet." },
  write_pending_bytes: { kind: "gauge", help: "Bytes of those files." },
  write_staging_bytes: { kind: "gauge", help: "Local disk that staged files take." },
  write_pending_changes: {
    kind: "gauge",
    help: "Deletions, moves and folders that are not in the bucket yet.",
  },
  write_recovered_files: { kind: "gauge", help: "Files that could not go where they belong." },
} as const satisfies Record<string, { kind: "gauge" | "counter"; help: string }>;

export type MetricName = keyof typeof METRICS;
export type MetricValues = Partial<Record<MetricName, number>>;

export const METRIC_PREFIX = "hawser_";

export class Metrics {
  private readonly sources: (() => MetricValues)[] = [];
  private readonly texts: ((labels: Readonly<Record<string, string>>) => string)[] = [];
  private readonly labels: Readonly<Record<string, string>>;
  private readonly registry = new Registry();

  /** @param labels fixed labels of every metric, e.g. the volume */
  constructor(labels: Record<string, string>) {
    this.labels = labels;
    this.registry.setDefaultLabels(labels);
    for (const [name, { kind, help }] of Object.entries(METRICS)) {
      const options = { name: METRIC_PREFIX + name, help, registers: [] };
      const value = (): number => this.values()[name as MetricName] ?? 0;
      this.registry.registerMetric(kind === "gauge" ? gauge(options, value) : counter(options, value));
    }
  }

  /** Adds a part that counts for itself. Later sources win over earlier ones. */
  add(source: () => MetricValues): void {
    this.sources.push(source);
  }

  values(): MetricValues {
    return Object.assign({}, ...this.sources.map((source) => source())) as MetricValues;
  }

  /** Adds metrics that a part writes itself, such as histograms. */
  addText(source: (labels: Readonly<Record<string, string>>) => string): void {
    this.texts.push(source);
  }

  /** Prometheus' text format. */
  async text(): Promise<string> {
    const own = await this.registry.metrics();
    return [own, ...this.texts.map((text) => text(this.labels))].join("\n");
  }
}

interface MetricOptions {
  name: string;
  help: string;
  registers: never[];
}

function gauge(options: MetricOptions, value: () => number): Gauge {
  return new Gauge({
    ...options,
    collect() {
      this.set(value());
    },
  });
}

function counter(options: MetricOptions, value: () => number): Counter {
  return new Counter({
    ...options,
    collect() {
      // The owner keeps the count, so each reading replaces the last.
      this.reset();
      this.inc(value());
    },
  });
}
