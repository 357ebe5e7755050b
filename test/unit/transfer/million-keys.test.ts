/** A million keys are listed by the real program without being held: its memory at the last page is bounded. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { testEnvironment } from "../../support/dev-s3.ts";
import { PROGRAM } from "./programs.ts";

const PAGES = 1000;
const KEYS_OF_A_PAGE = 1000;
/** Of any command. A million entries alone would be more. */
const MOST_MEMORY_KIB = 300_000;

let server: Server;
let lastPageAsked: () => void;

beforeEach(async () => {
  server = createServer((request, answer) => {
    const token = new URL(request.url!, "http://s3").searchParams.get("continuation-token");
    const page = Number(token ?? 0);
    if (page === PAGES - 1) lastPageAsked();
    answer.setHeader("content-type", "application/xml").end(listing(page));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

function listing(page: number): string {
  const objects = Array.from({ length: KEYS_OF_A_PAGE }, (_, at) => {
    const key = `data/${String(page).padStart(4, "0")}/${String(at).padStart(4, "0")}.bin`;
    return (
      `<Contents><Key>${key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>` +
      `<ETag>&quot;${"0123456789abcdef".repeat(2)}&quot;</ETag><Size>${page + at}</Size><StorageClass>STANDARD</StorageClass></Contents>`
    );
  });
  const next =
    page === PAGES - 1
      ? "<IsTruncated>false</IsTruncated>"
      : `<IsTruncated>true</IsTruncated><NextContinuationToken>${page + 1}</NextContinuationToken>`;
  return (
    `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
    `<Name>many</Name><Prefix></Prefix><KeyCount>${KEYS_OF_A_PAGE}</KeyCount><MaxKeys>1000</MaxKeys>${next}${objects.join("")}</ListBucketResult>`
  );
}

/** The most memory that a process has had so far. */
function peakKiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);
}

test("a million keys are listed, and the program never holds them", { timeout: 300_000 }, async () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const child = spawn(process.execPath, [PROGRAM, "s3", "ls", "--recursive", "s3://many/"], {
    env: { ...process.env, ...testEnvironment({ url, region: "us-east-1" }) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let peak = 0;
  lastPageAsked = () => (peak = peakKiB(child.pid!));
  let lines = 0;
  let end = "";
  child.stdout.on("data", (chunk: Buffer) => {
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
    end = (end + chunk.toString()).slice(-200);
  });
  const [code] = (await once(child, "close")) as [number | null];
  expect([code, lines]).toEqual([0, PAGES * KEYS_OF_A_PAGE]);
  expect(end.trimEnd()).toMatch(/data\/0999\/0999\.bin$/);
  expect(peak).toBeGreaterThan(0);
  expect(peak).toBeLessThan(MOST_MEMORY_KIB);
});
