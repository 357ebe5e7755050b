import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { createLogger, silentLogger } from "../../../src/observe/logger.ts";
import type { LogLevel, OwnedLogger } from "../../../src/observe/logger.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hawser-log-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function logged(
  level: LogLevel,
  write: (log: OwnedLogger) => void,
): Promise<Record<string, unknown>[]> {
  const path = join(folder, "log");
  const log = createLogger({ level, destination: path, fields: { volume: "v" } });
  write(log);
  await log.close();
  const text = readFileSync(path, "utf8").trim();
  return text === "" ? [] : text.split("\n").map((line) => JSON.parse(line));
}

test("each event is one JSON line with level, time and the logger's fields", async () => {
  const [line] = await logged("info", (log) => log.info({ bytes: 5 }, "read"));
  expect(line).toMatchObject({ level: "info", msg: "read", bytes: 5, volume: "v" });
  expect(Date.parse(String(line!["time"]))).toBeGreaterThan(0);
});

test("levels below the chosen one are not written", async () => {
  const lines = await logged("warn", (log) => {
    log.info("no");
    log.warn("yes");
  });
  expect(lines.map((line) => line["msg"])).toEqual(["yes"]);
});

test("secrets are blanked at the top and one level down", async () => {
  const lines = await logged("info", (log) => {
    log.info({ secretAccessKey: "s3cr3t" }, "a");
    log.info({ volume: { sessionToken: "s3cr3t", credentials: { x: "s3cr3t" } } }, "b");
    log.info({ headers: { authorization: "s3cr3t", "x-amz-security-token": "s3cr3t" } }, "c");
  });
  expect(lines).toHaveLength(3);
  expect(JSON.stringify(lines)).not.toContain("s3cr3t");
});

test("an error is logged with code, S3 detail, stack and cause", async () => {
  const cause = new Error("socket hang up");
  const error = new HawserError("access_denied", "denied", {
    s3Code: "AccessDenied",
    requestId: "R1",
    cause,
  });
  const [line] = await logged("info", (log) => log.error({ err: error }, "failed"));
  expect(line!["err"]).toMatchObject({
    code: "access_denied",
    s3Code: "AccessDenied",
    requestId: "R1",
    cause: { message: "socket hang up" },
  });
  expect((line!["err"] as { stack: string }).stack).toContain("HawserError");
});

test("the log file is its owner's alone, and closing twice does nothing", async () => {
  await logged("info", (log) => {
    log.info("x");
    void log.close();
  });
  expect(statSync(join(folder, "log")).mode & 0o777).toBe(0o600);
});

test("the silent logger writes nothing", () => {
  expect(silentLogger.isLevelEnabled("error")).toBe(false);
});
