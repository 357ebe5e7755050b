import { expect, test } from "vitest";
import { METRICS, Metrics } from "../../../src/observe/metrics.ts";

test("values are read from their owners when asked for", async () => {
  const metrics = new Metrics({ volume: "data" });
  let requests = 3;
  metrics.add(() => ({ store_requests_total: requests, store_connections: 2 }));
  expect(metrics.values()).toEqual({ store_requests_total: 3, store_connections: 2 });
  await metrics.text();
  requests = 5;
  const text = await metrics.text();
  expect(text).toContain('hawser_store_requests_total{volume="data"} 5');
  expect(text).toContain('hawser_store_connections{volume="data"} 2');
});

test("every metric has help and a type, also before anything counts", async () => {
  const text = await new Metrics({}).text();
  for (const [name, { kind, help }] of Object.entries(METRICS)) {
    expect(text).toContain(`# HELP hawser_${name} ${help}`);
    expect(text).toContain(`# TYPE hawser_${name} ${kind}`);
  }
});

test("counters end in _total, as Prometheus expects", () => {
  for (const [name, { kind }] of Object.entries(METRICS))
    expect(name.endsWith("_total")).toBe(kind === "counter");
});

test("two mounts in one program do not share metrics", () => {
  expect(() => [new Metrics({}), new Metrics({})]).not.toThrow();
});
